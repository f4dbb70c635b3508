"""Intensities: what can be worked with, scaled to the network's range and back."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_coordgate.config import Scaling
from napari_coordgate.errors import ImageError

__all__ = ["IntensityRange", "cast", "check_plane", "intensity_range"]

_SAMPLED_PIXELS = 1_000_000
_LARGEST = float(np.finfo(np.float32).max)


class IntensityRange(NamedTuple):
    """The intensities of an image that become 0 and 1.

    Attributes
    ----------
    low, high : float
        In the image's own units; ``high`` is above ``low``.
    """

    low: float
    high: float

    def scale(self, array: NDArray[Any]) -> NDArray[np.float32]:
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

    def restore(self, array: NDArray[Any], dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """Intensities in the image's own units.

        Parameters
        ----------
        array : ndarray of float
            Intensities in the network's range.
        dtype : data type
            Type of the result; integers are rounded and clipped, see `cast`.

        Returns
        -------
        ndarray of ``dtype``, same shape
            low + array (high - low).
        """
        precision = np.result_type(np.dtype(dtype), np.float32)
        restored = np.multiply(array, self.high - self.low, dtype=precision)
        restored += self.low
        return cast(restored, dtype)


def intensity_range(
    plane: NDArray[Any], scaling: Scaling, name: str = "The image"
) -> IntensityRange:
    """Intensities of an image that become 0 and 1.

    They are percentiles of about a million pixels on a regular grid, so that a
    memory-mapped plane is not loaded whole and the same plane always gives the
    same range. Where the two percentiles are the same value (an image that is
    background nearly everywhere), the smallest and largest pixel stand in.

    Parameters
    ----------
    plane : ndarray, shape (H, W)
        Finite pixels, see `check_plane`.
    scaling : Scaling
        The two percentiles.
    name : str
        What the plane is called in an error.

    Returns
    -------
    IntensityRange
        The range, never empty.

    Raises
    ------
    ImageError
        If all pixels have the same value.
    """
    step = max(1, int(np.ceil(np.sqrt(plane.size / _SAMPLED_PIXELS))))
    sample = plane[::step, ::step].astype(np.float64)
    low, high = np.percentile(sample, (scaling.low_percentile, scaling.high_percentile))
    if not high > low:
        low, high = plane.min(), plane.max()
    if not high > low:
        raise _constant(name, float(low))
    return IntensityRange(float(low), float(high))


def check_plane(plane: NDArray[Any], name: str) -> None:
    """Make sure that a plane holds an image to work with.

    Parameters
    ----------
    plane : ndarray, shape (H, W)
        The plane; it is looked through without a copy.
    name : str
        What it is called in an error: its file, say.

    Raises
    ------
    ImageError
        If the plane is smaller than 2 x 2 pixels, is not of real numbers, holds
        NaN, infinite or unusably large values, or is constant.
    """
    if plane.ndim != 2 or min(plane.shape) < 2:
        size = " x ".join(str(length) for length in plane.shape)
        raise ImageError(f"{name} is {size} pixels; give an image of at least 2 x 2 pixels.")
    if plane.dtype.kind not in "buif":
        raise ImageError(f"{name} holds {plane.dtype} values; give an image of real numbers.")
    # A NaN anywhere becomes both the minimum and the maximum.
    low, high = float(plane.min()), float(plane.max())
    if not np.isfinite([low, high]).all():
        raise ImageError(
            f"{name} holds NaN or infinite pixels; replace them by numbers before using it."
        )
    if max(-low, high) > _LARGEST:
        raise ImageError(f"{name} holds values beyond {_LARGEST:.2g}; rescale it before using it.")
    if low == high:
        raise _constant(name, low)


def cast(array: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
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


def _constant(name: str, value: float) -> ImageError:
    return ImageError(
        f"{name} is constant (every pixel is {value:g}); give an image with structure."
    )
