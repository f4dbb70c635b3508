"""Process the planes of an image one by one, with progress and cancellation."""

import math
import threading
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.arrays import WritablePixelArray
from napari_coordgate.errors import ConstantPlaneError, OutputError, ResultRangeWarning
from napari_coordgate.events import Event, Note, PlaneDone, Stopwatch, pluralize, raise_if_canceled
from napari_coordgate.io.image import (
    Image,
    PlaneIndex,
    PlaneView,
    StackIndex,
    alpha_sample,
    plane_indices,
    stack_index,
)
from napari_coordgate.normalization import STRIP_BYTES, convert_dtype

FAR = 10.0
"""Pixels of a result are far outside if they exceed the image's range by so many ranges."""

Check = Callable[[], object]
"""Raises an error if the work was canceled."""


class PlaneProcess(Protocol):
    """Processes one plane in steps; ``name`` is for error messages."""

    def __call__(
        self, source: PlaneView, target: PlaneView, name: str, check: Check
    ) -> Iterator[None]:
        """Read the source and fill the target; yields after each step."""
        ...


def process_planes(
    image: Image,
    out: WritablePixelArray,
    process: PlaneProcess,
    steps: int,
    unit: str,
    *,
    only: slice = slice(None),
    first: Callable[[], StackIndex] | None = None,
    cancel: threading.Event | None = None,
) -> Generator[Event]:
    """Process planes of an image into ``out``, each in at most this number of steps of a unit.

    ``only`` selects planes in the order of `plane_indices`. ``first`` returns the index, over the
    axes other than Y and X, of the plane to prioritize; the nearest remaining one is next.
    A constant plane, unless it is the only one, and an alpha channel are copied.
    Yields `Progress` after each step, `PlaneDone` after each plane, and a `Note` at the end if
    planes were copied, or, as a warning, if a result is far outside the range of the image. NaN
    or infinite pixels of a result are an OutputError.
    """
    all_planes = list(plane_indices(image))
    constant: list[str] = []
    far: list[str] = []
    alpha = alpha_sample(image)
    indices = {stack_index(index): index for index in all_planes[only]}
    stopwatch = Stopwatch("deblurring", steps * len(indices))
    done, total = 0, pluralize(stopwatch.total, unit)

    def check() -> None:
        raise_if_canceled(cancel, f"Stopped after {done} of {total}.")

    for number, index in enumerate(_nearest_first(indices, first), start=1):
        numbers = ", ".join(map(str, index))
        name = f"{image.name}, plane {numbers}" if len(all_planes) > 1 else image.name
        source, target = Source(image.data, indices[index]), Target(out, indices[index], name)
        try:
            if alpha is not None and indices[index][image.axes.index("S")] == alpha:
                _copy(source, target)
            else:
                for _ in process(source, target, name, check):
                    done += 1
                    yield stopwatch.progress(done)
                    if done % steps:
                        check()
        except ConstantPlaneError:
            if len(all_planes) == 1:
                raise
            _copy(source, target)
            constant.append(numbers)
        if target.is_far_from(source):
            far.append(numbers)
        if done < number * steps:  # a method that converges early
            done = number * steps
            yield stopwatch.progress(done)
        yield PlaneDone(index)
        if done < stopwatch.total:
            check()
    if far:
        where = f" ({_listed(far)})" if len(all_planes) > 1 else ""
        yield Note(
            f"{image.name}: the result is far outside the range of the image{where}; the lens, the "
            "model or the noise are probably wrong for it.",
            is_warning=True,
        )
    if constant:
        yield Note(f"{image.name}: copied, as they are constant: {_listed(constant)}.")
    if alpha is not None:
        yield Note(f"{image.name}: the alpha channel was copied.")


def with_warnings(events: Iterable[Event]) -> Generator[Event]:
    """Events of a job whose notes that are warnings are issued as a `ResultRangeWarning`."""
    for event in events:
        if isinstance(event, Note) and event.is_warning:
            warnings.warn(event.text, ResultRangeWarning, stacklevel=2)
        else:
            yield event


class Source(PlaneView):
    """Plane of an image that knows the range of its pixels once they were read."""

    low, high = math.inf, -math.inf

    def __getitem__(self, window: tuple[int | slice, ...]) -> NDArray[Any]:
        pixels = super().__getitem__(window)
        if pixels.size:
            self.low = min(self.low, float(pixels.min()))
            self.high = max(self.high, float(pixels.max()))
        return pixels


class Target(PlaneView):
    """Plane of a result that takes floating-point pixels, finite ones only, and knows their range.

    They are converted to the type of the array.
    """

    low, high = math.inf, -math.inf

    def __init__(self, data: WritablePixelArray, index: PlaneIndex, name: str) -> None:
        super().__init__(data, index)
        self.name = name

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type in which pixels are to be written."""
        return np.result_type(super().dtype, np.float32)

    def __setitem__(self, window: tuple[int | slice, ...], pixels: NDArray[Any]) -> None:
        low, high = float(pixels.min()), float(pixels.max())  # of NaN if one is NaN
        if not (math.isfinite(low) and math.isfinite(high)):
            raise OutputError(
                f"{self.name}: the result has NaN or infinite pixels and is not written; try "
                "another model, PSF field or precision."
            )
        self.low, self.high = min(self.low, low), max(self.high, high)
        super().__setitem__(window, convert_dtype(pixels, super().dtype))

    def is_far_from(self, source: Source) -> bool:
        """Whether pixels are further outside the range of the source than `FAR` times the range."""
        margin = FAR * (source.high - source.low)
        return self.low < source.low - margin or self.high > source.high + margin


def _listed(planes: Sequence[str]) -> str:
    shown = "; ".join(f"plane {numbers}" for numbers in planes[:5])
    return f"{shown}; and {len(planes) - 5} more" if len(planes) > 5 else shown


def _copy(source: PlaneView, target: PlaneView) -> None:
    """Copy a plane in strips, converted to the type of the target."""
    height, width = source.shape
    rows = max(1, STRIP_BYTES // (width * source.dtype.itemsize))
    for row in range(0, height, rows):
        strip = slice(row, row + rows), slice(None)
        target[strip] = np.asarray(source[strip])


def _nearest_first(
    indices: Iterable[StackIndex], first: Callable[[], StackIndex] | None
) -> Iterator[StackIndex]:
    """Plane indices in their order, or each time the remaining one nearest to ``first()``."""
    remaining = list(indices)
    if first is None:
        yield from remaining
        return
    while remaining:
        nearest = min(remaining, key=partial(math.dist, first()))
        remaining.remove(nearest)
        yield nearest
