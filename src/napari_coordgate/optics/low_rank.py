"""Low-rank form of many PSFs: few kernels with smooth coefficients."""

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

_NEGLIGIBLE = 1e-3
"""Fraction of the tolerance that the randomized decomposition may use."""
_INITIAL_SAMPLES = 32
"""First number of random samples of the range, more than the rank of most lenses."""


def principal_components(psfs: Float64, tolerance: float) -> tuple[Float64, Float64]:
    """Kernels (R, P) and weights (N, R) that represent PSFs (N, P) of sum 1 to a tolerance.

    The kernels are the mean PSF, of weight 1, and orthonormal components, strongest first. The
    tolerance is the relative error (2-norm) of a PSF, root mean square over all PSFs. Each
    component sums to zero, so that truncating the series keeps the sum of every PSF.
    """
    mean = psfs.mean(axis=0)
    left, strengths, components = _randomized_svd(psfs, mean, _NEGLIGIBLE * tolerance)
    scores = left * strengths
    # Mean fraction of a PSF's squared norm in each component, and in it and all later ones.
    parts = np.mean(scores**2 / np.sum(psfs**2, axis=1, keepdims=True), axis=0)
    lost = np.cumsum(parts[::-1])[::-1]
    rank = int(np.sum(lost > tolerance**2))
    kernels = np.vstack([mean, components[:rank]])
    weights = np.hstack([np.ones((len(psfs), 1)), scores[:, :rank]])
    return kernels, weights


def _randomized_svd(psfs: Float64, mean: Float64, negligible: float) -> tuple[Float64, ...]:
    """Singular value decomposition of PSFs (N, P) minus their mean, to a relative error.

    Randomized (Halko, Martinsson and Tropp 2011, algorithm 4.1), with twice as many samples
    until the error is small enough; exact if it would need most of the PSFs.
    """
    centered, rng = psfs - mean, np.random.default_rng(0)
    num_samples = _INITIAL_SAMPLES
    while 2 * num_samples < min(centered.shape):
        basis = np.linalg.qr((rng.standard_normal((num_samples, len(psfs))) @ centered).T).Q
        projected = centered @ basis
        if relative_error(mean + projected @ basis.T, psfs) <= negligible:
            left, strengths, components = np.linalg.svd(projected, full_matrices=False)
            return left, strengths, components @ basis.T
        num_samples *= 2
    return tuple(np.linalg.svd(centered, full_matrices=False))


def chebyshev_nodes(order: int) -> Float64:
    """Sampling points (y, x) in [-1, 1] of a Chebyshev series, shape (order**2, 2), y slowest."""
    axis = chebyshev.chebpts1(order)
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)


def fit_series(samples: Float64, order: int) -> Float64:
    """Coefficients (R, order, order) of T_g(y) T_h(x), from values (order**2, R) at the nodes."""
    to_coefficients = np.linalg.inv(chebyshev.chebvander(chebyshev.chebpts1(order), order - 1))
    grid = samples.reshape(order, order, -1)
    coefficients: Float64 = np.einsum(
        "gy,hx,yxr->rgh", to_coefficients, to_coefficients, grid, optimize=True
    )
    return coefficients


def sum_series(coefficients: Float64, points: Float64) -> Float64:
    """Values (N, R) of Chebyshev series (R, G, G) at scattered points (y, x), shape (N, 2)."""
    degree = coefficients.shape[1] - 1
    in_y, in_x = (chebyshev.chebvander(axis, degree) for axis in points.T)
    values: Float64 = np.einsum("ng,rgh,nh->nr", in_y, coefficients, in_x, optimize=True)
    return values


def relative_error(approximate: Float64, exact: Float64) -> float:
    """Root mean square, over rows, of the 2-norm of a row's error relative to its own norm."""
    parts = np.sum((approximate - exact) ** 2, axis=1) / np.sum(exact**2, axis=1)
    return float(np.sqrt(parts.mean()))
