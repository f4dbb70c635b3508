"""Long jobs in a background thread: the one place where workers are made.

A job of the core is a generator of events. Here it runs in a thread of napari's,
which hands its events over to the main thread a few times a second. The thread
never touches a widget or a layer: whoever starts a job gives it a frozen snapshot
of what it needs, and draws the events that come back.
"""

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import Any

from napari.qt.threading import GeneratorWorker, create_worker
from napari.utils.notifications import show_error
from psygnal import Signal

from napari_coordgate.errors import CoordGateError
from napari_coordgate.progress import Finished, Progress

__all__ = ["Job"]

HANDOVER_SECONDS = 0.1
"""Time between handovers: what a person still sees as at once, and what a window draws in time."""
CLOSING_SECONDS = 2.0
"""Longest that a closing window waits for a job to save what it has."""

Work = Callable[["Job"], Iterator[Any]]
"""Yields events of the core, a widget's own among them, and one `Finished` at the end."""


class Job:
    """A long job, as its widgets see it.

    All signals are emitted in the main thread; `finished` exactly once, whatever
    happens to the job.

    Parameters
    ----------
    title : str
        What the job does, for the user.
    work : callable
        Takes this job and returns its events. It runs in the background thread, and
        hands `cancel_requested`, and `stop_requested` if it knows it, to the core.
    subject : object
        What the job works on, for those who find it running. The job keeps it alive,
        which its signals do not do for those who listen.
    is_quiet : bool
        Whether its failure is shown by its widget alone, without a notification.
    """

    happened = Signal(object)
    """An event of the job, the `Finished` too. Of steps that follow each other faster than
    they can be drawn only the last one comes, with the figures of all."""
    finished = Signal(Finished)
    paused_changed = Signal(bool)

    def __init__(
        self, title: str, work: Work, subject: Any = None, *, is_quiet: bool = False
    ) -> None:
        self.title = title
        self.work = work
        self.subject = subject
        self.is_quiet = is_quiet
        self.cancel_requested = threading.Event()
        self.stop_requested = threading.Event()
        self.end: Finished | None = None
        self._worker: _Worker | None = None

    @property
    def is_running(self) -> bool:
        """Whether the job has begun and not ended."""
        return self._worker is not None and self.end is None

    @property
    def is_paused(self) -> bool:
        """Whether the job rests, until it is resumed, stopped or cancelled."""
        return self._worker is not None and self._worker.is_paused

    def start(self) -> None:
        """Begin, in a background thread."""
        worker: _Worker = create_worker(_handovers, self, _worker_class=_Worker)
        worker.yielded.connect(self._receive)
        worker.paused.connect(self._tell_paused)
        worker.resumed.connect(self._tell_resumed)
        self._worker = worker
        worker.start()

    def pause(self) -> None:
        """Rest after the event at hand."""
        if self._worker is not None:
            self._worker.pause()

    def resume(self) -> None:
        """Go on after a rest."""
        if self._worker is not None:
            self._worker.resume()

    def stop(self) -> None:
        """End early, but keep what was reached; for jobs that know how to."""
        self.stop_requested.set()
        self.resume()

    def cancel(self) -> None:
        """End at the next event."""
        self.cancel_requested.set()
        self.resume()

    def _tell_paused(self) -> None:
        self.paused_changed.emit(True)

    def _tell_resumed(self) -> None:
        self.paused_changed.emit(False)

    def _receive(self, events: list[Any]) -> None:
        for event in events:
            if isinstance(event, Finished):
                self.end = event
                if event.reason == "failed" and not self.is_quiet:
                    # Under PyQt6 napari is silent about a worker that has its own handlers.
                    show_error(f"{self.title}: {event.message}")
            self.happened.emit(event)
        if self.end is not None:
            self.finished.emit(self.end)


class _Worker(GeneratorWorker):  # type: ignore[misc]
    """Worker that cancels its job where napari quits it: as the window closes.

    Quitting it as napari does would drop the job where it stands; cancelled, it
    saves what it has and ends itself, which the closing window waits for a moment.
    """

    def __init__(self, function: Any, job: Job) -> None:
        super().__init__(function, job)
        self._job = job
        self._ended = threading.Event()

    def work(self) -> Any:
        try:
            return super().work()
        finally:
            self._ended.set()

    def quit(self) -> None:
        self._job.cancel()
        self._ended.wait(CLOSING_SECONDS)


def _handovers(job: Job) -> Generator[list[Any]]:
    """Events of a job in handfuls, with the time spent waiting taken off their clocks."""
    pending: list[Any] = []
    last = time.perf_counter()
    waited, stage = 0.0, ""
    for event in _without_errors(job):
        at_once = not isinstance(event, Progress)
        if isinstance(event, Progress):
            if event.stage != stage:
                waited, stage, at_once = 0.0, event.stage, True
            event = replace(event, seconds=max(0.0, event.seconds - waited))
        _add(pending, event)
        if at_once or time.perf_counter() - last >= HANDOVER_SECONDS:
            last = time.perf_counter()
            yield pending
            pending = []
            # A paused worker rests within the yield.
            waited += time.perf_counter() - last
            last = time.perf_counter()


def _add(pending: list[Any], event: Any) -> None:
    """Add an event; a step of the same stage as the one before takes its place."""
    last = pending[-1] if pending else None
    if isinstance(event, Progress) and isinstance(last, Progress) and event.stage == last.stage:
        pending[-1] = replace(event, metrics={**last.metrics, **event.metrics})
    else:
        pending.append(event)


def _without_errors(job: Job) -> Iterator[Any]:
    """Events of a job; an error of ours, which the core does not turn into an end, is made one.

    A `RuntimeError` that left a worker's generator would fire none of the worker's signals,
    and the window would wait for ever.
    """
    try:
        yield from job.work(job)
    except CoordGateError as error:
        yield Finished("failed", str(error), error=error)
    except Exception as error:
        logging.getLogger(__name__).exception("%s failed", job.title)
        kind = type(error).__name__
        message = f"An unexpected error ({kind}: {error}); please report it with napari's log."
        yield Finished("failed", message, error=CoordGateError(message))
