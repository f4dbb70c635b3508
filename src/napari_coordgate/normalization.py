"""Intensities: what can be worked with, scaled to the network's range and back."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_coordgate.arrays import PixelArray
from napari_coordgate.config import Scaling
from napari_coordgate.errors import ImageError

__all__ = ["STRIP_BYTES", "Normalizer", "check_plane", "convert_dtype", "fit_normalizer"]

STRIP_BYTES = 2**26
"""Size of a plane up to which it is loaded whole; of a larger one, a strip at a time."""

_SAMPLED_PIXELS = 1_000_000
_LARGEST = float(np.finfo(np.float32).max)


class Normalizer(NamedTuple):
    """The intensities of an image that become 0 and 1.

    Attributes
    ----------
    low, high : float
        In the image's own units; ``high`` is above ``low``.
    """

    low: float
    high: float

    def normalize(self, array: NDArray[Any]) -> NDArray[np.float32]:
        """Intensities in the network's range.

        Parameters
        ----------
        array : ndarray
            Intensities in the image's own units, of any real type and byte order.

        Returns
        -------
        ndarray of float32, same shape
            (array - low) / (high - low); values beyond the range are kept.
        """
        # Wide types hold values that float32 rounds: take the offset away before it does.
        precision = np.result_type(array.dtype, np.float32)
        scaled: NDArray[Any] = np.subtract(array, self.low, dtype=precision)
        scaled /= self.high - self.low
        return scaled.astype(np.float32, copy=False)

    def denormalize(self, array: NDArray[Any], dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """Intensities in the image's own units.

        Parameters
        ----------
        array : ndarray of float
            Intensities in the network's range.
        dtype : data type
            Type of the result; integers are rounded and clipped, see `convert_dtype`.

        Returns
        -------
        ndarray of ``dtype``, same shape
            low + array (high - low).
        """
        precision = np.result_type(np.dtype(dtype), np.float32)
        restored = np.multiply(array, self.high - self.low, dtype=precision)
        restored += self.low
        return convert_dtype(restored, dtype)


def fit_normalizer(
    plane: PixelArray,
    scaling: Scaling,
    name: str = "The image",
    check: Callable[[], object] = bool,
) -> Normalizer:
    """Intensities of an image that become 0 and 1; it is checked as `check_plane` does.

    They are percentiles of about a million pixels on a regular grid, so that the same
    plane always gives the same range. Where the two percentiles are the same value (an
    image that is background nearly everywhere), the smallest and largest pixel stand in.

    Parameters
    ----------
    plane : PixelArray, shape (H, W)
        The plane; where it is not in memory, each pixel is loaded once, strip by strip.
    scaling : Scaling
        The two percentiles.
    name : str
        What the plane is called in an error.
    check : callable
        Called before each strip; what it raises ends the work.

    Returns
    -------
    IntensityRange
        The range, never empty.

    Raises
    ------
    ImageError
        If the plane holds no image to work with, see `check_plane`.
    """
    _check_form(plane, name)
    step = max(1, math.ceil(math.sqrt(math.prod(plane.shape) / _SAMPLED_PIXELS)))
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


def check_plane(plane: PixelArray, name: str) -> None:
    """Make sure that a plane holds an image to work with.

    Parameters
    ----------
    plane : PixelArray, shape (H, W)
        The plane; it is looked through without a copy, and strip by strip where it is
        not in memory.
    name : str
        What it is called in an error: its file, say.

    Raises
    ------
    ImageError
        If the plane is smaller than 2 x 2 pixels, is not of real numbers, holds
        NaN, infinite or unusably large values, or is constant.
    """
    _check_form(plane, name)
    _extremes((strip for _, strip in _strips(plane)), name)


def _check_form(plane: PixelArray, name: str) -> None:
    if plane.ndim != 2 or min(plane.shape) < 2:
        size = " x ".join(str(length) for length in plane.shape)
        raise ImageError(f"{name} is {size} pixels; give an image of at least 2 x 2 pixels.")
    if plane.dtype.kind not in "buif":
        raise ImageError(f"{name} holds {plane.dtype} values; give an image of real numbers.")


def _strips(plane: PixelArray) -> Iterator[tuple[int, NDArray[Any]]]:
    """First row and pixels of each of the strips that make up a plane."""
    height, width = plane.shape
    rows = max(1, STRIP_BYTES // (width * plane.dtype.itemsize))
    # A power of two: the chunks of a file are often such a number of rows, and loaded whole.
    rows = 1 << (rows.bit_length() - 1)
    for row in range(0, height, rows):
        yield row, np.asarray(plane[row : row + rows, :])


def _extremes(strips: Iterable[NDArray[Any]], name: str) -> tuple[float, float]:
    """Smallest and largest pixel of a plane, if its values can be worked with."""
    # A NaN anywhere becomes both the minimum and the maximum.
    extremes = np.array([(float(strip.min()), float(strip.max())) for strip in strips])
    low, high = float(extremes[:, 0].min()), float(extremes[:, 1].max())
    if not np.isfinite([low, high]).all():
        raise ImageError(
            f"{name} holds NaN or infinite pixels; replace them by numbers before using it."
        )
    if max(-low, high) > _LARGEST:
        raise ImageError(f"{name} holds values beyond {_LARGEST:.2g}; rescale it before using it.")
    if low == high:
        raise ImageError(
            f"{name} is constant (every pixel is {low:g}); give an image with structure."
        )
    return low, high


def convert_dtype(array: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    """Convert intensities to another type without wrapping round.

    Parameters
    ----------
    array : ndarray
        Real values.
    dtype : data type
        Integers are rounded to the nearest and clipped to the type's range, and
        NaN becomes 0; bool is True from 0.5 on; a float type is taken as it is.

    Returns
    -------
    ndarray of ``dtype`` in native byte order, same shape
        The values; ``array`` itself where it has that type already.
    """
    dtype = np.dtype(dtype).newbyteorder("=")
    if dtype.kind == "b":
        return array >= np.float32(0.5)
    if dtype.kind == "f" or array.dtype == dtype:
        return array.astype(dtype, copy=False)
    precision = np.result_type(array.dtype, dtype, np.float32)
    low, high = float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)
    if int(high) > np.iinfo(dtype).max:  # the 64-bit limits lie between two floats
        high = float(np.nextafter(high, 0.0))
    whole: NDArray[Any] = np.rint(array, dtype=precision)
    np.clip(whole, low, high, out=whole)
    np.nan_to_num(whole, copy=False)
    return whole.astype(dtype)
