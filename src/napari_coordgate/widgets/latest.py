"""Compute in the background what was asked for last, while its user goes on changing it."""

from qtpy.QtCore import QObject, QTimer, Signal

from napari_coordgate.events import Event, Finished
from napari_coordgate.widgets.jobs import Job
from napari_coordgate.widgets.listening import listen
from napari_coordgate.widgets.session import Session

__all__ = ["Latest"]

SETTLING_MS = 120
"""Time without a further change after which the work begins."""


class Latest(QObject):
    """Runs one job at a time: the one asked for last, once its asker has come to rest.

    A job that is out of date is canceled, and its events are passed over.

    Parameters
    ----------
    session : Session
        Where the jobs run.
    parent : QObject
        The widget that asks.
    """

    happened = Signal(object)
    """An event of the job asked for last."""

    def __init__(self, session: Session, parent: QObject) -> None:
        super().__init__(parent)
        self.session = session
        self._wanted: Job | None = None
        self._current: Job | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(SETTLING_MS)
        self._timer.timeout.connect(self._start)

    @property
    def is_busy(self) -> bool:
        """Whether something is being computed, or soon will be."""
        return self._wanted is not None or self._current is not None

    def ask(self, job: Job) -> None:
        """Run this job, in place of any asked for before."""
        self.drop()
        self._wanted = job
        self._timer.start()

    def drop(self) -> None:
        """Give up what was asked for."""
        self._wanted = None
        if self._current is not None:
            self._current.cancel()

    def _start(self) -> None:
        if self._current is not None or self._wanted is None:
            return
        self._current, self._wanted = self._wanted, None
        listen(self._current.happened, self._pass_on)
        listen(self._current.finished, self._go_on)
        self.session.start(self._current)

    def _pass_on(self, event: Event) -> None:
        if self._current is not None and not self._current.cancel_requested.is_set():
            self.happened.emit(event)

    def _go_on(self, _: Finished) -> None:
        self._current = None
        if not self._timer.isActive():
            self._start()
