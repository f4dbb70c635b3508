"""Deblur one file, in a thread, a process or on another computer."""

import errno
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.transform import resize

from napari_coordgate.batch.identity import is_made, note_made
from napari_coordgate.batch.report import TaskResult
from napari_coordgate.batch.sources import Source, is_inside, size_and_mtime
from napari_coordgate.batch.trust import TrustFigures, assess_file, wants_trust
from napari_coordgate.config import BatchConfig, BatchRuntime, Device, FileConfig, UniversalConfig
from napari_coordgate.devices import assign_gpu
from napari_coordgate.errors import (
    CanceledError,
    CoordGateError,
    ImageError,
    ModelError,
    OutputError,
)
from napari_coordgate.events import Event, FileStatus, Note, Progress, run
from napari_coordgate.inference import (
    AnyDeblurrer,
    DeblurMethod,
    FrameAlignment,
    IntensityRanges,
    Mismatch,
    align_to_frame,
    deblur_planes,
    find_mismatches,
    output_dtype,
)
from napari_coordgate.io import (
    Image,
    Scene,
    create_image,
    find_scenes,
    middle_plane_index,
    open_scene,
    plane_indices,
    subsample,
)
from napari_coordgate.io.files import file_hash
from napari_coordgate.io.image import color_warning
from napari_coordgate.io.metadata import processing_facts
from napari_coordgate.io.ome_xml_writing import OME_TYPES
from napari_coordgate.io.tiff import coordgate_tiff_kind
from napari_coordgate.model import Model
from napari_coordgate.optics import PSFField
from napari_coordgate.trust.files import MAPS, map_path
from napari_coordgate.universal_model import shipped_path

OnProgress = Callable[[float], None]
"""Called with the finished part of a task, 0 to 1."""
Thumbnails = tuple[NDArray[np.float32], NDArray[np.float32]]

THUMBNAIL_SIDE = 192
"""Longest side of a thumbnail, pixels."""

FIRST_SETTINGS = {
    *("precision", "keep_dtype", "selection", "axes", "origin"),
    *("deconvolution", "camera"),
}
"""Settings that the hash of a result has had, whatever their values, since the first version."""
AUTO_COMPRESSION = {"ome-tiff": "none", "ome-zarr": "zstd"}
"""Compression that is chosen by default, by format."""

_loading = threading.Lock()


@dataclass(frozen=True)
class Batch:
    """What all files of a batch share; paths are absolute, so that other computers find them.

    `methods` are files of models, PSF fields or lenses by channel; by "", that of all channels.
    `facts` is what each result states about how it was made. `started_ns` is the time of the
    start: files that were opened for an earlier run are opened again.
    """

    folder: Path
    output: Path
    methods: tuple[tuple[str, Path], ...]
    config: BatchConfig
    runtime: BatchRuntime
    config_hash: str
    thumbnails: bool = False
    started_ns: int = 0
    facts: tuple[tuple[str, str], ...] = ()

    def load_method(self, device: Device | None = None) -> DeblurMethod:
        """Load the files of the method, for the device of the runtime or another one."""
        methods: Any = dict(self.methods)
        method = methods.get("", methods)
        return DeblurMethod.of(method, None, self.config, self.runtime.on(device))

    @property
    def files(self) -> str:
        """Names of the files of the method."""
        return " or ".join(map(str, method_files(dict(self.methods), self.config).values()))

    def result(
        self, source: Source, target: Path | None, status: FileStatus, **values: Any
    ) -> TaskResult:
        """Status of a file of this batch."""
        return TaskResult(
            source=source.path,
            status=status,
            output=target,
            scene=source.scene,
            config_hash=self.config_hash,
            size=source.size,
            modified_ns=source.modified_ns,
            **values,
        )


@dataclass(frozen=True)
class Task:
    """One file to deblur, or some of its planes.

    `replace` allows to overwrite an earlier result. If several workers share a file, `part`
    numbers its tasks, `planes` selects the planes of this one, and `out` is the array to fill.
    """

    batch: Batch
    source: Source
    target: Path
    replace: bool = False
    part: int = 0
    planes: slice = field(default_factory=lambda: slice(None))
    out: Any = None
    threads: int | None = None

    @property
    def is_done(self) -> bool:
        """Whether another worker of this run has written the result."""
        return self.out is None and is_made(self.target)

    def result(self, status: FileStatus, **values: Any) -> TaskResult:
        """Status of the file."""
        return self.batch.result(self.source, self.target, status, **values)

    def failure(self, error: Exception, seconds: float = 0.0) -> TaskResult:
        """Failure of the file, with a one-line message."""
        message = _failure_message(error, self.source.path)
        return self.result(
            "failed", seconds=seconds, message=message, is_disk_full=_is_disk_full(error)
        )


def method_files(methods: Mapping[str, Path], config: BatchConfig) -> dict[str, Path]:
    """Files of methods by channel, and of the universal model, by what they are for."""
    files = {f"method of {name}" if name else "method": path for name, path in methods.items()}
    weights = universal_weights(config)
    return files if weights is None else {**files, "weights": weights}


def config_hash(methods: Mapping[str, Path], config: BatchConfig) -> str:
    """Hash of what a result depends on besides its source: settings and the files of the method."""
    values = config.select(FileConfig).model_dump(mode="json")
    del values["selection"]["scenes"]  # each has a result of its own
    if config.deconvolution is None:  # as before there was deconvolution
        values = {n: value for n, value in values.items() if n not in ("deconvolution", "camera")}
    # Without other settings at their defaults, so that results stay up to date when some are added.
    defaults = {name: field.default for name, field in FileConfig.model_fields.items()}
    values = {
        n: value
        for n, value in values.items()
        if n in FIRST_SETTINGS or getattr(config, n) != defaults[n]
    }
    if config.compression not in ("auto", AUTO_COMPRESSION[config.format]):
        values["compression"] = config.compression
    if universal_weights(config):
        del values["deconvolution"]["weights"]  # their content counts
    if channels := list(filter(None, methods)):
        values["channels"] = channels
    settings = json.dumps(values, sort_keys=True)
    content = " ".join(map(file_hash, method_files(methods, config).values()))
    return hashlib.sha256(f"{content} {settings}".encode()).hexdigest()[:16]


def universal_weights(config: BatchConfig) -> Path | None:
    """File of the universal model of a batch; None if it has another method."""
    if not isinstance(config.deconvolution, UniversalConfig):
        return None
    return config.deconvolution.weights or shipped_path()


def deblur_file(task: Task, on_progress: OnProgress, cancel: threading.Event) -> TaskResult:
    """Deblur the file of a task; errors become a failed result, a cancel the status "waiting"."""
    start = time.perf_counter()
    done = _Done("", "", None)
    try:
        if not task.is_done:  # by a worker that was killed just afterwards
            done = _deblur(task, on_progress, cancel)
    except CanceledError:
        return task.result("waiting", seconds=time.perf_counter() - start)
    except Exception as error:  # one bad file must not end the batch
        if not task.is_done:  # dask may give a task to two workers; the second one fails
            return task.failure(error, time.perf_counter() - start)
    result = task.result(
        "done",
        seconds=time.perf_counter() - start,
        message=done.message,
        note=done.note,
        thumbnails=done.thumbnails,
        **done.trust._asdict(),
    )
    return result if task.out is not None else with_output_stat(result)


def with_output_stat(result: TaskResult) -> TaskResult:
    """The same with size and time of the output file."""
    assert result.output is not None
    size, modified_ns = size_and_mtime(result.output)
    return replace(result, output_size=size, output_modified_ns=modified_ns)


class OpenSource(NamedTuple):
    """Image of a task, the window of the frame that it shows, and what deblurs it."""

    image: Image
    method: DeblurMethod
    """Method of the selected channels."""
    alignment: FrameAlignment
    reference: Model | PSFField
    deblurrer: AnyDeblurrer
    warning: str
    """What may be wrong with the axes or the frame; empty for nearly all."""

    @property
    def tile_shape(self) -> tuple[int, int]:
        """Shape of the pieces in which the result is written."""
        return self.deblurrer.tile_shape(self.alignment.window.shape)


def read_source(source: Source, batch: Batch) -> Image:
    """Image of a batch; its file is opened once for all its scenes."""
    changed_ns = source.path.stat().st_mtime_ns if source.path.exists() else 0
    scenes = _scenes(source.path, changed_ns, batch.started_ns)
    return open_scene(source.path, scenes, source.scene or 0, batch.config.axes)


@lru_cache(maxsize=1)
def _scenes(path: Path, changed_ns: int, started_ns: int) -> list[Scene]:
    return find_scenes(path)


def open_source(
    task: Task, method: DeblurMethod, cancel: threading.Event | None = None
) -> OpenSource:
    """Open the image of a task, and prepare its deblurring."""
    path, config = task.source.path, task.batch.config
    kind = coordgate_tiff_kind(path)
    if kind is not None:
        raise ImageError(f"{path} contains a {kind}, not an image; move it to another folder.")
    whole = read_source(task.source, task.batch)
    image, method = (
        whole.select(config.selection),
        method.of_selected(whole, config.selection.channels),
    )
    reference, deblurrer = method.prepare_channels(image, config.origin, cancel)
    alignment = align_to_frame(image, reference, config.origin, whole_frame=config.whole_frame)
    color = color_warning(image) if config.axes is None else ""
    warning = " ".join(filter(None, [color, alignment.note]))
    return OpenSource(image, method, alignment, reference, deblurrer, warning)


@contextmanager
def create_output(task: Task, image: Image, chunk: tuple[int, int]) -> Iterator[Any]:
    """Array to fill with the result, in pieces of `chunk` (height, width).

    The file appears under its name when the block ends, unless the source has changed.
    """
    config, source = task.batch.config, task.source
    _check_inside(task)
    dtype = output_dtype(image.data, config)
    _check_storable(task, dtype)
    settings = config.to_yaml(set(FileConfig.model_fields))
    image = replace(image, processing=processing_facts(settings, **dict(task.batch.facts)))
    file = create_image(
        task.target,
        image,
        dtype=dtype,
        chunk=chunk,
        overwrite=task.replace,
        compression=config.compression,
        on_complete=partial(note_made, task.target),
    )
    with file as out:
        yield out
        if size_and_mtime(source.path) != (source.size, source.modified_ns):
            raise ImageError(
                f"{source.path} was changed while the batch ran; start the batch again when the "
                "file is complete."
            )
        _check_inside(task)


def _check_inside(task: Task) -> None:
    """Raise OutputError if the folder of a result was replaced by a link."""
    if not is_inside(task.target, task.batch.output):
        raise OutputError(behind_link(task.target))


def behind_link(target: Path) -> str:
    """What is wrong with the folder of a result, and what to do."""
    return f"{target.parent} is a link to another folder; remove it, or choose another output."


def _check_storable(task: Task, dtype: np.dtype[Any]) -> None:
    """Raise OutputError if the format of the results cannot store pixels of this type."""
    for_tiff, for_zarr = dtype.kind != "b" and dtype.name in OME_TYPES, dtype.itemsize <= 8
    name = task.batch.config.format
    if for_tiff if name == "ome-tiff" else for_zarr:
        return
    other = ", or choose the format ome-zarr (format, --format)" if for_zarr else ""
    raise OutputError(
        f"{task.source.path} has {dtype.name} pixels, which the format {name} cannot store; write "
        f"float32 pixels (without keep_dtype, --keep-dtype){other}."
    )


class _Done(NamedTuple):
    """What there is to say about a deblurred file: a warning, a note, thumbnails and figures."""

    message: str
    note: str
    thumbnails: Thumbnails | None
    trust: TrustFigures = TrustFigures()


def _deblur(task: Task, on_progress: OnProgress, cancel: threading.Event) -> _Done:
    """Deblur a file, with its trust if that was asked for."""
    opened = open_source(task, _method(task), cancel)
    if wants_trust(task.batch.config):
        return _assess(task, opened, on_progress, cancel)
    image, _, alignment, reference, deblurrer, warning = opened
    config, mismatch = task.batch.config, Mismatch()
    if task.part == 0:
        runtime = task.batch.runtime
        mismatch = find_mismatches(
            image, reference, deblurrer, config.camera, alignment.window, runtime
        )
    warned, notes = [warning, mismatch.message], [mismatch.note]

    def fill(out: Any) -> Thumbnails | None:
        window, ranges = alignment.window, IntensityRanges(image, config, deblurrer.scaling)
        events = deblur_planes(
            deblurrer, image, out, window, ranges=ranges, only=task.planes, cancel=cancel
        )
        for event in events:
            if isinstance(event, Progress):
                on_progress(event.done / event.total)
            if isinstance(event, Note):
                (warned if event.is_warning else notes).append(event.text)
        is_shown = middle_plane_index(image) in list(plane_indices(image))[task.planes]
        return _thumbnails(task, image, out) if is_shown else None

    if task.out is not None:
        thumbnails = fill(task.out)
    else:
        with create_output(task, image, opened.tile_shape) as out:
            thumbnails = fill(out)
    return _Done(" ".join(filter(None, warned)), " ".join(filter(None, notes)), thumbnails)


def _assess(
    task: Task, opened: OpenSource, on_progress: OnProgress, cancel: threading.Event
) -> _Done:
    """Deblur a file with its trust; its maps are written if that was asked for."""
    image, alignment, batch = opened.image, opened.alignment, task.batch
    # The maps get their names after the result, and none if it gets none.
    with ExitStack() as maps, create_output(task, image, opened.tile_shape) as out:

        def create_map(name: str) -> Any:
            file = create_image(
                map_path(task.target, MAPS[name]),
                image,
                dtype=np.float32,
                overwrite=task.replace,
                compression=batch.config.compression,
            )
            return maps.enter_context(file)

        def show(event: Event) -> None:
            if isinstance(event, Progress):
                on_progress(event.done / event.total)

        files = create_map if batch.config.trust_maps else None
        arguments = (image, opened.method, alignment, batch.config, batch.runtime, out, files)
        figures, verdict = run(assess_file(*arguments, cancel), show)
        thumbnails = _thumbnails(task, image, out)
    red = (finding.message for finding in verdict.findings if finding.color == "red")
    message = " ".join(filter(None, [opened.warning, *red]))
    return _Done(message, " ".join(verdict.notes), thumbnails, figures)


def _thumbnails(task: Task, image: Image, out: Any) -> Thumbnails | None:
    """Thumbnails of an image and its result, if they are wanted."""
    if not task.batch.thumbnails:
        return None
    return _thumbnail(image, image.data), _thumbnail(image, out)


def _method(task: Task) -> DeblurMethod:
    """Method of a task, loaded once per process."""
    with _loading:
        if task.threads is not None:
            torch.set_num_threads(task.threads)
        assign_gpu(task.batch.runtime.device)
        return _load_method(replace(task.batch, thumbnails=False, started_ns=0, facts=()))


@lru_cache(maxsize=1)
def _load_method(batch: Batch) -> DeblurMethod:
    method = batch.load_method()
    if config_hash(dict(batch.methods), batch.config) != batch.config_hash:
        raise ModelError(f"{batch.files} was changed while the batch ran; start the batch again.")
    return method


def _thumbnail(image: Image, data: Any) -> NDArray[np.float32]:
    """Middle plane of an image at reduced size; most of its pixels are not read."""
    pixels = subsample(Image(data, image.axes).view(middle_plane_index(image)), 2 * THUMBNAIL_SIDE)
    factor = min(1.0, THUMBNAIL_SIDE / max(pixels.shape))
    shape = [max(1, round(side * factor)) for side in pixels.shape]
    resized = resize(pixels.astype(np.float32), shape, anti_aliasing=True)
    thumbnail: NDArray[np.float32] = resized.astype(np.float32)
    return thumbnail


def _failure_message(error: Exception, source: Path) -> str:
    """One line that says what went wrong and what to do."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, CoordGateError):
        return text
    if isinstance(error, MemoryError):
        return f"{source} does not fit into memory; use fewer workers."
    if isinstance(error, OSError):
        return f"{source}: {text}; check the disk or the network drive."
    return f"{source}: unexpected {type(error).__name__}: {text}; please report this bug."


def _is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or one of its causes, says that the disk is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__
    return False
