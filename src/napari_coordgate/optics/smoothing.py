"""Smooth functions of the position in the frame, estimated from noisy samples.

Kriging (Gaussian process regression) with a constant mean: the samples at N points are values of
a smooth function plus noise of known variance. The estimate at any point is a weighted sum of the
samples, with weights of sum 1. How smooth the function is follows from leaving out each sample
once, for which closed forms exist (Rasmussen and Williams, Gaussian Processes for Machine
Learning, 2006, sections 2.7 and 5.4.2).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

_JITTER = 1e-9
"""Variance of noise that is always assumed, relative to that of the function."""
_LENGTHS = {"gaussian": (2.4, 1.6, 1.1, 0.75, 0.5), "matern": (4.0, 2.5, 1.5, 1.0, 0.7)}
"""Length scales of the correlation, in frame coordinates, that are tried; longest first."""
_VARIANCES = (1.0, 0.1, 10.0, 100.0, 1000.0)
"""Variances that are tried, relative to that of the samples; long scales need large ones."""
_FEW = 6
"""Fewer samples do not tell how smooth the function is."""
_MAX_SAMPLES = 300
"""More samples do not help to choose the smoothness, and take long."""


@dataclass(frozen=True)
class Correlation:
    """How alike the function is at two points of a distance, and its variance.

    ``matern`` is the Matern kernel of order 5/2. A variance of 0 is a constant function.
    """

    kind: str = "gaussian"
    length: float = 1.0
    variance: float = 0.0

    def __call__(self, first: Float64, second: Float64) -> Float64:
        """Covariance (M, N) of the function at points (M, 2) and (N, 2)."""
        squares = np.sum((first[:, None] - second) ** 2, axis=-1) / self.length**2
        if self.kind == "gaussian":
            return np.asarray(self.variance * np.exp(-squares / 2), np.float64)
        scaled = np.sqrt(5 * squares)
        shape = (1 + scaled + scaled**2 / 3) * np.exp(-scaled)
        return np.asarray(self.variance * shape, np.float64)


@dataclass(frozen=True, eq=False)
class Smoother:
    """Estimate of a function from samples at points (N, 2) with noise variances (N,)."""

    points: Float64
    noise: Float64
    correlation: Correlation

    @cached_property
    def _inverse(self) -> Float64:
        """Inverse of the covariance of the samples."""
        covariance = self.correlation(self.points, self.points) + np.diag(self.noise)
        return np.asarray(np.linalg.inv(covariance), np.float64)

    @cached_property
    def _precision(self) -> Float64:
        """Inverse covariance of the samples' deviations from their unknown mean."""
        total = self._inverse.sum(axis=1)
        return np.asarray(self._inverse - np.outer(total, total) / total.sum(), np.float64)

    def weights(self, points: Float64) -> Float64:
        """Weights (M, N), of sum 1, of the samples in the estimates at points (M, 2)."""
        total = self._inverse.sum(axis=1)
        weights = self.correlation(points, self.points) @ self._precision + total / total.sum()
        return np.asarray(weights, np.float64)

    def variance(self, points: Float64) -> Float64:
        """Expected squared error (M,) of the estimates at points (M, 2)."""
        covariance, total = self.correlation(points, self.points), self._inverse.sum(axis=1)
        known = np.sum((covariance @ self._inverse) * covariance, axis=1)
        mean = (1 - covariance @ total) ** 2 / total.sum()
        return np.asarray(np.maximum(self.correlation.variance - known + mean, 0), np.float64)

    def left_out_variance(self) -> Float64:
        """Expected squared error (N,) of the estimate of each sample from the others."""
        return np.maximum(1 / np.diag(self._precision) - self.noise, 0)

    def left_out_residuals(self, samples: Float64) -> Float64:
        """Sample minus its estimate from the others, (N, P) for samples (N, P)."""
        return np.asarray(self._precision @ samples / np.diag(self._precision)[:, None], np.float64)

    def left_out_surprise(self, products: Float64) -> float:
        """Mean negative log probability of each sample given the others, up to constants.

        It follows from the samples' products (N, N). Both errors that are larger than expected and
        an expectation of large errors count.
        """
        precision = np.diag(self._precision)
        squares = np.sum((self._precision @ products) * self._precision, axis=1) / precision**2
        return float(np.mean(squares * precision - np.log(precision)))

    def influence(self) -> Float64:
        """Weight (N,) of each sample in the estimate at its own point, from 0 to 1."""
        return np.clip(1 - self.noise * np.diag(self._precision), 0, 1)


def choose_smoother(points: Float64, samples: Float64, noise: Float64) -> Smoother:
    """Smoother for samples (N, P) of noise variances (N,), summed over P.

    Of all smoothers, it makes left out samples most probable, given the others and the noise.
    """
    chosen = np.arange(len(points))
    if len(points) > _MAX_SAMPLES:
        chosen = np.random.default_rng(0).choice(len(points), _MAX_SAMPLES, replace=False)
    at, products = points[chosen], samples[chosen] @ samples[chosen].T
    spread = float(np.mean(np.sum((samples - samples.mean(axis=0)) ** 2, axis=1)))
    power = np.diag(products)
    variance = max(spread - float(noise.mean()), 1e-3 * spread, 1e-12 * float(power.mean()))
    candidates = _candidates(variance)
    if len(points) < _FEW and spread > 1.3 * float(noise.mean()):
        candidates = candidates[1:]  # they differ, although one cannot be predicted from the others
    best, least = candidates[0], np.inf
    for correlation in candidates:
        smoother = Smoother(at, _floor(noise[chosen], correlation, variance), correlation)
        surprise = smoother.left_out_surprise(products) if len(at) > 1 else 0.0
        if surprise < least - 1e-6:
            best, least = correlation, surprise
    return Smoother(points, _floor(noise, best, variance), best)


def _candidates(variance: float) -> list[Correlation]:
    """Correlations to choose from, the simplest first."""
    return [Correlation()] + [
        Correlation(kind, length, factor * variance)
        for kind, lengths in _LENGTHS.items()
        for length in lengths
        for factor in _VARIANCES
    ]


def _floor(noise: Float64, correlation: Correlation, variance: float) -> Float64:
    """Noise variances, not so small that the covariance cannot be inverted."""
    return np.maximum(noise, _JITTER * max(correlation.variance, variance))
