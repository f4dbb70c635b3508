"""Unrolled Richardson-Lucy deconvolution whose steps are corrected by gated U-Nets.

The blur is an argument and not in the weights, so one network serves every lens. Its gates are
functions of what is known of the measurement: the noise, and how uncertain the lens is.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from napari_coordgate.config import UnrolledConfig
from napari_coordgate.networks.scene_coordinates import Noise
from napari_coordgate.networks.unet import UNet
from napari_coordgate.optics import BlurOperator
from napari_coordgate.optics.total_variation import curvature

MIN_SENSITIVITY = 1e-2
"""Scene pixels with a lower sensitivity are not estimated from the image."""
MIN_OFFSET = 1e-3
"""Minimum of the expected image, relative to full brightness."""
TOTAL_VARIATION, TOTAL_VARIATION_LIMITS = 0.8, (0.003, 0.05)
"""Weight of the total variation times the root of the photons, and its range."""
MIN_SMOOTHED = 0.2
QUANTILE = 0.9
"""Quantile of the absolute error that the network predicts."""

_UPDATE_LIMIT, _RESIDUAL_LIMIT, _RESIDUAL_SCALE = 4.0, 5.0, 0.3
_LOG_ERROR = -4.0
"""Logarithm of the error before training, about 0.02 of full brightness."""


class Deblurred(NamedTuple):
    """Result of an unrolled network: images (B, 1, h, w)."""

    image: Tensor
    """Deblurred image, not negative."""
    log_error: Tensor
    """Natural logarithm of the 90 % quantile of its absolute error."""


class _Problem(NamedTuple):
    """Deconvolution of one batch of images, which share a lens and a window."""

    observed: Tensor
    """Image plus offset, (B, 1, h, w)."""
    offset: Tensor
    noise: Noise
    operator: BlurOperator

    @classmethod
    def of(cls, blurred: Tensor, noise: Noise, operator: BlurOperator) -> _Problem:
        offset = noise.dark.clamp_min(MIN_OFFSET)
        return cls((blurred + offset).clamp_min(0), offset, noise, operator)

    def normalized_adjoint(self, image: Tensor) -> Tensor:
        """Adjoint blur of an image (B, 1, h, w), divided by the adjoint of ones."""
        sensitivity = self.operator.sensitivity
        inverse = torch.where(sensitivity > MIN_SENSITIVITY, sensitivity.reciprocal(), 0)
        return self.operator.adjoint(image) * inverse

    def update(self, expected: Tensor) -> Tensor:
        """Factor (B, 1, H, W) by which Richardson-Lucy multiplies a scene."""
        return self.normalized_adjoint(self.observed / expected)

    def expected(self, scene: Tensor) -> Tensor:
        """Expected image plus offset of a scene (B, 1, H, W)."""
        return (cast(Tensor, self.operator(scene)) + self.offset).clamp_min(MIN_OFFSET / 10)

    def whitened_gradient(self, expected: Tensor) -> Tensor:
        """Adjoint of the residual in units of its standard deviation."""
        dark = self.noise.dark / self.noise.photons
        variance = (expected - self.offset).clamp_min(MIN_OFFSET) / self.noise.photons + dark
        gradient = self.normalized_adjoint((self.observed - expected) / variance.sqrt())
        return _RESIDUAL_SCALE * gradient.clamp(-_RESIDUAL_LIMIT, _RESIDUAL_LIMIT)

    def richardson_lucy(self, iterations: tuple[int, ...]) -> list[Tensor]:
        """Estimates (B, 1, H, W) after these numbers of iterations, with total variation.

        The extrapolation has a fixed schedule, so that a tile does not depend on other tiles.
        """
        weight = (TOTAL_VARIATION / self.noise.photons.sqrt()).clamp(*TOTAL_VARIATION_LIMITS)
        latest = scene = self.normalized_adjoint(self.observed - self.offset).clamp_min(MIN_OFFSET)
        estimates = []
        for i in range(1, iterations[-1] + 1):
            smoothed = (1 - weight * curvature(scene)).clamp_min(MIN_SMOOTHED)
            previous, latest = latest, scene * self.update(self.expected(scene)) / smoothed
            scene = (latest + (i - 1) / (i + 2) * (latest - previous)).clamp_min(0)
            if i in iterations:
                estimates.append(latest)
        return estimates


class _Stage(nn.Module):
    """Richardson-Lucy step and whitened gradient at a scene, and the U-Net that corrects them."""

    def __init__(self, config: UnrolledConfig) -> None:
        super().__init__()
        channels = config.memory_channels + 1
        self.unet = UNet(
            channels + 2,
            channels,
            depth=config.depth,
            base_channels=config.base_channels,
            gate_points="both" if config.coordinates else None,
            coordinate_channels=max(1, config.coordinate_channels),
            residual=False,
        )
        self.mix = nn.Parameter(torch.zeros(1))
        for parameter in self.unet.head.parameters():
            nn.init.zeros_(parameter[0])  # training starts at Richardson-Lucy

    def forward(
        self, problem: _Problem, scene: Tensor, memory: Tensor, maps: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        """Next scene (B, 1, H, W) and memory (B, M, H, W)."""
        expected = problem.expected(scene)
        step = scene * problem.update(expected).clamp(0, _UPDATE_LIMIT)
        inputs = torch.cat([scene, step, problem.whitened_gradient(expected), memory], dim=1)
        output = self.unet(inputs, coordinate_maps=maps)  # (B, 1 + M, H, W)
        weight = torch.sigmoid(self.mix)
        scene = weight * scene + (1 - weight) * step + output[:, :1]
        return scene.relu(), output[:, 1:]


class UnrolledNetwork(nn.Module):
    """Network that deblurs images of any lens, given its blur and the noise.

    It starts with Richardson-Lucy estimates. Each stage makes a Richardson-Lucy step and a
    gradient step, both computed with the PSF of each pixel, and corrects them by a U-Net whose
    gates multiply its features by functions of the coordinates.

    Parameters
    ----------
    config : UnrolledConfig
        Architecture.

    References
    ----------
    S. Howard, P. Norreys and A. Döpp, "CoordGate: Efficiently Computing Spatially-Varying
    Convolutions in Convolutional Neural Networks", section 3.

    V. Monga, Y. Li and Y. C. Eldar, "Algorithm unrolling", IEEE Signal Processing Magazine
    38(2), 18 (2021).

    Examples
    --------
    >>> import torch
    >>> from napari_coordgate import GaussianLens, PSFField, Window
    >>> from napari_coordgate.config import UnrolledConfig
    >>> from napari_coordgate.networks import Noise, UnrolledNetwork
    >>> psf_field = PSFField.from_lens(GaussianLens(), (32, 48))
    >>> window = Window(0, 0, 32, 48)
    >>> operator = psf_field.operator(window, scene_window=psf_field.input_window(window))
    >>> network, noise = UnrolledNetwork(UnrolledConfig()), Noise.of(1000, 3)
    >>> coordinates = torch.cat([noise.coordinates, torch.zeros(1, 1, 1, 1)], dim=1)
    >>> network(torch.rand(2, 1, 32, 48), coordinates, operator, noise).image.shape
    torch.Size([2, 1, 32, 48])
    """

    def __init__(self, config: UnrolledConfig) -> None:
        super().__init__()
        self.config = config
        self.stages = nn.ModuleList(_Stage(config) for _ in range(config.stages))

    def coordinate_maps(self, coordinates: Tensor) -> list[tuple[Tensor, ...]]:
        """Gating maps of each stage, to be computed once for many images."""
        if not self.config.coordinates:
            return [() for _ in self.stages]
        return [cast(_Stage, stage).unet.coordinate_maps(coordinates) for stage in self.stages]

    def forward(
        self, blurred: Tensor, coordinates: Tensor, operator: BlurOperator, noise: Noise
    ) -> Deblurred:
        """Deblur images that share a lens and a window of the frame.

        Parameters
        ----------
        blurred : Tensor, shape (B, 1, h, w)
            Blurred images; 0 is dark, 1 is bright.
        coordinates : Tensor, shape (B or 1, K, H, W) or (B or 1, K, 1, 1)
            Coordinates of the pixels of the scene, or those of all pixels.
        operator : BlurOperator
            Blur of the scene (H, W) onto the window (h, w).
        noise : Noise
            Noise of the images.

        Returns
        -------
        Deblurred
            Deblurred images and the logarithms of their errors, both (B, 1, h, w).
        """
        return self.all_stages(blurred, coordinates, operator, noise)[-1]

    def all_stages(
        self, blurred: Tensor, coordinates: Tensor, operator: BlurOperator, noise: Noise
    ) -> list[Deblurred]:
        """Result of each stage, see `forward`; the logarithm of the error is that of the last."""
        problem = _Problem.of(blurred, noise, operator)
        with torch.no_grad():
            first, scene, last = problem.richardson_lucy(self.config.iterations)
            memory = scene.new_zeros(len(scene), self.config.memory_channels, *scene.shape[-2:])
            memory[:, 0:1], memory[:, 1:2] = first, last
        results = []
        for stage, maps in zip(self.stages, self.coordinate_maps(coordinates), strict=True):
            scene, memory = stage(problem, scene, memory, maps)
            image, log_error = (operator.crop(part) for part in (scene, memory[:, :1]))
            results.append(Deblurred(image, log_error + _LOG_ERROR))
        return results
