"""Batches that are killed at random times and restarted.

Each batch runs in its own process and is killed with SIGKILL at a random time. Then every existing
result is compared, pixel by pixel, with that of an uninterrupted run. When a batch completes in
spite of the kills, no temporary file may be left, and the next batch starts with an empty folder.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
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

FRAME = (64, 96)
PLANES = 12
PROGRAM = (
    sys.executable,
    "-c",
    "import sys; from napari_coordgate.cli import main; sys.exit(main())",
)


def soak(
    times: int,
    seed: int,
    workers: int = 1,
    files: int = 40,
    file_format: OutputFormat = "ome-tiff",
) -> dict[str, Any]:
    """Kill batches of some files; return the counts.

    ``amid_work`` counts the kills after which results were missing, ``strays_found`` the temporary
    files after kills, ``strays_left`` those after a batch completed.
    """
    rng = random.Random(seed)
    figures = dict.fromkeys(
        (
            "killed",
            "amid_work",
            "results_checked",
            "damaged",
            "strays_found",
            "strays_left",
            "finished",
        ),
        0,
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder, model = Path(scratch, "blurred"), Path(scratch, "model.safetensors")
        expected = _write_inputs(folder, model, seed, files, SUFFIX[file_format])
        flags: tuple[str, ...] = ("--model", str(model), "--device", "cpu")
        flags += ("--precision", "float32", "--workers", str(workers), "--format", file_format)
        seconds = _uninterrupted_seconds(folder, Path(scratch, "uninterrupted"), flags)
        output, number = Path(scratch, "deblurred-0"), 0
        while figures["killed"] < times:
            status = _killed_run(folder, output, flags, rng.uniform(0, seconds))
            if status == 0:
                _check_finished(output, expected, figures)
                number += 1
                output = Path(scratch, f"deblurred-{number}")
                continue
            if status != -signal.SIGKILL:
                raise RuntimeError(
                    f"a batch failed without being killed: {_log(output).read_text()}"
                )
            figures["killed"] += 1
            figures["amid_work"] += _check(output, expected, figures) < len(expected)
            figures["strays_found"] += len(_strays(output))
        status = _killed_run(folder, output, flags, delay=600)
        if status != 0:
            raise RuntimeError(f"a batch failed at its end: {_log(output).read_text()}")
        _check_finished(output, expected, figures)
    return figures


def _write_inputs(
    folder: Path, model: Path, seed: int, files: int, suffix: str
) -> dict[str, np.ndarray[Any, Any]]:
    """Write a model and blurred stacks; return the expected results by name."""
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
        expected[f"{name}{suffix}"] = deblur(pixels, model, config=deblurring, device="cpu")
    return expected


def _start(folder: Path, output: Path, flags: tuple[str, ...]) -> "subprocess.Popen[bytes]":
    with _log(output).open("wb") as log:
        return subprocess.Popen(
            [*PROGRAM, "deblur", str(folder), str(output), *flags],
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )


def _log(output: Path) -> Path:
    """Return the log file of the last batch with this output folder."""
    return output.with_name(f"{output.name}.log")


def _uninterrupted_seconds(folder: Path, output: Path, flags: tuple[str, ...]) -> float:
    """Return the time from the first line of the report to the end."""
    process = _start(folder, output, flags)
    _wait_for_report(output, process, 0)
    start = time.perf_counter()
    if process.wait() != 0:
        raise RuntimeError(f"a batch failed without being killed: {_log(output).read_text()}")
    return time.perf_counter() - start


def _killed_run(folder: Path, output: Path, flags: tuple[str, ...], delay: float) -> int:
    """Start a batch, kill it some time after it began to work, and return its exit status."""
    size = _report_size(output)
    process = _start(folder, output, flags)
    _wait_for_report(output, process, size)
    try:
        return process.wait(delay)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
    return process.wait()


def _wait_for_report(output: Path, process: "subprocess.Popen[bytes]", size: int) -> None:
    while process.poll() is None and _report_size(output) == size:
        time.sleep(0.005)


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
        path = output / name
        if not path.exists():
            continue
        existing += 1
        figures["results_checked"] += 1
        try:
            is_whole = np.allclose(read_image(path).pixels, pixels, rtol=1e-4, atol=0.05)
        except Exception:  # unreadable for any reason means damaged
            is_whole = False
        figures["damaged"] += not is_whole
    return existing
