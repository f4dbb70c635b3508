"""Long jobs in a background thread: the one place where workers are made.

A job of the core is a generator of events. Here it runs in a thread of napari's,
which hands its events over to the main thread a few times a second. The thread
never touches a widget or a layer: whoever starts a job gives it a frozen snapshot
of what it needs, and draws the events that come back.
"""

import functools
import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import Any

from napari.qt.threading import GeneratorWorker, create_worker
from napari.utils.notifications import show_error
from psygnal import Signal

from napari_coordgate.errors import CanceledError, CoordGateError
from napari_coordgate.events import FileChanged, Finished, Progress

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

    Attributes
    ----------
    end : Finished or None
        How it ended, once it has.
    companions : list of Job
        Jobs that end with it when the window closes.
    """

    handed_over = Signal(list)
    """Events of one handover, just before `happened` tells of each: for those who draw many."""
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
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.end: Finished | None = None
        self.companions: list[Job] = [self]
        self._worker: _Worker | None = None

    @property
    def is_running(self) -> bool:
        """Whether the job has begun and not ended."""
        return self._worker is not None and self.end is None

    @property
    def is_paused(self) -> bool:
        """Whether the job rests, or will after the event at hand, until it is resumed."""
        return self.is_running and not self.may_go_on.is_set()

    def start(self) -> None:
        """Begin, in a background thread."""
        function = _Titled(_handovers)
        function.title = self.title
        worker: _Worker = create_worker(function, self, _worker_class=_Worker)
        worker.yielded.connect(self._receive)
        self._worker = worker
        worker.start()

    def pause(self) -> None:
        """Rest after the event at hand."""
        self.may_go_on.clear()
        self.paused_changed.emit(True)

    def resume(self) -> None:
        """Go on after a rest."""
        if not self.may_go_on.is_set():
            self.may_go_on.set()
            self.paused_changed.emit(False)

    def stop(self) -> None:
        """End early, but keep what was reached; for jobs that know how to."""
        self.stop_requested.set()
        self.resume()

    def cancel(self) -> None:
        """End at the next event."""
        self.cancel_requested.set()
        self.resume()

    def _receive(self, events: list[Any]) -> None:
        last = events[-1]
        if isinstance(last, Finished):
            self.end = last
        try:
            self.handed_over.emit(events)
            for event in events:
                self.happened.emit(event)
        finally:  # one that cannot draw an event hides the end from nobody
            if isinstance(last, Finished):
                if last.reason == "failed" and not self.is_quiet:
                    # Under PyQt6 napari is silent about a worker that has its own handlers.
                    show_error(f"{self.title}: {last.message}")
                self.finished.emit(last)


class _Titled(functools.partial):  # type: ignore[type-arg]
    """Function that napari's dialog on closing shows by the title of its job."""

    title = ""

    def __repr__(self) -> str:
        return self.title


class _Worker(GeneratorWorker):  # type: ignore[misc]
    """Worker that cancels its job where napari quits it: as the window closes.

    Quitting it as napari does would drop the job where it stands; canceled, it
    saves what it has and ends itself, which the closing window waits for a moment.
    """

    def __init__(self, function: Any, job: Job) -> None:
        super().__init__(function, job)
        self._job: Job | None = job
        self._ended = threading.Event()

    def work(self) -> Any:
        try:
            return super().work()
        finally:
            # napari keeps `quit`, and so the worker, as long as the window is open.
            self._job = None
            self._ended.set()

    def quit(self) -> None:
        job = self._job
        if job is None:
            return
        for companion in job.companions:
            companion.cancel()
        self._ended.wait(CLOSING_SECONDS)


def _handovers(job: Job) -> Generator[list[Any]]:
    """Events of a job in handfuls; the time that it rested is taken off their clocks."""
    pending: list[Any] = []
    rests: list[tuple[float, float]] = []
    last, stage = time.perf_counter(), ""
    for event in _to_one_end(job):
        at_once = not isinstance(event, Progress | FileChanged)  # of files there may be thousands
        if isinstance(event, Progress):
            at_once, stage = event.stage != stage, event.stage
            event = replace(event, seconds=_without_rests(event.seconds, rests))
        _add(pending, event)
        if at_once or time.perf_counter() - last >= HANDOVER_SECONDS:
            yield pending
            pending, last = [], time.perf_counter()
        if not (job.may_go_on.is_set() or isinstance(event, Finished)):
            began = time.perf_counter()
            job.may_go_on.wait()
            rests.append((began, time.perf_counter() - began))


def _without_rests(seconds: float, rests: list[tuple[float, float]]) -> float:
    """Time of a stage without the rests within it, each given by its begin and length."""
    stage_began = time.perf_counter() - seconds
    return max(0.0, seconds - sum(length for began, length in rests if began >= stage_began))


def _add(pending: list[Any], event: Any) -> None:
    """Add an event; a step of the same stage as the one before takes its place."""
    last = pending[-1] if pending else None
    if isinstance(event, Progress) and isinstance(last, Progress) and event.stage == last.stage:
        pending[-1] = replace(event, metrics={**last.metrics, **event.metrics})
    else:
        pending.append(event)


def _to_one_end(job: Job) -> Iterator[Any]:
    """Events of a job up to its one `Finished`; one is made where it fails to bring it.

    A `RuntimeError` that left a worker's generator would fire none of the worker's signals,
    and the window would wait for ever.
    """
    try:
        events = iter(job.work(job))
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                yield Finished("completed", "", result=end.value)
                return
            yield event
            if isinstance(event, Finished):
                return
    except CanceledError as error:
        yield Finished("canceled", str(error))
    except CoordGateError as error:
        yield Finished("failed", str(error), error=error)
    except Exception as error:
        logging.getLogger(__name__).exception("%s failed", job.title)
        kind = type(error).__name__
        message = f"An unexpected error ({kind}: {error}); please report it with napari's log."
        yield Finished("failed", message, error=CoordGateError(message))
