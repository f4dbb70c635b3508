"""Start this command once for each device of this computer.

The launcher only supervises the processes: it forwards a signal once, and ends all when one
of them fails. They end with the launcher, however it ends.

The launchers of PyTorch and fabric do not suffice: once a process has died, the former waits half
a minute for another that hangs, and hides its exit status after a signal; the latter kills
processes during a save. On several computers, torchrun and srun start the same command.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from napari_coordgate.cli.job import cancel_on_signal
from napari_coordgate.config.training import STORE
from napari_coordgate.errors import SettingsError, TrainingError

GRACE_SECONDS = 5.0
"""Time for the other processes to notice a failure, and to save a checkpoint."""
PAUSE_SECONDS = 0.05
LAUNCHER = "NAPARI_COORDGATE_LAUNCHER"
"""Environment variable with the process id of the launcher."""
RENDEZVOUS_VARS = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")
INTERFACE_VARS = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
"""Variables that name the network interface on which processes listen; default: a public one."""

Ranks = Sequence[subprocess.Popen[bytes]]


def run_on_each_device(devices: int, nodes: int) -> int:
    """Run this command as so many processes on this computer; returns the status of the first.

    With several nodes, the environment must say how they connect.
    """
    if LAUNCHER in os.environ:
        raise SettingsError("A process that was started for a device cannot start others.")
    if nodes > 1 and not set(RENDEZVOUS_VARS) <= os.environ.keys():
        raise SettingsError(
            f"On {nodes} computers, start with srun or torchrun, or set "
            f"{', '.join(RENDEZVOUS_VARS)} on each."
        )
    with (
        cancel_on_signal() as cancel,
        _rendezvous(nodes) as variables,
        _started(devices, variables) as ranks,
    ):
        _wait(ranks, cancel)
    status = ranks[0].returncode
    if status < 0:
        raise TrainingError("A process of the training was killed; continue with --resume.")
    return status


def end_with_launcher() -> None:
    """Exit this process when its launcher has ended."""
    if LAUNCHER in os.environ:
        launcher = int(os.environ[LAUNCHER])
        threading.Thread(target=_exit_with_parent, args=(launcher,), daemon=True).start()


def _exit_with_parent(launcher: int) -> None:
    while os.getppid() == launcher:
        time.sleep(PAUSE_SECONDS)
    os._exit(1)


@contextmanager
def _rendezvous(nodes: int) -> Iterator[dict[str, str]]:
    """Variables by which the processes connect, unseen by others if all are on this computer.

    They meet in a file of a private folder: PyTorch's default is a port of all interfaces, which
    asks for no password.
    """
    if nodes > 1:
        yield {}
        return
    loopback = next(
        name
        for name, addresses in psutil.net_if_addrs().items()
        if any(each.address == "127.0.0.1" for each in addresses)
    )
    with tempfile.TemporaryDirectory(prefix="napari-coordgate-") as folder:
        yield dict.fromkeys(INTERFACE_VARS, loopback) | {STORE: str(Path(folder) / "store")}


@contextmanager
def _started(devices: int, variables: Mapping[str, str]) -> Iterator[Ranks]:
    """Start a process for each device; they are killed when the block ends."""
    environment = os.environ | variables | {LAUNCHER: str(os.getpid())}
    ranks: list[subprocess.Popen[bytes]] = []
    try:
        for rank in range(devices):
            # In its own session, so that Ctrl-C reaches it through the launcher only, and once.
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
    """Wait until all processes have ended, or for the grace period after a failure."""
    is_forwarded, deadline = False, float("inf")
    while any(process.poll() is None for process in ranks) and time.monotonic() < deadline:
        if cancel.is_set() and not is_forwarded:
            is_forwarded = True
            for process in ranks:
                process.send_signal(signal.SIGTERM)
        has_ended = ranks[0].poll() is not None or any(process.poll() for process in ranks)
        if has_ended and deadline == float("inf"):
            deadline = time.monotonic() + GRACE_SECONDS
        time.sleep(PAUSE_SECONDS)
