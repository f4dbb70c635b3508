"""Kernels and coefficients of a PSF field, fitted to a lens."""

import math
import threading
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.config import GaussianLens, Lens
from napari_coordgate.errors import PSFError
from napari_coordgate.events import raise_if_canceled
from napari_coordgate.geometry import Window
from napari_coordgate.optics.low_rank import (
    chebyshev_nodes,
    fit_series,
    principal_components,
    relative_error,
    sum_series,
)
from napari_coordgate.optics.pupil import lens_psfs, psf_size

Float64 = NDArray[np.float64]

ORDERS = (5, 9, 13, 17, 23, 31, 41)
"""Numbers of terms of a Chebyshev series, along each axis, that are tried."""
_RANK_SHARE = 0.7
"""Fraction of the tolerance that truncating the rank may use, the series the rest (squared)."""
_PROBES = 64
"""Number of random positions at which a fit is tested."""


class Fit(NamedTuple):
    """Low-rank form of many PSFs: kernels (R, K, K), coefficients (R, G, G), and its error.

    The error is that of a PSF (2-norm) relative to its own norm, root mean square over positions.
    """

    kernels: Float64
    coefficients: Float64
    relative_error: float

    @property
    def arrays(self) -> tuple[Float64, Float64]:
        """Kernels and coefficients."""
        return self.kernels, self.coefficients


def fit_lens(
    lens: Lens | GaussianLens,
    frame_shape: tuple[int, int],
    tolerance: float,
    enclosed_energy: float,
    cancel: threading.Event | None = None,
    window: Window | None = None,
    max_size: float = math.inf,
) -> Fit:
    """Fit the PSFs of a lens over the frame, see `PSFField.from_lens`, or over a window of it.

    The coordinates of the fit are -1 and 1 at the window's own borders. A PSF of more than
    ``max_size`` pixels is a PSFError.
    """
    y0, x0, *shape = window or Window.whole(frame_shape)

    def in_frame(coordinates: Float64) -> Float64:
        return ((coordinates + 1) * shape + np.multiply(2, (y0, x0))) / frame_shape - 1

    # On a whole frame, the PSF on the axis counts as well.
    border = None if window is None else in_frame(_grid(5))
    size = psf_size(lens, frame_shape, enclosed_energy, border)
    if size > max_size:
        raise PSFError(
            f"The blur needs PSFs of {size} pixels, more than {max_size:g}; lower the aberrations."
        )

    def psfs_at(coordinates: Float64) -> Float64:
        psfs = lens_psfs(lens, in_frame(coordinates), frame_shape, size, cancel)
        return psfs.reshape(len(coordinates), -1)

    probes = np.random.default_rng(0).uniform(-1, 1, (_PROBES, 2))
    exact = psfs_at(probes)
    for order in ORDERS:
        psfs = psfs_at(chebyshev_nodes(order))
        raise_if_canceled(cancel, "Canceled while computing the PSF field of the lens.")
        interpolation = sum_series(fit_series(np.eye(order**2), order), probes)
        error = relative_error(interpolation @ psfs, exact)
        if error > tolerance:
            continue  # Fewer kernels would not reduce the error, and computing them is slow.
        kernels, weights = principal_components(psfs, _RANK_SHARE * tolerance)
        coefficients = fit_series(weights, order)
        error = relative_error(sum_series(coefficients, probes) @ kernels, exact)
        if error <= tolerance:
            return Fit(kernels.reshape(-1, size, size), coefficients, error)
    raise PSFError(
        f"The PSF varies too fast over the frame for a tolerance of {tolerance:g} "
        f"(reached: {error:.1e}); use a larger tolerance or smaller aberrations."
    )


def _grid(side: int) -> Float64:
    """Coordinates (side**2, 2) of a grid from border to border."""
    axis = np.linspace(-1, 1, side)
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
