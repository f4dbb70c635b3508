"""Images as the counts of a camera: what is read of them, how they are counted, and known maps."""

import math
from collections.abc import Sequence
from itertools import islice, pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_coordgate.calibration.mean_variance import (
    BORDER,
    Difference,
    Float,
    Samples,
    samples_of,
)
from napari_coordgate.calibration.reading import Images, as_images
from napari_coordgate.errors import ImageError, SettingsError
from napari_coordgate.geometry import format_shape
from napari_coordgate.io import Image, PlaneIndex, plane_indices

Counts = NDArray[Any]

MAX_PIXELS = 2_000_000
"""Pixels to measure on; of more, a band of each plane is taken."""
MAX_PLANES = 256
MIN_SIDE = 2 * BORDER + 16
GOLDEN = 0.618
MAX_LEVELS = 2**17
FREQUENT = 20
"""Pixels of two neighboring gray values from which those between would have some as well."""


class Scene(NamedTuple):
    """Planes of an image that show the same scene."""

    image: Image
    indices: list[PlaneIndex]


def scenes_of(images: Images, axes: str | None, repeated: str) -> list[Scene]:
    """Planes of the images, those along the repeated axes together; of many, evenly chosen."""
    found = as_images(images, axes)
    found = found[:: math.ceil(len(found) / MAX_PLANES)]
    series = []
    for image in found:
        if min(image.frame_shape) < MIN_SIDE:
            raise ImageError(
                f"{image.name} is {format_shape(image.frame_shape)} pixels; use at least "
                f"{MIN_SIDE} x {MIN_SIDE} pixels, so that noise can be told from structure."
            )
        scenes: dict[tuple[int, ...], list[PlaneIndex]] = {}
        for index in islice(plane_indices(image), MAX_PLANES):
            other = (
                i
                for letter, i in zip(image.axes, index, strict=True)
                if letter not in repeated and isinstance(i, int)
            )
            scenes.setdefault(tuple(other), []).append(index)
        series += [Scene(image, indices) for indices in scenes.values()]
    return series


def sample_window(shape: tuple[int, int], planes: int, number: int) -> tuple[slice, slice]:
    """Band of rows to read of a plane, so that all planes together have not too many pixels."""
    height, width = shape
    rows = min(height, max(MIN_SIDE, MAX_PIXELS // planes // width))
    top = round((height - rows) * ((0.5 + GOLDEN * number) % 1))
    return slice(top, top + rows), slice(0, width)


def read_band(
    image: Image, index: PlaneIndex, window: tuple[slice, slice], *, is_dark: bool
) -> Counts:
    """Pixels of a band of a plane, checked."""
    band = image.view(index)[window]
    if band.dtype.kind not in "uif":
        raise ImageError(f"{image.name} has {band.dtype} pixels; use the camera's gray values.")
    if not np.isfinite(band).all():
        raise ImageError(f"{image.name} has NaN or infinite pixels; use an unprocessed image.")
    if not is_dark and band.min() == band.max():
        raise ImageError(
            f"{image.name} is constant (every pixel is {band.min():g}), so it has no noise to "
            "measure; use an unprocessed image."
        )
    return band


class Maps(NamedTuple):
    """What is known of the camera, or of each of its pixels."""

    offset: Float | None
    read_variance: Float | None
    gain: Float | None

    @classmethod
    def of(cls, *given: ArrayLike | None) -> "Maps":
        """Maps as arrays, checked."""
        names = ("offset", "read_variance", "gain")
        maps = cls(*(None if one is None else np.asarray(one, float) for one in given))
        for name, array in zip(names, maps, strict=True):
            if array is None:
                continue
            if not np.isfinite(array).all() or (name != "offset" and array.min() < 0):
                raise SettingsError(f"{name} must have finite values, not below 0.")
        if maps.gain is not None:
            if maps.offset is None:
                raise SettingsError(
                    "gain needs the offset as well: it acts on the counts above it."
                )
            maps = maps._replace(gain=maps.gain / maps.gain.mean())
        return maps

    def within(self, window: tuple[slice, slice], image: Image) -> "Maps":
        """Maps of a window of an image."""
        cut = []
        for array in self:
            if array is not None and array.ndim:
                if array.shape != image.frame_shape:
                    raise SettingsError(
                        f"A map of the camera has shape {array.shape}, but {image.name} is "
                        f"{format_shape(image.frame_shape)} pixels; crop the map to the image."
                    )
                array = array[window]
            cut.append(array)
        return Maps(*cut)


class Stack(NamedTuple):
    """Planes of one scene, in counts as recorded, and the maps of their pixels."""

    planes: list[Counts]
    maps: Maps

    def level(self, plane: Counts) -> Float:
        """Counts of a plane as a camera of equal pixels would have recorded them."""
        offset, _, gain = self.maps
        counts = plane.astype(float)
        if offset is not None and offset.ndim:
            counts += offset.mean() - offset
        if gain is not None and offset is not None:
            counts = offset.mean() + (counts - offset.mean()) / gain
        return counts

    def variance(self, shape: tuple[int, ...]) -> Float | None:
        """Known variance of each pixel."""
        _, variance, gain = self.maps
        if variance is None:
            return None
        return np.broadcast_to(variance if gain is None else variance / gain**2, shape)


def take_samples(
    stacks: Sequence[Stack], clip: tuple[float, float], difference: Difference, *, pairs: bool
) -> list[Samples]:
    """Samples of all planes, or of the differences of successive ones."""
    low, high = clip
    samples = []
    for number, stack in enumerate(stacks):
        levels = [stack.level(plane) for plane in stack.planes]
        clipped = [(plane <= low) | (plane >= high) for plane in stack.planes]
        variance = stack.variance(levels[0].shape)
        if pairs:
            samples += [
                samples_of(a, b, variance, x | y, number, difference)
                for (a, x), (b, y) in pairwise(zip(levels, clipped, strict=True))
            ]
        else:
            samples += [
                samples_of(a, None, variance, x, number, difference)
                for a, x in zip(levels, clipped, strict=True)
            ]
    return samples


class Counting(NamedTuple):
    """How gray values are counted: their step, where they are clipped, whether they have gaps."""

    step: float
    clip: tuple[float, float]
    has_gaps: bool

    @classmethod
    def of(cls, stacks: Sequence[Stack]) -> "Counting":
        """Counting of images; the step is 0 if they are not whole numbers."""
        planes = [plane.ravel() for stack in stacks for plane in stack.planes]
        values, number = np.unique(np.concatenate(planes), return_counts=True)
        low, high = _piles_up(number), _piles_up(number[::-1])
        clip = (values[0] if low else -math.inf, values[-1] if high else math.inf)
        if len(values) < 2 or len(values) > MAX_LEVELS or (values != np.rint(values)).any():
            return cls(0.0, clip, has_gaps=False)
        distances = np.diff(values.astype(np.int64))
        step = int(np.gcd.reduce(distances))
        frequent = np.minimum(number[:-1], number[1:]) >= FREQUENT
        gaps = (distances > step)[frequent]
        return cls(float(step), clip, has_gaps=bool(gaps.size and gaps.mean() > 0.02))


def _piles_up(number: NDArray[np.int64]) -> bool:
    """Whether pixels are clipped at a value: many have it, and few the next."""
    return len(number) > 1 and number[0] >= 5 and bool(number[0] > 3 * number[1])
