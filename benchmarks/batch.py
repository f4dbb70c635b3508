"""Batch deblurring: its overhead over the network alone, and the speed-up by a second process.

The network alone runs on as many images with cached gating maps, interleaved with the batches.
Processes are compared with one thread each; two batches at once that have nothing to do with each
other show what the processor allows.
"""

import multiprocessing
import os
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch

from benchmarks.figures import Figure
from benchmarks.measuring import interleaved_seconds, median_ratio
from napari_coordgate.batch import deblur_folder_events
from napari_coordgate.config import BatchRuntime, TrainingConfig
from napari_coordgate.devices import resolve_device, to_device
from napari_coordgate.events import FileChanged
from napari_coordgate.geometry import frame_coordinates
from napari_coordgate.io import Image, read_image, write_image
from napari_coordgate.model import Model
from napari_coordgate.networks import build_network


def measure(images: int = 200, size: int = 512, rounds: int = 5, turns: int = 2) -> list[Figure]:
    """Measure a batch over the network alone, two processes over one, reading and writing."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, model = Path(scratch, "blurred"), Path(scratch, "model.safetensors")
        _write_images(folder, max(1, images // rounds), size)
        config = TrainingConfig()
        network = build_network(config.network)
        Model(config, network.state_dict(), (size, size)).save(model)
        count = max(1, images // rounds)
        whole, bare = _against_network(folder, Path(scratch, "one"), model, size, count, rounds)
        one, two, beside = _by_processes(folder, Path(scratch), model, turns)
        reading, writing = _file_seconds(folder, Path(scratch, "written"), rounds)
    total = statistics.median(a / b for a, b in zip(whole, bare, strict=True))
    name = f"images of {size}x{size}"
    return [
        Figure(f"batch of {images} {name}, over the network alone", total, at_most=1.25),
        Figure("files per second of two processes, over one", median_ratio(one, two), at_least=1.8),
        Figure("files per second of two independent batches, over one", median_ratio(one, beside)),
        Figure("network alone, a file", 1e3 * statistics.median(bare) / count, "ms"),
        Figure("reading a file", 1e3 * reading, "ms"),
        Figure("writing a file", 1e3 * writing, "ms"),
    ]


def _write_images(folder: Path, count: int, size: int) -> None:
    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = rng.integers(0, 4096, (size, size), np.uint16)
        write_image(folder / f"{number:04}.tif", Image(pixels, "YX", (0.325, 0.325)))


def _against_network(
    folder: Path, output: Path, model: Path, size: int, count: int, rounds: int
) -> tuple[list[float], list[float]]:
    """Return the seconds of batches, and of the network alone on as many images, interleaved."""
    device = resolve_device("auto")
    network = to_device(build_network(TrainingConfig().network).eval(), device)
    blurred = torch.rand(1, 1, size, size, device=device)
    coordinates = torch.from_numpy(frame_coordinates((size, size)))[None].to(device)
    turn = iter(range(rounds + 1))

    @torch.inference_mode()
    def alone() -> None:
        maps = network.coordinate_maps(coordinates)
        for _ in range(count):
            network(blurred, coordinates, maps)[..., 0, 0].cpu()

    def batch() -> None:
        _run(folder, output / str(next(turn)), model)

    whole, bare = interleaved_seconds(batch, alone, rounds=rounds)
    return whole, bare


def _run(folder: Path, output: Path, model: Path, workers: int = 1) -> list[float]:
    """Run a batch; return the times at which files were done."""
    done = []
    for event in deblur_folder_events(folder, output, model, runtime=BatchRuntime(workers=workers)):
        if isinstance(event, FileChanged) and event.status == "done":
            done.append(time.perf_counter())
    return done


def _by_processes(folder: Path, scratch: Path, model: Path, turns: int) -> list[list[float]]:
    """Return the seconds per file by one process, by two, and of two batches at once, by turns.

    Each process has one thread.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as processes:

        def seconds(workers: int, batches: int, turn: int) -> float:
            """Return the seconds per file of some batches at once."""
            outputs = [scratch / f"{workers}-{batches}-{turn}-{n}" for n in range(batches)]
            jobs = [
                processes.submit(_steady_seconds, folder, output, model, workers)
                for output in outputs
            ]
            return statistics.mean(job.result() for job in jobs) / batches

        kinds = (1, 1), (2, 1), (1, 2)
        rounds = [[seconds(*kind, turn) for kind in kinds] for turn in range(turns)]
    return [list(column) for column in zip(*rounds, strict=True)]


def _steady_seconds(folder: Path, output: Path, model: Path, workers: int) -> float:
    """Return the seconds per file while all processes are busy."""
    done = _run(folder, output, model, workers)
    first = min(2 * workers, len(done) - 1)
    return (done[-1] - done[first - 1]) / max(1, len(done) - first)


def _file_seconds(folder: Path, output: Path, rounds: int) -> tuple[float, float]:
    """Return the median seconds of reading a file and of writing its result."""
    path = next(folder.iterdir())
    image = read_image(path)
    result = Image(image.pixels.astype(np.float32), image.axes, image.pixel_size_um)
    turn = iter(range(10 * rounds + 1))
    reading, writing = interleaved_seconds(
        lambda: read_image(path).pixels,
        lambda: write_image(output / f"{next(turn)}.ome.tif", result),
        rounds=10 * rounds,
    )
    return statistics.median(reading), statistics.median(writing)
