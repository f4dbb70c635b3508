"""Tiled deblurring of an image whose features exceed the memory.

A small and a large image are deblurred from OME-Zarr to OME-Zarr without cached gating maps.
Memory is the peak resident set of the process above that after the import.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure
from benchmarks.measuring import peak_memory_gb
from napari_coordgate.config import DeblurConfig, TrainingConfig
from napari_coordgate.events import Event, Progress
from napari_coordgate.geometry import Window, tiles
from napari_coordgate.inference import Predictor, deblur_planes
from napari_coordgate.io import Image, create_image, read_image
from napari_coordgate.model import Model
from napari_coordgate.networks import build_network

CHUNK = 1024
"""Chunk side of the test images, pixels."""


def measure(size: int = 8192, small_size: int = 1024, rounds: int = 5) -> list[Figure]:
    """Measure pixels per second, large over small, and the peak memory of each."""
    imported = peak_memory_gb()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small, large = (_noise(folder / f"{side}.ome.zarr", side) for side in (small_size, size))
        for _ in _deblurred(small, folder / "first.ome.zarr"):
            pass
        small_peak = peak_memory_gb() - imported
        large_seconds, small_seconds = _in_turn(small, large, folder, rounds)
        large_peak = peak_memory_gb() - imported
    speed, small_speed = size**2 / large_seconds, small_size**2 / small_seconds
    return [
        Figure(
            f"pixels/s of {size}x{size}, over {small_size}x{small_size}",
            speed / small_speed,
            at_least=0.85,
        ),
        Figure(f"deblurring {size}x{size}", speed / 1e6, "megapixels/s"),
        Figure(f"peak memory of {size}x{size}, above the import", large_peak, "GB", at_most=1.5),
        Figure(f"peak memory of {small_size}x{small_size}, above the import", small_peak, "GB"),
    ]


def _in_turn(small: Path, large: Path, folder: Path, rounds: int) -> tuple[float, float]:
    """Return the seconds of the large image, and the median of the small one in its pauses."""
    pauses: list[float] = []
    start = time.perf_counter()
    for event in _deblurred(large, folder / "large.ome.zarr"):
        if isinstance(event, Progress) and event.done * rounds // event.total > len(pauses):
            pause = time.perf_counter()
            for _ in _deblurred(small, folder / f"small {len(pauses)}.ome.zarr"):
                pass
            pauses.append(time.perf_counter() - pause)
    return time.perf_counter() - start - sum(pauses), statistics.median(pauses)


def _deblurred(path: Path, target: Path) -> Iterator[Event]:
    """Deblur from file to file with a new untrained network."""
    image = read_image(path)
    config = TrainingConfig()
    weights = build_network(config.network).state_dict()
    worker = Predictor(Model(config, weights, image.frame_shape), DeblurConfig())
    chunk = worker.tile_shape(image.frame_shape)
    with create_image(target, image, dtype=np.float32, chunk=chunk) as out:
        yield from deblur_planes(worker, image, out, Window.whole(image.frame_shape))


def _noise(path: Path, side: int) -> Path:
    """Write an image of noise chunk by chunk, never holding it in memory."""
    like, whole = Image(np.zeros((2, 2), np.uint16), "YX"), Window(0, 0, side, side)
    rng = np.random.default_rng(0)
    with create_image(path, like, shape=whole.shape, chunk=(CHUNK, CHUNK)) as out:
        for piece, _ in tiles(whole.shape, CHUNK, 0, CHUNK):
            out[piece.within(whole)] = rng.integers(0, 4096, piece.shape)
    return path
