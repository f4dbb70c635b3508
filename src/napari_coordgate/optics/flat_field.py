"""Flat field: a smooth gain over the frame, by which the camera sees the blurred light."""

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import ArrayLike, NDArray

from napari_coordgate.errors import PSFError
from napari_coordgate.geometry import coordinate_axis, format_shape

Float64 = NDArray[np.float64]

ORDER = 7
"""Terms of the Chebyshev series along each axis: fine dust is not described."""
MIN_GAIN = 1e-3


def gain_series(gain: ArrayLike, frame_shape: tuple[int, int]) -> Float64:
    """Chebyshev coefficients (7, 7) of a gain (H, W) of the frame, scaled to mean 1."""
    array = np.asarray(gain, np.float64)
    if array.shape != frame_shape:
        raise PSFError(
            f"The flat field has shape {array.shape}, but the frame is {format_shape(frame_shape)} "
            "pixels; give one gain for each pixel of the frame."
        )
    if not np.isfinite(array).all() or array.min() <= 0:
        raise PSFError("The flat field must be a positive gain at each pixel; measure it again.")
    # Least squares along one axis after the other, as the basis is a product.
    fit_y, fit_x = (
        np.linalg.pinv(_basis(length, order=min(ORDER, length))) for length in frame_shape
    )
    series = np.zeros((ORDER, ORDER))
    fitted = fit_y @ (array / array.mean()) @ fit_x.T
    series[: fitted.shape[0], : fitted.shape[1]] = fitted
    return series


def as_series(flat_field: ArrayLike) -> Float64:
    """Coefficients (F, F) in single precision, checked."""
    try:
        series = np.asarray(flat_field, np.float32).astype(np.float64)
    except (TypeError, ValueError):
        series = np.empty(0)
    if series.ndim != 2 or series.shape[0] != series.shape[1] or not np.isfinite(series).all():
        raise PSFError("The flat field of the PSF field is damaged; create it again.")
    return series


def gain_of(series: Float64, frame_shape: tuple[int, int]) -> Float64:
    """Gain (H, W) of the frame from its Chebyshev coefficients (G, G)."""
    in_y, in_x = (_basis(length, len(series)) for length in frame_shape)
    return np.maximum(np.asarray(in_y @ series @ in_x.T, np.float64), MIN_GAIN)


def _basis(length: int, order: int) -> Float64:
    """Chebyshev polynomials at the pixels of one axis of the frame, shape (length, order)."""
    values = chebyshev.chebvander(coordinate_axis(0, length, length), order - 1)
    return np.asarray(values, np.float64)
