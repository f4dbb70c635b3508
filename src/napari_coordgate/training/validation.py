"""Quality of a network on the validation images."""

import math
import threading
import time
from collections.abc import Generator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_coordgate.data import Pairs, Plane, Sample
from napari_coordgate.errors import CanceledError, DeviceMemoryError
from napari_coordgate.events import Event, Preview, Stopwatch
from napari_coordgate.geometry import Window, field_radius
from napari_coordgate.io import stack_index
from napari_coordgate.metrics import psnr, quality
from napari_coordgate.training.distributed import ProcessGroup
from napari_coordgate.training.learner import try_or_oom

PREVIEW_COST_FACTOR = 10
"""The pause after a preview is at least so many times its duration."""


def validate(
    network: nn.Module,
    pairs: Pairs,
    max_pairs: int,
    group: ProcessGroup,
    step: int,
    cancel: threading.Event | None,
) -> Generator[Event, None, tuple[dict[str, float], Preview]]:
    """Mean loss and `quality` of a network on the first pairs, split over ranks; and a preview."""
    count = min(len(pairs), max_pairs)
    stopwatch = Stopwatch("validating", count)
    rows: list[dict[str, float]] = []
    first = None
    for start in range(0, count, group.size):
        if group.any_reduce(cancel is not None and cancel.is_set())[0]:
            raise CanceledError("Stopped during validation.")
        index, row = start + group.rank, None
        with group.sync_errors():
            if index < count:
                preview, window = predict_sample(network, pairs, index, group.device, step)
                row = _metrics(preview, field_radius(pairs.frame_shape, window))
                first = first or preview
        rows += [row for row in group.gather(row) if row is not None]
        yield stopwatch.progress(len(rows))
    first = group.broadcast(first)
    assert first is not None
    first = with_source(first, pairs)
    names = dict.fromkeys(name for row in rows for name in row)
    means = {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}
    return means, first


def _metrics(preview: Preview, radius: NDArray[np.float64]) -> dict[str, float]:
    loss = float(np.mean(np.square(preview.deblurred - preview.sharp)))
    before = {"blurred_psnr": psnr(preview.sharp, preview.blurred)}
    return {"validation_loss": loss, **quality(preview.sharp, preview.deblurred, radius), **before}


def predict_sample(
    network: nn.Module, pairs: Pairs, index: int, device: torch.device, step: int
) -> tuple[Preview, Window]:
    """Prediction of a network for one pair, and the pair's window of the frame."""

    @torch.no_grad()
    def compute() -> tuple[Preview, Window]:
        sample = pairs.sample(index)
        batch = pairs.to_batch([sample], device, index)
        predicted = network(batch.blurred, batch.coordinates)
        sharp, blurred, deblurred = (
            image[0, 0].cpu().numpy() for image in (batch.sharp, batch.blurred, predicted)
        )
        place, intensities = _index_of(pairs.sharp[index], sample), pairs.ranges[index]
        preview = Preview(step, sharp, blurred, deblurred, index=place, intensities=intensities)
        return preview, sample.window

    predicted = try_or_oom(compute)
    if predicted is None:
        height, width = pairs.frame_shape
        raise DeviceMemoryError(
            f"The {device.type} ran out of memory validating on frames of {height}x{width} pixels; "
            "crop the sharp images, choose a smaller network, or train on the cpu."
        )
    return predicted


def _index_of(plane: Plane, sample: Sample) -> tuple[int | slice, ...]:
    """Index of the pixels of a sample in the array of its plane."""
    (y, x), (height, width) = sample.corner, sample.window.shape
    return *stack_index(plane.index), slice(y, y + height), slice(x, x + width)


def with_source(preview: Preview, pairs: Pairs) -> Preview:
    """Preview of the first pair with its array or file, which is not sent between processes."""
    return replace(preview, source=pairs.sharp[0].source)


class PreviewTimer:
    """Schedule of previews about every so many seconds, in at most a tenth of the time."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = math.inf if seconds is None else seconds
        self.restart()

    @property
    def is_due(self) -> bool:
        """Whether it is time for a preview."""
        return time.perf_counter() >= self._next

    def restart(self, cost: float = 0.0) -> None:
        """Restart after a preview that took ``cost`` seconds."""
        self._next = time.perf_counter() + max(self._seconds, PREVIEW_COST_FACTOR * cost)
