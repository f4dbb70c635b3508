"""Trainings that are killed at random moments, gone on with, and compared with one that was not."""

import os
import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from napari_coordgate.config import GaussianLens
from napari_coordgate.errors import ModelError
from napari_coordgate.io.files import last_checkpoint_path
from napari_coordgate.model import Model, read_tensors
from napari_coordgate.optics import PSFField

FRAME = (48, 48)
IMAGES = 4
PROGRAM = "import sys; from napari_coordgate.cli import main; sys.exit(main())"
SETTINGS = (
    *("--device", "cpu", "--base-channels", "4", "--depth", "2", "--photons", "500"),
    *("--batch-size", "2", "--window-size", "32", "--steps", "60", "--validate-every", "7"),
    *("--autosave-minutes", "0.0002"),
)
"""A step takes some hundredths of a second, and nearly each of them is saved."""
LONGEST_SECONDS = 2.0
"""Time within which a kill comes, once a run has begun: about as long as a run takes."""


def soak(times: int, seed: int) -> dict[str, Any]:
    """Kill trainings at random moments, and go on with each until it is whole."""
    moments, figures = random.Random(seed), Counter(dict.fromkeys(FIGURES, 0))
    with TemporaryDirectory() as name:
        folder = Path(name)
        _make_world(folder)
        whole = folder / "whole" / "model.safetensors"
        let_alone = _run(whole)
        while figures["killed"] < times:
            output = folder / f"run{figures['runs']}" / "model.safetensors"
            figures["runs"] += 1
            _run_with_kills(output, times, moments, figures)
            let_alone.wait()
            figures["strays_left"] += len(_strays(output.parent))
            figures["mismatches"] += not _are_same(whole, output)
    return dict(figures)


FIGURES = ("killed", "resumed", "runs", "strays_found", "strays_left", "damaged", "mismatches")


def _run_with_kills(
    output: Path, times: int, moments: random.Random, figures: Counter[str]
) -> None:
    """Start a run as often as it takes until it ends by itself."""
    process = _run(output)
    while figures["killed"] < times and _is_killed(process, output.parent, moments):
        figures["killed"] += 1
        figures["strays_found"] += len(_strays(output.parent))
        figures["damaged"] += sum(map(_is_damaged, (output, last_checkpoint_path(output))))
        figures["resumed"] += last_checkpoint_path(output).exists()
        process = _run(output)
    if process.wait() != 0:
        raise RuntimeError(f"A training ended with status {process.returncode}.")


def _run(output: Path) -> "subprocess.Popen[bytes]":
    """Begin a run, or go on with it if there is one; its words are not shown."""
    folder, going_on = output.parents[1], last_checkpoint_path(output).exists()
    how = ("--resume",) if going_on else (*SETTINGS, "--psf", str(folder / "field.tif"))
    training = ("train", str(folder / "sharp"), "-o", str(output), "--overwrite", *how)
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *training],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def _is_killed(process: "subprocess.Popen[bytes]", folder: Path, moments: random.Random) -> bool:
    """Kill a run at a random moment of its work; False if it had ended before."""
    before = _state(folder)
    while process.poll() is None and _state(folder) == before:
        time.sleep(0.005)
    time.sleep(moments.uniform(0, LONGEST_SECONDS))
    process.kill()
    return process.wait() < 0


def _state(folder: Path) -> set[tuple[str, int]]:
    """Files of a folder, and when they were written."""
    with suppress(FileNotFoundError):  # one of them was renamed meanwhile, or the folder is to come
        return {(path.name, path.stat().st_mtime_ns) for path in folder.iterdir()}
    return set()


def _strays(folder: Path) -> list[Path]:
    """Files that were being written."""
    return list(folder.glob(".napari-coordgate-*"))


def _is_damaged(path: Path) -> bool:
    """Whether there is a checkpoint that cannot be read."""
    try:
        return path.exists() and not Model.load(path).weights
    except ModelError:
        return True


def _are_same(one: Path, other: Path) -> bool:
    """Whether two runs have left the same, to the last bit."""
    for path in (Path, last_checkpoint_path):
        (a_header, a), (b_header, b) = read_tensors(path(one)), read_tensors(path(other))
        same = all(torch.equal(a[name], b[name]) for name in {**a, **b})
        if not same or a_header != b_header:
            return False
    return True


def _make_world(folder: Path) -> None:
    """Sharp images and a PSF field."""
    PSFField.from_lens(GaussianLens(sigma_edge_px=1.2), FRAME).save(folder / "field.tif")
    (folder / "sharp").mkdir()
    for number, image in enumerate(np.random.default_rng(0).random((IMAGES, *FRAME))):
        np.save(folder / "sharp" / f"{number}.npy", image.astype(np.float32))
