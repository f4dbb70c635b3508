"""Random windows of the frame, and the weights of their pixels in the loss."""

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_coordgate.config import Camera, TrainingConfig
from napari_coordgate.data.unpaired import UnpairedBatch
from napari_coordgate.geometry import Window, frame_coordinates

Float32 = NDArray[np.float32]


class Batch(NamedTuple):
    """Training pairs on the training device: scaled images, coordinates and loss weights."""

    sharp: Tensor  # (B, 1, h, w)
    blurred: Tensor  # (B, 1, h, w)
    coordinates: Tensor  # (B, 2, h, w)
    weights: Tensor  # (B, 1, h, w)
    unpaired: UnpairedBatch | None = None
    """Windows of blurred images to judge the network by without sharp ones."""


class Sample(NamedTuple):
    """One pair before it reaches the training device."""

    sharp: Float32
    """Scaled sharp scene: the window and, if it has yet to be blurred, a margin."""
    blurred: Float32 | None
    """The window's blurred image, if it was measured."""
    window: Window
    """Window of the frame that the pair shows."""
    camera: Camera | None = None
    """Noise to add after the blur."""
    corner: tuple[int, int] = (0, 0)
    """First pixel of the window in its image, unless that was flipped."""


class RngStream(IntEnum):
    """Independent streams of random numbers of one training."""

    ORDER = 0
    VALIDATION = 1
    NOISE = 2
    TRAINING = 3
    VALIDATION_NOISE = 4
    SPLIT = 5


def random_stream(seed: int, stream: RngStream, index: int = 0) -> np.random.Generator:
    """Random generator of one sample or epoch, the same for the same arguments."""
    return np.random.default_rng([seed, stream, index])


def window_origins(frame_length: int, length: int, multiple: int) -> NDArray[np.int64]:
    """Origins along one axis, with repetitions, from which that of a window is drawn uniformly.

    Windows are placed at every multiple (or side by side, if shorter), also across the borders,
    and those that cross a border are moved inside: so pixels at the border are seen as often as
    those in the middle. The last origin need not be a multiple.
    """
    step = min(multiple, length)
    origins = np.arange(step - length // step * step, frame_length, step)
    return np.clip(origins, 0, frame_length - length)


def coverage_weights(frame_length: int, length: int, multiple: int) -> Float32:
    """Weight (frame_length,) of each pixel: the inverse of how often `window_origins` cover it.

    The weights of a window are 1 on average.
    """
    coverage = np.zeros(frame_length)
    origins = window_origins(frame_length, length, multiple)
    for origin in origins:
        coverage[origin : origin + length] += 1
    return (len(origins) * length / (frame_length * coverage)).astype(np.float32)


class WindowSampler:
    """Draws the image, the window of the frame and the brightness of each sample."""

    def __init__(
        self, frame_shape: tuple[int, int], config: TrainingConfig, *, validation: bool
    ) -> None:
        self.frame_shape = frame_shape
        self.config = config
        self.validation = validation
        height, width = frame_shape
        if config.sampling == "window":
            height, width = min(config.window_size, height), min(config.window_size, width)
        self.window_shape = height, width
        axes = list(zip(frame_shape, self.window_shape, strict=True))
        multiple = config.network.multiple
        self.origins = [window_origins(*lengths, multiple) for lengths in axes]
        self.weights = [coverage_weights(*lengths, multiple) for lengths in axes]

    def draw(self, index: int, images: int) -> tuple[np.random.Generator, int]:
        """Random generator of a sample, and the index of its image: each image once per epoch."""
        seed = self.config.seed
        if self.validation:
            return random_stream(seed, RngStream.VALIDATION, index), index
        epoch, position = divmod(index, images)
        order = random_stream(seed, RngStream.ORDER, epoch).permutation(images)
        return random_stream(seed, RngStream.TRAINING, index), int(order[position])

    def window(self, rng: np.random.Generator, image_shape: tuple[int, ...]) -> Window:
        """Random window of the frame; in validation, as large as the image allows."""
        if not self.validation:
            y0, x0 = (int(rng.choice(origins)) for origins in self.origins)
            return Window(y0, x0, *self.window_shape)
        height, width = np.minimum(image_shape, self.frame_shape).tolist()
        y0 = int(rng.integers(self.frame_shape[0] - height + 1))
        x0 = int(rng.integers(self.frame_shape[1] - width + 1))
        return Window(y0, x0, height, width)

    def gain(self, rng: np.random.Generator) -> np.float32:
        """Random brightness factor."""
        spread = 0.0 if self.validation else float(np.log(self.config.gain))
        return np.float32(np.exp(rng.uniform(-spread, spread)))

    def batch(self, sharp: Tensor, blurred: Tensor, windows: Sequence[Window]) -> Batch:
        """Batch of images (B, h, w), with the coordinates and weights of their windows."""
        coordinates = np.stack([frame_coordinates(self.frame_shape, w) for w in windows])
        weights = np.ones((len(windows), *windows[0].shape), np.float32)
        if not self.validation:
            for weight, window in zip(weights, windows, strict=True):
                weight *= self.weights[0][window.y0 : window.y1, None]
                weight *= self.weights[1][None, window.x0 : window.x1]
        return Batch(
            sharp[:, None],
            blurred[:, None],
            torch.from_numpy(coordinates).to(sharp.device),
            torch.from_numpy(weights[:, None]).to(sharp.device),
        )
