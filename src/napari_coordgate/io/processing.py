"""Process the planes of an image one by one, with progress and cancellation."""

import math
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from typing import Protocol

import numpy as np

from napari_coordgate.arrays import WritablePixelArray
from napari_coordgate.errors import ConstantPlaneError
from napari_coordgate.events import Event, Note, PlaneDone, Stopwatch, pluralize, raise_if_canceled
from napari_coordgate.io.image import (
    Image,
    PlaneView,
    StackIndex,
    alpha_sample,
    plane_indices,
    stack_index,
)
from napari_coordgate.normalization import STRIP_BYTES, convert_dtype

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
    planes were copied.
    """
    all_planes = list(plane_indices(image))
    constant: list[str] = []
    alpha = alpha_sample(image)
    indices = {stack_index(index): index for index in all_planes[only]}
    stopwatch = Stopwatch("deblurring", steps * len(indices))
    done, total = 0, pluralize(stopwatch.total, unit)

    def check() -> None:
        raise_if_canceled(cancel, f"Stopped after {done} of {total}.")

    for number, index in enumerate(_nearest_first(indices, first), start=1):
        source, target = image.view(indices[index]), PlaneView(out, indices[index])
        numbers = ", ".join(map(str, index))
        name = f"{image.name}, plane {numbers}" if len(all_planes) > 1 else image.name
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
        if done < number * steps:  # a method that converges early
            done = number * steps
            yield stopwatch.progress(done)
        yield PlaneDone(index)
        if done < stopwatch.total:
            check()
    if constant:
        shown = "; ".join(f"plane {numbers}" for numbers in constant[:5])
        more = f"; and {len(constant) - 5} more" if len(constant) > 5 else ""
        yield Note(f"{image.name}: copied, as they are constant: {shown}{more}.")
    if alpha is not None:
        yield Note(f"{image.name}: the alpha channel was copied.")


def _copy(source: PlaneView, target: PlaneView) -> None:
    """Copy a plane in strips, converted to the type of the target."""
    height, width = source.shape
    rows = max(1, STRIP_BYTES // (width * source.dtype.itemsize))
    for row in range(0, height, rows):
        strip = slice(row, row + rows), slice(None)
        target[strip] = convert_dtype(np.asarray(source[strip]), target.dtype)


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
