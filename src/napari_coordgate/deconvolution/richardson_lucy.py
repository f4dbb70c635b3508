"""Iterations of Richardson-Lucy deconvolution: maximum likelihood under Poisson noise."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_coordgate.config import Camera, RichardsonLucyConfig
from napari_coordgate.optics import BlurOperator

EPS = 1e-6
"""Minimum of a denominator, relative to full brightness."""
MIN_SENSITIVITY = 1e-2
"""Scene pixels with a lower sensitivity are set to 0."""


def richardson_lucy_iterations(
    image: NDArray[np.float32],
    blur: BlurOperator,
    config: RichardsonLucyConfig,
    camera: Camera | None,
) -> Iterator[Tensor]:
    """Estimate (h, w) after each iteration of `richardson_lucy` on a scaled image (h, w)."""
    config.check_camera(camera)
    photons = None if camera is None else camera.photons
    read_noise = 0.0 if camera is None else camera.read_noise
    dark = 0.0 if photons is None else read_noise**2 / photons
    offset = max(dark, -float(image.min()), EPS)
    observed = torch.from_numpy(image.copy()).to(blur.device).add_(offset)
    brightness = (observed.mean() - offset).clamp_min(EPS)
    estimate = _Estimate(torch.ones_like(blur.sensitivity) * brightness)
    inverse = torch.where(blur.sensitivity > MIN_SENSITIVITY, blur.sensitivity.reciprocal(), 0)
    for _ in range(config.num_iter):
        expected = blur(estimate.scene).add_(offset).clamp_min_(EPS)
        if config.discrepancy and photons:
            variance = (expected + (dark - offset)).clamp_min_(EPS).div_(photons)
            if (observed - expected).square_().div_(variance).mean() <= 1:
                yield blur.crop(estimate.scene)
                return
        update = blur.adjoint(torch.div(observed, expected, out=expected))
        if config.total_variation:
            smoothed = blur.sensitivity - config.total_variation * _curvature(estimate.scene)
            update = torch.where(inverse > 0, update / smoothed.clamp_min(MIN_SENSITIVITY), 0)
        else:
            update *= inverse
        estimate.multiply(update, accelerate=config.accelerate)
        yield blur.crop(estimate.latest)


class _Estimate:
    """Latest estimate of the scene (H, W), and ``scene``, its extrapolation to iterate from."""

    def __init__(self, scene: Tensor) -> None:
        self.scene = self.latest = scene
        self._step: Tensor | None = None

    def multiply(self, update: Tensor, *, accelerate: bool) -> None:
        """Multiply by an update; optionally extrapolate along the direction of the last steps."""
        latest = update.mul_(self.scene).clamp_min_(0)
        if accelerate:
            step, previous = (latest - self.scene).flatten(), self._step
            factor = 0.0
            if previous is not None:
                factor = float((step @ previous) / (previous @ previous).clamp_min(EPS**2))
            weight = 1 + min(max(factor, 0.0), 1.0)
            self.scene = torch.lerp(self.latest, latest, weight).clamp_min_(0)
            self._step = step
        else:
            self.scene = latest
        self.latest = latest


def _curvature(scene: Tensor) -> Tensor:
    """Divergence of the normalized gradient of a scene (H, W); negative at peaks."""
    down, right = (torch.diff(scene, dim=axis, append=scene.narrow(axis, -1, 1)) for axis in (0, 1))
    length = (down.square() + right.square() + EPS).sqrt()
    down, right = down / length, right / length
    rows = torch.diff(down, dim=0, prepend=torch.zeros_like(down[:1]))
    columns = torch.diff(right, dim=1, prepend=torch.zeros_like(right[:, :1]))
    return rows + columns
