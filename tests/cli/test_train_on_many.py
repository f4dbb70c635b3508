"""Laws of a training by several processes: it is the one that a single process does."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil
import pytest

from napari_coordgate.io.files import last_checkpoint_path
from napari_coordgate.model import Model
from soak.commands import Call

if TYPE_CHECKING:
    from tests.cli.conftest import Run, Start, World

EVERY = 3
"""Steps between validations."""
SETTINGS: tuple[object, ...] = (
    *("--base-channels", 4, "--depth", 2, "--batch-size", 3, "--window-size", 32),
    *("--photons", 300, "--read-noise", 2, "--validation-fraction", 0.5),
    *("--device", "cpu", "--validate-every", EVERY, "--schedule", "plateau"),
)
FOREVER = ("--steps", 1_000_000, "--autosave-minutes", 1e-4)
END_SECONDS = 15
"""Time for all processes to end once something has happened to one of them, on a busy machine."""

Strike = Callable[[Call, list[psutil.Process]], None]
STRIKES: dict[str, Strike] = {
    "killed": lambda _, ranks: ranks[1].kill(),
    "stopped": lambda process, _: process.send_signal(signal.SIGTERM),
}


class End(NamedTuple):
    """How a command ended, and which of its processes it left behind."""

    status: int
    out: str
    err: str
    left: list[psutil.Process]
    listening: frozenset[str] = frozenset()


class Story(NamedTuple):
    """A training on two devices that goes on after each strike, until it completes."""

    ends: dict[str, End]
    output: Path


@pytest.fixture(scope="module")
def story(start: Start, world: World, tmp_path_factory: pytest.TempPathFactory) -> Story:
    output = tmp_path_factory.mktemp("two") / "model.safetensors"
    command, ends = (*training(world, output), "--devices", 2), {}
    for name, strike in STRIKES.items():
        with start(*command, *FOREVER) as process:
            ends[name] = end_after(strike, process, output)
        command = (*command, "--resume") if "--resume" not in command else command
    steps = last_step(output) // EVERY * EVERY + EVERY
    with start(*command, "--steps", steps) as process:
        out, err = process.communicate(timeout=120)
    ends["completed"] = End(process.wait(), out, err, [])
    return Story(ends, output)


def training(world: World, output: Path) -> tuple[object, ...]:
    return ("train", world.sharp, "--psf", world.field, "-o", output, *SETTINGS)


def end_after(strike: Strike, process: Call, output: Path) -> End:
    """Strike once some steps are done, and wait."""
    before = last_saved(output)
    try:
        while last_saved(output) == before:
            assert process.poll() is None
            time.sleep(0.05)
        ranks = sorted(psutil.Process(process.pid).children(), key=psutil.Process.create_time)
        sockets = [s for rank in ranks for s in rank.net_connections() if not s.raddr]
        strike(process, ranks)
        out, err = process.communicate(timeout=END_SECONDS)
    finally:
        process.kill()
    left = [rank for rank in ranks if rank.is_running()]
    return End(process.wait(), out, err, left, frozenset(s.laddr.ip for s in sockets))


def last_saved(output: Path) -> int:
    last = last_checkpoint_path(output)
    return last.stat().st_mtime_ns if last.exists() else 0


def last_step(output: Path) -> int:
    return Model.load(last_checkpoint_path(output)).step


def curve(output: Path) -> list[Any]:
    history = Model.load(last_checkpoint_path(output)).history
    return [pytest.approx(figures, rel=1e-3) for figures in history]


def test_a_process_that_is_killed_ends_the_run_which_can_go_on(story: Story) -> None:
    status, out, err, left, _ = story.ends["killed"]
    messages = [line for line in err.splitlines() if not line.startswith("training: ")]
    assert (status, out, len(messages), left) == (1, "", 1, [])
    assert "resume" in err


def test_no_process_listens_to_other_computers(story: Story) -> None:
    """Whoever reaches the store of a process group can make its processes run code."""
    assert story.ends["killed"].listening <= {"127.0.0.1", "::1"}


def test_a_signal_stops_all_processes_and_only_one_of_them_speaks(story: Story) -> None:
    status, out, err, left, _ = story.ends["stopped"]
    messages = [line for line in err.splitlines() if not line.startswith("training: ")]
    assert (status, out, len(messages), left) == (130, "", 1, [])
    assert "Stopped after" in err
    assert err.endswith("(resume, --resume).\n")


def test_a_run_that_completes_leaves_what_that_of_one_process_leaves(story: Story) -> None:
    status, out, err, *_ = story.ends["completed"]
    assert (status, out.count("\n"), err) == (0, 1, "")
    names = {"model.safetensors", "model.last.safetensors", "model.safetensors.yaml"}
    assert {path.name for path in story.output.parent.iterdir()} == names


def test_a_run_on_two_one_or_both_in_turn_has_one_validation_curve(
    story: Story, run: Run, world: World, tmp_path: Path
) -> None:
    output, alone = tmp_path / "two" / story.output.name, tmp_path / "alone.safetensors"
    shutil.copytree(story.output.parent, output.parent)
    steps = ("--steps", last_step(output) + EVERY)
    assert run(*training(world, output), "--resume", "--devices", 1, *steps).returncode == 0
    assert run(*training(world, alone), *steps).returncode == 0
    assert list(Model.load(last_checkpoint_path(output)).history) == curve(alone)
