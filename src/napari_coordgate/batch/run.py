"""One run over the files of a folder: who is given what, and what comes of it."""

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures import CancelledError as LostWorkers
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty
from typing import Any

from napari_coordgate.batch.opened import OpenFile, is_shared
from napari_coordgate.batch.plan import Planned
from napari_coordgate.batch.report import FileLine, Report, Result, RunLine
from napari_coordgate.batch.sources import state_of
from napari_coordgate.batch.space import check_space
from napari_coordgate.batch.work import Outcome, Task
from napari_coordgate.batch.workers import Workers, open_workers
from napari_coordgate.config import BatchConfig, BatchRuntime, BatchSettings
from napari_coordgate.errors import OutputError, SettingsError
from napari_coordgate.events import (
    Event,
    FileChanged,
    Finished,
    Progress,
    Stopwatch,
    pluralize,
    raise_if_canceled,
)
from napari_coordgate.io.files import remove_stale_temp_files
from napari_coordgate.version import __version__

__all__ = ["BatchRun", "Summary"]

LOOK_SECONDS = 0.1
"""Time between looks at what workers have done, and at whether to go on."""
END_SECONDS = 1.0
"""Time that workers have for ending by themselves once they are to."""


@dataclass(frozen=True)
class Summary:
    """What came of a batch.

    Attributes
    ----------
    done, current, failed, skipped : tuple of FileChanged
        Its files, by how they ended; without pictures.
    report : Path
        A line of JSON for each thing that happened.
    """

    done: tuple[FileChanged, ...]
    current: tuple[FileChanged, ...]
    failed: tuple[FileChanged, ...]
    skipped: tuple[FileChanged, ...]
    report: Path

    def __str__(self) -> str:
        parts = [f"Deblurred {pluralize(len(self.done), 'file')}"]
        warned = sum(1 for file in self.done if file.why)
        if warned:
            parts[0] += f" ({warned} with a warning)"
        if self.current:
            parts.append(f"{len(self.current)} done before")
        if self.failed:
            parts.append(f"{len(self.failed)} failed")
        if self.skipped:
            parts.append(f"{len(self.skipped)} passed over")
        return ", ".join(parts)


class BatchRun:
    """One run over the files of a folder.

    Parameters
    ----------
    folder, output, model : Path
        Where the files are, where results go, and the checkpoint, from the root on: other
        computers of a cluster find them so.
    recipe : str
        Stands for all that a result depends on beside its source.
    config : BatchConfig
        The settings.
    runtime : BatchRuntime
        Device, memory and processes.
    report : Report
        What happens is told here.
    pictures : bool
        Whether small pictures are wanted of what is done.
    """

    def __init__(
        self,
        folder: Path,
        output: Path,
        model: Path,
        recipe: str,
        config: BatchConfig,
        runtime: BatchRuntime,
        report: Report,
        pictures: bool,
    ) -> None:
        self.folder = folder
        self.output = output
        self.model = model
        self.recipe = recipe
        self.config = config
        self.runtime = runtime
        self.report = report
        self.pictures = pictures
        self._ended: list[FileChanged] = []
        self._files = self._files_done = self._bytes_done = 0
        self._running: dict[Future[Outcome], tuple[OpenFile, int]] = {}
        self._open: dict[str, OpenFile] = {}

    def events(self, planned: Sequence[Planned], cancel: threading.Event) -> Iterator[Event]:
        """Do what is planned; the events are those of `deblur_folder_events`.

        Parameters
        ----------
        planned : sequence of Planned
            All files.
        cancel : threading.Event
            Once set, the work ends.

        Yields
        ------
        FileChanged, Progress, Finished
            As they come.

        Raises
        ------
        OutputError
            If the disk is or will be full.
        CanceledError
            If canceled.
        """
        stopwatch = Stopwatch("deblurring", 0)
        settings = BatchSettings.combine(self.config, self.runtime).model_dump(
            mode="json", exclude_defaults=True
        )
        self.report.append(
            RunLine(
                run=str(self.folder), model=str(self.model), settings=settings, program=__version__
            )
        )
        for file in planned:
            yield self._told(file)
        todo = [file for file in planned if file.state == "waiting"]
        self._files = len(todo)
        if todo:
            sources = [file.source for file in todo]
            replaced = sum(state_of(self.output / file.target)[0] for file in todo if file.replaces)
            check_space(sources, self.folder, self.output, self.config, replaced)
            raise_if_canceled(cancel, self._stopped())
            stopwatch = Stopwatch("deblurring", sum(source.size for source in sources))
            yield self._progress(stopwatch)
            try:
                with open_workers(self.runtime) as workers:
                    yield from self._work(todo, workers, stopwatch, cancel)
            finally:
                # Of workers that were killed, and the marks by which they know each other's work.
                remove_stale_temp_files(self.output / file.target for file in todo)
        summary = self._summary()
        yield Finished(
            "completed",
            f"{summary} ({stopwatch.seconds:.1f} s); report: {self.report.path}.",
            outputs=tuple(file.output for file in summary.done if file.output is not None),
            result=summary,
        )

    def _told(self, file: Planned) -> FileChanged:
        """Tell what is planned for a file; of those that end here the report is told, too."""
        target = self.output / file.target if file.target else None
        changed = FileChanged(self.folder / file.source.name, file.state, target, why=file.why)
        if file.state in ("failed", "skipped"):
            self.report.append(self._line(file, file.state, why=file.why))
        if file.state != "waiting":
            self._ended.append(changed)
        return changed

    def _work(
        self,
        todo: Sequence[Planned],
        workers: Workers,
        stopwatch: Stopwatch,
        cancel: threading.Event,
    ) -> Iterator[Event]:
        """Keep the workers busy until all is done."""
        waiting = deque(todo)
        try:
            while waiting or self._running:
                width = workers.width  # asked of the scheduler, so once a turn
                while waiting and len(self._running) < width:
                    yield from self._start(waiting.popleft(), workers)
                for file, outcome in self._ended_files(LOOK_SECONDS):
                    yield self._end(file, outcome)
                    if outcome.state == "canceled":
                        raise SettingsError(f"The cluster gave up its work. {self._stopped()}")
                    if outcome.is_disk_full:
                        raise OutputError(
                            f"{outcome.why} The batch stopped; free some space, then start it "
                            "again to go on."
                        )
                self._hear(workers)
                yield self._progress(stopwatch)
                if waiting or self._running:
                    raise_if_canceled(cancel, self._stopped())
        finally:
            # Whatever ended this: nobody is to go on with what nobody will hear of.
            workers.cancel()
            deadline = time.monotonic() + END_SECONDS
            while self._running and time.monotonic() < deadline:
                for file, outcome in self._ended_files(LOOK_SECONDS):
                    self._end(file, outcome)
            for file in self._open.values():
                file.end()

    def _stopped(self) -> str:
        """What there is, and what not, where the batch stops before its end."""
        done = f"{self._files_done} of {pluralize(self._files, 'file')}"
        return f"Stopped after {done}; start the batch again to go on."

    def _start(self, planned: Planned, workers: Workers) -> Iterator[FileChanged]:
        """Give a file to the workers."""
        source, target = self.folder / planned.source.name, self.output / planned.target
        size, modified_ns = (
            state_of(target) if planned.replaces and target.exists() else (None,) * 2
        )
        self.report.append(
            self._line(planned, "started", output_size=size, output_modified_ns=modified_ns)
        )
        task = Task(
            name=planned.source.name,
            source=source,
            target=target,
            state=planned.source.state,
            model=self.model,
            recipe=self.recipe,
            config=self.config,
            runtime=self.runtime,
            replaces=planned.replaces,
            pictures=self.pictures,
            threads=workers.threads,
            run=workers.run,
        )
        yield FileChanged(source, "running", target)
        file = OpenFile(planned, task)
        if workers.share_images and is_shared(task):
            try:
                file.share(workers.width)
            except Exception as error:  # as a worker tells it
                yield self._end(file, Outcome.of_error(error, source, 0.0))
                return
        self._open[task.name] = file
        for part in file.tasks:
            self._running[workers.submit(part)] = file, part.number

    def _ended_files(self, seconds: float) -> Iterator[tuple[OpenFile, Outcome]]:
        """Files of which the last task has ended, after so long a wait at most."""
        ended, _ = wait(self._running, seconds, FIRST_COMPLETED)
        for future in ended:
            file, number = self._running.pop(future)
            file.take(number, _outcome(future))
            if file.is_ended:
                del self._open[file.task.name]
                yield file, file.end()

    def _end(self, file: OpenFile, outcome: Outcome) -> FileChanged:
        """Note what came of a file."""
        source, target = file.task.source, file.task.target
        if outcome.state == "canceled":
            return FileChanged(source, "waiting")
        size, modified_ns = (None,) * 2
        if outcome.state == "done":
            size, modified_ns = outcome.result or state_of(target)
        self.report.append(
            self._line(
                file.planned,
                outcome.state,
                seconds=outcome.seconds,
                why=outcome.why,
                output_size=size,
                output_modified_ns=modified_ns,
            )
        )
        self._files_done += 1
        self._bytes_done += file.planned.source.size
        changed = FileChanged(
            source, outcome.state, target, outcome.seconds, outcome.why, outcome.pair
        )
        self._ended.append(replace(changed, pair=None))
        return changed

    def _hear(self, workers: Workers) -> None:
        """Listen to how far workers have come with files that are still theirs."""
        try:
            while True:
                name, number, part = workers.moved.get_nowait()
                if name in self._open:
                    parts = self._open[name].parts
                    parts[number] = max(part, parts.get(number, 0.0))
        except Empty:
            return

    def _progress(self, stopwatch: Stopwatch) -> Progress:
        """How far the run has come, in bytes."""
        begun = sum(file.planned.source.size * file.part for file in self._open.values())
        figures = {"files": float(self._files_done), "of": float(self._files)}
        return stopwatch.progress(self._bytes_done + round(begun), **figures)

    def _line(self, file: Planned, outcome: Result, **more: Any) -> FileLine:
        """Line of the report for a file."""
        return FileLine(
            file=file.source.name,
            outcome=outcome,
            output=file.target or None,
            recipe=self.recipe,
            size=file.source.state[0],
            modified_ns=file.source.state[1],
            **more,
        )

    def _summary(self) -> Summary:
        """What came of all files."""
        done, current, failed, skipped = (
            tuple(file for file in self._ended if file.state == state)
            for state in ("done", "current", "failed", "skipped")
        )
        return Summary(done, current, failed, skipped, self.report.path)


def _outcome(future: "Future[Outcome]") -> Outcome:
    """What came of a task, even where the worker did not live to tell."""
    try:
        return future.result()
    except LostWorkers:
        return Outcome("canceled", 0.0)
    except Exception as error:  # dask passes on whatever went wrong there
        why = f"no worker could do it ({type(error).__name__}: {error})"
        if type(error).__name__ == "KilledWorker":
            why = "the workers that had it were killed; their computers may lack memory"
        return Outcome("failed", 0.0, f"{why}.")
