"""Events of long jobs.

A long job is a generator that yields frozen events and returns its result, or raises an error.
The command line and the widgets show the same events in their own way.
"""

import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from rich.filesize import decimal

from napari_coordgate.arrays import PixelArray
from napari_coordgate.errors import CanceledError, SettingsError

R = TypeVar("R")

FileStatus = Literal["waiting", "running", "done", "up_to_date", "failed", "skipped"]


@dataclass(frozen=True)
class Progress:
    """Progress of one stage of a job.

    Attributes
    ----------
    stage : str
        Name of the stage, for example ``"training"``.
    done, total : int
        Number of finished units, and of all units.
    seconds : float
        Time since the stage began.
    metrics : mapping of str to float
        Current values, for example ``{"loss": 0.01}``.

    Examples
    --------
    >>> event = Progress("training", done=25, total=100, seconds=10.0)
    >>> event.seconds_left
    30.0
    """

    stage: str
    done: int
    total: int
    seconds: float
    metrics: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def seconds_left(self) -> float | None:
        """Estimated remaining time at the mean speed so far; None before the first unit."""
        if self.done == 0:
            return None
        return self.seconds * (self.total - self.done) / self.done


@dataclass(frozen=True, eq=False)
class Preview:
    """Result of a network during its training, on one validation image.

    Attributes
    ----------
    step : int
        Training step.
    sharp, blurred, deblurred : ndarray of float32, shape (H, W)
        The validation image, normalized as for the network.
    source : array or Path, optional
        Array or file of the sharp image.
    index : tuple of int and slice
        Index of the sharp pixels in that array, of shape (..., H, W).
    intensities : (float, float)
        Intensities of the source that are 0 and 1 in the normalized images.
    """

    step: int
    sharp: NDArray[np.float32]
    blurred: NDArray[np.float32]
    deblurred: NDArray[np.float32]
    source: PixelArray | Path | None = None
    index: tuple[int | slice, ...] = ()
    intensities: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True)
class PlaneDone:
    """One plane of a result is complete.

    Attributes
    ----------
    index : tuple of int
        Index of the plane over the axes other than Y and X; empty if there are none.
    """

    index: tuple[int, ...]


@dataclass(frozen=True)
class Note:
    """Something to know about a result, such as what could not be checked.

    Attributes
    ----------
    text : str
        One sentence.
    is_warning : bool
        Whether the result may be wrong.
    """

    text: str
    is_warning: bool = False


@dataclass(frozen=True)
class FileChanged:
    """The status of one file of many has changed.

    Attributes
    ----------
    source : Path
        The file.
    status : {"waiting", "running", "done", "up_to_date", "failed", "skipped"}
        ``up_to_date``: an earlier run deblurred it, and neither the file nor the model or the
        settings have changed; ``skipped``: it is not an image.
    output : Path or None
        Where its result is, or will be.
    seconds : float
        Processing time, if it is done or has failed.
    message : str
        What went wrong, or a warning; empty if there is nothing to say.
    scene : str or None
        Name of the image in the file, if that has several; each has events of its own.
    note : str
        Something to know that is no fault, such as what could not be checked.
    verdict : {"", "green", "amber", "red"}
        Whether the result can be trusted; empty if it was not asked for.
    contradicted : float or None
        Fraction of the pixels at which the image contradicts the result.
    expected_error : float or None
        Mean of the expected error (90 % bound), in units of the image.
    thumbnails : tuple of ndarray, or None
        The blurred and the deblurred image at reduced size, shape (h, w), if it is done.
    """

    source: Path
    status: FileStatus
    output: Path | None = None
    seconds: float = 0.0
    message: str = ""
    scene: str | None = field(default=None, kw_only=True)
    note: str = field(default="", kw_only=True)
    verdict: Literal["", "green", "amber", "red"] = field(default="", kw_only=True)
    contradicted: float | None = field(default=None, kw_only=True)
    expected_error: float | None = field(default=None, kw_only=True)
    thumbnails: tuple[NDArray[np.float32], NDArray[np.float32]] | None = field(
        default=None, compare=False
    )


Event = Progress | Preview | PlaneDone | Note | FileChanged


class Stopwatch:
    """Timer of one stage of ``total`` units that makes its `Progress` events."""

    def __init__(self, stage: str, total: int) -> None:
        self.stage = stage
        self.total = total
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Time since the stage began."""
        return time.perf_counter() - self._start

    def progress(self, done: int, **metrics: float) -> Progress:
        """Event for ``done`` finished units."""
        return Progress(self.stage, done, self.total, self.seconds, MappingProxyType(metrics))


def format_count(event: Progress) -> str:
    """``3/100``; of files with their bytes: ``1/20 files, 5.0 MB of 1.2 GB``.

    Steps of a training that is continued are counted from its first one.
    """
    if "files" not in event.metrics:
        before = round(event.metrics.get("step", event.done)) - event.done
        return f"{event.done + before}/{event.total + before}"
    files, of = (event.metrics[name] for name in ("files", "of"))
    return f"{files:.0f}/{of:.0f} files, {decimal(event.done)} of {decimal(event.total)}"


def pluralize(number: int, thing: str) -> str:
    """``1 image``, ``2 images``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def raise_if_canceled(cancel: threading.Event | None, message: str) -> None:
    """Raise `CanceledError` with this message if cancellation was requested."""
    if cancel is None:
        return
    if not hasattr(cancel, "is_set"):
        raise SettingsError(
            f"cancel must be a threading.Event, got {type(cancel).__name__}; create one and set "
            "it from another thread to cancel."
        )
    if cancel.is_set():
        raise CanceledError(message)


def run(events: Generator[Event, None, R], callback: Callable[[Event], None] | None = None) -> R:
    """Run a job, call ``callback`` with each of its events, and return its result."""
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            result: R = end.value
            return result
        if callback is not None:
            callback(event)
