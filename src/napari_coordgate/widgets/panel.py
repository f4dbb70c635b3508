"""Base of all dock widgets: a form that scrolls, and below it the controls of a job."""

from abc import abstractmethod
from datetime import timedelta
from typing import Any

from napari.viewer import Viewer
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import (
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_coordgate.errors import CoordGateError
from napari_coordgate.events import Progress, format_count
from napari_coordgate.widgets.choices import Choice
from napari_coordgate.widgets.forms import BAD_COLOR, add_row, form_rows
from napari_coordgate.widgets.jobs import Job, JobEnd, weak_connect
from napari_coordgate.widgets.session import session_of

MIN_WIDTH = 396
"""Minimum width, pixels: forms need no horizontal scrolling."""
MAX_COUNT = 2**31 - 1
"""Largest number of Qt's progress bars."""
END_WORDS = {"completed": "Completed", "canceled": "Canceled", "failed": "Failed"}
COLORS = {"completed": "#3fa45b", "canceled": "#d8a200", "failed": BAD_COLOR}


class Panel(QWidget):
    """A dock widget of one viewer: `rows` on top of a `body` that scrolls, above a fixed `foot`."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.viewer = viewer
        self.session = session_of(viewer)
        self._choices: list[Choice] = []
        inner = QWidget()
        self.body, self.rows, self.foot = QVBoxLayout(inner), form_rows(), QVBoxLayout()
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

    def add_note(self) -> QLabel:
        """Add a line of text below the rows so far."""
        note = word_wrapped_label()
        self.body.addWidget(note)
        return note

    def reset_choices(self, *_: object) -> None:
        """Offer what exists now; napari calls this when layers are added or removed."""
        for choice in self._choices:
            choice.refresh()


class JobBar(QWidget):
    """Buttons, progress bar and message of a job."""

    run_clicked = Signal()

    def __init__(self, verb: str, *, can_pause: bool = False, can_stop: bool = False) -> None:
        super().__init__()
        self.job: Job | None = None
        self._problem, self._shows_problem = "", True
        self.run, self.pause = QPushButton(verb), QPushButton("Pause")
        self.stop, self.cancel = QPushButton("Stop and keep"), QPushButton("Cancel")
        self.bar, self.message = QProgressBar(), word_wrapped_label()
        self.bar.setTextVisible(True)
        self.message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        layout, row = QVBoxLayout(self), QHBoxLayout()
        layout.setContentsMargins(0, 0, 0, 0)
        for button in (self.run, self.pause, self.stop, self.cancel):
            row.addWidget(button)
        layout.addLayout(row)
        layout.addWidget(self.bar)
        layout.addWidget(self.message)
        self._while_running = [self.cancel, *[self.pause] * can_pause, *[self.stop] * can_stop]
        self.run.clicked.connect(self.run_clicked)
        self.pause.clicked.connect(self._toggle_pause)
        self.stop.clicked.connect(self._stop)
        self.cancel.clicked.connect(self._cancel)
        self._refresh()

    def set_problem(self, problem: str) -> None:
        """Show why the job cannot start; empty where it can."""
        self._problem = problem
        self._refresh()
        if self.job is not None and self.job.end is None:
            return
        if problem or self._shows_problem:
            self.show_message(problem)
            self._shows_problem = True

    def show_error(self, text: str) -> None:
        """Show below the buttons why something failed."""
        self.show_message(text, BAD_COLOR)

    def show_message(self, text: str, color: str = "") -> None:
        """Show a sentence below the buttons."""
        self._shows_problem = False
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
        self.run.setVisible(not running)
        self.run.setEnabled(not self._problem)
        self.run.setToolTip(self._problem)
        for button in (self.pause, self.stop, self.cancel):
            button.setVisible(running and button in self._while_running)
            button.setEnabled(not (canceling if button is self.cancel else stopping))
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

    def _end(self, end: JobEnd) -> None:
        self._refresh()
        stopped = self.job is not None and self.job.stop_requested.is_set()
        is_early = stopped and end.reason == "completed"  # its message begins with "Stopped"
        word = "" if is_early else f"{END_WORDS[end.reason]}: "
        self.show_message(f"{word}{end.message}", COLORS[end.reason])
        self._shows_problem = end.reason == "failed"  # until its cause is gone

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
    `request` and `start`; it may extend `check`, `on_event` and `on_end`.
    """

    def __init__(self, viewer: Viewer, verb: str, **bar_options: bool) -> None:
        super().__init__(viewer)
        self.bar = JobBar(verb, **bar_options)
        self.bar.run_clicked.connect(self.run)

    @abstractmethod
    def request(self) -> Any:
        """Frozen snapshot of the form; raises a CoordGateError if something is missing or wrong."""

    @abstractmethod
    def start(self, request: Any) -> None:
        """Start what was requested, see `start_job`."""

    def check(self, *_: object) -> None:
        """Allow the start, or show what is missing or wrong."""
        try:
            self.request()
        except CoordGateError as error:
            self.bar.set_problem(str(error))
        else:
            self.bar.set_problem("")

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
        self.bar.follow(job)  # last: its message about the end stays

    def on_event(self, event: Any) -> None:
        """Show an event of the job."""

    def on_end(self, end: JobEnd) -> None:
        """Show the end of the job, before the bar does."""


class _WrappedLabel(QLabel):
    """Label that breaks long lines, and is never cut in a section that was unfolded before."""

    def __init__(self, text: str) -> None:
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


def word_wrapped_label(text: str = "") -> QLabel:
    """Label that breaks long lines."""
    return _WrappedLabel(text)


def progress_text(event: Progress) -> str:
    """Text of a progress bar: stage, units done, and time left."""
    text = (
        format_count(event) if "files" in event.metrics else f"{event.stage} {format_count(event)}"
    )
    left = event.seconds_left
    return text if left is None else f"{text}, {timedelta(seconds=round(left))} left"
