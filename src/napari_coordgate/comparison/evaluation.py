"""Evaluate a method on test images: metrics, error maps and time."""

import statistics
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from napari_coordgate.comparison.comparison import Row
from napari_coordgate.comparison.methods import ReadyMethod
from napari_coordgate.data import SimulatedPairs
from napari_coordgate.events import Event, Stopwatch, raise_if_canceled
from napari_coordgate.geometry import Window, field_radius
from napari_coordgate.metrics import quality

BINS = 20
"""Bins of the field radius."""
EXAMPLE_CANDIDATES = 20
"""Test pairs from which the example is chosen."""
WARM_UP_RUNS = 2
"""Runs before the timing: gating maps are cached from their second use on."""
TIMED_RUNS = 5
SLOW_SECONDS = 5.0
"""A method that takes longer than this for an image is timed only once."""

Float32 = NDArray[np.float32]


class ImagePair(NamedTuple):
    """Sharp image (h, w), empty if unknown, the blurred image, and their window of the frame."""

    sharp: Float32
    blurred: NDArray[Any]
    window: Window
    data_range: float = 1.0
    """Range of the sharp intensities; 1 for scaled images."""


class TestSet:
    """Scaled test pairs, simulated on demand and the same each time; the first is the example."""

    __test__ = False  # no tests of pytest's

    def __init__(self, pairs: SimulatedPairs, limit: int | None = None) -> None:
        self._pairs = pairs
        count = len(pairs) if limit is None else min(limit, len(pairs))
        # The example is shown in figures: choose an image with contrast.
        candidates = range(min(count, EXAMPLE_CANDIDATES))
        first = max(candidates, key=lambda n: float(pairs.sample(n).sharp.std()))
        self._order = [first, *(number for number in range(count) if number != first)]
        self.frame_shape = pairs.frame_shape
        self.camera = pairs.camera

    def __len__(self) -> int:
        """Count the pairs."""
        return len(self._order)

    def __iter__(self) -> Iterator[ImagePair]:
        """Simulate the pairs one after the other."""
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, number: int) -> ImagePair:
        """Simulate a pair, on the CPU so that it does not depend on the device."""
        index = self._order[number]
        sample = self._pairs.sample(index)
        batch = self._pairs.to_batch([sample], torch.device("cpu"), index)
        return ImagePair(batch.sharp[0, 0].numpy(), batch.blurred[0, 0].numpy(), sample.window)


class MetricAccumulator:
    """Metrics of restored images, and their squared errors at each pixel of the frame."""

    def __init__(self, frame_shape: tuple[int, int]) -> None:
        self.frame_shape = frame_shape
        self.images: list[dict[str, float]] = []
        self._squared = np.zeros(frame_shape)
        self._count = np.zeros(frame_shape, np.int64)

    def update(self, pair: ImagePair, restored: Float32) -> None:
        """Add a restored image; ignored where the sharp one is unknown."""
        if not pair.sharp.size:
            return
        pixels = pair.window.within(Window.whole(self.frame_shape))
        error = np.subtract(restored, pair.sharp, dtype=np.float32) / np.float32(pair.data_range)
        self._squared[pixels] += np.square(error, dtype=np.float64)
        self._count[pixels] += 1
        radius = field_radius(self.frame_shape, pair.window)
        self.images.append(quality(pair.sharp, restored, radius, pair.data_range))

    def means(self) -> dict[str, float]:
        """Mean of each metric over the images that have it."""
        names = dict.fromkeys(name for metrics in self.images for name in metrics)
        return {
            name: float(np.mean([metrics[name] for metrics in self.images if name in metrics]))
            for name in names
        }

    def error_map(self) -> Float32:
        """Mean squared error (H, W) over the images; NaN where no image has pixels."""
        error = np.full(self.frame_shape, np.nan)
        np.divide(self._squared, self._count, out=error, where=self._count > 0)
        return error.astype(np.float32)

    def radial_error(self) -> tuple[list[float], list[float | None]]:
        """Centers of the bins of field radius, and the mean squared error in each."""
        radius = field_radius(self.frame_shape).ravel()
        bins = np.minimum((radius * BINS).astype(int), BINS - 1)
        squared = np.bincount(bins, self._squared.ravel(), BINS)
        count = np.bincount(bins, self._count.ravel(), BINS)
        centers = (np.arange(BINS) + 0.5) / BINS
        errors = [float(s / n) if n else None for s, n in zip(squared, count, strict=True)]
        return centers.tolist(), errors


class Evaluation(NamedTuple):
    """Metrics of a method, the first images (h, w) that it restored, and seconds for each image."""

    metrics: MetricAccumulator
    restored: list[Float32]
    seconds: list[float]

    def row(self, method: ReadyMethod) -> Row:
        """Row of the evaluated method."""
        radius, errors = self.metrics.radial_error()
        return Row(
            method=method.name,
            kind=method.kind,
            quality=self.metrics.means(),
            image_psnr=tuple(image["psnr"] for image in self.metrics.images),
            radius=tuple(radius),
            radial_error=tuple(errors),
            parameters=method.parameters,
            note=method.note,
        )


def evaluate(
    method: ReadyMethod,
    pairs: TestSet | Sequence[ImagePair],
    frame_shape: tuple[int, int],
    *,
    keep: int = 1,
    cancel: threading.Event | None = None,
) -> Generator[Event, None, Evaluation]:
    """Restore test images, measure them, and keep the first few; yields progress by images."""
    evaluation = Evaluation(MetricAccumulator(frame_shape), [], [])
    stopwatch = Stopwatch("testing", len(pairs))
    for number, pair in enumerate(pairs, start=1):
        raise_if_canceled(cancel, "Canceled while testing.")
        start = time.perf_counter()
        restored = yield from method.restore(pair.blurred, pair.window)
        evaluation.seconds.append(time.perf_counter() - start)
        evaluation.metrics.update(pair, restored)
        if number <= keep:
            evaluation.restored.append(restored)
        yield stopwatch.progress(number)
    return evaluation


def inference_seconds(
    method: ReadyMethod, pair: ImagePair, cancel: threading.Event | None = None
) -> float:
    """Median time of a method for an image after a warm-up."""
    times: list[float] = []
    while len(times) < WARM_UP_RUNS + TIMED_RUNS:
        raise_if_canceled(cancel, "Canceled while testing.")
        start = time.perf_counter()
        method(pair.blurred, pair.window)
        times.append(time.perf_counter() - start)
        if times[-1] > SLOW_SECONDS and len(times) > 1:
            return times[-1]
    return statistics.median(times[WARM_UP_RUNS:])
