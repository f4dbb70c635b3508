"""Batches that are killed at random times and restarted.

Each batch runs in its own process, every other one with two workers, and is killed with SIGKILL at
a random time; every other folder of results has the format OME-Zarr. Then every existing result
is compared, pixel by pixel, with that of an uninterrupted run. When a batch completes in spite of
the kills, no temporary file may be left, and the next batch starts with an empty folder.
"""

import random
import signal
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_coordgate.batch.sources import REPORT_NAME, SUFFIX
from napari_coordgate.config import CGUNetConfig, DeblurConfig, OutputFormat, TrainingConfig
from napari_coordgate.inference import deblur
from napari_coordgate.io import Image, read_image, write_image
from napari_coordgate.model import Model
from napari_coordgate.networks import UNet
from soak.commands import Call, start, wait_until

FRAME = (64, 96)
PLANES = 12
FORMATS: tuple[OutputFormat, ...] = ("ome-tiff", "ome-zarr")


FIGURES = (
    *("killed", "amid_work", "results_checked", "damaged", "strays_found", "strays_left"),
    "finished",
)


def soak(times: int, seed: int, files: int = 40) -> dict[str, Any]:
    """Kill batches of some files; return the counts.

    ``amid_work`` counts the kills after which results were missing, ``strays_found`` the temporary
    files after kills, ``strays_left`` those after a batch completed.
    """
    rng, figures = random.Random(seed), dict.fromkeys(FIGURES, 0)
    with tempfile.TemporaryDirectory() as scratch:
        folder, model = Path(scratch, "blurred"), Path(scratch, "model.safetensors")
        expected = _write_inputs(folder, model, seed, files)
        flags = ("--model", model, "--device", "cpu", "--precision", "float32")

        @cache
        def seconds(workers: int) -> float:
            output = Path(scratch, f"uninterrupted-{workers}")
            return _uninterrupted_seconds(folder, output, (*flags, "--workers", workers))

        def output(number: int) -> tuple[Path, OutputFormat]:
            return Path(scratch, f"deblurred-{number}"), FORMATS[number % 2]

        number = seed
        while figures["killed"] < times:
            results, file_format = output(number)
            workers = 1 + (seed + figures["killed"]) % 2
            options = (*flags, "--workers", workers, "--format", file_format)
            is_killed = _is_killed(folder, results, options, rng.uniform(0, seconds(workers)))
            if is_killed:
                figures["killed"] += 1
                figures["amid_work"] += _check(results, expected, figures) < len(expected)
                figures["strays_found"] += len(_strays(results))
            if is_killed and figures["killed"] == times:
                is_killed = _is_killed(folder, results, options, delay=600)
            if not is_killed:
                _check_finished(results, expected, figures)
                number += 1
    return figures


def _write_inputs(
    folder: Path, model: Path, seed: int, files: int
) -> dict[str, np.ndarray[Any, Any]]:
    """Write a model and blurred stacks; return the expected results by name, without the ending."""
    torch.manual_seed(seed)
    settings = CGUNetConfig(base_channels=4, depth=2)
    network = UNet.from_config(settings)
    config = TrainingConfig(network=settings)
    Model(config, network.state_dict(), FRAME).save(model)
    rng, expected = np.random.default_rng(seed), {}
    deblurring = DeblurConfig(precision="float32")
    for number in range(files):
        pixels = rng.integers(0, 4096, (PLANES, *FRAME), np.uint16)
        name = f"well {number % 4}/{number}"
        write_image(folder / f"{name}.tif", Image(pixels, "ZYX"))
        expected[name] = deblur(pixels, model, config=deblurring, device="cpu")
    return expected


def _uninterrupted_seconds(folder: Path, output: Path, flags: tuple[object, ...]) -> float:
    """Return the time from the first line of the report to the end."""
    process = _started(folder, output, flags)
    begun = time.perf_counter()
    _check_status(process)
    return time.perf_counter() - begun


def _is_killed(folder: Path, output: Path, flags: tuple[object, ...], delay: float) -> bool:
    """Kill a batch some time after it began to work; return False if it had ended before."""
    process = _started(folder, output, flags)
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait() == -signal.SIGKILL
    _check_status(process)
    return False


def _started(folder: Path, output: Path, flags: tuple[object, ...]) -> Call:
    """Start a batch and wait until it writes to its report."""
    size = _report_size(output)
    process = start("deblur", folder, output, *flags)
    wait_until(lambda: _report_size(output) > size, process)
    return process


def _check_status(process: Call) -> None:
    out, err = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"a batch failed without being killed: {out}{err}")


def _report_size(output: Path) -> int:
    report = output / REPORT_NAME
    return report.stat().st_size if report.exists() else 0


def _strays(output: Path) -> list[Path]:
    return [*output.rglob(".napari-coordgate-*"), *output.rglob("*.partial")]


def _check_finished(output: Path, expected: dict[str, Any], figures: dict[str, int]) -> None:
    """Count a completed batch, which must leave all results and nothing else."""
    figures["finished"] += 1
    figures["strays_left"] += len(_strays(output))
    figures["damaged"] += len(expected) - _check(output, expected, figures)


def _check(output: Path, expected: dict[str, Any], figures: dict[str, int]) -> int:
    """Compare every existing result; return how many exist."""
    existing = 0
    for name, pixels in expected.items():
        paths = [output / f"{name}{suffix}" for suffix in SUFFIX.values()]
        if not (found := [path for path in paths if path.exists()]):
            continue
        existing += 1
        figures["results_checked"] += 1
        try:
            is_whole = np.allclose(read_image(found[0]).pixels, pixels, rtol=1e-4, atol=0.05)
        except Exception:  # unreadable for any reason means damaged
            is_whole = False
        figures["damaged"] += not is_whole
    return existing
