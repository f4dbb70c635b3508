"""Long jobs in a background thread: the only place where workers are created.

A job of the core is a generator of events. Here it runs in one of napari's threads, which
passes its events to the main thread a few times a second. The thread never touches a widget
or a layer: a job gets a frozen snapshot of its input, and slots of the main thread draw its events.
"""

import functools
import logging
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, Self
from weakref import WeakMethod

from napari.qt.threading import GeneratorWorker, create_worker
from napari.utils.notifications import show_error, show_warning
from psygnal import Signal, SignalInstance
from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal as QtSignal
from typing_extensions import TypeVar

from napari_coordgate.errors import CanceledError, CoordGateError, TrainingImagesWarning
from napari_coordgate.events import FileChanged, Progress

BATCH_SECONDS = 0.1
"""Time between batches of events: short for a person, long enough to draw them."""
CLOSING_SECONDS = 2.0
"""Longest time that a closing window waits for a job to save its work."""
DEBOUNCE_MS = 120
"""Time without a further change after which a debounced job starts."""

R = TypeVar("R", default=Any)
Work = Callable[["Job"], Generator[Any, None, Any]]
"""Returns a generator that yields events, returns its result and raises errors."""


@dataclass(frozen=True, eq=False)
class JobEnd(Generic[R]):
    """How a job ended: a message for the user, and its result or error."""

    reason: Literal["completed", "canceled", "failed"]
    message: str = ""
    result: R | None = None
    error: CoordGateError | None = None


class Job(Generic[R]):
    """A long job, as widgets see it; all its signals are emitted in the main thread.

    ``work`` takes this job and passes its `cancel_requested`, and `stop_requested` if it can stop
    early, to the core. ``done_message`` describes the result to the user. ``context`` is kept for
    widgets that find the job running. A quiet job fails without a notification.
    """

    batched = Signal(list)
    """All events of a batch, just before `happened` is emitted for each of them."""
    happened = Signal(object)
    """An event. Of fast steps only the last one is emitted, with the metrics of all."""
    finished = Signal(JobEnd)
    """Emitted exactly once, whatever happens to the job."""
    paused_changed = Signal(bool)

    def __init__(
        self,
        title: str,
        work: Work,
        context: Any = None,
        *,
        done_message: Callable[[R], str] | None = None,
        is_quiet: bool = False,
    ) -> None:
        self.title = title
        self.work = work
        self.context = context
        self.done_message = done_message
        self.is_quiet = is_quiet
        self.cancel_requested = threading.Event()
        self.stop_requested = threading.Event()
        self._resume = threading.Event()
        self._resume.set()
        self.end: JobEnd[R] | None = None
        self.siblings: list[Job] = [self]  # canceled together when the window closes
        self._worker: _Worker | None = None
        self._told: set[str] = set()

    @classmethod
    def from_function(
        cls, title: str, function: Callable[["Job[R]"], R], context: Any = None, **options: Any
    ) -> Self:
        """Create a job without progress from a function that takes the job."""

        def work(job: Job[R]) -> Generator[Any, None, R]:
            yield from ()
            return function(job)

        return cls(title, work, context, **options)

    @property
    def is_running(self) -> bool:
        """Whether the job has started and not ended."""
        return self._worker is not None and self.end is None

    @property
    def is_paused(self) -> bool:
        """Whether the job waits, or will after its current event, until it is resumed."""
        return self.is_running and not self._resume.is_set()

    def start(self) -> None:
        """Start the job in a background thread."""
        function = _TitledFunction(_event_batches)
        function.title = self.title
        worker: _Worker = create_worker(function, self, _worker_class=_Worker)
        worker.yielded.connect(self._receive)
        worker.warned.connect(self._tell)
        self._worker = worker
        worker.start()

    def pause(self) -> None:
        """Wait after the current event."""
        self._resume.clear()
        self.paused_changed.emit(True)

    def resume(self) -> None:
        """Continue after a pause."""
        if not self._resume.is_set():
            self._resume.set()
            self.paused_changed.emit(False)

    def wait_while_paused(self) -> bool:
        """Wait in the background thread until the job is resumed; returns whether it was paused."""
        paused = not self._resume.is_set()
        self._resume.wait()
        return paused

    def stop(self) -> None:
        """End early and keep the result so far, for jobs that can."""
        self.stop_requested.set()
        self.resume()

    def cancel(self) -> None:
        """End at the next event."""
        self.cancel_requested.set()
        self.resume()

    def _tell(self, warned: tuple[Any, ...]) -> None:
        """Show once that images are passed over; verdicts of a widget say what else may be wrong.

        Under PyQt6 napari is silent about a worker that has its own handlers.
        """
        message, category = str(warned[0]), warned[1]
        if issubclass(category, TrainingImagesWarning) and message not in self._told:
            self._told.add(message)
            show_warning(f"{self.title}: {message}")

    def _receive(self, events: list[Any]) -> None:
        end = events.pop() if isinstance(events[-1], JobEnd) else None
        self.end = end
        try:
            if events:
                self.batched.emit(events)
            for event in events:
                self.happened.emit(event)
        finally:  # a slot that cannot draw an event must not hide the end
            if end is not None:
                if end.reason == "failed" and not self.is_quiet:
                    # Under PyQt6 napari is silent about a worker that has its own handlers.
                    show_error(f"{self.title}: {end.message}")
                self.finished.emit(end)


class _TitledFunction(functools.partial):  # type: ignore[type-arg]
    """Function that napari's closing dialog shows by the title of its job."""

    title = ""

    def __repr__(self) -> str:
        return self.title


class _Worker(GeneratorWorker):  # type: ignore[misc]
    """Worker whose `quit`, which napari calls when the window closes, cancels the job.

    napari's own `quit` would drop the job and its result; a canceled job saves its work and ends
    by itself, and the closing window waits a moment for it.
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
        for sibling in job.siblings:
            sibling.cancel()
        self._ended.wait(CLOSING_SECONDS)


def _event_batches(job: Job) -> Generator[list[Any]]:
    """Events of a job in batches, the last one with its `JobEnd`; times do not include pauses."""
    pending: list[Any] = []
    pauses: list[tuple[float, float]] = []
    last, stage = time.perf_counter(), ""
    for event in _with_end(job):
        at_once = not isinstance(event, Progress | FileChanged)  # there may be thousands of files
        if isinstance(event, Progress):
            at_once, stage = event.stage != stage, event.stage
            event = replace(event, seconds=_without_pauses(event.seconds, pauses))
        _append(pending, event)
        if at_once or time.perf_counter() - last >= BATCH_SECONDS:
            yield pending
            pending, last = [], time.perf_counter()
        began = time.perf_counter()
        if not isinstance(event, JobEnd) and job.wait_while_paused():
            pauses.append((began, time.perf_counter() - began))


def _without_pauses(seconds: float, pauses: list[tuple[float, float]]) -> float:
    """Time of a stage without the pauses in it, each given by its start and length."""
    stage_began = time.perf_counter() - seconds
    return max(0.0, seconds - sum(length for began, length in pauses if began >= stage_began))


def _append(pending: list[Any], event: Any) -> None:
    """Append an event; a step of the same stage replaces the one before."""
    last = pending[-1] if pending else None
    if isinstance(event, Progress) and isinstance(last, Progress) and event.stage == last.stage:
        pending[-1] = replace(event, metrics={**last.metrics, **event.metrics})
    else:
        pending.append(event)


def _with_end(job: Job[R]) -> Generator[Any]:
    """Events of a job, then the one record of how it ended, made here and nowhere else.

    A `RuntimeError` that left a worker's generator would fire none of the worker's signals,
    and the window would wait forever.
    """
    try:
        result = yield from job.work(job)
        message = "" if job.done_message is None else job.done_message(result)
        yield JobEnd("completed", message, result=result)
    except CanceledError as error:
        yield JobEnd("canceled", str(error))
    except CoordGateError as error:
        yield JobEnd("failed", str(error), error=error)
    except Exception as error:
        logging.getLogger(__name__).exception("%s failed", job.title)
        kind = type(error).__name__
        message = f"An unexpected error ({kind}: {error}); please report it with napari's log."
        yield JobEnd("failed", message, error=CoordGateError(message))


def weak_connect(signal: SignalInstance, slot: Callable[..., object]) -> None:
    """Connect a method of a widget to a signal that may outlive the widget.

    A closed window deletes its widgets although Python may still hold them, and a signal must
    not keep a widget alive.
    """
    method = WeakMethod(slot)

    def call(*values: object) -> None:
        alive = method()
        owner = getattr(alive, "__self__", None)
        if alive is None or not (isinstance(owner, QObject) and isalive(owner)):
            signal.disconnect(call, missing_ok=True)
        else:
            alive(*values)

    signal.connect(call)


class DebouncedJob(QObject):
    """Runs one job at a time: the one requested last, once the requests pause for a moment.

    An outdated job is canceled, and its events and end are ignored.
    """

    happened = QtSignal(object)
    finished = QtSignal(object)

    def __init__(self, start: Callable[[Job], None], parent: QObject) -> None:
        super().__init__(parent)
        self._start_job = start
        self._next: Job | None = None
        self._current: Job | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(DEBOUNCE_MS)
        self._timer.timeout.connect(self._start)

    @property
    def is_busy(self) -> bool:
        """Whether a job is running or waiting."""
        return self._next is not None or self._current is not None

    def request(self, job: Job) -> None:
        """Run this job instead of any requested before."""
        self.cancel()
        self._next = job
        self._timer.start()

    def cancel(self) -> None:
        """Drop what was requested."""
        self._next = None
        if self._current is not None:
            self._current.cancel()

    def _start(self) -> None:
        if self._current is not None or self._next is None:
            return
        self._current, self._next = self._next, None
        weak_connect(self._current.happened, self._forward)
        weak_connect(self._current.finished, self._end)
        self._start_job(self._current)

    def _forward(self, event: object) -> None:
        if self._current is not None and not self._current.cancel_requested.is_set():
            self.happened.emit(event)

    def _end(self, end: JobEnd) -> None:
        job, self._current = self._current, None
        if job is not None and not job.cancel_requested.is_set():
            self.finished.emit(end)
        if not self._timer.isActive():
            self._start()
