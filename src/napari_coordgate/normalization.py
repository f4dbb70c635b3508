"""Normalization of intensities to the range of the network, and conversion of pixel types."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_coordgate.arrays import PixelArray
from napari_coordgate.config import Camera, Scaling
from napari_coordgate.errors import ConstantPlaneError, ImageError
from napari_coordgate.geometry import format_shape

STRIP_BYTES = 2**26
"""Planes up to this size are loaded at once, larger ones in strips."""

_MAX_SAMPLES = 1_000_000
_MAX_VALUE = 1e37
"""A tenth of the largest float32 number, because results exceed the range of their image."""
_MIN_VALUE = float(np.finfo(np.float32).tiny)
_MAX_HALF = float(np.finfo(np.float16).max)


class Normalizer(NamedTuple):
    """Linear map from intensities of an image to [0, 1].

    ``low`` and ``high`` become 0 and 1; they are in the image's units, and ``high`` is larger.
    """

    low: float
    high: float

    def normalize(self, array: NDArray[Any]) -> NDArray[np.float32]:
        """Return (array - low) / (high - low) as float32; values outside the range are kept."""
        # Subtract in the wider type: float32 would round large offsets of int32 or float64.
        precision = np.result_type(array.dtype, np.float32)
        scaled: NDArray[Any] = np.subtract(array, self.low, dtype=precision)
        scaled /= self.high - self.low
        return scaled.astype(np.float32, copy=False)

    def denormalize(self, array: NDArray[Any], dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """Return low + array (high - low) as ``dtype``, see `convert_dtype`."""
        precision = np.result_type(np.dtype(dtype), np.float32)
        restored = np.multiply(array, self.high - self.low, dtype=precision)
        restored += self.low
        return convert_dtype(restored, dtype)


def fit_normalizer(
    plane: PixelArray,
    scaling: Scaling,
    name: str = "The image",
    check: Callable[[], object] = bool,
    given: Normalizer | None = None,
) -> Normalizer:
    """Normalizer of a plane (H, W) from two percentiles; the plane is checked by `check_plane`.

    A normalizer that is ``given`` is returned once the plane is checked.

    The percentiles are those of about a million pixels on a regular grid, so that one plane
    always has the same range. If they are equal (an image that is mostly background), the minimum
    and maximum are used. Each pixel of a lazy array is loaded once, strip by strip; ``check`` is
    called before each strip and may raise to cancel.
    """
    if given is not None:
        check_plane(plane, name)
        return given
    _check_form(plane, name)
    step = max(1, math.ceil(math.sqrt(math.prod(plane.shape) / _MAX_SAMPLES)))
    sample: list[NDArray[np.float64]] = []

    def sampled() -> Iterator[NDArray[Any]]:
        for row, strip in _strips(plane):
            check()
            sample.append(strip[-row % step :: step, ::step].astype(np.float64))
            yield strip

    smallest, largest = _extremes(sampled(), name)
    percentiles = (scaling.low_percentile, scaling.high_percentile)
    low, high = np.percentile(np.concatenate(sample), percentiles)
    if not high > low:
        return Normalizer(smallest, largest)
    return Normalizer(float(low), float(high))


def fit_stack_normalizer(planes: Iterable[NDArray[Any]], scaling: Scaling) -> Normalizer | None:
    """Normalizer from the percentiles of samples of many planes; None if all are constant.

    Constant planes, such as dropped frames, and values that are not finite do not count.
    """
    samples = [plane[np.isfinite(plane)].astype(np.float64) for plane in planes]
    samples = [sample for sample in samples if sample.size and np.ptp(sample)]
    if not samples:
        return None
    pooled = np.concatenate(samples)
    low, high = np.percentile(pooled, (scaling.low_percentile, scaling.high_percentile))
    if not high > low:
        low, high = pooled.min(), pooled.max()
    return Normalizer(float(low), float(high))


def above_offset(normalizer: Normalizer, camera: Camera | None) -> Normalizer:
    """Normalizer with the camera's offset, if it is known, as its zero: a gain acts on light."""
    if camera is None or camera.offset is None or camera.offset >= normalizer.high:
        return normalizer
    return Normalizer(camera.offset, normalizer.high)


def check_plane(plane: PixelArray, name: str) -> None:
    """Raise ImageError if a plane (H, W) cannot be processed; lazy arrays are loaded in strips.

    Refused are planes smaller than 2 x 2 pixels, without real numbers, with NaN, infinite or
    too large values, or with a constant value.
    """
    _check_form(plane, name)
    _extremes((strip for _, strip in _strips(plane)), name)


def _check_form(plane: PixelArray, name: str) -> None:
    """Raise ImageError unless the shape and type are those of an image plane."""
    if plane.ndim != 2 or min(plane.shape) < 2:
        shape = format_shape(plane.shape)
        raise ImageError(f"{name} is {shape} pixels; use an image of at least 2 x 2 pixels.")
    if plane.dtype.kind not in "buif":
        raise ImageError(f"{name} has {plane.dtype} pixels; use real numbers.")


def _strips(plane: PixelArray) -> Iterator[tuple[int, NDArray[Any]]]:
    """First row and pixels of each strip of a plane."""
    height, width = plane.shape
    rows = max(1, STRIP_BYTES // (width * plane.dtype.itemsize))
    # A power of two, to match the chunks of files: these are decoded as a whole.
    rows = 1 << (rows.bit_length() - 1)
    for row in range(0, height, rows):
        yield row, np.asarray(plane[row : row + rows, :])


def _extremes(strips: Iterable[NDArray[Any]], name: str) -> tuple[float, float]:
    """Minimum and maximum of a plane, or ImageError if its values cannot be processed."""
    # NumPy's min and max propagate NaN.
    extremes = np.array([(float(strip.min()), float(strip.max())) for strip in strips])
    low, high = float(extremes[:, 0].min()), float(extremes[:, 1].max())
    if not np.isfinite([low, high]).all():
        raise ImageError(f"{name} has NaN or infinite pixels; replace them by finite values first.")
    if max(-low, high) > _MAX_VALUE:
        raise ImageError(f"{name} has values above {_MAX_VALUE:.2g}; rescale it first.")
    if 0 < max(-low, high) < _MIN_VALUE:
        raise ImageError(f"{name} has no values above {_MIN_VALUE:.2g}; rescale it first.")
    if low == high:
        raise ConstantPlaneError(
            f"{name} is constant (every pixel is {low:g}); use an image with structure."
        )
    return low, high


def convert_dtype(array: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    """Array converted to another type: integers are rounded and clipped, never wrapped.

    NaN becomes 0, bool is True from 0.5 on. The result is in native byte order; it is ``array``
    itself if that has the type already.
    """
    dtype = np.dtype(dtype).newbyteorder("=")
    if dtype.kind == "b":
        return array >= np.float32(0.5)
    if dtype == np.float16 and array.dtype != dtype:
        array = np.clip(array, -_MAX_HALF, _MAX_HALF)
    if dtype.kind == "f" or array.dtype == dtype:
        return array.astype(dtype, copy=False)
    precision = np.result_type(array.dtype, dtype, np.float32)
    low, high = float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)
    if int(high) > np.iinfo(dtype).max:  # 64-bit limits are not representable as floats
        high = float(np.nextafter(high, 0.0))
    whole: NDArray[Any] = np.rint(array, dtype=precision)
    np.clip(whole, low, high, out=whole)
    np.nan_to_num(whole, copy=False)
    return whole.astype(dtype)
