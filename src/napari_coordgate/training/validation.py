"""How near a network comes to the sharp validation images."""

import math
import threading
import time
from collections.abc import Generator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_coordgate.data import Pairs
from napari_coordgate.errors import CanceledError
from napari_coordgate.events import Event, Preview, Stopwatch
from napari_coordgate.geometry import Window, field_radius
from napari_coordgate.metrics import quality
from napari_coordgate.training.memory import try_or_oom, validation_too_large
from napari_coordgate.training.ranks import ProcessGroup

__all__ = ["PreviewTimer", "predict_sample", "validate"]

PREVIEW_COST_FACTOR = 10
"""A preview is followed by a rest of so many times what it cost."""


def validate(
    network: nn.Module,
    pairs: Pairs,
    images: int,
    ranks: ProcessGroup,
    step: int,
    cancel: threading.Event,
) -> Generator[Event, None, tuple[dict[str, float], Preview]]:
    """Figures of a network on validation pairs, of which each rank looks at some.

    Parameters
    ----------
    network : nn.Module
        The network.
    pairs : Pairs
        Validation pairs.
    images : int
        Most pairs to look at; always the first ones.
    ranks : Ranks
        Who looks, and where; all have the same result.
    step : int
        Training step, for the preview.
    cancel : threading.Event
        Once set, the validation ends.

    Yields
    ------
    Progress
        After each pair, or one of each rank.

    Returns
    -------
    figures : dict of str to float
        Means over the pairs of ``validation_loss`` (mean squared error) and of
        the figures of `quality`.
    preview : Preview
        The first pair.

    Raises
    ------
    CanceledError
        If it was canceled.
    DeviceMemoryError
        If the memory does not suffice for a whole frame.
    """
    count = min(len(pairs), images)
    stopwatch = Stopwatch("validating", count)
    rows: list[dict[str, float]] = []
    first = None
    for start in range(0, count, ranks.size):
        if ranks.any(cancel.is_set())[0]:
            raise CanceledError("Stopped while validating.")
        number, row = start + ranks.rank, None
        with ranks.sync_errors():
            if number < count:
                preview, window = predict_sample(network, pairs, number, ranks.device, step)
                row = _figures(preview, field_radius(pairs.frame_shape, window))
                first = first or preview
        rows += [row for row in ranks.gather(row) if row is not None]
        yield stopwatch.progress(len(rows))
    first = ranks.broadcast(first)
    assert first is not None
    names = dict.fromkeys(name for row in rows for name in row)
    means = {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}
    return means, first


def _figures(preview: Preview, radius: NDArray[np.float64]) -> dict[str, float]:
    """Figures of one pair."""
    loss = float(np.mean(np.square(preview.deblurred - preview.sharp)))
    return {"validation_loss": loss, **quality(preview.sharp, preview.deblurred, radius)}


def predict_sample(
    network: nn.Module, pairs: Pairs, number: int, device: torch.device, step: int
) -> tuple[Preview, Window]:
    """One pair as a network deblurs it.

    Parameters
    ----------
    network : nn.Module
        The network.
    pairs : Pairs
        Validation pairs.
    number : int
        Which of them.
    device : torch.device
        Where the network is.
    step : int
        Training step, for the preview.

    Returns
    -------
    preview : Preview
        The pair.
    window : Window
        Where it lies in the frame.

    Raises
    ------
    DeviceMemoryError
        If the memory does not suffice for it.
    """

    @torch.no_grad()
    def compute() -> tuple[Preview, Window]:
        sample = pairs[number]
        batch = pairs.to_batch([sample], device, number)
        restored = network(batch.blurred, batch.coordinates)
        images = (batch.sharp, batch.blurred, restored)
        return Preview(step, *(image[0, 0].cpu().numpy() for image in images)), sample.window

    seen = try_or_oom(compute)
    if seen is None:
        raise validation_too_large(pairs.frame_shape, device)
    return seen


class PreviewTimer:
    """When to show an unfinished result: now and then, in at most a tenth of the time.

    Parameters
    ----------
    seconds : float or None
        Time between previews, about; none: never.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = math.inf if seconds is None else seconds
        self.shown()

    @property
    def is_due(self) -> bool:
        """Whether it is time for one."""
        return time.perf_counter() >= self._next

    def shown(self, cost: float = 0.0) -> None:
        """Rest after a preview.

        Parameters
        ----------
        cost : float
            Time that it took to make, in seconds.
        """
        self._next = time.perf_counter() + max(self._seconds, PREVIEW_COST_FACTOR * cost)
