"""Iterations of Richardson-Lucy deconvolution: maximum likelihood under Poisson noise."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_coordgate.calibration.plane_noise import estimate_plane_camera
from napari_coordgate.config import Camera, RichardsonLucyConfig
from napari_coordgate.events import pluralize
from napari_coordgate.optics import BlurOperator
from napari_coordgate.optics.total_variation import curvature

EPS = 1e-6
"""Minimum of a denominator, relative to full brightness."""
MIN_SENSITIVITY = 1e-2
"""Scene pixels with a lower sensitivity are set to 0."""
WEIGHT_PER_NOISE, LEAST_WEIGHT, MOST_WEIGHT = 0.4, 0.002, 0.04
"""Weight of the total variation over the noise of a bright pixel, and bounds of the weight."""
UNKNOWN_NOISE_WEIGHT = 0.01
"""Weight of the total variation where the noise cannot be measured."""


class IterationEnd(NamedTuple):
    """How the iterations for a plane ended."""

    iterations: int
    maximum: int
    residual: float | None
    """Root mean square of the residual over that of the noise; None if the noise is unknown."""


def describe_ends(ends: Sequence[IterationEnd]) -> str:
    """How many iterations the planes of an image took, and whether the residual is the noise."""
    counts = sorted({end.iterations for end in ends})
    count = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    text = f"{count} of at most {pluralize(ends[0].maximum, 'iteration')}"
    known = [end.residual for end in ends if end.residual is not None]
    reached = sum(residual <= 1 for residual in known)
    if not known:
        return f"{text}; the noise is unknown, and so is whether the residual reached it"
    if len(ends) > 1:
        return f"{text}; the residual reached the noise in {reached} of {len(ends)} planes"
    if reached:
        return f"{text}; the residual reached the noise"
    return f"{text}; the residual, {known[0]:.3g} times the noise, did not reach it"


def richardson_lucy_iterations(
    image: NDArray[np.float32],
    blur: BlurOperator,
    config: RichardsonLucyConfig,
    camera: Camera | None,
    ends: list[IterationEnd] | None = None,
) -> Iterator[Tensor]:
    """Estimate (h, w) after each iteration of `richardson_lucy` on a scaled image (h, w).

    ``ends``, if given, takes how the iterations ended.
    """
    config.check_camera(camera)
    if camera is None or camera.photons is None:
        measured = config.total_variation is None or ends is not None
        noise = estimate_plane_camera(image) if measured else None
    else:
        noise = camera
    weight = config.total_variation
    if weight is None:
        weight = automatic_total_variation(image, noise)
    photons = None if camera is None else camera.photons
    read_noise = 0.0 if camera is None else camera.read_noise
    dark = 0.0 if photons is None else read_noise**2 / photons
    offset = max(dark, -float(image.min()), EPS)
    observed = torch.from_numpy(image.copy()).to(blur.device).add_(offset)
    brightness = (observed.mean() - offset).clamp_min(EPS)
    estimate = _Estimate(torch.ones_like(blur.sensitivity) * brightness)
    inverse = torch.where(blur.sensitivity > MIN_SENSITIVITY, blur.sensitivity.reciprocal(), 0)
    for number in range(config.num_iter):
        expected = blur(estimate.scene).add_(offset).clamp_min_(EPS)
        if config.discrepancy and camera is not None and photons:
            residual = _residual(observed, expected, offset, camera)
            if residual <= 1:
                yield blur.crop(estimate.scene)
                if ends is not None:
                    ends.append(IterationEnd(number, config.num_iter, residual))
                return
        update = blur.adjoint(torch.div(observed, expected, out=expected)).mul_(inverse)
        if weight:
            # Positive, as the curvature is at most 2 + sqrt(2) and the weight below 0.25.
            update /= 1 - weight * curvature(estimate.scene)
        estimate.multiply(update, accelerate=config.accelerate)
        yield blur.crop(estimate.latest)
    if ends is not None:
        last = None
        if noise is not None:
            expected = blur(estimate.latest).add_(offset).clamp_min_(EPS)
            last = _residual(observed, expected, offset, noise)
        ends.append(IterationEnd(config.num_iter, config.num_iter, last))


def _residual(observed: Tensor, expected: Tensor, offset: float, camera: Camera) -> float:
    """Root mean square of the residual over that of the noise; ``offset`` was added to both."""
    assert camera.photons is not None
    dark = camera.read_noise**2 / camera.photons
    variance = (expected + (dark - offset)).clamp_min_(EPS).div_(camera.photons)
    return math.sqrt((observed - expected).square_().div_(variance).mean().item())


def automatic_total_variation(image: NDArray[np.float32], camera: Camera | None) -> float:
    """Weight for the noise of a scaled image (h, w), measured in the image if it is unknown."""
    if camera is None or camera.photons is None:
        camera = estimate_plane_camera(image)
    if camera is None or camera.photons is None:
        return UNKNOWN_NOISE_WEIGHT
    noise = math.sqrt(camera.photons + camera.read_noise**2) / camera.photons
    return min(max(WEIGHT_PER_NOISE * noise, LEAST_WEIGHT), MOST_WEIGHT)


class _Estimate:
    """Latest estimate of the scene (H, W), and ``scene``, its extrapolation to iterate from."""

    def __init__(self, scene: Tensor) -> None:
        self.scene = self.latest = scene
        self._steps = 0

    def multiply(self, update: Tensor, *, accelerate: bool) -> None:
        """Multiply by an update; optionally extrapolate along the direction of the last step."""
        latest = update.mul_(self.scene).clamp_min_(0)
        if accelerate:
            # The momentum does not depend on the steps, whose direction the total variation
            # makes alternate where the image is flat.
            momentum = self._steps / (self._steps + 3)
            self.scene = torch.lerp(self.latest, latest, 1 + momentum).clamp_min_(0)
        else:
            self.scene = latest
        self.latest, self._steps = latest, self._steps + 1
