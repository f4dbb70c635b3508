"""Widths of the images of beads: fits of Gaussians."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from torch import Tensor

Array = NDArray[np.float64]

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))


def gaussian_widths(windows: Tensor, used: Tensor) -> Array:
    """Full widths at half maximum (N,) of Gaussians fitted to windows (N, P, K, K).

    Of several planes, that with the narrowest Gaussian counts.
    """
    masks = used.expand_as(windows).numpy() > 0
    return np.array(
        [
            min(_width(plane, mask) for plane, mask in zip(planes, mask_of, strict=True))
            for planes, mask_of in zip(windows.numpy(), masks, strict=True)
        ]
    )


def _width(window: Array, mask: NDArray[np.bool_]) -> float:
    """Geometric mean of the two widths of a Gaussian along the axes, pixels."""
    size = len(window)
    y, x = np.mgrid[:size, :size] - size // 2
    y, x, values = y[mask], x[mask], window[mask]
    low, high = np.median(values), values.max()
    bright = np.clip(values - low - 0.2 * (high - low), 0, None)
    total = bright.sum() or 1.0
    center = [(bright * y).sum() / total, (bright * x).sum() / total]
    spread = np.sqrt((bright * ((y - center[0]) ** 2 + (x - center[1]) ** 2)).sum() / total / 2)

    def parts(p: Array) -> tuple[Array, Array, Array]:
        """Distances from the center in widths, and the Gaussian."""
        v, u = (y - p[2]) / np.exp(p[4]), (x - p[3]) / np.exp(p[5])
        return v, u, np.exp(-(v**2 + u**2) / 2.0)

    def residual(p: Array) -> Array:
        misfit: Array = p[0] * parts(p)[2] + p[1] - values
        return misfit

    def jacobian(p: Array) -> Array:
        v, u, bell = parts(p)
        slope = p[0] * bell
        by_center = slope * v / np.exp(p[4]), slope * u / np.exp(p[5])
        return np.stack([bell, np.ones_like(bell), *by_center, slope * v**2, slope * u**2], 1)

    start = [high - low, low, *center, np.log(max(spread, 0.7)), np.log(max(spread, 0.7))]
    found = least_squares(residual, start, jac=jacobian, method="lm", max_nfev=60)
    sigma = np.exp(np.clip((found.x[4] + found.x[5]) / 2.0, -3.0, np.log(size)))
    return float(FWHM_PER_SIGMA * sigma)
