"""Run the tasks of a batch: keep the workers busy, and report what became of each file."""

import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError as LostWorkers, Future, wait
from contextlib import ExitStack
from dataclasses import replace
from queue import Empty

from napari_coordgate.batch.executors import Executor, open_executor
from napari_coordgate.batch.identity import remove_notes
from napari_coordgate.batch.planning import check_disk_space
from napari_coordgate.batch.report import Report, TaskResult
from napari_coordgate.batch.trust import wants_trust
from napari_coordgate.batch.worker import (
    Batch,
    Task,
    create_output,
    open_source,
    with_output_stat,
)
from napari_coordgate.errors import CanceledError, OutputError, SettingsError
from napari_coordgate.events import Event, Progress, Stopwatch, pluralize, raise_if_canceled
from napari_coordgate.io import plane_indices
from napari_coordgate.io.files import remove_stale_temp_files

POLL_SECONDS = 0.1
"""Interval of checks for finished tasks and for cancellation."""
CANCEL_SECONDS = 1.0
"""Time for workers to finish after a cancel."""
SHARED_BYTES = 2**28
"""Size from which an image is shared by several workers."""
TASKS_PER_SLOT = 4
"""Tasks of a shared image for each task that the executor takes at once."""


class FileJob:
    """A file in work: one task, or several tasks that share its planes and fill one output."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.tasks: Sequence[Task] = [task]
        self._fractions: dict[int, float] = {}
        self._results: list[TaskResult] = []
        self._output = ExitStack()

    @property
    def can_be_shared(self) -> bool:
        """Whether several workers may work on it: it is large, and its format takes planes."""
        config = self.task.batch.config
        is_large = self.task.source.size >= SHARED_BYTES
        return config.format == "ome-zarr" and is_large and not wants_trust(config)

    def share(self, width: int) -> None:
        """Create the output here, and split the work into tasks for some of the planes each."""
        batch = self.task.batch
        # The workers compute; here it is only asked for the size of its tiles.
        method = batch.load_method("cpu")
        opened = open_source(self.task, method)
        count = len(list(plane_indices(opened.image)))
        created = create_output(self.task, opened.image, opened.tile_shape)
        out = self._output.enter_context(created)
        size = -(-count // (TASKS_PER_SLOT * width))
        self.tasks = [
            replace(self.task, part=part, planes=slice(first, first + size), out=out)
            for part, first in enumerate(range(0, count, size))
        ]

    @property
    def fraction(self) -> float:
        """Finished part of the file, 0 to 1."""
        return sum(self._fractions.values()) / len(self.tasks)

    @property
    def is_finished(self) -> bool:
        """Whether all tasks have ended."""
        return len(self._results) == len(self.tasks)

    def update(self, part: int, fraction: float) -> None:
        """Note the progress of one task."""
        self._fractions[part] = max(fraction, self._fractions.get(part, 0.0))

    def add(self, part: int, result: TaskResult) -> None:
        """Note the result of one task."""
        self.update(part, 1.0)
        self._results.append(result)

    def finish(self) -> TaskResult:
        """Close the output: it gets its name if all tasks are done, or is removed."""
        seconds = sum(result.seconds for result in self._results)
        failed = [result for result in self._results if result.status == "failed"]
        is_done = self.is_finished and all(result.status == "done" for result in self._results)
        if failed or is_done:
            ends = failed or self._results  # Of a file in parts, the first part is checked.
            message = max((result.message for result in ends), key=len)
            note = max((result.note for result in ends), key=len)
            result = replace(ends[0], seconds=seconds, message=message, note=note)
        else:
            result = self.task.result("waiting", seconds=seconds)
        try:
            with self._output:
                if not is_done:
                    raise CanceledError("The image is incomplete.")  # removes the output
        except CanceledError:
            return result
        except Exception as error:  # one bad file must not end the batch
            return self.task.failure(error, seconds)
        thumbnails = (result.thumbnails for result in self._results if result.thumbnails)
        result = replace(result, thumbnails=next(thumbnails, None))
        return result if result.output_size is not None else with_output_stat(result)


class BatchRun:
    """One run of a batch; `results` has the final event of each file so far."""

    def __init__(self, batch: Batch, report: Report, cancel: threading.Event | None) -> None:
        self.results: list[TaskResult] = []
        self._batch = batch
        self._report = report
        self._cancel = cancel
        self._files = self._files_done = self._bytes_done = 0
        self._running: dict[Future[TaskResult], tuple[FileJob, int]] = {}
        self._jobs: dict[str, FileJob] = {}

    def events(self, plan: Sequence[Task | TaskResult]) -> Generator[Event]:
        """Run the tasks of a plan; yields what `deblur_folder_events` yields."""
        for file in plan:
            if isinstance(file, Task):
                yield file.result("waiting")
            elif file.status == "up_to_date":
                self.results.append(file)
                yield file
            else:
                yield self._record(file)
        tasks = [file for file in plan if isinstance(file, Task)]
        self._files = len(tasks)
        if not tasks:
            return
        check_disk_space(tasks)
        raise_if_canceled(self._cancel, self._stopped())
        stopwatch = Stopwatch("deblurring", sum(task.source.size for task in tasks))
        yield self._progress(stopwatch)
        try:
            with open_executor(self._batch.runtime, self._cancel) as executor:
                yield from self._run(tasks, executor, stopwatch)
        finally:
            # Left by workers that were killed, and the notes about finished files.
            remove_stale_temp_files({task.target.parent for task in tasks})
            remove_notes(task.target for task in tasks)

    def _run(
        self, tasks: Sequence[Task], executor: Executor, stopwatch: Stopwatch
    ) -> Iterator[Event]:
        """Keep the workers busy until all tasks have ended."""
        waiting = deque(tasks)
        try:
            while waiting or self._running:
                width = executor.width  # a request to the scheduler, so once per turn
                while waiting and len(self._running) < width:
                    yield from self._start(waiting.popleft(), executor)
                for result in self._finished_files():
                    yield self._finish(result)
                    self._check_for_stop(result)
                self._drain_progress(executor)
                yield self._progress(stopwatch)
                if waiting or self._running:
                    raise_if_canceled(self._cancel, self._stopped())
        finally:
            executor.cancel()
            deadline = time.monotonic() + CANCEL_SECONDS
            while self._running and time.monotonic() < deadline:
                for result in self._finished_files():
                    self._finish(result)
            for job in self._jobs.values():
                job.finish()

    def _start(self, task: Task, executor: Executor) -> Iterator[TaskResult]:
        """Announce a file in the report and submit it."""
        running = task.result("running")
        if task.replace and task.target.exists():
            running = with_output_stat(running)
        yield self._record(running)
        job = FileJob(task)
        if executor.shares_images and job.can_be_shared:
            try:
                job.share(executor.width)
            except Exception as error:  # one bad file must not end the batch
                yield self._finish(task.failure(error))
                return
        self._jobs[task.source.key] = job
        for part in job.tasks:
            self._running[executor.submit(part)] = job, part.part

    def _finished_files(self) -> Iterator[TaskResult]:
        """Results of the files whose last task has ended, after a short wait."""
        ended, _ = wait(self._running, POLL_SECONDS, FIRST_COMPLETED)
        for future in ended:
            job, part = self._running.pop(future)
            job.add(part, _task_result(job.task, future))
            if job.is_finished:
                del self._jobs[job.task.source.key]
                yield job.finish()

    def _finish(self, result: TaskResult) -> TaskResult:
        """Record the result of a file that has ended; a canceled one leaves no trace."""
        if result.status == "waiting":
            return result
        self._files_done += 1
        self._bytes_done += result.size
        return self._record(result)

    def _record(self, result: TaskResult) -> TaskResult:
        """Write a result to the report, and keep it if it is final."""
        self._report.append(self._batch.folder, result)
        if result.status != "running":
            self.results.append(replace(result, thumbnails=None))
        return result

    def _check_for_stop(self, result: TaskResult) -> None:
        """Raise an error if the rest of the batch would fail as this file did."""
        if result.status == "waiting":
            raise SettingsError(f"The dask cluster canceled its tasks. {self._stopped()}")
        if result.is_disk_full:
            raise OutputError(
                f"{result.message} The batch stopped; free some space, then start it again to "
                "resume."
            )

    def _stopped(self) -> str:
        """Message for a batch that ends early."""
        done = f"{self._files_done} of {pluralize(self._files, 'file')}"
        return f"Stopped after {done}; start the batch again to resume."

    def _drain_progress(self, executor: Executor) -> None:
        """Take the progress messages of the workers."""
        try:
            while True:
                name, part, fraction = executor.progress.get_nowait()
                if name in self._jobs:
                    self._jobs[name].update(part, fraction)
        except Empty:
            return

    def _progress(self, stopwatch: Stopwatch) -> Progress:
        """Progress in bytes of the sources."""
        begun = sum(job.task.source.size * job.fraction for job in self._jobs.values())
        counts = {"files": float(self._files_done), "of": float(self._files)}
        return stopwatch.progress(self._bytes_done + round(begun), **counts)


def _task_result(task: Task, future: "Future[TaskResult]") -> TaskResult:
    """Result of a task, even if its worker has died."""
    try:
        return future.result()
    except LostWorkers:
        return task.result("waiting")
    except Exception as error:  # dask passes on any error of its workers
        message = f"no worker could process it ({type(error).__name__}: {error})."
        if type(error).__name__ == "KilledWorker":
            message = "its workers were killed; their computers may have too little memory."
        return task.result("failed", message=message)
