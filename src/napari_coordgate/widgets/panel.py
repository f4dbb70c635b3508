"""Base of all dock widgets: a form that scrolls, and below it the controls of a job."""

import html
from abc import abstractmethod
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar, TypeVar, cast
from weakref import ReferenceType, ref

from napari.viewer import Viewer
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, QSize, Qt, QTimer, Signal
from qtpy.QtGui import QResizeEvent, QShowEvent
from qtpy.QtWidgets import (
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_coordgate.errors import CoordGateError
from napari_coordgate.events import Progress, format_count
from napari_coordgate.widgets.activity import MAX_COUNT
from napari_coordgate.widgets.choices import Choice
from napari_coordgate.widgets.docs import help_on
from napari_coordgate.widgets.forms import BAD_COLOR, add_row, form_rows, in_words
from napari_coordgate.widgets.jobs import Job, JobEnd, weak_connect
from napari_coordgate.widgets.session import session_of
from napari_coordgate.widgets.tabbing import move_focus

MIN_WIDTH = 280
"""Minimum width, pixels: forms need no horizontal scrolling."""
WIDTH = 290
"""Width of a dock, pixels, that leaves the image half of a window of 1280 pixels."""
CHOICE_WIDTH = 190
"""Least width of a choice with its button, pixels."""
MESSAGE_LINES = 12
"""Lines of a message that are seen without scrolling."""
GRAY = "#777d88"
"""Color of what is not judged, or no longer about what is chosen."""
STALE = "Before your last change: "
LABEL_SPACE = 4
"""Pixels that a label of one line is higher than its text."""
LINK_COLOR = "#267fca"
END_WORDS = {"completed": "Completed", "canceled": "Canceled", "failed": "Failed"}
COLORS = {"completed": "#368c4e", "canceled": "#b57200", "failed": BAD_COLOR}
"""These colors, that of links and gray are read as well on the dark as on the light theme."""


class DockWidget(QWidget):
    """A widget of one viewer that outlives the dock it is in: closed, it waits to be opened again.

    napari removes a dock's widget from the window when the dock is closed, which would delete it.
    """

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.viewer = viewer
        self.session = session_of(viewer)
        self._home: ReferenceType[QWidget] | None = None

    @abstractmethod
    def reset_choices(self, *_: object) -> None:
        """Offer what exists now; napari calls this when layers are added or removed."""

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 - Qt's name
        """Note the window, which keeps the widget when its dock is closed."""
        super().showEvent(event)
        parent = self.parentWidget()
        while parent is not None and not isinstance(parent, QMainWindow):
            parent = parent.parentWidget()
        self._home = None if parent is None else ref(parent)

    def focusNextPrevChild(self, forward: bool) -> bool:  # noqa: N802 - Qt's name
        """Let Tab follow the order on the screen; a widget in another one is a part of that."""
        above = self.parentWidget()
        while above is not None and not isinstance(above, DockWidget):
            above = above.parentWidget()
        return move_focus(self if above is None else above, forward)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Take no more of the window's width than the forms need."""
        return QSize(WIDTH, super().sizeHint().height())

    def changeEvent(self, event: QEvent | None) -> None:  # noqa: N802 - Qt's name
        """Give a widget whose dock was closed to the window."""
        super().changeEvent(event)
        is_moved = event is not None and event.type() == QEvent.Type.ParentChange
        home = None if self._home is None else self._home()
        if is_moved and self.parentWidget() is None and home is not None:
            QTimer.singleShot(0, partial(_keep, self, home))


def _keep(widget: QWidget, home: QWidget) -> None:
    """Make a window own a widget that nothing else owns."""
    if isalive(widget) and isalive(home) and widget.parentWidget() is None:
        widget.hide()
        widget.setParent(home)


W = TypeVar("W", bound=DockWidget)


def widget_of(viewer: Viewer, kind: type[W]) -> W:
    """The one widget of this class in a viewer; it is made where there is none yet."""
    widgets = session_of(viewer).widgets
    widget = widgets.get(kind)
    if widget is None or not isalive(widget):
        widgets[kind] = made = kind(viewer)
        return made
    found = cast(W, widget)
    found.reset_choices()
    return found


class Panel(DockWidget):
    """A dock widget of one viewer: `rows` on top of a `body` that scrolls, above a fixed `foot`."""

    kept_changed = Signal()
    """What `others_to_keep` returns has changed."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer)
        self.memory: object = None  # where its forms are kept between starts, if they are
        self._choices: list[Choice] = []
        inner = QWidget()
        self.body, self.rows, self.foot = QVBoxLayout(inner), form_rows(), QVBoxLayout()
        self.body.setContentsMargins(0, 0, 2, 0)
        self.body.addLayout(self.rows)
        self.area = QScrollArea()
        self.area.setWidgetResizable(True)
        self.area.setFrameShape(QScrollArea.Shape.NoFrame)
        self.area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.area.setWidget(inner)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(self.area, 1)
        layout.addLayout(self.foot)
        self.setMinimumWidth(MIN_WIDTH)
        self.session.adopt_layers(viewer)
        weak_connect(self.session.changed, self.reset_choices)

    def add_row(self, label: str, widget: QWidget, tooltip: str = "") -> None:
        """Add a labeled row to `rows`."""
        add_row(self.rows, label, widget, tooltip)

    def add_choice(
        self, label: str, choice: Choice, tooltip: str = "", rows: QFormLayout | None = None
    ) -> None:
        """Add a row with a choice that follows the viewer and its session; default: to `rows`."""
        self._choices.append(choice)
        add_row(self.rows if rows is None else rows, label, choice, tooltip)
        choice.setMinimumWidth(CHOICE_WIDTH)  # names are read: a narrow dock has them in a line

    def add_note(self, *, is_rich: bool = False) -> QLabel:
        """Add a line of text below the rows so far."""
        note = word_wrapped_label(is_rich=is_rich)
        self.body.addWidget(note)
        return note

    def reset_choices(self, *_: object) -> None:
        """Offer what exists now; napari calls this when layers are added or removed."""
        for choice in self._choices:
            choice.refresh()

    def note_kept(self, *_: object) -> None:
        """Keep what has changed for the next start."""
        self.kept_changed.emit()

    def others_to_keep(self) -> dict[str, Any]:
        """What is kept between starts besides the settings of forms, as JSON values."""
        return {}

    def recall(self, kept: Mapping[str, Any]) -> None:
        """Show what was kept; the settings of forms are shown already."""

    def restore(self) -> None:
        """Restore the defaults of what is not a setting of a form."""


class JobBar(QWidget):
    """Buttons, progress bar and message of a job."""

    run_clicked = Signal()

    def __init__(self, verb: str, *, can_pause: bool = False, can_stop: bool = False) -> None:
        super().__init__()
        self.job: Job | None = None
        self._problem, self._shows_problem = "", True
        self.run, self.pause = QPushButton(verb), QPushButton("Pause")
        self.stop, self.cancel = QPushButton("Stop and keep"), QPushButton("Cancel")
        self.bar, self.message, self.next = QProgressBar(), word_wrapped_label(), Links()
        self.bar.setTextVisible(True)
        self.message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._layout, self.row = QVBoxLayout(self), QHBoxLayout()
        self._layout.setContentsMargins(0, 0, 0, 0)
        second = QHBoxLayout()  # a narrow dock has no room for four buttons side by side
        self._while_running = [self.cancel, *[self.pause] * can_pause, *[self.stop] * can_stop]
        for row, buttons in (
            (self.row, [self.run, self.cancel]),
            (second, self._while_running[1:]),
        ):
            row.setSpacing(3)
            for button in buttons:
                row.addWidget(button)
            self._layout.addLayout(row)
        self._layout.addWidget(self.bar)
        self._layout.addWidget(self.message)
        self._layout.addWidget(self.next)
        self.run.clicked.connect(self.run_clicked)
        self.pause.clicked.connect(self._toggle_pause)
        self.stop.clicked.connect(self._stop)
        self.cancel.clicked.connect(self._cancel)
        self._refresh()

    def keep_in_place(self) -> None:
        """Keep the buttons where they are when the message above them grows: long ones scroll."""
        for part in (self.message, self.next):
            self._layout.removeWidget(part)
        self._layout.insertWidget(0, GrowingArea(self.message, self.next))
        policy = self.bar.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self.bar.setSizePolicy(policy)
        for button in (self.run, self.cancel):
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 - Qt's name
        """Give the hidden progress bar the height that it will have."""
        super().showEvent(event)
        self.bar.ensurePolished()

    def set_problem(self, problem: str) -> None:
        """Show why the job cannot start; empty where it can."""
        self._problem = problem
        self._refresh()
        if self.job is not None and self.job.end is None:
            return
        if problem or self._shows_problem:
            self.show_message(problem, COLORS["canceled"])
            self.next.clear()
            self._shows_problem = True

    def show_error(self, text: str) -> None:
        """Show below the buttons why something failed."""
        self.show_message(text, BAD_COLOR)

    def show_message(self, text: str, color: str = "") -> None:
        """Show a sentence below the buttons."""
        self._shows_problem = False
        if not text:
            self.next.clear()
        self.message.setText(text)
        self.message.setStyleSheet(f"color: {color};" if color else "")
        self.message.setVisible(bool(text))

    def follow(self, job: Job) -> None:
        """Show this job from now on."""
        self.job = job
        weak_connect(job.happened, self._show)
        weak_connect(job.finished, self._end)
        weak_connect(job.paused_changed, self._refresh)
        self.bar.setRange(0, 0)
        self.bar.setFormat("starting")
        self.show_message("")
        self._refresh()
        if job.end is not None:
            self._end(job.end)

    def _refresh(self, *_: object) -> None:
        """Show the buttons that apply to the current status of the job."""
        job = self.job
        running = job is not None and job.end is None
        canceling = job is not None and job.cancel_requested.is_set()
        stopping = canceling or (job is not None and job.stop_requested.is_set())
        self.run.setEnabled(not running and not self._problem)
        self.run.setToolTip(in_words(self._problem))
        for button in (self.pause, self.stop, self.cancel):
            button.setVisible(button in self._while_running)
            button.setEnabled(running and not (canceling if button is self.cancel else stopping))
        paused = job is not None and job.is_paused
        self.pause.setText("Resume" if paused else "Pause")
        self.bar.setVisible(running)
        if running and (paused or stopping):
            self.bar.setFormat("canceling" if canceling else "stopping" if stopping else "paused")

    def _show(self, event: object) -> None:
        if isinstance(event, Progress):
            unit = 1 + event.total // MAX_COUNT  # bytes of a folder exceed Qt's range
            self.bar.setRange(0, event.total // unit)
            self.bar.setValue(event.done // unit)
            self.bar.setFormat(progress_text(event))
            self._refresh()  # a step that ends after a click on Pause does not hide that it pauses

    def _end(self, end: JobEnd) -> None:
        self._refresh()
        stopped = self.job is not None and self.job.stop_requested.is_set()
        is_early = stopped and end.reason == "completed"  # its message begins with "Stopped"
        word = "" if is_early else f"{END_WORDS[end.reason]}: "
        self.show_message(f"{word}{end.message}", COLORS[end.reason])
        self._shows_problem = end.reason == "failed"  # until its cause is gone

    def mark_stale(self) -> None:
        """Say of the message about the end of the job that its form was changed since."""
        text = self.message.text()
        if self.job is not None and self.job.end is not None and not self._shows_problem:
            if text and not text.startswith(STALE):
                self.show_message(f"{STALE}{text}", GRAY)
            self.next.clear()

    def _toggle_pause(self) -> None:
        if self.job is not None:
            (self.job.resume if self.job.is_paused else self.job.pause)()

    def _stop(self) -> None:
        if self.job is not None:
            self.job.stop()
            self._refresh()

    def _cancel(self) -> None:
        if self.job is not None:
            self.job.cancel()
            self._refresh()


class JobWidget(Panel):
    """A dock widget that checks its form, runs it as a job in the background, and shows the job.

    A subclass adds `bar` to its foot, connects the parts of its form to `check`, and implements
    `request` and `start`; it may extend `check`, `on_event`, `on_end` and `show_end`. Messages of
    one that implements `chosen`, and keeps it at the start as `started`, say if they are stale.
    """

    page: ClassVar[str] = "plugin/"
    """Page of the documentation about the widget."""

    def __init__(self, viewer: Viewer, verb: str, **bar_options: bool) -> None:
        super().__init__(viewer)
        self.started: object = None
        self.bar = JobBar(verb, **bar_options)
        self.bar.keep_in_place()
        self.bar.run_clicked.connect(self.run)

    @abstractmethod
    def request(self) -> Any:
        """Frozen snapshot of the form; raises a CoordGateError if something is missing or wrong."""

    @abstractmethod
    def start(self, request: Any) -> None:
        """Start what was requested, see `start_job`."""

    def recall(self, kept: Mapping[str, Any]) -> None:
        """Check the form with the settings that were kept."""
        super().recall(kept)
        self.check()

    def check(self, *_: object) -> None:
        """Allow the start, or show what is missing or wrong."""
        try:
            self.request()
        except CoordGateError as error:
            self.bar.set_problem(str(error))
        else:
            self.bar.set_problem("")
        self._mark_stale()

    def chosen(self) -> object:
        """What a result depends on, to compare with."""
        return None

    @property
    def is_stale(self) -> bool:
        """Whether the form was changed after the last job was started."""
        return self.started is not None and self.started != self.chosen()

    def _mark_stale(self, *_: object) -> None:
        if self.is_stale:
            self.bar.mark_stale()

    def run(self) -> None:
        """Start what the form says, or show why that is not possible."""
        try:
            self.start(self.request())
        except CoordGateError as error:
            self.bar.show_error(str(error))

    def start_job(self, job: Job) -> None:
        """Start a job and show it."""
        self.follow(job)
        self.session.start(job)

    def follow(self, job: Job) -> None:
        """Show a job from now on: this widget's own, or one that was started before."""
        weak_connect(job.happened, self.on_event)
        weak_connect(job.finished, self.on_end)
        self.bar.follow(job)  # later: its message about the end stays
        weak_connect(job.finished, self._finish)
        if job.end is not None:
            self._finish(job.end)

    def _finish(self, end: JobEnd) -> None:
        self.show_end(end)
        self.bar.next.offer({**self.next_steps(end), **help_on(self.page)})
        self._mark_stale()  # it may have been changed while the job ran

    def next_steps(self, end: JobEnd) -> Mapping[str, Callable[[], object]]:
        """What to do after this end, by the words of its links."""
        return {}

    def on_event(self, event: Any) -> None:
        """Show an event of the job."""

    def on_end(self, end: JobEnd) -> None:
        """Show the end of the job, before the bar does."""

    def show_end(self, end: JobEnd) -> None:
        """Show what is to be said instead of the bar's message about the end."""


class _FittedLabel(QLabel):
    """Label that breaks long lines, and is never cut in a section that was unfolded before."""

    def __init__(self, text: str = "") -> None:
        super().__init__(text)
        self.setWordWrap(True)

    def setText(self, text: str | None) -> None:  # noqa: N802 - Qt's name
        super().setText(text)
        self._fit_height()

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802 - Qt's name
        super().resizeEvent(event)
        self._fit_height()

    def _fit_height(self) -> None:
        self.setMinimumHeight(0)  # which would count in the height for a width
        if self.text():
            self.setMinimumHeight(self.heightForWidth(self.width()))


class Links(_FittedLabel):
    """Next steps as links, which Tab reaches; a click on one calls its function."""

    def __init__(self) -> None:
        super().__init__()
        self._actions: list[Callable[[], object]] = []
        flags = Qt.TextInteractionFlag
        self.setTextInteractionFlags(flags.LinksAccessibleByMouse | flags.LinksAccessibleByKeyboard)
        self.linkActivated.connect(self._follow)
        self.hide()

    def offer(self, actions: Mapping[str, Callable[[], object]]) -> None:
        """Offer next steps by their words, instead of those before."""
        self._actions = list(actions.values())
        links = [
            f'<nobr><a style="color: {LINK_COLOR};" href="{n}">{html.escape(words)}</a></nobr>'
            for n, words in enumerate(actions)
        ]
        self.setText(" &nbsp; ".join(links))
        self.setVisible(bool(links))

    def clear(self) -> None:
        """Offer nothing."""
        self.offer({})

    def _follow(self, link: str) -> None:
        self._actions[int(link)]()


def scrolled(lines: int, *parts: QWidget) -> QScrollArea:
    """Area of a fixed height, in lines of text, in which parts below each other scroll."""
    area, content = QScrollArea(), QWidget()
    layout = QVBoxLayout(content)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(0)
    for part in parts:
        layout.addWidget(part)
    layout.addStretch(1)
    area.setWidgetResizable(True)
    area.setFrameShape(QScrollArea.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidget(content)
    area.setFixedHeight(lines * (area.fontMetrics().lineSpacing() + LABEL_SPACE) + 2)
    return area


class GrowingArea(QScrollArea):
    """Parts below each other, as high as they are up to some lines; longer ones scroll."""

    def __init__(self, *parts: QWidget) -> None:
        super().__init__()
        self._content = QWidget()
        layout = QVBoxLayout(self._content)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in parts:
            layout.addWidget(part)
        self._content.installEventFilter(self)
        self.setWidgetResizable(True)
        self.setFrameShape(QScrollArea.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidget(self._content)
        self._fit_height()

    def eventFilter(self, part: QObject | None, event: QEvent | None) -> bool:  # noqa: N802 - Qt's
        """Follow the height of the parts."""
        if event is not None and event.type() in (QEvent.Type.LayoutRequest, QEvent.Type.Resize):
            self._fit_height()
        return super().eventFilter(part, event)

    def _fit_height(self) -> None:
        """Fit the height to the own width, on which a scroll bar has no influence.

        The bar would change the width of the parts, by that their height, and so whether there
        is a bar, without end.
        """
        layout = self._content.layout()
        assert layout is not None
        height = layout.sizeHint().height()
        if layout.hasHeightForWidth():
            height = layout.totalHeightForWidth(self.contentsRect().width())
        border = self.height() - self.contentsRect().height()  # of the theme
        limit = MESSAGE_LINES * self.fontMetrics().lineSpacing()
        policies = Qt.ScrollBarPolicy
        bar = policies.ScrollBarAlwaysOn if height > limit else policies.ScrollBarAlwaysOff
        self.setVerticalScrollBarPolicy(bar)
        self.setFixedHeight(min(height, limit) + border)


class _WrappedLabel(_FittedLabel):
    """Text that names settings as the forms do.

    Names of files and layers are shown as they are, unless the text is rich.
    """

    def __init__(self, text: str, *, is_rich: bool = False) -> None:
        super().__init__(text)
        self.setTextFormat(Qt.TextFormat.RichText if is_rich else Qt.TextFormat.PlainText)

    def setText(self, text: str | None) -> None:  # noqa: N802 - Qt's name
        super().setText(in_words(text or ""))


def word_wrapped_label(text: str = "", *, is_rich: bool = False) -> QLabel:
    """Label that breaks long lines, of plain text unless it is rich."""
    return _WrappedLabel(text, is_rich=is_rich)


def progress_text(event: Progress) -> str:
    """Text of a progress bar: stage, units done, and time left."""
    text = (
        format_count(event) if "files" in event.metrics else f"{event.stage} {format_count(event)}"
    )
    left = event.seconds_left
    return text if left is None else f"{text}, {timedelta(seconds=round(left))} left"
