"""Held-out photons of blurred images: a loss without sharp images.

The counts of each pixel are split at random. Both parts are independent, so a network that
deblurs one of them can be judged by the other: the blur of its result has to predict it. This is
the generalized recorrupted-to-recorrupted loss (Monroy, Bacca and Tachella, CVPR 2025).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_coordgate.config import Camera
from napari_coordgate.data.planes import Plane
from napari_coordgate.geometry import Window
from napari_coordgate.normalization import Normalizer
from napari_coordgate.optics import BlurOperator, PSFField

Float32 = NDArray[np.float32]

HELD_OUT_SHARE = 0.15
"""Part of the photons that the network does not see."""
MIN_INSIDE = 16
"""Least side of the part of a window whose light is all from the window, pixels."""


MULTIPLE = 16
"""Origins of windows are multiples of so many pixels, as the levels of a U-Net need."""


class HeldOut(NamedTuple):
    """Window of a blurred image without some of its photons, and these photons (h, w), scaled."""

    kept: Float32
    held: Float32
    window: Window
    camera: Camera
    """Noise of the part that is kept."""
    elsewhere: Window
    """Another window of the frame, of the same shape."""
    seed: int

    def error(self, deblurred: Tensor, psf_field: PSFField) -> Tensor:
        """Mean squared error of the blurred result (..., h, w) against the photons held out."""
        blur = inner_operator(psf_field, self.window, deblurred.device)
        held = torch.from_numpy(self.held[blur.window.within(self.window)]).to(deblurred.device)
        error: Tensor = (blur(deblurred) - held).square().mean()
        return error


def split_photons(
    scaled: Float32, camera: Camera, rng: np.random.Generator, share: float = HELD_OUT_SHARE
) -> tuple[Float32, Float32]:
    """Two independent images, of most of the photons and of a share of them, equal on average.

    The variance of the read noise is counted as photons (Snyder's shift).
    """
    assert camera.photons is not None
    dark = camera.read_noise**2
    counts = np.rint(np.maximum(scaled * camera.photons + dark, 0)).astype(np.int64)
    held = rng.binomial(counts, share)
    parts = (counts - held) / (1 - share), held / share
    kept, held_out = (((part - dark) / camera.photons).astype(np.float32) for part in parts)
    return kept, held_out


def kept_camera(camera: Camera, share: float = HELD_OUT_SHARE) -> Camera:
    """Noise of an image without a share of its photons."""
    assert camera.photons is not None
    return Camera(
        photons=camera.photons * (1 - share), read_noise=camera.read_noise * np.sqrt(1 - share)
    )


def inner_window(psf_field: PSFField, window: Window) -> Window:
    """Part of a window whose light is all from the window; all of it if it is too small."""
    radius = psf_field.radius
    if min(window.shape) < 2 * radius + MIN_INSIDE:
        return window
    height, width = (n - 2 * radius for n in window.shape)
    return Window(window.y0 + radius, window.x0 + radius, height, width)


def inner_operator(psf_field: PSFField, window: Window, device: torch.device) -> BlurOperator:
    """Blur of a scene on a window, mirrored at its border, onto the part inside."""
    inner = inner_window(psf_field, window)
    return psf_field.operator(inner, scene_window=window, device=device)


class BlurredWindows:
    """Random windows of blurred images, their photons split; each depends on its index alone."""

    def __init__(
        self,
        planes: Sequence[Plane],
        ranges: Sequence[Normalizer],
        cameras: Sequence[Camera],
        psf_field: PSFField,
        window_size: int,
        seed: int,
    ) -> None:
        self.planes, self.ranges, self.cameras = planes, ranges, cameras
        self.psf_field, self.seed = psf_field, seed
        needed = max(window_size, 2 * psf_field.radius + 2 * MIN_INSIDE)
        side = -(-needed // MULTIPLE) * MULTIPLE
        height, width = (min(side, n) for n in psf_field.frame_shape)
        self.shape = height, width

    def sample(self, index: int) -> HeldOut:
        """Random window of a random image."""
        rng = np.random.default_rng([self.seed, 6, index])
        chosen = int(rng.integers(len(self.planes)))
        window = self._window(rng)
        inside = window.within(Window.whole(self.psf_field.frame_shape))
        scaled = self.ranges[chosen].normalize(self.planes[chosen].read()[inside])
        kept, held = split_photons(scaled, self.cameras[chosen], rng)
        elsewhere, seed = self._window(rng), int(rng.integers(2**31))
        return HeldOut(kept, held, window, kept_camera(self.cameras[chosen]), elsewhere, seed)

    def _window(self, rng: np.random.Generator) -> Window:
        """Random window of the frame."""
        y0, x0 = (
            int(rng.integers(n - m + 1)) // MULTIPLE * MULTIPLE
            if rng.random() < 0.9
            else n - m  # else the last pixels of some frames would be in no window
            for n, m in zip(self.psf_field.frame_shape, self.shape, strict=True)
        )
        return Window(y0, x0, *self.shape)
