"""Start this very command once for each device of this computer.

The process that was called only looks after them: it passes a signal on, once, and ends all
when one of them fails. They in turn end with it, however it ends.

Neither PyTorch's launcher nor fabric's would do: once one process has died, the former waits half a
minute for another that hangs, and hides its status after a signal; the latter kills without a word,
amid a save. On several computers, where they are at home, torchrun and srun start the same command.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from napari_coordgate.cli.job import cancel_on_signal
from napari_coordgate.errors import SettingsError, TrainingError

__all__ = ["end_with_launcher", "run_on_each_device"]

GRACE_SECONDS = 5.0
"""Time for the others to notice that one has failed, and to save what there is."""
PAUSE_SECONDS = 0.05
LAUNCHER = "NAPARI_COORDGATE_LAUNCHER"
"""Variable that tells a process who has started it."""
MEETING = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")

Ranks = Sequence[subprocess.Popen[bytes]]


def run_on_each_device(devices: int, nodes: int) -> int:
    """Run this command as so many processes, and wait for them.

    Parameters
    ----------
    devices : int
        Processes on this computer.
    nodes : int
        Computers; where there are several, the environment tells where they meet.

    Returns
    -------
    int
        Exit status of the first of the processes.

    Raises
    ------
    SettingsError
        If the environment does not tell where the computers meet, or this process is
        itself one of those that were started.
    TrainingError
        If the first one was ended from outside.
    """
    if LAUNCHER in os.environ:
        raise SettingsError("A process that was started for a device is to start no others.")
    if nodes > 1 and not set(MEETING) <= os.environ.keys():
        raise SettingsError(
            f"On {nodes} computers, start by srun or torchrun, or set {', '.join(MEETING)} on each."
        )
    with cancel_on_signal() as cancel, _started(devices) as ranks:
        _wait(ranks, cancel)
    status = ranks[0].returncode
    if status < 0:
        raise TrainingError("A process of the training was killed; go on with --resume.")
    return status


def end_with_launcher() -> None:
    """End this process when the one that has started it for a device is gone."""
    if LAUNCHER in os.environ:
        launcher = int(os.environ[LAUNCHER])
        threading.Thread(target=_outlive, args=(launcher,), daemon=True).start()


def _outlive(launcher: int) -> None:
    while os.getppid() == launcher:
        time.sleep(PAUSE_SECONDS)
    os._exit(1)


def _meeting_here() -> dict[str, str]:
    """Where processes of this computer alone meet: its own address, and a port that is free."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address, port = server.getsockname()
    return {"MASTER_ADDR": address, "MASTER_PORT": str(port)}


@contextmanager
def _started(devices: int) -> Iterator[Ranks]:
    """Processes for the devices of this computer, none of which outlives the block."""
    environment = _meeting_here() | os.environ | {LAUNCHER: str(os.getpid())}
    ranks: list[subprocess.Popen[bytes]] = []
    try:
        for rank in range(devices):
            # In a session of its own, so that Ctrl-C reaches it from here alone, and once.
            process = subprocess.Popen(
                sys.orig_argv, env=environment | {"LOCAL_RANK": str(rank)}, start_new_session=True
            )
            ranks.append(process)
        yield ranks
    finally:
        for process in ranks:
            process.kill()
            process.wait()


def _wait(ranks: Ranks, cancel: threading.Event) -> None:
    """Wait until all have ended, or for a while since the first has, or one has failed."""
    is_passed_on, deadline = False, float("inf")
    while any(process.poll() is None for process in ranks) and time.monotonic() < deadline:
        if cancel.is_set() and not is_passed_on:
            is_passed_on = True
            for process in ranks:
                process.send_signal(signal.SIGTERM)
        has_ended = ranks[0].poll() is not None or any(process.poll() for process in ranks)
        if has_ended and deadline == float("inf"):
            deadline = time.monotonic() + GRACE_SECONDS
        time.sleep(PAUSE_SECONDS)
