"""What all widgets of the plugin share: a form that scrolls, and its job's controls below."""

from datetime import timedelta

from napari.viewer import Viewer
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_coordgate.events import Event, Finished, Progress, format_count
from napari_coordgate.widgets.choices import Choice
from napari_coordgate.widgets.forms import BAD_COLOR, add_row, form_rows
from napari_coordgate.widgets.jobs import Job
from napari_coordgate.widgets.listening import listen
from napari_coordgate.widgets.session import session_of
from napari_coordgate.widgets.shared_files import adopt_layers

__all__ = ["COLORS", "JobBar", "Panel"]

WIDTH = 340
"""Least width, pixels: forms are read without scrolling sideways."""
MOST = 2**31 - 1
"""Largest number of Qt's progress bars."""
ENDS = {"completed": "Completed", "canceled": "Canceled", "failed": "Failed"}
COLORS = {"completed": "#3fa45b", "canceled": "#d8a200", "failed": BAD_COLOR}


class Panel(QWidget):
    """A dock widget of one viewer.

    Parameters
    ----------
    viewer : Viewer
        The viewer.

    Attributes
    ----------
    session : Session
        What the widgets of this viewer share.
    rows : QFormLayout
        Rows at the top of the part that scrolls.
    body, foot : QVBoxLayout
        What scrolls, and what stays below it.
    area : QScrollArea
        Where it scrolls.
    """

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
        self.setMinimumWidth(WIDTH)
        adopt_layers(viewer, self.session)
        listen(self.session.changed, self.reset_choices)

    def add_row(self, label: str, widget: QWidget, tooltip: str = "") -> None:
        """Add a row with its label to `rows`."""
        add_row(self.rows, label, widget, tooltip)

    def add_choice(self, label: str, choice: Choice, tooltip: str = "") -> None:
        """Add a row with a choice that follows the viewer and its session."""
        self._choices.append(choice)
        self.add_row(label, choice, tooltip)

    def reset_choices(self, *_: object) -> None:
        """Offer what exists by now; napari calls this as layers come and go."""
        for choice in self._choices:
            choice.renew()


class JobBar(QWidget):
    """Buttons of a job, how far it is, and how it ended.

    Parameters
    ----------
    verb : str
        What the button says that starts the job.
    can_pause, can_stop : bool
        Whether the job can rest, or end early and keep what it reached.
    """

    run_clicked = Signal()

    def __init__(self, verb: str, *, can_pause: bool = False, can_stop: bool = False) -> None:
        super().__init__()
        self.job: Job | None = None
        self._problem, self._shows_problem = "", True
        self.run, self.pause = QPushButton(verb), QPushButton("Pause")
        self.stop, self.cancel = QPushButton("Stop and keep"), QPushButton("Cancel")
        self.bar, self.message = QProgressBar(), QLabel()
        self.bar.setTextVisible(True)
        self.message.setWordWrap(True)
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
        """Say why the job cannot start; empty where it can."""
        self._problem = problem
        self._refresh()
        if self.job is not None and self.job.end is None:
            return
        if problem or self._shows_problem:
            self.tell(problem)
            self._shows_problem = True

    def complain(self, text: str) -> None:
        """Show below the buttons why something could not be done."""
        self.tell(text, BAD_COLOR)

    def tell(self, text: str, color: str = "") -> None:
        """Show a sentence below the buttons."""
        self._shows_problem = False
        self.message.setText(text)
        self.message.setStyleSheet(f"color: {color};" if color else "")
        self.message.setVisible(bool(text))

    def follow(self, job: Job) -> None:
        """Show a job from now on."""
        self.job = job
        listen(job.happened, self._show)
        listen(job.finished, self._end)
        listen(job.paused_changed, self._refresh)
        self.bar.setRange(0, 0)
        self.bar.setFormat("starting")
        self.tell("")
        self._refresh()
        if job.end is not None:
            self._end(job.end)

    def _refresh(self, *_: object) -> None:
        """Show what can be done with the job as it stands."""
        job = self.job
        running = job is not None and job.end is None
        ending = job is not None and job.cancel_requested.is_set()
        stopping = ending or (job is not None and job.stop_requested.is_set())
        self.run.setVisible(not running)
        self.run.setEnabled(not self._problem)
        self.run.setToolTip(self._problem)
        for button, waits in ((self.pause, stopping), (self.stop, stopping), (self.cancel, ending)):
            button.setVisible(running and button in self._while_running)
            button.setEnabled(not waits)
        paused = job is not None and job.is_paused
        self.pause.setText("Resume" if paused else "Pause")
        self.bar.setVisible(running)
        if running and (paused or stopping):
            self.bar.setFormat("canceling" if ending else "stopping" if stopping else "paused")

    def _show(self, event: Event) -> None:
        if isinstance(event, Progress):
            unit = 1 + event.total // MOST  # bytes of a folder are more than Qt counts
            self.bar.setRange(0, event.total // unit)
            self.bar.setValue(event.done // unit)
            self.bar.setFormat(progress_text(event))

    def _end(self, end: Finished) -> None:
        self._refresh()
        stopped = self.job is not None and self.job.stop_requested.is_set()
        is_early = stopped and end.reason == "completed"  # its message begins with "Stopped"
        word = "" if is_early else f"{ENDS[end.reason]}: "
        self.tell(f"{word}{end.message}", COLORS[end.reason])
        self._shows_problem = end.reason == "failed"  # gone once its cause is

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


def progress_text(event: Progress) -> str:
    """Words of a progress bar: stage, units done, and time left."""
    text = (
        format_count(event) if "files" in event.metrics else f"{event.stage} {format_count(event)}"
    )
    left = event.seconds_left
    return text if left is None else f"{text}, {timedelta(seconds=round(left))} left"
