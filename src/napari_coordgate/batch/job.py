"""A batch as its users call it: a job of events, or a function."""

import threading
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from napari_coordgate.batch.plan import plan_files, recipe_of
from napari_coordgate.batch.report import REPORT_NAME, Report, read_report
from napari_coordgate.batch.run import BatchRun, Summary
from napari_coordgate.batch.sources import find_sources
from napari_coordgate.config import BatchConfig, BatchRuntime, Device
from napari_coordgate.errors import OutputError
from napari_coordgate.events import Event, finish, reporting_end
from napari_coordgate.io.files import check_writable, remove_stale_temp_files
from napari_coordgate.io.locks import acquire_lock
from napari_coordgate.model import Model

__all__ = ["Summary", "deblur_folder", "deblur_folder_events"]

DEFAULTS, DEFAULT_RUNTIME = BatchConfig(), BatchRuntime()
LOCK_NAME = ".napari-coordgate.lock"


def deblur_folder(
    folder: str | Path,
    output: str | Path,
    checkpoint: str | Path,
    *,
    config: BatchConfig = DEFAULTS,
    runtime: BatchRuntime = DEFAULT_RUNTIME,
    device: Device | None = None,
    overwrite: bool = False,
    cancel: threading.Event | None = None,
) -> Summary:
    """Deblur all images of a folder, and of the folders in it.

    A file that cannot be deblurred is reported and passed over. Started again, it does
    what is missing, and what was made of another source, model or settings.

    Parameters
    ----------
    folder : str or Path
        The images; they are never touched.
    output : str or Path
        Where results go, in folders of the same names. Beside them stands a report.
    checkpoint : str or Path
        The trained network.
    config : BatchConfig
        Which files, which part of them, and what to write.
    runtime : BatchRuntime
        Device, memory and processes.
    device : {"auto", "cpu", "cuda", "mps"}, optional
        Device, instead of that of ``runtime``.
    overwrite : bool
        Do all files anew, and replace whatever has the names of their results.
    cancel : threading.Event, optional
        Once set, the work ends.

    Returns
    -------
    Summary
        What came of each file.

    Raises
    ------
    ImageError
        If there is no such folder, or nothing in it that the pattern means.
    OutputError
        If results cannot be written, or the disk is or will be full, or another batch writes
        to the folder.
    CheckpointError
        If the checkpoint cannot be read.
    SettingsError
        If no scheduler answers.
    CanceledError
        If canceled.
    """
    events = deblur_folder_events(
        folder,
        output,
        checkpoint,
        config=config,
        runtime=runtime,
        device=device,
        overwrite=overwrite,
        cancel=cancel,
    )
    summary: Summary = finish(events).result
    return summary


def deblur_folder_events(
    folder: str | Path,
    output: str | Path,
    checkpoint: str | Path,
    *,
    config: BatchConfig = DEFAULTS,
    runtime: BatchRuntime = DEFAULT_RUNTIME,
    device: Device | None = None,
    overwrite: bool = False,
    cancel: threading.Event | None = None,
    pictures: bool = False,
) -> Generator[Event]:
    """Deblur a folder as a job of events; see `deblur_folder` for what is not said here.

    Parameters
    ----------
    folder, output, checkpoint, config, runtime, device, overwrite, cancel
        As for `deblur_folder`.
    pictures : bool
        Events of files that are done show small pictures of them.

    Yields
    ------
    FileChanged
        For each file what is planned, then what becomes of it.
    Progress
        Now and then, in bytes of the sources; its metrics ``files`` and ``of`` count files.
    Finished
        Once, at the end. If completed, its result is a `Summary`: files may have failed.
    """
    cancel = cancel or threading.Event()
    folder, output, checkpoint = Path(folder), Path(output), Path(checkpoint)

    def events() -> Iterator[Event]:
        if output.resolve() == folder.resolve():
            raise OutputError(f"{output} is the folder of the images; choose another for results.")
        Model.load(checkpoint)  # what is wrong with it is said before anything is begun
        sources = find_sources(folder, config.pattern, leave_out=output)
        with _locked(output):
            recipe = recipe_of(checkpoint, config)
            history = read_report(output / REPORT_NAME)
            remove_stale_temp_files(
                output / line.output for line in history.lines.values() if line.output is not None
            )
            planned = plan_files(
                sources, folder.resolve(), output, config, recipe, history, overwrite
            )
            with closing(Report(output / REPORT_NAME)) as report:
                batch = BatchRun(
                    folder.resolve(),
                    output.resolve(),
                    checkpoint.resolve(),
                    recipe,
                    config,
                    runtime.on(device),
                    report,
                    pictures,
                )
                yield from batch.events(planned, cancel)

    return reporting_end(events())


@contextmanager
def _locked(output: Path) -> Iterator[None]:
    """Keep every other batch out of a folder; the system drops the lock with the process."""
    check_writable(output / REPORT_NAME)
    output.mkdir(parents=True, exist_ok=True)
    held = acquire_lock(
        output / LOCK_NAME,
        f"Another batch writes to {output}; wait for its end, or choose another folder.",
    )
    try:
        yield
    finally:
        held.release()
