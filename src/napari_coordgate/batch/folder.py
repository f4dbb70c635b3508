"""Deblur all images of a folder."""

import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_coordgate.batch.identity import is_made, remove_notes
from napari_coordgate.batch.planning import plan_files
from napari_coordgate.batch.report import Report, TaskResult, read_report
from napari_coordgate.batch.scenes import split_scenes
from napari_coordgate.batch.scheduling import BatchRun
from napari_coordgate.batch.sources import REPORT_NAME, SUFFIX, find_sources, is_one_image, walk
from napari_coordgate.batch.worker import (
    Batch,
    Task,
    config_hash,
    method_files,
    universal_weights,
    with_output_stat,
)
from napari_coordgate.config import (
    BatchConfig,
    BatchRuntime,
    BatchSettings,
    Camera,
    Device,
    GaussianLens,
    Lens,
    UniversalConfig,
    as_settings,
)
from napari_coordgate.errors import ModelError, OutputError
from napari_coordgate.events import Event, FileChanged, FileStatus, Stopwatch, pluralize, run
from napari_coordgate.inference import DeblurMethod
from napari_coordgate.io.files import (
    check_writable,
    file_hash,
    name_and_hash,
    remove_stale_temp_files,
)
from napari_coordgate.io.locks import LOCK_NAME, acquire_lock, is_locked
from napari_coordgate.model import Model
from napari_coordgate.optics import PSFField
from napari_coordgate.universal_model import UniversalModel
from napari_coordgate.version import __version__

DEFAULTS, DEFAULT_RUNTIME = BatchConfig(), BatchRuntime()


@dataclass(frozen=True)
class BatchSummary:
    """What became of the files of a batch.

    Parameters
    ----------
    files : tuple of FileChanged
        The last event of each file, without thumbnails.
    report : Path
        The report, with one JSON line for each start and each result of a file.
    seconds : float
        Duration of the run.

    Attributes
    ----------
    done : tuple of FileChanged
        Files that this run deblurred; the message of an event is a warning.
    up_to_date : tuple of FileChanged
        Files that an earlier run deblurred with the same model and settings.
    failed : tuple of FileChanged
        Files that could not be deblurred; the message of an event says why.
    skipped : tuple of FileChanged
        Files that are not images.

    Examples
    --------
    >>> from pathlib import Path
    >>> from napari_coordgate.events import FileChanged
    >>> files = (FileChanged(Path("a.tif"), "done"), FileChanged(Path("notes.txt"), "skipped"))
    >>> summary = BatchSummary(files, Path("deblur-report.jsonl"), seconds=1.5)
    >>> len(summary.done)
    1
    >>> print(summary)
    Deblurred 1 file, 1 skipped (1.5 s); report: deblur-report.jsonl.
    """

    files: tuple[FileChanged, ...]
    report: Path
    seconds: float

    @property
    def done(self) -> tuple[FileChanged, ...]:
        """Files that this run deblurred."""
        return self._with_status("done")

    @property
    def up_to_date(self) -> tuple[FileChanged, ...]:
        """Files that an earlier run deblurred with the same model and settings."""
        return self._with_status("up_to_date")

    @property
    def failed(self) -> tuple[FileChanged, ...]:
        """Files that could not be deblurred."""
        return self._with_status("failed")

    @property
    def skipped(self) -> tuple[FileChanged, ...]:
        """Files that are not images."""
        return self._with_status("skipped")

    def _with_status(self, status: FileStatus) -> tuple[FileChanged, ...]:
        return tuple(file for file in self.files if file.status == status)

    def __str__(self) -> str:
        warned = sum(1 for file in self.done if file.message)
        verdicts = [file.verdict for file in self.done if file.verdict]
        trust = [f"{n} {color}" for color in ("red", "amber") if (n := verdicts.count(color))]
        parts = [
            f"Deblurred {pluralize(len(self.done), 'file')}",
            f" ({warned} with a warning)" if warned else "",
            f", {', '.join(trust) or 'all green'}" if verdicts else "",
            f", {len(self.up_to_date)} up to date" if self.up_to_date else "",
            f", {len(self.failed)} failed" if self.failed else "",
            f", {len(self.skipped)} skipped" if self.skipped else "",
        ]
        return f"{''.join(parts)} ({self.seconds:.1f} s); report: {self.report}."


def deblur_folder(
    folder: str | Path,
    output: str | Path,
    model: str | Path | Mapping[str, str | Path],
    *,
    psf_field: str | Path | None = None,
    camera: Camera | None = None,
    config: BatchConfig = DEFAULTS,
    runtime: BatchRuntime = DEFAULT_RUNTIME,
    device: Device | None = None,
    overwrite: bool = False,
    callback: Callable[[Event], None] | None = None,
    cancel: threading.Event | None = None,
) -> BatchSummary:
    """Deblur all images of a folder and its subfolders.

    Of a file with several images (scenes, positions, series), and of a plate, each image has a
    result of its own.

    A file that cannot be deblurred is reported, and the others are processed. If the function
    is called again, it processes only files that are missing among the results, or whose
    source has changed; results of another model or other settings are kept, and their files fail.

    Parameters
    ----------
    folder : str or Path
        Folder with the images, or one file or plate of several; it is never modified.
    output : str or Path
        Folder for the results, in subfolders of the same names, and for the report
        ``deblur-report.jsonl``. It is created if it does not exist.
    model : str or Path
        ``"universal"``, ``"richardson-lucy"``, ``"wiener"`` or the file of another universal
        model, together with ``psf_field``; or the file of a model trained for this lens; or the
        file of the blur of the lens alone, for the default method. For images of several channels,
        a mapping of the names or numbers of channels to these files.
    psf_field : str or Path, optional
        File of the PSF field of the lens, or of the lens, of which a PSF field is made for the
        frame of each image.
    camera : Camera, optional
        Noise of the images, instead of that of ``config``. The universal model estimates it
        from each image if it is not known.
    config : BatchConfig
        Which files and which part of them to deblur, and how.
    runtime : BatchRuntime
        Device, memory, number of processes, or a dask scheduler.
    device : {"auto", "cpu", "cuda", "mps"}, optional
        Device to compute on, instead of that of `runtime`.
    overwrite : bool
        Process all files, and overwrite files that have the names of their results.
    callback : callable, optional
        Called with each event, see `deblur_folder_events`.
    cancel : threading.Event, optional
        Set it to cancel the batch; finished results are kept.

    Returns
    -------
    BatchSummary
        What became of each file.

    Raises
    ------
    ImageError
        If there is no such folder, or if it contains no file that matches the pattern.
    OutputError
        If results cannot be written, if they do not fit on the disk, or if another batch
        writes to the folder.
    ModelError, PSFError
        If the model or the PSF field cannot be read.
    SettingsError
        If deconvolution is set for a model, if its camera noise is needed and unknown, or if no
        dask scheduler answers at the address in the settings.
    CanceledError
        If canceled.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from napari_coordgate import BatchConfig
    >>> from napari_coordgate.io.files import sample_data_folder
    >>> model = sample_data_folder() / "starter.safetensors"
    >>> with tempfile.TemporaryDirectory() as scratch:
    ...     folder = Path(scratch, "blurred")
    ...     folder.mkdir()
    ...     np.save(folder / "cells.npy", np.random.default_rng(0).poisson(50, (256, 256)))
    ...     config = BatchConfig(pattern="*.npy")
    ...     summary = deblur_folder(folder, Path(scratch, "deblurred"), model, config=config)
    >>> [file.output.name for file in summary.done]
    ['cells.ome.tif']

    With the PSF field of the lens, and no training:

    >>> def deconvolve_folder(folder, output):
    ...     config = BatchConfig(deconvolution={"method": "richardson-lucy", "num_iter": 20})
    ...     return deblur_folder(folder, output, "lens.psf.tif", config=config)
    """
    events = deblur_folder_events(
        folder,
        output,
        model,
        psf_field=psf_field,
        camera=camera,
        config=config,
        runtime=runtime,
        device=device,
        overwrite=overwrite,
        cancel=cancel,
    )
    return run(events, callback)


def deblur_folder_events(
    folder: str | Path,
    output: str | Path,
    model: str | Path | Mapping[str, str | Path],
    *,
    psf_field: str | Path | None = None,
    camera: Camera | None = None,
    config: BatchConfig = DEFAULTS,
    runtime: BatchRuntime = DEFAULT_RUNTIME,
    device: Device | None = None,
    overwrite: bool = False,
    thumbnails: bool = False,
    command: str = "",
    cancel: threading.Event | None = None,
) -> Generator[Event, None, BatchSummary]:
    """Deblur all images of a folder, as a generator of events.

    Parameters
    ----------
    folder, output, model, psf_field, camera, config, runtime, device, overwrite, cancel
        As for `deblur_folder`.
    thumbnails : bool
        Add thumbnails of the blurred and the deblurred image to the events of files that
        are done.
    command : str
        Command line of the run, which its results state inside their files.

    Yields
    ------
    FileChanged
        For each file its status before the work, then each change of it.
    Progress
        A few times per second, in bytes of the sources; the metrics ``files`` and ``of``
        are the number of finished files and of all files.

    Returns
    -------
    BatchSummary
        What became of each file.

    Raises
    ------
    CoordGateError
        As `deblur_folder` does.

    Examples
    --------
    >>> from napari_coordgate.events import FileChanged
    >>> def print_failures(folder, output, model):
    ...     for event in deblur_folder_events(folder, output, model):
    ...         if isinstance(event, FileChanged) and event.status == "failed":
    ...             print(event.source, event.message)
    """
    config = as_settings(config, BatchConfig, "config")
    runtime = as_settings(runtime, BatchRuntime, "runtime").on(device)
    if camera is not None:
        config = config.replace(camera=as_settings(camera, Camera, "camera"))
    methods = _files_by_channel(model, psf_field)
    stopwatch = Stopwatch("deblurring", 0)
    given, output = Path(folder).resolve(), Path(output).resolve()
    folder = given.parent if is_one_image(given) else given
    _check_apart(output, given)
    method = DeblurMethod.of(model, psf_field, config, runtime.on("cpu"))  # before all is written
    config = config.replace(deconvolution=_absolute(method.config.deconvolution))
    sources = find_sources(given, config.pattern, exclude=output)
    sources = split_scenes(sources, config.selection.scenes, cancel)
    batch = Batch(
        folder,
        output,
        tuple(methods.items()),
        config,
        runtime,
        config_hash(methods, config),
        thumbnails,
        time.time_ns(),
        _facts(methods, config, command),
    )
    with _locked(output):
        history = read_report(output / REPORT_NAME, SUFFIX[config.format])
        made = _made_before_a_kill(folder, history)
        plan = plan_files(batch, sources, history | made, overwrite)
        with closing(Report(output / REPORT_NAME)) as report:
            files = _files_of(method, methods, config)
            report.append_run(folder, files, _given_settings(config, runtime), __version__)
            for result in made.values():
                report.append(folder, result)
            _clean(folder, history, plan)
            batch_run = BatchRun(batch, report, cancel)
            yield from batch_run.events(plan)
    return BatchSummary(tuple(batch_run.results), report.path, stopwatch.seconds)


def _made_before_a_kill(folder: Path, history: Mapping[str, TaskResult]) -> dict[str, TaskResult]:
    """Results that got their names just before a batch was killed, now as done."""
    return {
        key: with_output_stat(replace(result, status="done"))
        for key, result in history.items()
        if result.status == "running"
        and result.source.is_relative_to(folder)
        and result.output is not None
        and is_made(result.output)
    }


def _clean(
    folder: Path, history: Mapping[str, TaskResult], plan: Sequence[Task | TaskResult]
) -> None:
    """Remove what a killed batch left: temporary files, and notes that are in the report now."""
    own = [result for result in history.values() if result.source.is_relative_to(folder)]
    results = [*own, *(file for file in plan if isinstance(file, TaskResult))]
    targets = {result.output for result in results if result.output is not None}
    targets |= {file.target for file in plan if isinstance(file, Task)}
    remove_stale_temp_files({target.parent for target in targets})
    remove_notes(targets)


def _check_apart(output: Path, given: Path) -> None:
    """Raise OutputError if results would get among the images, also behind a link or mount."""
    if not output.exists():
        return
    for above in (given, *given.parents):
        if output.samefile(above):
            kind = "is" if above == given else "contains"
            raise OutputError(
                f"{output} {kind} the folder of the images; choose another for results."
            )


def _files_by_channel(model: Any, psf_field: Any) -> dict[str, Path]:
    """Files of the methods of channels, or that of all channels by the name ""."""
    named = model if isinstance(model, Mapping) else {"": model if psf_field is None else psf_field}
    for one in (model, *named.values()):
        _check_is_file(one)
    return {name: Path(one).resolve() for name, one in named.items()}


def _facts(
    methods: Mapping[str, Path], config: BatchConfig, command: str
) -> tuple[tuple[str, str], ...]:
    """Command of a batch, if there is one, and what identifies the files of its method."""
    files = method_files(methods, config).items()
    facts = [(name, name_and_hash(path)) for name, path in files]
    return (*([("command", command)] if command else []), *facts)


def _check_is_file(model: object) -> None:
    """Raise ModelError for an object in place of the file that all workers read."""
    names = {Model: "model", UniversalModel: "model", PSFField: "PSF field"}
    for kind, name in names.items():
        if isinstance(model, kind):
            save = f"{name.lower().replace(' ', '_')}.save"
            raise ModelError(
                f"deblur_folder reads the {name} from a file; save it ({save}) and pass that file."
            )
    if isinstance(model, Lens | GaussianLens):
        raise ModelError(
            "deblur_folder reads the lens from a file; save it (save_lens) and pass that file."
        )


def _absolute(deconvolution: Any) -> Any:
    """Settings of a deconvolution that other folders and computers understand."""
    if isinstance(deconvolution, UniversalConfig) and deconvolution.weights is not None:
        return deconvolution.replace(weights=deconvolution.weights.resolve())
    return deconvolution


def _files_of(
    method: DeblurMethod, methods: Mapping[str, Path], config: BatchConfig
) -> dict[str, str]:
    """Files of a method by what they contain, and the hash of weights, which may change."""
    kinds, files = {Model: "model", PSFField: "psf_field"}, {}
    for name, path in methods.items():
        kind = kinds.get(type((method.channels[name] if name else method).source), "lens")
        files[f"{kind} of {name}" if name else kind] = str(path)
    if weights := universal_weights(config):
        files |= {"weights": str(weights), "weights_sha256": file_hash(weights)}
    return files


def _given_settings(config: BatchConfig, runtime: BatchRuntime) -> dict[str, Any]:
    """Settings that differ from the defaults, as plain values; those of a deconvolution all."""
    settings = BatchSettings.combine(config, runtime)
    given = settings.model_dump(mode="json", exclude_defaults=True)
    if config.deconvolution is not None:
        given["deconvolution"] = config.deconvolution.model_dump(mode="json")
    return given


@contextmanager
def _locked(output: Path) -> Iterator[None]:
    """Exclude other batches from a folder; the system releases the lock with the process."""
    check_writable(output / REPORT_NAME)
    output.mkdir(parents=True, exist_ok=True)
    held = acquire_lock(
        output / LOCK_NAME,
        f"Another batch writes to {output}; wait until it ends, or choose another folder.",
    )
    try:
        _check_not_nested(output)
        yield
    finally:
        held.release()


def _check_not_nested(output: Path) -> None:
    """Raise OutputError if a batch writes to a folder above or below; the lock is held already."""
    found = [above / LOCK_NAME for above in output.parents]
    for folder, names, files in walk(output):
        names[:] = [name for name in names if not name.lower().endswith(".zarr")]
        if LOCK_NAME in files and Path(folder) != output:
            found.append(Path(folder, LOCK_NAME))
    for lock in found:
        if is_locked(lock):
            raise OutputError(
                f"Another batch writes to {lock.parent}; wait until it ends, or choose a folder "
                f"that is not in it, nor above it."
            )
