"""Process the planes of an image one by one, with progress and cancellation."""

import math
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from typing import Protocol

from napari_coordgate.arrays import WritablePixelArray
from napari_coordgate.events import Event, PlaneDone, Stopwatch, pluralize, raise_if_canceled
from napari_coordgate.io.image import Image, PlaneView, StackIndex, plane_indices, stack_index

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
    Yields `Progress` after each step and `PlaneDone` after each plane.
    """
    all_planes = list(plane_indices(image))
    indices = {stack_index(index): index for index in all_planes[only]}
    stopwatch = Stopwatch("deblurring", steps * len(indices))
    done, total = 0, pluralize(stopwatch.total, unit)

    def check() -> None:
        raise_if_canceled(cancel, f"Stopped after {done} of {total}.")

    for number, index in enumerate(_nearest_first(indices, first), start=1):
        source, target = image.view(indices[index]), PlaneView(out, indices[index])
        numbers = ", ".join(map(str, index))
        name = f"{image.name}, plane {numbers}" if len(all_planes) > 1 else image.name
        for _ in process(source, target, name, check):
            done += 1
            yield stopwatch.progress(done)
            if done % steps:
                check()
        if done < number * steps:  # a method that converges early
            done = number * steps
            yield stopwatch.progress(done)
        yield PlaneDone(index)
        if done < stopwatch.total:
            check()


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
