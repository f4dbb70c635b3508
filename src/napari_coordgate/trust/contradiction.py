"""Contradiction of a deblurred image with the image that it was made of.

The residual of a pixel and its variance are

    d = y - H x,   v = max(H x, 0) / N + r^2 / N^2 + (f s)^2,

with the image y, the deblurred image x, the blur H, N photons at full brightness and the read noise
r. Light from beyond the image is not known: f is the fraction of a pixel's light from there, and s
the largest x, so that little is said of a border as wide as the blur. If x is the scene, d is noise
of variance v. Two local statistics tell whether it is: the mean of d^2 / v exceeds 1 where the
noise is stronger, or details are in x that the image denies; the mean of d differs from 0 where x
is too bright or too dark. No method is exact: a tolerance t, a small fraction of full brightness,
is added to the standard deviation. It is calibrated so that good results are seldom contradicted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from scipy.stats import chi2

from napari_coordgate.config import Camera
from napari_coordgate.geometry import Window, tiles
from napari_coordgate.optics import PSFField

Float32 = NDArray[np.float32]

SIDES = 7, 15
"""Sides of the windows of the means, pixels; the smaller one also for the mean of z^2."""
ERROR_RATE = 0.05
"""Fraction of planes in which a true scene is contradicted anywhere, at most."""

_MIN_ELECTRONS = 0.5  # Variance that keeps z finite where there is neither light nor read noise.
_TILE = 1024  # Side of the parts in which a plane is blurred, pixels.


class Reblurred(NamedTuple):
    """Deblurred plane, blurred again (h, w), and the fraction of the light from beyond it."""

    expected: Float32
    outside: Float32


def blur_again(psf_field: PSFField, deblurred: Float32, window: Window) -> Reblurred:
    """Blur a plane that shows this window of the frame, in parts; beyond, it is mirrored."""
    expected, outside = np.empty_like(deblurred), np.empty_like(deblurred)
    whole, radius = Window.whole(window.shape), psf_field.radius
    for tile, around in tiles(window.shape, _TILE + 2 * radius, radius, 1):
        part = tile.shifted(window.origin)
        scene_window = around.shifted(window.origin)
        operator = psf_field.operator(part, scene_window=scene_window, device=torch.device("cpu"))
        scene = torch.from_numpy(np.ascontiguousarray(deblurred[around.within(whole)]))
        with torch.inference_mode():
            expected[tile.within(whole)] = operator(scene).numpy()
        outside[tile.within(whole)] = _outside(psf_field, part, window)
    return Reblurred(expected, outside)


def _outside(psf_field: PSFField, part: Window, window: Window) -> Float32:
    """Fraction (h, w) of the light of each pixel of a part that comes from beyond a window."""
    if window.contains(part.expanded(psf_field.radius)):
        return np.zeros(part.shape, np.float32)
    scene_window = psf_field.input_window(part)
    operator = psf_field.operator(part, scene_window=scene_window, device=torch.device("cpu"))
    inside = torch.zeros(scene_window.shape)
    shown = scene_window.shifted((-window.y0, -window.x0)).clipped(window.shape)
    inside[shown.shifted(window.origin).within(scene_window)] = 1.0
    with torch.inference_mode():
        share = operator(inside)
        if operator.gain is not None:
            share = share / operator.gain
    fraction: Float32 = (1 - share).clamp(0, 1).numpy()
    return fraction


class Residual(NamedTuple):
    """What a deblurred plane, blurred again, differs from the image (h, w), and its variance."""

    values: Float32
    variance: Float32
    """That of the noise."""
    border: Float32
    """That of light from beyond the image, which is not independent from pixel to pixel."""

    @classmethod
    def of(cls, blurred: Float32, deblurred: Float32, camera: Camera, again: Reblurred) -> Residual:
        """Residual of a scaled plane with this noise."""
        photons = camera.photons
        assert photons is not None
        electrons = np.maximum(again.expected, 0) * photons
        variance = (electrons + max(camera.read_noise**2, _MIN_ELECTRONS)) / photons**2
        border = np.square(again.outside * max(float(deblurred.max()), 0.0))
        return cls(blurred - again.expected, variance.astype(np.float32), border)


def contradiction_map(residual: Residual, tolerance: float = 0.0) -> Float32:
    """Largest of the local statistics of a residual (h, w) over its threshold; above 1 contradicts.

    A threshold is exceeded anywhere in a plane by noise with a probability of at most 5 %: that of
    each pixel is 5 % divided by the number of pixels and statistics (Bonferroni).
    """
    values, variance, border = residual
    systematic = border + np.float32(tolerance**2)
    sides = [min(side, *values.shape) for side in SIDES]
    rate = ERROR_RATE / (values.size * (1 + len(sides)))
    degrees = sides[0] ** 2
    standardized = np.square(values) / (variance + systematic)
    squares = _local_mean(standardized.astype(np.float32, copy=False), sides[0])
    ratios = [squares / np.float32(threshold(rate, degrees))]
    for side in sides:
        expected = _local_mean(variance, side) / side**2 + _local_mean(systematic, side)
        bias = np.square(_local_mean(values, side)) / expected
        ratios.append(bias / np.float32(threshold(rate, 1)))
    largest: Float32 = np.maximum.reduce(ratios)
    return largest


def threshold(rate: float, degrees: int) -> float:
    """Quantile of the mean of the squares of so many standard normal numbers."""
    return float(chi2.isf(rate, degrees)) / degrees


def _local_mean(values: Float32, side: int) -> Float32:
    """Mean over windows inside the plane; at its border that of the nearest one."""
    before = side // 2
    after = side - 1 - before
    height, width = values.shape
    inside = uniform_filter(values, side)[before : height - after, before : width - after]
    means: Float32 = np.pad(inside, ((before, after), (before, after)), mode="edge")
    return means
