"""From counts to photons: the noise in an image of beads, given or estimated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special, stats
from torch import Tensor

from napari_coordgate.config import Camera
from napari_coordgate.errors import SettingsError

Array = NDArray[np.float64]

LEAST_READ_NOISE = 0.3
"""Electrons; keeps the weights of pixels without light finite."""
MAX_SQUARE = 25.0
"""Most that the square of a residual counts, in variances: beads may not fit."""


@dataclass(frozen=True)
class CountNoise:
    """Noise of an image: its variance is ``variance + gain * (counts - level)``.

    In `photons` its variance is its mean, as that of a Poisson distribution.
    """

    gain: float
    level: float
    variance: float
    known: bool

    @classmethod
    def of(
        cls, camera: Camera | None, level: float, deviation: float, darkest: float
    ) -> CountNoise:
        """Noise of a camera; without one, a guess from the background and its deviation."""
        if camera is None:
            gain = max(deviation**2 / max(level - darkest, deviation, 1e-12), 1e-12)
            return cls(gain, level, deviation**2, known=False)
        if camera.electrons_per_count is None:
            raise SettingsError(
                "The camera of a calibration needs electrons_per_count; set it, or leave out the "
                "camera to estimate its noise from the image."
            )
        gain = 1.0 / camera.electrons_per_count
        if camera.offset is None:
            return cls(gain, level, deviation**2, known=True)
        return cls(gain, camera.offset, (gain * camera.read_noise) ** 2, known=True)

    def scaled(self, factor: float) -> CountNoise:
        """Noise that grows faster with the light by a factor, and is the same at its level."""
        return replace(self, gain=self.gain * factor)

    def photons(self, counts: Array) -> Array:
        """Counts as photons, whose variance is their mean."""
        return (counts - self.level) / self.gain + self._read

    def counts(self, photons: Array) -> Array:
        """Inverse of `photons`."""
        return (photons - self._read) * self.gain + self.level

    @property
    def _read(self) -> float:
        """Variance at the level, in photons."""
        return max(self.variance / self.gain**2, LEAST_READ_NOISE**2)


def estimate_gain(light: Tensor, squared: Tensor, base: Tensor) -> float:
    """How much faster the variance of pixels grows with the light of beads than expected.

    ``light`` is in photons, so that the expected variance is ``base + light``; ``squared`` are
    squares of residuals.
    """
    slope = 1.0
    for _ in range(10):
        variance = (slope * light + base).clamp(min=1e-6)
        weight = variance**-2.0
        excess = torch.minimum(squared, MAX_SQUARE * variance) - base
        slope = float((weight * light * excess).sum() / (weight * light**2).sum())
        slope = min(max(slope, 0.02), 50.0)
    return slope


def expected_deviance(expected: Tensor) -> Tensor:
    """Mean deviance of pixels in which these numbers of photons are expected."""
    levels, means = _mean_deviances()
    return torch.from_numpy(np.interp(np.log(expected.numpy()), np.log(levels), means))


@lru_cache(maxsize=1)
def _mean_deviances() -> tuple[Array, Array]:
    """Mean deviances of pixels at some levels of light, in photons."""
    levels = np.geomspace(1e-3, 1e3, 100)
    return levels, np.array([_mean_deviance(level) for level in levels])


def _mean_deviance(level: float) -> float:
    counts = np.arange(int(level + 12.0 * np.sqrt(level) + 25.0))
    logarithm = special.xlogy(counts, counts / level)
    return float(np.sum(stats.poisson.pmf(counts, level) * 2.0 * (level - counts + logarithm)))
