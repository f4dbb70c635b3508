"""Deblurring an image that is much larger than the memory for its features.

Both images are memory-mapped, and both are deblurred by the same function, which
computes the gates anew. Memory is the largest resident set of the process above
the one after the import, so the mapped pages of the files count as well.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from benchmarks.figures import Figure
from benchmarks.measuring import peak_memory_gb
from napari_coordgate.checkpoint import Checkpoint
from napari_coordgate.config import TrainingConfig
from napari_coordgate.deblurring import deblur, deblur_events
from napari_coordgate.networks import build_network
from napari_coordgate.progress import Finished, Progress

Pixels = NDArray[Any]

STRIP = 256
"""Rows of the test image that are made at once."""


def measure(size: int = 8192, small_size: int = 1024, rounds: int = 5) -> list[Figure]:
    """Measure speed and memory.

    Parameters
    ----------
    size : int
        Side of the large image, pixels.
    small_size : int
        Side of the small one, pixels.
    rounds : int
        How often the small one is deblurred, spread over the time of the large one.

    Returns
    -------
    list of Figure
        Pixels per second, large over small, and the peak memory of each.
    """
    imported = peak_memory_gb()
    with tempfile.TemporaryDirectory() as folder:
        small, large = (_memory_mapped(Path(folder), side) for side in (small_size, size))
        checkpoint = _untrained(small_size)
        deblur(small, checkpoint)
        small_peak = peak_memory_gb() - imported
        out = open_memmap(Path(folder, "out.npy"), "w+", np.float32, large.shape)
        large_seconds, small_seconds = _in_turn(small, checkpoint, large, out, rounds)
        large_peak = peak_memory_gb() - imported
        del small, large, out  # Windows removes no file that is mapped
    speed, small_speed = size**2 / large_seconds, small_size**2 / small_seconds
    return [
        Figure(
            f"pixels/s of {size}x{size}, over {small_size}x{small_size}",
            speed / small_speed,
            at_least=0.8,
        ),
        Figure(f"deblurring {size}x{size}", speed / 1e6, "megapixels/s"),
        Figure(f"peak memory of {size}x{size}, above the import", large_peak, "GB", at_most=1.5),
        Figure(f"peak memory of {small_size}x{small_size}, above the import", small_peak, "GB"),
    ]


def _in_turn(
    small: Pixels, small_checkpoint: Checkpoint, large: Pixels, out: Pixels, rounds: int
) -> tuple[float, float]:
    """Seconds of the large image, and median seconds of the small one, done in its pauses."""
    pauses: list[float] = []
    start = time.perf_counter()
    for event in deblur_events(large, _untrained(len(large)), out=out):
        if isinstance(event, Progress) and event.done * rounds // event.total > len(pauses):
            pause = time.perf_counter()
            deblur(small, small_checkpoint)
            pauses.append(time.perf_counter() - pause)
        if isinstance(event, Finished) and event.error is not None:
            raise event.error
    return time.perf_counter() - start - sum(pauses), statistics.median(pauses)


def _memory_mapped(folder: Path, side: int) -> Pixels:
    """Image of noise in a file, made strip by strip so that it never is in memory."""
    path = folder / f"{side}.npy"
    image = open_memmap(path, "w+", np.uint16, (side, side))
    rng = np.random.default_rng(0)
    for row in range(0, side, STRIP):
        image[row : row + STRIP] = rng.integers(0, 4096, image[row : row + STRIP].shape)
    image.flush()
    mapped: Pixels = np.load(path, mmap_mode="r")
    return mapped


def _untrained(side: int) -> Checkpoint:
    config = TrainingConfig()
    return Checkpoint(config, build_network(config.network).state_dict(), (side, side))
