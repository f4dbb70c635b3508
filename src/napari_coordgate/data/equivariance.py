"""Equivariance: a deblurred image that is moved, turned and shrunk is a scene, too.

A network has to recover such a scene from its blur elsewhere in the frame, where the PSF is
another (equivariant imaging; Chen, Tachella and Davies, ICCV 2021).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor
from torch.nn import functional

from napari_coordgate.data.held_out import HeldOut, inner_window
from napari_coordgate.geometry import Window
from napari_coordgate.optics import PSFField
from napari_coordgate.simulation import add_camera_noise

MIN_SCALE = 0.5
"""Smallest size of a moved image, relative to the image."""


class Moved(NamedTuple):
    """Scene (h, w) made of a deblurred image, and its blurred image (h, w) at its window."""

    scene: Tensor
    blurred: Tensor
    window: Window
    inner: Window
    """Part of the window that no light reaches from beyond the border, where all is mirrored."""

    def error(self, deblurred: Tensor) -> Tensor:
        """Mean squared error of the deblurred image (h, w) of the scene."""
        inside = self.inner.within(self.window)
        return (deblurred[inside] - self.scene[inside]).square().mean()


def moved(deblurred: Tensor, held_out: HeldOut, psf_field: PSFField) -> Moved:
    """Move the deblurred image (h, w) of a window elsewhere, and record it with the PSFs there."""
    window, seed = held_out.elsewhere, held_out.seed
    scene = moved_scene(deblurred.detach(), np.random.default_rng(seed))
    blur = psf_field.operator(window, scene_window=window, device=scene.device)
    blurred = add_camera_noise(blur(scene), held_out.camera, seed)
    return Moved(scene, blurred, window, inner_window(psf_field, window))


def moved_scene(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Image (h, w) flipped, perhaps transposed, shrunk and shifted; mirrored beyond its border."""
    image = image.clamp_min(0).flip([axis for axis in (0, 1) if rng.random() < 0.5])
    if image.shape[0] == image.shape[1] and rng.random() < 0.5:
        image = image.mT
    scale = rng.uniform(MIN_SCALE, 1)
    size = [max(n // 2 + 1, round(scale * n)) for n in image.shape]
    small = functional.interpolate(image[None, None], size, mode="bilinear", antialias=True)
    padding: list[int] = []
    for n, m in zip(reversed(image.shape), reversed(size), strict=True):
        before = int(rng.integers(n - m + 1))
        padding += [before, n - m - before]
    return functional.pad(small, padding, mode="reflect")[0, 0]
