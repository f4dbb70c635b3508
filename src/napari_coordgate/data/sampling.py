"""Which window of the frame a training pair shows, and what its pixels count."""

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_coordgate.config import TrainingConfig
from napari_coordgate.geometry import Window, frame_coordinates

__all__ = [
    "Batch",
    "RngStream",
    "Sample",
    "WindowSampler",
    "coverage_weights",
    "random_stream",
    "window_origins",
]

Float32 = NDArray[np.float32]


class Batch(NamedTuple):
    """Training pairs on the training device.

    Attributes
    ----------
    sharp, blurred : Tensor, shape (B, 1, h, w)
        Scaled images.
    coordinates : Tensor, shape (B, 2, h, w)
        Frame coordinates of their pixels.
    weights : Tensor, shape (B, 1, h, w)
        What each pixel's error counts.
    """

    sharp: Tensor
    blurred: Tensor
    coordinates: Tensor
    weights: Tensor


class Sample(NamedTuple):
    """What one pair is made of, before it reaches the training device.

    Attributes
    ----------
    sharp : ndarray of float32, shape (H, W)
        Scaled sharp scene: the window and, where it is still to be blurred, a margin.
    blurred : ndarray of float32, shape (h, w), or None
        The window's blurred image, where it was measured.
    window : Window
        Where the pair lies in the frame.
    """

    sharp: Float32
    blurred: Float32 | None
    window: Window


class RngStream(IntEnum):
    """Independent streams of random numbers within one run."""

    ORDER = 0
    VALIDATION = 1
    NOISE = 2
    TRAINING = 3
    VALIDATION_NOISE = 4
    SPLIT = 5


def random_stream(seed: int, stream: RngStream, number: int = 0) -> np.random.Generator:
    """Random numbers of one thing in one run.

    Parameters
    ----------
    seed : int
        Seed of the run.
    stream : Stream
        What they are for.
    number : int
        Which sample or epoch they are for.

    Returns
    -------
    numpy.random.Generator
        The same one for the same arguments.
    """
    return np.random.default_rng([seed, stream, number])


def window_origins(frame_length: int, length: int, multiple: int) -> NDArray[np.int64]:
    """First pixels, along one axis, among which a training window's is drawn evenly.

    Windows are laid over the frame at every multiple, also reaching over its
    borders, and those that do are moved inside: so the border is seen as often
    as the middle, and nothing ever lies outside the frame.

    Parameters
    ----------
    frame_length, length : int
        Pixels of the frame and of the window, which is no longer than the frame.
    multiple : int
        Origins snap to multiples of this, but for the last that fits. Windows
        shorter than this are laid side by side.

    Returns
    -------
    ndarray of int64
        Origins; some stand there many times.
    """
    step = min(multiple, length)
    laid = np.arange(step - length // step * step, frame_length, step)
    return np.clip(laid, 0, frame_length - length)


def coverage_weights(frame_length: int, length: int, multiple: int) -> Float32:
    """Weight of each pixel that makes `window_origins` count all pixels alike.

    Parameters
    ----------
    frame_length, length, multiple : int
        As for `window_origins`.

    Returns
    -------
    ndarray of float32, shape (frame_length,)
        Inverse of how often a pixel is seen; a window's weights are 1 on average.
    """
    seen = np.zeros(frame_length)
    origins = window_origins(frame_length, length, multiple)
    for origin in origins:
        seen[origin : origin + length] += 1
    return (len(origins) * length / (frame_length * seen)).astype(np.float32)


class WindowSampler:
    """Which image, which window of the frame and which brightness make a sample.

    Parameters
    ----------
    frame_shape : tuple of int
        (height, width) of the frame, in pixels.
    config : TrainingConfig
        Sampling and seed.
    validation : bool
        Sample n is image n, over as much of the frame as it fills.
    """

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

    def draw(self, number: int, images: int) -> tuple[np.random.Generator, int]:
        """Random numbers of a sample, and which image it shows: each once an epoch."""
        seed = self.config.seed
        if self.validation:
            return random_stream(seed, RngStream.VALIDATION, number), number
        epoch, place = divmod(number, images)
        order = random_stream(seed, RngStream.ORDER, epoch).permutation(images)
        return random_stream(seed, RngStream.TRAINING, number), int(order[place])

    def window(self, rng: np.random.Generator, image_shape: tuple[int, ...]) -> Window:
        """Window of the frame for a sample."""
        if not self.validation:
            y0, x0 = (int(rng.choice(origins)) for origins in self.origins)
            return Window(y0, x0, *self.window_shape)
        height, width = np.minimum(image_shape, self.frame_shape).tolist()
        y0 = int(rng.integers(self.frame_shape[0] - height + 1))
        x0 = int(rng.integers(self.frame_shape[1] - width + 1))
        return Window(y0, x0, height, width)

    def gain(self, rng: np.random.Generator) -> np.float32:
        """Brightness of a sample."""
        spread = 0.0 if self.validation else float(np.log(self.config.gain))
        return np.float32(np.exp(rng.uniform(-spread, spread)))

    def batch(self, sharp: Tensor, blurred: Tensor, windows: Sequence[Window]) -> Batch:
        """Batch of images (B, h, w) with the coordinates and weights of their windows."""
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
