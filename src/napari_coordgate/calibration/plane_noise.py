"""Noise of a single scaled plane, for methods that depend on it where the camera is unknown."""

import math
from typing import Any

from numpy.typing import NDArray

from napari_coordgate.calibration.noise import estimate_noise
from napari_coordgate.config import Camera
from napari_coordgate.errors import ImageError

SIDE = 512
"""Side of the middle of a plane on which its noise is measured, pixels; more takes seconds."""
LEAST_SHARE = 1e-3
"""Least part of the variance of a bright pixel that is taken for photon noise."""


def middle_of(shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Part of a plane of this shape on which its noise is measured."""
    return tuple(slice(max(n - SIDE, 0) // 2, max(n - SIDE, 0) // 2 + SIDE) for n in shape)


def estimate_plane_camera(plane: NDArray[Any]) -> Camera | None:
    """Camera with the noise of a plane (h, w) scaled to 0 to 1; None if it cannot be measured."""
    try:
        estimate = estimate_noise(plane[middle_of(plane.shape)])
    except ImageError:  # too small, or too flat
        return None
    dark, bright = (max(float(estimate.variance(light)), 0.0) for light in (0.0, 1.0))
    share = max(bright - dark, LEAST_SHARE * max(dark, bright))
    return Camera(photons=1 / share, read_noise=math.sqrt(dark) / share) if share else None
