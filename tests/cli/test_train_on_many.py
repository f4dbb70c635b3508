"""Laws of a training by several processes: it is the one that a single process does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from napari_coordgate.checkpoint import load_checkpoint
from napari_coordgate.files import last_checkpoint_path

if TYPE_CHECKING:
    from tests.cli.conftest import Run, Start, World

SETTINGS: tuple[object, ...] = (
    *("--base-channels", 4, "--depth", 2, "--batch-size", 3, "--window-size", 32),
    *("--photons", 300, "--read-noise", 2, "--validation-fraction", 0.5),
    *("--device", "cpu", "--steps", 9, "--validate-every", 3, "--schedule", "plateau"),
)
ON_TWO = ("--devices", 2)
FOREVER = ("--steps", 1_000_000, "--autosave-minutes", 1e-4)


def training(world: World, output: Path) -> tuple[object, ...]:
    return ("train", world.sharp, "--psf", world.field, "-o", output, *SETTINGS)


def curve(output: Path) -> list[Any]:
    history = load_checkpoint(last_checkpoint_path(output)).history
    return [pytest.approx(figures, rel=1e-3) for figures in history]


def under_way(process: subprocess.Popen[str], output: Path) -> list[psutil.Process]:
    """Processes of the devices, once some steps are done."""
    while not output.exists():
        assert process.poll() is None
        time.sleep(0.05)
    return sorted(psutil.Process(process.pid).children(), key=psutil.Process.create_time)


def test_two_processes_have_the_validation_curve_of_one(
    run: Run, start: Start, world: World, tmp_path: Path
) -> None:
    alone, output = tmp_path / "alone.safetensors", tmp_path / "two" / "model.safetensors"
    assert run(*training(world, alone)).returncode == 0
    process = start(*training(world, output), *ON_TWO)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert out.count("\n") == 1
    assert list(load_checkpoint(last_checkpoint_path(output)).history) == curve(alone)
    names = {"model.safetensors", "model.last.safetensors", "model.safetensors.yaml"}
    assert {path.name for path in output.parent.iterdir()} == names


def test_a_run_that_is_stopped_goes_on_with_any_number_of_processes_whoever_starts_them(
    run: Run, start: Start, world: World, tmp_path: Path
) -> None:
    alone, output = tmp_path / "alone.safetensors", tmp_path / "model.safetensors"
    with start(*training(world, output), *ON_TWO, *FOREVER) as process:
        under_way(process, output)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err.count("\n")) == (130, "", 1)
    assert "--resume" in err
    launcher = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2")
    program = (Path(sys.executable).with_name("napari-coordgate"), *training(world, output))
    steps = ("--steps", load_checkpoint(last_checkpoint_path(output)).step + 3)
    resumed = subprocess.run(
        list(map(str, (*launcher, *program, "--resume", *ON_TWO, *steps))),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert resumed.returncode == 0
    assert resumed.stdout.count("\n") == 1
    assert run(*training(world, alone), *steps).returncode == 0
    assert list(load_checkpoint(last_checkpoint_path(output)).history) == curve(alone)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_killed_ends_the_run_which_goes_on_later(
    run: Run, start: Start, world: World, tmp_path: Path, rank: int
) -> None:
    output = tmp_path / "model.safetensors"
    with start(*training(world, output), *ON_TWO, *FOREVER) as process:
        ranks = under_way(process, output)
        ranks[rank].kill()
        _, err = process.communicate(timeout=15)
    assert process.returncode == 1
    assert err.count("\n") == 1
    assert "resume" in err
    assert not any(process.is_running() for process in ranks)
    step = load_checkpoint(last_checkpoint_path(output)).step
    going_on = ("--resume", "--devices", 1, "--steps", step + 1)
    assert run(*training(world, output), *going_on).returncode == 0
    assert list(tmp_path.glob(".*")) == []
