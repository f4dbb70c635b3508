"""Laws of the processes that one command starts, one for each device of a computer."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from napari_coordgate.cli.launching import (
    INTERFACE_VARS,
    LAUNCHER,
    _rendezvous,
    run_on_each_device,
)
from napari_coordgate.config.training import STORE
from napari_coordgate.errors import SettingsError

BEGINNING = """
import os, sys, time
from pathlib import Path
from napari_coordgate.cli import launching
from napari_coordgate.cli.job import cancel_on_signal

folder, rank = Path(sys.argv[1]), os.environ.get("LOCAL_RANK")
launching.GRACE_SECONDS = 1.0
if rank is None:
    sys.exit(launching.run_on_each_device(2, 1))
launching.end_with_launcher()
(folder / f"here{rank}").touch()
"""
WAIT = "time.sleep(60)"

Process = subprocess.Popen[str]


@pytest.fixture
def launched(tmp_path: Path) -> Iterator[Process]:
    """Two processes that wait, and the one that has started them."""
    with launch(tmp_path, WAIT) as process:
        wait_for(tmp_path / "here0", tmp_path / "here1")
        yield process


def launch(folder: Path, body: str) -> Process:
    return subprocess.Popen(
        [sys.executable, "-c", BEGINNING + body, str(folder)], stderr=subprocess.PIPE, text=True
    )


def status_of(process: Process) -> int:
    process.communicate(timeout=30)
    return int(process.returncode)


def wait_for(*paths: Path) -> None:
    end = time.monotonic() + 30
    while not all(path.exists() for path in paths):
        assert time.monotonic() < end, paths
        time.sleep(0.02)


def started_by(process: Process) -> list[psutil.Process]:
    """Processes of the devices, in their order."""
    return sorted(psutil.Process(process.pid).children(), key=psutil.Process.create_time)


@pytest.mark.parametrize("rank", [0, 1])
def test_one_that_is_killed_takes_all_with_it(launched: Process, rank: int) -> None:
    ranks = started_by(launched)
    ranks[rank].kill()
    _, words = launched.communicate(timeout=30)
    assert launched.returncode != 0
    assert "TrainingError: A process of the training was killed" in words
    assert not any(process.is_running() for process in ranks)


def test_after_a_failure_the_first_process_has_time_to_end_and_gives_the_status(
    tmp_path: Path,
) -> None:
    body = """
if rank == "0":
    time.sleep(0.1)
    sys.exit(5)
while not (folder / "here0").exists():
    time.sleep(0.01)
sys.exit(1)
"""
    process = launch(tmp_path, body)
    assert status_of(process) == 5
    assert {path.name for path in tmp_path.iterdir()} == {"here0", "here1"}


def test_none_outlives_the_one_that_started_it(launched: Process) -> None:
    ranks = started_by(launched)
    launched.kill()
    launched.communicate(timeout=30)
    _, alive = psutil.wait_procs(ranks, timeout=30)
    assert alive == []


def test_ctrl_c_reaches_each_of_them_once(tmp_path: Path) -> None:
    body = """
with cancel_on_signal() as cancel:
    (folder / f"ready{rank}").touch()
    cancel.wait()
    time.sleep(0.3)  # a second one would end it here
    sys.exit(7)
"""
    process = launch(tmp_path, body)
    wait_for(tmp_path / "ready0", tmp_path / "ready1")
    process.send_signal(signal.SIGINT)
    assert status_of(process) == 7


def test_several_computers_need_a_rendezvous(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(SettingsError, match="MASTER_ADDR"):
        run_on_each_device(2, nodes=2)


def test_processes_of_one_computer_meet_where_no_one_else_can() -> None:
    with _rendezvous(1) as variables:
        assert stat.S_IMODE(Path(variables[STORE]).parent.stat().st_mode) == 0o700
    for name in INTERFACE_VARS:
        addresses = psutil.net_if_addrs()[variables[name]]
        assert "127.0.0.1" in [each.address for each in addresses]


def test_a_process_of_a_device_starts_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LAUNCHER, str(os.getppid()))
    with pytest.raises(SettingsError, match="cannot start others"):
        run_on_each_device(2, nodes=1)
