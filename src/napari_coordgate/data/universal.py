"""Training samples of the universal model: each of its own lens, noise and content."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_coordgate.config import Camera, UniversalTrainingConfig, UnrolledConfig
from napari_coordgate.data.lens_library import LensSample
from napari_coordgate.data.procedural import procedural_image
from napari_coordgate.data.sources import remaining_noise
from napari_coordgate.geometry import Window
from napari_coordgate.networks import Noise, scene_coordinates
from napari_coordgate.optics import BlurOperator, PSFField
from napari_coordgate.simulation import add_camera_noise

Float32 = NDArray[np.float32]

HALF_SIZE_PROBABILITY = 0.3
"""Fraction of the given images that are shrunk to half their size, for finer structures."""


class UniversalSample(NamedTuple):
    """A blurred image (1, 1, h, w), and the lens and noise that the network is given."""

    sharp: Tensor
    blurred: Tensor
    coordinates: Tensor
    operator: BlurOperator
    noise: Noise

    @property
    def inputs(self) -> tuple[Tensor, Tensor, BlurOperator, Noise]:
        """Arguments of the network."""
        return self.blurred, self.coordinates, self.operator, self.noise


def scene_operator(psf_field: PSFField, window: Window | None = None) -> BlurOperator:
    """Blur of all of the scene that contributes light to a window; default: the whole frame."""
    window = window or Window.whole(psf_field.frame_shape)
    return psf_field.operator(
        window, scene_window=psf_field.input_window(window), device=torch.device("cpu")
    )


class UniversalSamples:
    """Samples of a training; each depends on the seed and its index alone."""

    def __init__(
        self,
        config: UniversalTrainingConfig,
        lenses: Sequence[LensSample],
        images: Sequence[Float32],
        variances: Sequence[float] | None = None,
    ) -> None:
        self.config, self.lenses, self.images = config, lenses, images
        self.variances = variances
        """Of the noise that bright pixels of each image have once they are blurred."""

    def sample(self, index: int) -> UniversalSample:
        """Training sample: random content, lens and noise, not exactly known."""
        rng = np.random.default_rng([self.config.seed, 1, index])
        lens = self.lenses[int(rng.integers(len(self.lenses)))]
        blur = scene_operator(lens.true, self._window(rng, lens.true.frame_shape))
        scene, variance = self._scene(rng, blur.scene_window.shape)
        given, uncertainty = lens.given, lens.uncertainty
        if rng.random() < 0.5 and lens.given is not lens.true:  # Half of the calibrations are good.
            given, uncertainty = lens.true, 0.0
        camera = self._camera(rng)
        factor = self.config.noise_mismatch ** rng.uniform(-1, 1) if rng.random() < 0.5 else 1.0
        seed = int(rng.integers(2**31))
        return simulated_sample(
            scene, blur, given, camera, factor, uncertainty, self.config, seed, variance
        )

    def _window(self, rng: np.random.Generator, frame_shape: tuple[int, int]) -> Window:
        """Random window of the frame, or all of it if it is small."""
        side = int(rng.choice(self.config.library.window_sizes))
        height, width = (min(side, n) for n in frame_shape)
        y0, x0 = (
            int(rng.integers(n - m + 1)) for n, m in zip(frame_shape, (height, width), strict=True)
        )
        return Window(y0, x0, height, width)

    def _camera(self, rng: np.random.Generator) -> Camera:
        """Random noise; the noise of a subtracted background counts as read noise."""
        config = self.config
        photons = math.exp(rng.uniform(math.log(config.min_photons), math.log(config.max_photons)))
        background = rng.uniform(0, config.max_background) if rng.random() < 0.3 else 0.0
        read_noise = rng.uniform(0, config.max_read_noise)
        return Camera(photons=photons, read_noise=math.sqrt(read_noise**2 + background * photons))

    def _scene(self, rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Float32, float]:
        """Random sharp scene of a shape, and the variance of its noise once it is blurred."""
        variance = 0.0
        if not self.images or rng.random() < self.config.procedural_fraction:
            scene = procedural_image(rng, max(shape))
        else:
            chosen = int(rng.integers(len(self.images)))
            scene, variance = self.images[chosen], self.variances[chosen] if self.variances else 0.0
            if rng.random() < HALF_SIZE_PROBABILITY and min(scene.shape) >= max(shape):
                scene, variance = _half_size(scene), variance / 4
            scene = random_crop(rng, scene, shape)
        gain = math.exp(rng.uniform(-0.3, 0.3))
        scene = scene[: shape[0], : shape[1]] * np.float32(gain)
        scene = np.ascontiguousarray(scene[:: rng.choice((-1, 1)), :: rng.choice((-1, 1))])
        return scene, gain**2 * variance


def simulated_sample(
    scene: Float32,
    blur: BlurOperator,
    given: PSFField,
    camera: Camera,
    photons_factor: float,
    uncertainty: float,
    config: UniversalTrainingConfig,
    seed: int,
    variance: float = 0.0,
) -> UniversalSample:
    """Sample of a sharp scene that a blur and a camera record, with the lens that is given.

    ``variance`` is that of the noise that a bright pixel of the scene has already, once blurred.
    """
    sharp = torch.from_numpy(scene)
    blurred = add_camera_noise(blur(sharp), remaining_noise(camera, variance), seed)
    assert camera.photons is not None
    noise = Noise.of(camera.photons * photons_factor, camera.read_noise)
    operator = scene_operator(given, blur.window)
    coordinates = scene_coordinates(config.network, noise, uncertainty, given, operator)
    return UniversalSample(
        blur.crop(sharp)[None, None], blurred[None, None], coordinates, operator, noise
    )


def network_inputs(
    blurred: Tensor,
    window: Window,
    camera: Camera,
    psf_field: PSFField,
    uncertainty: float,
    config: UnrolledConfig,
) -> tuple[Tensor, Tensor, BlurOperator, Noise]:
    """Arguments of the network for a blurred image (h, w) at a window of the frame."""
    assert camera.photons is not None
    noise = Noise.of(camera.photons, camera.read_noise)
    operator = scene_operator(psf_field, window)
    coordinates = scene_coordinates(config, noise, uncertainty, psf_field, operator)
    return blurred[None, None], coordinates, operator, noise


def random_crop(rng: np.random.Generator, image: Float32, shape: tuple[int, int]) -> Float32:
    """Random part of an image, mirrored where the image is smaller, perhaps transposed."""
    missing = [(0, max(0, n - side)) for n, side in zip(shape, image.shape, strict=True)]
    while any(after for _, after in missing):
        image = np.pad(
            image,
            [(0, min(after, n - 1)) for (_, after), n in zip(missing, image.shape, strict=True)],
            mode="reflect",
        )
        missing = [(0, max(0, n - side)) for n, side in zip(shape, image.shape, strict=True)]
    y0, x0 = (int(rng.integers(n - side + 1)) for n, side in zip(image.shape, shape, strict=True))
    crop = image[y0 : y0 + shape[0], x0 : x0 + shape[1]]
    return crop.T if shape[0] == shape[1] and rng.random() < 0.5 else crop


def _half_size(image: Float32) -> Float32:
    """Image of half the size, by the mean of 2 x 2 pixels."""
    height, width = (n // 2 * 2 for n in image.shape)
    blocks = image[:height, :width].reshape(height // 2, 2, width // 2, 2)
    mean: Float32 = blocks.mean(axis=(1, 3))
    return mean
