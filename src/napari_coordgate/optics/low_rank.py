"""Many PSFs as few kernels with smooth coefficient maps."""

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator

__all__ = [
    "chebyshev_nodes",
    "fit_series",
    "principal_components",
    "relative_error",
    "scatter_to_nodes",
    "sum_series",
]

Float64 = NDArray[np.float64]

_NEGLIGIBLE = 1e-3  # Part of a tolerance that need not be counted.
_MIXTURES = 32  # More than the rank of most lenses.


def principal_components(psfs: Float64, tolerance: float) -> tuple[Float64, Float64]:
    """Mean PSF and the components about it that stand for all PSFs to a tolerance.

    Each row of ``psfs - mean`` sums to zero where each PSF sums to one, and so
    does each component: cutting the series off keeps every PSF's sum.

    Parameters
    ----------
    psfs : ndarray, shape (N, P)
        Flattened PSFs, each of sum 1.
    tolerance : float
        Relative error (2-norm) of a PSF, root mean square over all PSFs.

    Returns
    -------
    kernels : ndarray, shape (R, P)
        Mean PSF, then orthonormal components, the strongest first.
    weights : ndarray, shape (N, R)
        Weight of each kernel in each PSF; 1 for the mean.
    """
    mean = psfs.mean(axis=0)
    left, strengths, components = _decomposed(psfs, mean, _NEGLIGIBLE * tolerance)
    scores = left * strengths
    # Mean part of a PSF's squared norm that each component holds, then all from it on.
    parts = np.mean(scores**2 / np.sum(psfs**2, axis=1, keepdims=True), axis=0)
    lost = np.cumsum(parts[::-1])[::-1]
    rank = int(np.sum(lost > tolerance**2))
    kernels = np.vstack([mean, components[:rank]])
    weights = np.hstack([np.ones((len(psfs), 1)), scores[:, :rank]])
    return kernels, weights


def _decomposed(psfs: Float64, mean: Float64, negligible: float) -> tuple[Float64, ...]:
    """Singular value decomposition of the PSFs about their mean, to a relative error.

    A few random mixtures of the PSFs span all of them, which is checked (Halko,
    Martinsson and Tropp 2011, algorithm 4.1); of many PSFs it is far sooner known.
    """
    about, rng = psfs - mean, np.random.default_rng(0)
    mixtures = _MIXTURES
    while 2 * mixtures < min(about.shape):
        basis = np.linalg.qr((rng.standard_normal((mixtures, len(psfs))) @ about).T).Q
        inside = about @ basis
        if relative_error(mean + inside @ basis.T, psfs) <= negligible:
            left, strengths, components = np.linalg.svd(inside, full_matrices=False)
            return left, strengths, components @ basis.T
        mixtures *= 2
    return tuple(np.linalg.svd(about, full_matrices=False))


def chebyshev_nodes(order: int) -> Float64:
    """Places at which a function is sampled for a Chebyshev series.

    Parameters
    ----------
    order : int
        Nodes along each axis.

    Returns
    -------
    ndarray, shape (order**2, 2)
        (y, x) of each node in [-1, 1], y slowest.
    """
    axis = chebyshev.chebpts1(order)
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)


def fit_series(samples: Float64, order: int) -> Float64:
    """Chebyshev coefficients of functions known at `chebyshev_nodes`.

    Parameters
    ----------
    samples : ndarray, shape (order**2, R)
        Values of R functions at the nodes.
    order : int
        Nodes along each axis.

    Returns
    -------
    ndarray, shape (R, order, order)
        Coefficients of T_g(y) T_h(x).
    """
    to_coefficients = np.linalg.inv(chebyshev.chebvander(chebyshev.chebpts1(order), order - 1))
    grid = samples.reshape(order, order, -1)
    coefficients: Float64 = np.einsum(
        "gy,hx,yxr->rgh", to_coefficients, to_coefficients, grid, optimize=True
    )
    return coefficients


def sum_series(coefficients: Float64, places: Float64) -> Float64:
    """Values of Chebyshev series at scattered places.

    Parameters
    ----------
    coefficients : ndarray, shape (R, G, G)
        From `fit_series`.
    places : ndarray, shape (N, 2)
        (y, x) in [-1, 1].

    Returns
    -------
    ndarray, shape (N, R)
        Values.
    """
    degree = coefficients.shape[1] - 1
    in_y, in_x = (chebyshev.chebvander(axis, degree) for axis in places.T)
    values: Float64 = np.einsum("ng,rgh,nh->nr", in_y, coefficients, in_x, optimize=True)
    return values


def scatter_to_nodes(places: Float64, values: Float64, nodes: Float64) -> Float64:
    """Smooth functions through values at scattered places, sampled elsewhere.

    Multiquadrics (Hardy 1971) on a constant, as smooth as half the places' mean
    distance. They take any number of places, all on a line too; far away the
    functions level off; and being analytic, they have short Chebyshev series.

    Parameters
    ----------
    places : ndarray, shape (N, 2)
        (y, x) in [-1, 1] at which the functions are known.
    values : ndarray, shape (N, R)
        Their values there.
    nodes : ndarray, shape (M, 2)
        (y, x) at which they are wanted.

    Returns
    -------
    ndarray, shape (M, R)
        Their values at the nodes.
    """
    per_smoothing_length = np.sqrt(len(places))
    interpolator = RBFInterpolator(
        places, values, kernel="multiquadric", epsilon=per_smoothing_length, degree=0
    )
    return np.asarray(interpolator(nodes), np.float64)


def relative_error(approximate: Float64, exact: Float64) -> float:
    """Root mean square, over rows, of the 2-norm of a row's error over its own norm."""
    parts = np.sum((approximate - exact) ** 2, axis=1) / np.sum(exact**2, axis=1)
    return float(np.sqrt(parts.mean()))
