"""The work on one file, wherever it is done: in a thread, a process, on another computer."""

import errno
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.transform import resize

from napari_coordgate.batch.plan import recipe_of
from napari_coordgate.batch.sources import state_of
from napari_coordgate.config import BatchConfig, BatchRuntime
from napari_coordgate.devices import assign_gpu
from napari_coordgate.errors import CanceledError, CoordGateError, ImageError, ModelError
from napari_coordgate.events import Progress
from napari_coordgate.inference import (
    FrameAlignment,
    Predictor,
    align_to_frame,
    deblur_planes,
    output_dtype,
)
from napari_coordgate.io import (
    Image,
    create_image,
    middle_plane_index,
    plane_indices,
    read_image,
    subsample,
)
from napari_coordgate.io.files import temporary_path
from napari_coordgate.io.tiff import coordgate_tiff_kind
from napari_coordgate.model import Model

__all__ = ["Outcome", "Task", "Tell", "begin_result", "deblur_file", "open_source"]

Pair = tuple[NDArray[np.float32], NDArray[np.float32]]
Tell = Callable[[str, int, float], None]
"""Told a task's name and number, and the part of it that is done."""

PICTURE_SIDE = 192
"""Longest side of the pictures that are shown of a pair, pixels."""

_loading = threading.Lock()


@dataclass(frozen=True)
class Task:
    """One file to deblur, or some planes of it.

    Attributes
    ----------
    name : str
        Stands for the file in reports.
    source, target : Path
        The file, and its result.
    state : tuple of int
        Size and time of change of the source as it is to be, see `state_of`.
    model : Path
        The checkpoint.
    recipe : str
        Stands for the checkpoint's contents: another one is loaded anew.
    config : BatchConfig
        The settings.
    runtime : BatchRuntime
        Device and memory.
    replaces : bool
        The result takes the place of an earlier one.
    pictures : bool
        Whether small pictures of the pair are wanted.
    threads : int or None
        Threads that the work may use; none: that is left to the process.
    number : int
        Which part of its file it is, where several workers share that.
    only : slice
        The planes to deblur.
    out : Any
        Array to fill, where the result was begun already and is ended elsewhere.
    run : str
        Token of the run, where its workers may be killed and their tasks given to others.
    """

    name: str
    source: Path
    target: Path
    state: tuple[int, int]
    model: Path
    recipe: str
    config: BatchConfig
    runtime: BatchRuntime
    replaces: bool
    pictures: bool
    threads: int | None
    number: int = 0
    only: slice = field(default_factory=lambda: slice(None))
    out: Any = None
    run: str = ""

    @property
    def mark(self) -> Path:
        """File that says of the result that this run has made it, once it has its name."""
        return temporary_path(self.target, self.run)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of a task.

    Attributes
    ----------
    state : {"done", "failed", "canceled"}
        How it ended.
    seconds : float
        Time that it took.
    why : str
        What went wrong, or what its user should know.
    is_disk_full : bool
        It failed for want of space, as all others would.
    pair : tuple of ndarray, or None
        Small pictures of the blurred and the deblurred image.
    result : tuple of int, or None
        State of the result as its worker saw it, see `state_of`.
    """

    state: Literal["done", "failed", "canceled"]
    seconds: float
    why: str = ""
    is_disk_full: bool = False
    pair: Pair | None = None
    result: tuple[int, int] | None = None

    @classmethod
    def of_error(cls, error: Exception, source: Path, seconds: float) -> Self:
        """Failure by an error, which is told in one line."""
        return cls("failed", seconds, _reason(error, source), _is_disk_full(error))


def deblur_file(task: Task, moved: Tell, cancel: threading.Event) -> Outcome:
    """Deblur a file; whatever is wrong with it is told, not raised.

    Parameters
    ----------
    task : Task
        The file.
    moved : callable
        Called now and then.
    cancel : threading.Event
        Once set, the work ends, and nothing is left of it.

    Returns
    -------
    Outcome
        What came of it.
    """
    start = time.perf_counter()
    try:
        why, pair = _deblur(task, moved, cancel)
    except CanceledError:
        return Outcome("canceled", time.perf_counter() - start)
    except Exception as error:  # one file, whatever is wrong with it, must not end the batch
        if not _is_made(task):
            return Outcome.of_error(error, task.source, time.perf_counter() - start)
        why, pair = "", None  # dask may give a task to two workers, of which one comes too late
    result = None if task.out is not None else state_of(task.target)
    return Outcome("done", time.perf_counter() - start, why, pair=pair, result=result)


def open_source(task: Task, checkpoint: Model) -> tuple[Image, FrameAlignment]:
    """Image of a task, and its place in the frame.

    Raises
    ------
    CoordGateError
        If one of them will not do.
    """
    kind = coordgate_tiff_kind(task.source)
    if kind is not None:
        raise ImageError(f"{task.source} holds a {kind}, no image to deblur; move it elsewhere.")
    image = read_image(task.source, task.config.axes).select(task.config.selection)
    return image, align_to_frame(image, checkpoint, task.config.origin)


@contextmanager
def begin_result(task: Task, image: Image, chunk: tuple[int, int]) -> Iterator[Any]:
    """Begin the result of a task; it has its name when the block ends, and only then.

    Parameters
    ----------
    task : Task
        The task.
    image : Image
        Its source.
    chunk : tuple of int
        (height, width) of the pieces in which planes are filled.

    Yields
    ------
    array
        To be filled.

    Raises
    ------
    ImageError
        If the source is another by then.
    OutputError
        If the result cannot be written.
    """
    dtype = output_dtype(image.data, task.config)
    with create_image(task.target, image, dtype=dtype, chunk=chunk, overwrite=task.replaces) as out:
        yield out
        if state_of(task.source) != task.state:
            raise ImageError(
                f"{task.source} was changed while the batch ran; start the batch again once it "
                "is whole."
            )
        if task.run:
            task.mark.touch()


def _deblur(task: Task, moved: Tell, cancel: threading.Event) -> tuple[str, Pair | None]:
    """Deblur a file; what its user should know of it, and pictures of it if wanted."""
    if _is_made(task):  # by a worker that was killed just afterwards
        return "", None
    deblurrer = _deblurrer(task)
    image, place = open_source(task, deblurrer.model)

    def fill(out: Any) -> Pair | None:
        for event in deblur_planes(
            deblurrer, image, out, place.window, only=task.only, cancel=cancel
        ):
            if isinstance(event, Progress):
                moved(task.name, task.number, event.done / event.total)
        if task.pictures and middle_plane_index(image) in list(plane_indices(image))[task.only]:
            return _picture(image, image.data), _picture(image, out)
        return None

    if task.out is not None:
        return place.note, fill(task.out)
    with begin_result(task, image, deblurrer.tile_shape(place.window.shape)) as out:
        return place.note, fill(out)


def _is_made(task: Task) -> bool:
    """Whether another worker of this run has made the result."""
    return bool(task.run) and task.out is None and task.mark.exists() and task.target.exists()


def _deblurrer(task: Task) -> Predictor:
    """Network of a task, loaded once in a process."""
    with _loading:
        if task.threads is not None:
            torch.set_num_threads(task.threads)
        assign_gpu(task.runtime.device)
        return _loaded(task.model, task.recipe, task.config, task.runtime)


@lru_cache(maxsize=1)
def _loaded(model: Path, recipe: str, config: BatchConfig, runtime: BatchRuntime) -> Predictor:
    checkpoint = Model.load(model)
    if recipe_of(model, config) != recipe:
        raise ModelError(f"{model} was changed while the batch ran; start the batch again.")
    return Predictor(checkpoint, config, runtime)


def _picture(image: Image, data: Any) -> NDArray[np.float32]:
    """Middle plane of an image in few pixels, of which most are not even read."""
    pixels = subsample(Image(data, image.axes).view(middle_plane_index(image)), 2 * PICTURE_SIDE)
    factor = min(1.0, PICTURE_SIDE / max(pixels.shape))
    shape = [max(1, round(side * factor)) for side in pixels.shape]
    picture: NDArray[np.float32] = resize(
        pixels.astype(np.float32), shape, anti_aliasing=True
    ).astype(np.float32)
    return picture


def _reason(error: BaseException, source: Path) -> str:
    """One line that says what went wrong."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, CoordGateError):
        return text
    if isinstance(error, MemoryError):
        return f"{source} does not fit into memory; give the batch fewer workers."
    if isinstance(error, OSError):
        return f"{source}: {text}; check the disk or the network drive."
    return f"{source}: {type(error).__name__}: {text}; a defect of this program, report it."


def _is_disk_full(error: BaseException) -> bool:
    """Whether an error, or the one behind it, says that there is no space."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        cause = cause.__cause__
    return False
