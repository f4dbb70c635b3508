"""Damaged files of every kind, each given to the function behind the command line.

Every twentieth is given to a process of its own. A command may end with any status, but with one
line: it must not raise, hang or die, nor write outside its output folder.
"""

import contextlib
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from napari_coordgate.cli import main
from napari_coordgate.config import CGUNetConfig, GaussianLens, TrainingConfig
from napari_coordgate.model import Model
from napari_coordgate.networks import UNet
from napari_coordgate.optics import PSFField
from soak.commands import Call
from tests.fuzz.readers import READERS
from tests.fuzz.worker import document, write

FRAME = (12, 10)
EACH = 20
"""Inputs given to one process; the one after them has a process of its own."""
SECONDS = 60
"""Time for one input, after which it hangs."""
FIGURES = ("inputs", "processes", "accepted", "refused", "tracebacks", "hangs", "crashes")


def soak(times: int, seed: int) -> dict[str, Any]:
    """Give so many inputs to commands; return the counts.

    ``outside`` counts inputs after which a file beside the output folder had changed, ``lines``
    errors of several lines, ``slowest_ms`` and ``memory_mb`` are the largest of one input.
    """
    figures = Counter(dict.fromkeys((*FIGURES, "outside", "lines"), 0))
    most = {"slowest_ms": 0, "memory_mb": 0}
    with TemporaryDirectory() as name:
        folder = Path(name)
        _write_world(folder)
        numbers = iter(range(times))
        sizes = itertools.cycle((EACH - 1, 1))
        while chunk := list(itertools.islice(numbers, next(sizes))):
            figures["processes"] += len(chunk) == 1
            for outcome in _outcomes(folder, seed, chunk):
                figures["inputs"] += 1
                figures[outcome["kind"]] += 1
                figures["outside"] += outcome.get("outside", 0)
                most = {key: max(most[key], outcome.get(key, 0)) for key in most}
                if outcome["kind"] not in ("accepted", "refused") or outcome.get("outside"):
                    sys.stderr.write(f"{json.dumps(outcome)}\n")
    return {**figures, **most}


def _outcomes(folder: Path, seed: int, numbers: list[int]) -> Iterator[dict[str, Any]]:
    """Outcomes of some inputs; after one that hangs or dies, the rest gets another process."""
    while numbers:
        notes = folder / "notes.jsonl"
        notes.write_text("")
        with Call(_give_all, folder, seed, numbers) as process:
            is_hanging = False
            try:
                process.wait(SECONDS * len(numbers))
            except subprocess.TimeoutExpired:
                is_hanging = True
                process.kill()
        done = [json.loads(line) for line in notes.read_text().splitlines()]
        yield from done
        numbers = numbers[len(done) :]
        if numbers:
            yield {"kind": "hangs" if is_hanging else "crashes", "number": numbers.pop(0)}


def _give_all(folder: Path, seed: int, numbers: list[int]) -> None:
    """Give inputs to commands, and note each outcome."""
    names, seeds = list(READERS), dict[str, Any]()
    with (folder / "notes.jsonl").open("a") as notes:
        for number in numbers:
            name = names[number % len(names)]
            if name not in seeds:
                seeds[name] = READERS[name].seeds()
            files = document(name, seed, number, seeds[name])
            outcome = {"number": number, "reader": name, **_give(folder, name, files)}
            notes.write(json.dumps(outcome) + "\n")
            notes.flush()


def _give(folder: Path, reader: str, files: dict[str, bytes]) -> dict[str, Any]:
    """Give one input to a command; return what became of it."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    (folder / "in").mkdir(exist_ok=True)
    path = write(files, folder / "in")
    if reader == "batch report" and path.is_file():
        (folder / "out").mkdir()
        path.rename(folder / "out" / path.name)
    before, begun, memory = _snapshot(folder), time.perf_counter(), _memory_mb()
    sys.argv = ["napari-coordgate", *map(str, _command(folder, reader, path))]
    out, err, why = io.StringIO(), io.StringIO(), ""
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main()
        said = [text for text in err.getvalue().splitlines() if "warning: " not in text]
        is_line = len(said) == 1 or all(text.startswith("failed: ") for text in said)
        kind = "accepted" if status == 0 else "refused" if is_line else "lines"
    except BaseException:
        kind, why = "tracebacks", traceback.format_exc()
    return {
        "kind": kind,
        "why": why or err.getvalue() if kind in ("tracebacks", "lines") else "",
        "outside": int(_snapshot(folder) != before),
        "slowest_ms": round(1000 * (time.perf_counter() - begun)),
        "memory_mb": _memory_mb() - memory,
    }


def _command(folder: Path, reader: str, path: Path) -> tuple[object, ...]:
    """Command that reads a file of this kind."""
    image, field, model = folder / "image", folder / "field.tif", folder / "model.safetensors"
    sharp, out = image / "a.npy", folder / "out"
    result = ("-o", out / "result.ome.tif", "--device", "cpu")
    commands: dict[str, tuple[object, ...]] = {
        "model": ("deblur", sharp, "-m", path, *result),
        "PSF field": ("wiener", sharp, "--psf", path, *result),
        "lens": ("psf", path, "--frame", "12x10", "-o", out / "field.tif"),
        "comparison": ("compare", path, "-o", out),
        "batch report": ("deblur", image, out, "-m", model, "--device", "cpu"),
        "training settings": (
            *("train", folder / "nothing", "--psf", field, "--config", path),
            *("-o", out / "m.safetensors"),
        ),
    }
    return commands.get(reader, ("deblur", path, "-m", model, *result))


def _snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of all files that a command has to leave alone."""
    found = {}
    for root, names, files in os.walk(folder):
        names[:] = [name for name in names if Path(root, name) != folder / "out"]
        for name in files:
            status = Path(root, name).lstat()
            found[str(Path(root, name))] = (status.st_size, status.st_mtime_ns)
    found.pop(str(folder / "notes.jsonl"), None)
    return found


def _memory_mb() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _write_world(folder: Path) -> None:
    """Write an image, a PSF field and a model, all of them good."""
    (folder / "image").mkdir()
    np.save(folder / "image" / "a.npy", np.random.default_rng(0).random(FRAME, np.float32))
    PSFField.from_lens(GaussianLens(sigma_edge_px=1.2), FRAME).save(folder / "field.tif")
    settings = CGUNetConfig(base_channels=4, depth=2)
    config, network = TrainingConfig(network=settings), UNet.from_config(settings)
    Model(config, network.state_dict(), FRAME).save(folder / "model.safetensors")
