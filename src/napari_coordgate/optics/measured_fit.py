"""Kernels and coefficients of a PSF field, fitted to measured PSFs.

The PSF at a position is a weighted sum of the measured ones, with weights that average noise
where there is noise (`choose_smoother`). Only those components of its variation over the frame
are kept that are larger than what noise alone makes. PSFs are not negative: those at the nodes of
the series are projected on the non-negative ones of sum 1, which cannot increase their error.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_coordgate.optics.fitting import ORDERS
from napari_coordgate.optics.low_rank import (
    chebyshev_nodes,
    fit_series,
    relative_error,
    sum_series,
)
from napari_coordgate.optics.measured_psfs import (
    MeasuredPSFs,
    check_measured_psfs,
    name_planes,
)
from napari_coordgate.optics.smoothing import Smoother, choose_smoother

Float64 = NDArray[np.float64]

_FEW = 10
"""Fewer PSFs do not tell noise from details."""
_GRID = 30
"""Side of the grid of positions over the frame at which errors are compared."""
_SURE = 5.0
"""Ratio of the noise to that of dark pixels up to which the noise of photons is not questioned."""
_BETTER = 0.97
"""Ratio of errors up to which assuming noise of photons is an improvement."""
_FOLDS = 20
"""Parts of the PSFs that are left out in turn; fewer PSFs are left out one by one."""
_ADDED_BY_NOISE, _ADDED = 0.3, 0.05
"""Error that representing the PSFs by a series may add, relative to that by noise, and to all."""
_ODD_ONE = 12.0
"""Squared error of a held-out PSF, relative to what is expected, above which it is left out."""
_ODD_SHARE = 0.3
"""Relative error of a held-out PSF up to which it is kept."""
_CHUNK = 4_000_000
"""Number of values that are computed at once."""
_STALLED = 0.95
"""Ratio of errors from which a higher order is no improvement."""
_PROBES = 64
"""Number of random positions at which a series is tested."""


class MeasuredFit(NamedTuple):
    """Low-rank form of measured PSFs: kernels (R, K, K), coefficients (R, G, G), and its error.

    The error is that of a PSF (2-norm) relative to its own norm, root mean square over the frame;
    None for a single PSF. ``warnings`` are about the measurements.
    """

    kernels: Float64
    coefficients: Float64
    relative_error: float | None
    num_used: int
    warnings: tuple[str, ...]


def fit_measured_psfs(
    psfs: ArrayLike, positions: ArrayLike, frame_shape: tuple[int, int], tolerance: float
) -> MeasuredFit:
    """Fit PSFs measured at some positions; see `PSFField.from_psfs`."""
    measured = check_measured_psfs(psfs, positions, frame_shape)
    notes, left_out = list(measured.warnings), []
    smoother, noise = _smooth(measured)
    held_out, noise_error, odd = _held_out_error(smoother, measured, noise)
    for _ in range(len(measured.psfs) // _FEW):
        if odd is None:
            break
        left_out.append(measured.planes[odd])
        measured = measured.without(odd)
        smoother, noise = _smooth(measured)
        held_out, noise_error, odd = _held_out_error(smoother, measured, noise)
    if left_out:
        planes = name_planes(np.array(left_out))
        notes.append(f"Left out, unlike the PSFs around, for example two beads or dust: {planes}.")
    if held_out is None:
        notes.append("One PSF is used for the whole frame: its variation and error are unknown.")
    allowed = max(tolerance, _ADDED_BY_NOISE * noise_error, _ADDED * (held_out or 0.0))
    kernels, coefficients, added = _fit_series(smoother, measured.samples, noise, allowed)
    return MeasuredFit(
        kernels.reshape(-1, *measured.psfs.shape[1:]),
        coefficients,
        None if held_out is None else math.hypot(held_out, added),
        len(measured.psfs),
        tuple(notes),
    )


def _smooth(measured: MeasuredPSFs) -> tuple[Smoother, Float64]:
    """Smoother of the PSFs, and the variance of the noise of each, summed over its pixels."""
    samples = measured.samples
    noise = np.square(measured.noise) * samples.shape[1]
    smoother = choose_smoother(measured.coordinates, samples, noise)
    if len(samples) == 1:
        return smoother, noise
    with_photons = _total_noise(measured, smoother)
    other = choose_smoother(measured.coordinates, samples, with_photons)
    # Fine details of PSFs that are not smooth in the frame look like noise of photons.
    if np.median(with_photons / noise) < _SURE or (
        len(samples) >= _FEW
        and _squared_error(other, samples) < _BETTER * _squared_error(smoother, samples)
    ):
        return other, with_photons
    return smoother, noise


def _squared_error(smoother: Smoother, samples: Float64) -> float:
    """Mean squared error of samples left out, relative to their power."""
    squares = np.sum(smoother.left_out_residuals(samples) ** 2, axis=1)
    return float(np.mean(squares / np.sum(samples**2, axis=1)))


def _total_noise(measured: MeasuredPSFs, smoother: Smoother) -> Float64:
    """Variance of the noise of each PSF, summed over its pixels, that of its photons included.

    It follows from the finest details of what the smooth function leaves: the PSF itself has
    few of them. At the border of a window there is only the camera's noise.
    """
    count, side = len(measured.psfs), measured.psfs.shape[1]
    left = smoother.left_out_residuals(measured.psfs.reshape(count, -1))
    left *= np.sqrt(1 - smoother.influence())[:, None]
    details = np.diff(np.diff(left.reshape(count, side, side), n=2, axis=1), n=2, axis=2) / 6
    border = np.square(measured.noise) * (side**2 - (side - 2) ** 2)
    dark = np.square(measured.noise) * side**2
    noise: Float64 = np.maximum(np.sum(details**2, axis=(1, 2)) + border, dark)
    return noise


def _held_out_error(
    smoother: Smoother, measured: MeasuredPSFs, noise: Float64
) -> tuple[float | None, float, int | None]:
    """Relative error of the field, by PSFs left out of the fit, and what is due to the noise.

    The noise of the left out PSFs is subtracted. The error is at least what the noise of the
    others makes, and larger if the frame extends beyond the PSFs. The last result is the number
    of a PSF that is exceptional.
    """
    samples, count = measured.samples, len(measured.psfs)
    if count == 1:
        return None, 0.0, None
    part = np.random.default_rng(0).permutation(count) % min(count, _FOLDS)
    squares, powers, floors = np.zeros((3, count))
    for number in range(part.max() + 1):
        left, kept = part == number, part != number
        fold = Smoother(smoother.points[kept], smoother.noise[kept], smoother.correlation)
        mean, components, error = _components(fold, samples[kept], noise[kept])
        psfs = fold.weights(smoother.points[left]) @ samples[kept]
        psfs = project_on_psfs(mean + (psfs - mean) @ components.T @ components)
        squares[left] = np.sum((samples[left] - psfs) ** 2, axis=1)
        powers[left] = np.sum(psfs**2, axis=1)
        floors[left] = error * np.mean(psfs > 0, axis=1)  # the projection removes noise elsewhere
    least = float(np.mean(floors / powers))
    squared = float(np.mean((squares - noise) / powers))
    axis = (np.arange(_GRID) + 0.5) / _GRID * 2 - 1
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    known = smoother.left_out_variance()
    beyond = float(smoother.variance(grid).mean() / known.mean()) if known.any() else 1.0
    squared = max(squared * max(beyond, 1.0), least)
    typical = known * np.median(np.maximum(squares - noise, 0) / np.maximum(known, 1e-300))
    unlikely = squares / (noise + typical)
    unlikely[squares <= _ODD_SHARE**2 * powers] = 0
    worst = int(unlikely.argmax())
    is_odd = count >= _FEW and unlikely[worst] > _ODD_ONE
    return math.sqrt(squared), math.sqrt(least), worst if is_odd else None


def _components(
    smoother: Smoother, samples: Float64, noise: Float64
) -> tuple[Float64, Float64, float]:
    """Mean PSF (P,), components (R, P) of the variation that exceed the noise, and their noise.

    The largest singular value of a matrix W N with fixed W and white noise N (N, P) is at most
    about |W|_2 sqrt(P) + |W|_F times its standard deviation.
    """
    size = samples.shape[1]
    weights = smoother.weights(smoother.points)
    mean = weights.mean(axis=0)
    psfs = weights @ samples
    average = mean @ samples
    scaled = (weights - mean) * np.sqrt(noise / size)
    edge = np.linalg.norm(scaled, 2) * math.sqrt(size) + np.linalg.norm(scaled)
    _, strengths, components = np.linalg.svd(psfs - average, full_matrices=False)
    negligible = 1e-9 * float(np.linalg.norm(psfs))
    rank = int(np.sum(strengths > max(float(edge), negligible)))
    error = float(mean**2 @ noise) + rank / size * float(np.mean(weights**2 @ noise))
    return average, components[:rank], error


def _fit_series(
    smoother: Smoother, samples: Float64, noise: Float64, allowed: float
) -> tuple[Float64, Float64, float]:
    """Kernels (R, P), coefficients (R, G, G), and the error that they add to the estimate."""
    points = np.random.default_rng(0).uniform(-1, 1, (_PROBES, 2))
    probes = np.vstack([smoother.points, points])
    mean, components, _ = _components(smoother, samples, noise)

    def psfs_at(positions: Float64) -> Float64:
        psfs = smoother.weights(positions) @ samples
        return project_on_psfs(mean + (psfs - mean) @ components.T @ components)

    exact = psfs_at(probes)
    kernels = _non_negative_kernels(psfs_at(chebyshev_nodes(ORDERS[2])), len(components), allowed)
    best: tuple[Float64, Float64, float] = kernels, kernels, np.inf
    for order in ORDERS:
        scores = (psfs_at(chebyshev_nodes(order)) - kernels[0]) @ kernels[1:].T
        scores = np.hstack([np.ones((len(scores), 1)), scores])
        coefficients = fit_series(scores, order)
        raised = without_negatives(kernels, coefficients)
        error = relative_error(sum_series(coefficients, probes) @ raised, exact)
        if error > _STALLED * best[2]:
            break  # not the order limits the accuracy
        best = raised, coefficients, error
        if error <= allowed:
            break
    return best


def _non_negative_kernels(psfs: Float64, max_rank: int, allowed: float) -> Float64:
    """Mean and components (R + 1, P) of PSFs (M, P), whose sums are nearly non-negative.

    Alternating projections on the PSFs and on the matrices of this rank, which is the least
    that represents the PSFs to half of the allowed error.
    """
    low = psfs
    for _ in range(20):
        mean = low.mean(axis=0)
        _, strengths, components = np.linalg.svd(low - mean, full_matrices=False)
        components = components[:max_rank]
        low = mean + (low - mean) @ components.T @ components
        if low.min() > -1e-4 * low.max():
            break
        low = project_on_psfs(low)
    power = np.mean(np.sum(psfs**2, axis=1)) * len(psfs)
    lost = np.cumsum(strengths[:max_rank][::-1] ** 2)[::-1]
    rank = int(np.sum(lost > (allowed / 2) ** 2 * power))
    return np.vstack([mean, components[:rank]])


def without_negatives(kernels: Float64, coefficients: Float64) -> Float64:
    """Kernels (R, P) with so much light added to the mean that no PSF in the frame is negative."""
    axis = np.cos(np.linspace(0, np.pi, 4 * coefficients.shape[1] + 13))
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    weights = sum_series(coefficients, grid).reshape(len(axis), len(axis), -1)
    chunks = math.ceil(kernels.shape[1] * len(grid) / _CHUNK)
    lowest = [_lower_bound(weights @ part) for part in np.array_split(kernels, chunks, axis=1)]
    rounding = 2e-7 * np.abs(weights).max(axis=(0, 1)) @ np.abs(kernels)  # to single precision
    missing = np.maximum(-np.concatenate(lowest), 0) + rounding
    raised = kernels.copy()
    raised[0] += missing
    raised /= 1 + missing.sum()
    return raised


def _lower_bound(values: Float64) -> Float64:
    """Minimum (P,) of smooth functions with values (M, M, P) on a grid, between its points too."""
    bound = values.copy()
    for axis in (0, 1):
        bend = np.maximum(np.diff(values, n=2, axis=axis), 0)
        padding = [(1, 1) if number == axis else (0, 0) for number in range(3)]
        bound -= np.pad(bend, padding, mode="edge") / 8  # sag of a parabola between two points
    lowest: Float64 = bound.min(axis=(0, 1))
    return lowest


def project_on_psfs(images: Float64) -> Float64:
    """Nearest images (N, P), in the 2-norm, that are not negative and have sum 1.

    See Duchi et al., Proc. ICML 2008, "Efficient projections onto the l1-ball".
    """
    falling = -np.sort(-images, axis=1)
    excess = np.cumsum(falling, axis=1) - 1
    counts = np.arange(1, images.shape[1] + 1)
    last = np.sum(falling * counts > excess, axis=1) - 1
    threshold = excess[np.arange(len(images)), last] / (last + 1)
    nearest: Float64 = np.maximum(images - threshold[:, None], 0)
    return nearest
