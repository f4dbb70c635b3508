"""How near a method comes to the sharp test images, where in the field, and how fast."""

import statistics
import threading
import time
from collections.abc import Generator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from napari_coordgate.comparison.methods import Restorer
from napari_coordgate.data import SimulatedPairs
from napari_coordgate.events import Event, Stopwatch, raise_if_canceled
from napari_coordgate.geometry import Window, field_radius
from napari_coordgate.metrics import quality

__all__ = [
    "BINS",
    "BlurredPair",
    "HeldBack",
    "Measurement",
    "Tally",
    "inference_seconds",
    "measure",
]

BINS = 20
"""Bins of the field radius."""
CANDIDATES = 20
"""Test pairs among which the example is chosen."""
WARM_UP = 2
"""Turns that do not count: gating maps are kept from their second use on."""
TURNS = 5
LONG_SECONDS = 5.0
"""A method that takes so long for an image is timed in one turn."""

Float32 = NDArray[np.float32]


class BlurredPair(NamedTuple):
    """A test image.

    Attributes
    ----------
    sharp, blurred : ndarray of float32, shape (h, w)
        The image as it is, and as the lens and the camera show it; scaled.
    window : Window
        Where in the frame it lies.
    """

    sharp: Float32
    blurred: Float32
    window: Window


class HeldBack:
    """Test pairs, made anew whenever they are asked for, the same ones each time.

    Parameters
    ----------
    pairs : SimulatedPairs
        Made for validation: as much of the frame as each image fills.
    most : int or None
        Most pairs that count; none: all.
    """

    def __init__(self, pairs: SimulatedPairs, most: int | None = None) -> None:
        self._pairs = pairs
        count = len(pairs) if most is None else min(most, len(pairs))
        # The first pair is shown as the example: one that shows something.
        first = max(range(min(count, CANDIDATES)), key=lambda n: float(pairs[n].sharp.std()))
        self._order = [first, *(number for number in range(count) if number != first)]
        self.frame_shape = pairs.frame_shape

    def __len__(self) -> int:
        """Count the pairs."""
        return len(self._order)

    def pair(self, number: int) -> BlurredPair:
        """Pair of this number; always made on the CPU, so that it does not depend on the device."""
        place = self._order[number]
        sample = self._pairs[place]
        batch = self._pairs.to_batch([sample], torch.device("cpu"), place)
        sharp, blurred = (image[0, 0].numpy() for image in (batch.sharp, batch.blurred))
        return BlurredPair(sharp, blurred, sample.window)


class Tally:
    """Figures and squared errors of restored images, added up.

    Parameters
    ----------
    frame_shape : tuple of int
        (height, width) of the frame, in pixels.
    """

    def __init__(self, frame_shape: tuple[int, int]) -> None:
        self.frame_shape = frame_shape
        self.figures: list[dict[str, float]] = []
        self._squared = np.zeros(frame_shape)
        self._seen = np.zeros(frame_shape, np.int64)

    def add(self, pair: BlurredPair, restored: Float32) -> None:
        """Count a restored image in."""
        place = pair.window.within(Window.whole(self.frame_shape))
        self._squared[place] += np.square(restored - pair.sharp, dtype=np.float64)
        self._seen[place] += 1
        radius = field_radius(self.frame_shape, pair.window)
        self.figures.append(quality(pair.sharp, restored, radius))

    def means(self) -> dict[str, float]:
        """Mean of each figure over the images that have it."""
        names = dict.fromkeys(name for figures in self.figures for name in figures)
        return {
            name: float(np.mean([figures[name] for figures in self.figures if name in figures]))
            for name in names
        }

    def error_map(self) -> Float32:
        """Mean squared error at each pixel of the frame; NaN where no image lay."""
        error = np.full(self.frame_shape, np.nan)
        np.divide(self._squared, self._seen, out=error, where=self._seen > 0)
        return error.astype(np.float32)

    def radial_error(self) -> tuple[list[float], list[float | None]]:
        """Middles of the bins of field radius, and the mean squared error in each."""
        radius = field_radius(self.frame_shape).ravel()
        bins = np.minimum((radius * BINS).astype(int), BINS - 1)
        squared = np.bincount(bins, self._squared.ravel(), BINS)
        seen = np.bincount(bins, self._seen.ravel(), BINS)
        middles = (np.arange(BINS) + 0.5) / BINS
        errors = [float(s / n) if n else None for s, n in zip(squared, seen, strict=True)]
        return middles.tolist(), errors


class Measurement(NamedTuple):
    """What was measured of a method.

    Attributes
    ----------
    tally : Tally
        Its errors.
    example : ndarray of float32, shape (h, w)
        The first test image, restored.
    seconds : float
        Time for a test image.
    """

    tally: Tally
    example: Float32
    seconds: float


def measure(
    restorer: Restorer, held_back: HeldBack, cancel: threading.Event | None = None
) -> Generator[Event, None, Measurement]:
    """Measure a method on all test pairs.

    Parameters
    ----------
    restorer : Restorer
        The method.
    held_back : HeldBack
        The test pairs.
    cancel : threading.Event, optional
        Once set, the measuring ends.

    Yields
    ------
    Progress
        After each pair.

    Returns
    -------
    Measurement
        What came of it.

    Raises
    ------
    CanceledError
        If it was canceled.
    """
    stopwatch = Stopwatch("testing", len(held_back))
    tally, example = Tally(held_back.frame_shape), None
    for number in range(len(held_back)):
        raise_if_canceled(cancel, "Stopped while testing.")
        pair = held_back.pair(number)
        restored = restorer(pair.blurred, pair.window)
        tally.add(pair, restored)
        example = restored if example is None else example
        yield stopwatch.progress(number + 1)
    assert example is not None
    seconds = inference_seconds(restorer, held_back.pair(0), cancel)
    return Measurement(tally, example, seconds)


def inference_seconds(
    restorer: Restorer, pair: BlurredPair, cancel: threading.Event | None = None
) -> float:
    """Time that a method takes for an image, the median of some turns once it is warm."""
    times: list[float] = []
    while len(times) < WARM_UP + TURNS:
        raise_if_canceled(cancel, "Stopped while testing.")
        start = time.perf_counter()
        restorer(pair.blurred, pair.window)
        times.append(time.perf_counter() - start)
        if times[-1] > LONG_SECONDS and len(times) > 1:
            return times[-1]
    return statistics.median(times[WARM_UP:])
