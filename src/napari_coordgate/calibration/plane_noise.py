"""Noise of a single scaled plane, for methods that depend on it where the camera is unknown."""

import math
from typing import Any

from numpy.typing import NDArray

from napari_coordgate.calibration.counts import (
    MIN_SIDE,
    Counting,
    Maps,
    Stack,
    sample_window,
    take_samples,
)
from napari_coordgate.calibration.mean_variance import fit_line
from napari_coordgate.config import Camera

LEAST_SHARE = 1e-3
"""Least part of the variance of a bright pixel that is taken for photon noise."""


def estimate_plane_camera(plane: NDArray[Any]) -> Camera | None:
    """Camera with the noise of a plane (h, w) scaled to 0 to 1; None if it cannot be measured."""
    if min(plane.shape) < MIN_SIDE:
        return None
    stack = Stack([plane[sample_window(plane.shape, 1, 0)]], Maps(None, None, None))
    line = fit_line(take_samples([stack], Counting.of([stack]).clip, pairs=False))
    if line is None or max(line.at(0.0), line.at(1.0)) <= 0:
        return None
    dark, bright = max(line.at(0.0), 0.0), line.at(1.0)
    share = max(bright - dark, LEAST_SHARE * max(dark, bright))
    return Camera(photons=1 / share, read_noise=math.sqrt(dark) / share)
