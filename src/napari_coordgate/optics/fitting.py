"""Kernels and coefficient maps of a PSF field, fitted to a lens or to measured PSFs."""

import threading
import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_coordgate.config import GaussianLens, Lens
from napari_coordgate.errors import PSFError, ToleranceWarning
from napari_coordgate.events import raise_if_canceled
from napari_coordgate.geometry import pixel_coordinates
from napari_coordgate.optics.low_rank import (
    chebyshev_nodes,
    fit_series,
    principal_components,
    relative_error,
    scatter_to_nodes,
    sum_series,
)
from napari_coordgate.optics.pupil import lens_psfs, psf_size

__all__ = ["Fit", "fit_lens", "fit_measured_psfs"]

Float64 = NDArray[np.float64]

_ORDERS = (5, 9, 13, 17, 23, 31, 41)
_RANK_SHARE = 0.7  # Part of the tolerance for the rank; the series has what is left in quadrature.
_PROBES = 64


class Fit(NamedTuple):
    """A low-rank form of many PSFs.

    Attributes
    ----------
    kernels : ndarray, shape (R, K, K)
        Mean PSF, then components about it.
    coefficients : ndarray, shape (R, G, G)
        Chebyshev coefficients of the kernels' weights over the frame's (y, x).
    relative_error : float
        Error (2-norm) of a PSF over its own norm, root mean square over places.
    """

    kernels: Float64
    coefficients: Float64
    relative_error: float


def fit_lens(
    lens: Lens | GaussianLens,
    frame_shape: tuple[int, int],
    tolerance: float,
    enclosed_energy: float,
    cancel: threading.Event | None = None,
) -> Fit:
    """Fit the PSFs of a lens; see `PSFField.from_lens`, also for the errors."""
    size = psf_size(lens, frame_shape, enclosed_energy)

    def psfs_at(places: Float64) -> Float64:
        return lens_psfs(lens, places, frame_shape, size, cancel).reshape(len(places), -1)

    probes = np.random.default_rng(0).uniform(-1, 1, (_PROBES, 2))
    exact = psfs_at(probes)
    for order in _ORDERS:
        psfs = psfs_at(chebyshev_nodes(order))
        raise_if_canceled(cancel, "Stopped before the PSF field of the lens was made.")
        error = relative_error(_between_nodes(order, probes) @ psfs, exact)
        if error > tolerance:
            continue  # Fewer kernels than PSFs come no nearer; finding them takes long.
        kernels, weights = principal_components(psfs, _RANK_SHARE * tolerance)
        coefficients = fit_series(weights, order)
        error = relative_error(sum_series(coefficients, probes) @ kernels, exact)
        if error <= tolerance:
            return Fit(kernels.reshape(-1, size, size), coefficients, error)
    raise PSFError(
        f"The PSF varies too fast over the frame for a tolerance of {tolerance:g} "
        f"(reached: {error:.1e}); allow a larger tolerance or describe smaller aberrations."
    )


def _between_nodes(order: int, places: Float64) -> Float64:
    """Matrix (N, order**2) from values at the nodes to those of their series at places."""
    return sum_series(fit_series(np.eye(order**2), order), places)


def fit_measured_psfs(
    psfs: ArrayLike, positions: ArrayLike, frame_shape: tuple[int, int], tolerance: float
) -> Fit:
    """Fit PSFs measured at some places; see `PSFField.from_psfs`, also for the errors."""
    stack, places = _checked(psfs, positions, frame_shape)
    measured = stack.reshape(len(stack), -1)
    kernels, weights = principal_components(measured, _RANK_SHARE * tolerance)
    for order in _ORDERS:
        samples = scatter_to_nodes(places, weights, chebyshev_nodes(order))
        coefficients = fit_series(samples, order)
        error = relative_error(sum_series(coefficients, places) @ kernels, measured)
        if error <= tolerance:
            break
    else:
        warnings.warn(
            f"The measured PSFs are kept to a relative error of {error:.1e}, not to the tolerance "
            f"of {tolerance:g}; neighbors among them differ too much.",
            ToleranceWarning,
            stacklevel=3,  # who called PSFField.from_psfs
        )
    return Fit(kernels.reshape(-1, *stack.shape[1:]), coefficients, error)


def _checked(
    psfs: ArrayLike, positions: ArrayLike, frame_shape: tuple[int, int]
) -> tuple[Float64, Float64]:
    """Measured PSFs of sum 1, shape (N, K, K), and their (y, x) in frame coordinates."""
    stack = np.asarray(psfs, np.float64)
    pixels = np.asarray(positions, np.float64)
    frame = f"the frame of {frame_shape[0]}x{frame_shape[1]} pixels"
    if stack.ndim != 3 or stack.shape[1] != stack.shape[2] or stack.shape[1] % 2 == 0:
        raise PSFError(f"PSFs of shape {stack.shape} given; they must be (N, K, K) with odd K.")
    if len(stack) == 0 or pixels.shape != (len(stack), 2):
        raise PSFError(
            f"{len(stack)} PSFs and positions of shape {pixels.shape} given; "
            "each PSF needs its (row, column)."
        )
    if stack.shape[1] > min(frame_shape):
        raise PSFError(f"PSFs of side {stack.shape[1]} outgrow {frame}; crop them.")
    places = pixel_coordinates(pixels, frame_shape)
    if not (np.abs(places) <= 1).all():
        raise PSFError(f"A PSF's position lies outside {frame}; give (row, column) in pixels.")
    if len(np.unique(pixels, axis=0)) < len(pixels):
        raise PSFError("Two PSFs share one position; average them first.")
    sums = stack.sum(axis=(1, 2))
    if not (np.isfinite(stack).all() and (sums > 0).all()):
        raise PSFError("A PSF holds no light, or NaN; remove it, or its negative background.")
    return stack / sums[:, None, None], places
