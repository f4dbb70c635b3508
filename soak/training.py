"""Trainings that are killed at random times, resumed, and compared with an uninterrupted one."""

import random
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
from soak.commands import Call, start

FRAME = (48, 48)
IMAGES = 4
SETTINGS = (
    *("--device", "cpu", "--base-channels", "4", "--depth", "2", "--photons", "500"),
    *("--batch-size", "2", "--window-size", "32", "--steps", "60", "--validate-every", "7"),
    *("--autosave-minutes", "0.0002"),
)
"""A step takes a few hundredths of a second, and almost every step is saved."""
MAX_SECONDS = 2.0
"""Maximum time from the start of a run to its kill, about the duration of a run."""


def soak(times: int, seed: int) -> dict[str, Any]:
    """Kill trainings at random times and resume each until it completes; return the counts.

    ``strays_found`` counts temporary files after kills, ``strays_left`` those after completed runs,
    ``damaged`` unreadable files, ``mismatches`` runs that differ from the uninterrupted one.
    """
    times_rng, figures = random.Random(seed), Counter(dict.fromkeys(FIGURES, 0))
    with TemporaryDirectory() as name:
        folder = Path(name)
        _write_inputs(folder)
        whole = folder / "whole" / "model.safetensors"
        uninterrupted = _run(whole)
        while figures["killed"] < times:
            output = folder / f"run{figures['runs']}" / "model.safetensors"
            figures["runs"] += 1
            _run_with_kills(output, times, times_rng, figures)
            uninterrupted.wait()
            figures["strays_left"] += len(_strays(output.parent))
            figures["mismatches"] += not _are_same(whole, output)
    return dict(figures)


FIGURES = ("killed", "resumed", "runs", "strays_found", "strays_left", "damaged", "mismatches")


def _run_with_kills(
    output: Path, times: int, times_rng: random.Random, figures: Counter[str]
) -> None:
    """Restart a run until it completes."""
    process = _run(output)
    while figures["killed"] < times and _is_killed(process, output.parent, times_rng):
        figures["killed"] += 1
        figures["strays_found"] += len(_strays(output.parent))
        figures["damaged"] += sum(map(_is_damaged, (output, last_checkpoint_path(output))))
        figures["resumed"] += last_checkpoint_path(output).exists()
        process = _run(output)
    if process.wait() != 0:
        raise RuntimeError(f"A training ended with status {process.returncode}.")


def _run(output: Path) -> Call:
    """Start a run, or resume it if there is a checkpoint; its output is discarded."""
    folder, can_resume = output.parents[1], last_checkpoint_path(output).exists()
    how = ("--resume",) if can_resume else (*SETTINGS, "--psf", str(folder / "field.tif"))
    training = ("train", str(folder / "sharp"), "-o", str(output), "--overwrite", *how)
    return start(*training)


def _is_killed(process: Call, folder: Path, times_rng: random.Random) -> bool:
    """Kill a run at a random time; return False if it had ended before."""
    before = _snapshot(folder)
    while process.poll() is None and _snapshot(folder) == before:
        time.sleep(0.005)
    time.sleep(times_rng.uniform(0, MAX_SECONDS))
    process.kill()
    return process.wait() < 0


def _snapshot(folder: Path) -> set[tuple[str, int]]:
    """Return the files of a folder with their modification times."""
    with suppress(FileNotFoundError):  # a file was just renamed, or the folder does not exist yet
        return {(path.name, path.stat().st_mtime_ns) for path in folder.iterdir()}
    return set()


def _strays(folder: Path) -> list[Path]:
    """Return the temporary files."""
    return list(folder.glob(".napari-coordgate-*"))


def _is_damaged(path: Path) -> bool:
    """Return whether a file exists and cannot be read."""
    try:
        return path.exists() and not Model.load(path).weights
    except ModelError:
        return True


def _are_same(one: Path, other: Path) -> bool:
    """Return whether two runs left the same files, bit by bit."""
    for path in (Path, last_checkpoint_path):
        (a_header, a), (b_header, b) = read_tensors(path(one)), read_tensors(path(other))
        same = all(torch.equal(a[name], b[name]) for name in {**a, **b})
        if not same or a_header != b_header:
            return False
    return True


def _write_inputs(folder: Path) -> None:
    """Write sharp images and a PSF field."""
    PSFField.from_lens(GaussianLens(sigma_edge_px=1.2), FRAME).save(folder / "field.tif")
    (folder / "sharp").mkdir()
    for number, image in enumerate(np.random.default_rng(0).random((IMAGES, *FRAME))):
        np.save(folder / "sharp" / f"{number}.npy", image.astype(np.float32))
