"""Deviance of beads, relative to that of noise alone."""

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.calibration.beads_noise import expected_deviance
from napari_coordgate.calibration.beads_solver import BeadWindows, Evaluation, poisson_deviance

Array = NDArray[np.float64]

CORE = 0.03
"""Part of the largest light from which on a pixel belongs to the core of a bead."""


def reduced_deviance(at: Evaluation, windows: BeadWindows) -> float:
    """Deviance of all pixels, relative to that of noise alone."""
    expected = (expected_deviance(at.expected) * windows.used).sum()
    return float(at.deviance.sum() / (expected - _values_per_bead(windows) * len(at.deviance)))


def bead_deviance(at: Evaluation, windows: BeadWindows, part: float = CORE) -> tuple[Array, Array]:
    """Deviance (N,) of each bead, relative to noise alone, and the number of its pixels (N,).

    The pixels are those with more than this part of the largest light of the bead.
    """
    core = windows.used * (at.light >= part * at.light.amax((2, 3), keepdim=True))
    deviance = (poisson_deviance(windows.counts, at.expected) * core).sum((1, 2, 3))
    expected = (expected_deviance(at.expected) * core).sum((1, 2, 3))
    free = (expected - _values_per_bead(windows)).clamp(min=1.0)
    return (deviance / free).numpy(), free.numpy()


def _values_per_bead(windows: BeadWindows) -> int:
    """Number of values that are fitted to each bead."""
    return 3 + len(windows.z_um)
