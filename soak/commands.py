"""The command line and other calls, each in a process of its own that starts at once.

A new interpreter takes seconds to import what a command needs. These processes are forked from one
that has imported it, if the operating system can do so; they can be killed like any other.
"""

import ctypes
import multiprocessing
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from multiprocessing import forkserver
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask

FORKS = "forkserver" in multiprocessing.get_all_start_methods()
METHOD = "forkserver" if FORKS else "spawn"
PRELOADED = (
    *(__name__, "napari_coordgate.batch", "napari_coordgate.cli.app", "napari_coordgate.training"),
    *("napari_coordgate.comparison", "distributed"),
)
dask.config.set({"distributed.worker.multiprocessing-method": METHOD})
PROGRAM = (
    sys.executable,
    "-c",
    "import sys; from napari_coordgate.cli import main; sys.exit(main())",
)


class Call:
    """A call of a function in its own process; the methods are those of `subprocess.Popen`."""

    def __init__(
        self,
        function: Callable[..., object],
        *arguments: object,
        variables: Mapping[str, str] = os.environ,
        method: str = METHOD,
        is_captured: bool = True,
    ) -> None:
        folder = tempfile.mkdtemp()
        weakref.finalize(self, shutil.rmtree, folder)
        self._files = [Path(folder, name) for name in ("out", "err")]
        for path in self._files:
            path.touch()
        context: Any = multiprocessing.get_context(method)
        if method == "forkserver":
            context.set_forkserver_preload(PRELOADED)
        call = (self._files if is_captured else [], dict(variables), function, arguments)
        self._process = context.Process(target=_run, args=call)
        self._process.start()
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit status; the negative number of the signal that ended the process."""
        status: int | None = self._process.exitcode
        return status

    def poll(self) -> int | None:
        """Return the exit status if the process has ended."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; return the exit status."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end; return what was printed to the standard output and error."""
        self.wait(timeout)
        out, err = (path.read_text() for path in self._files)
        return out, err

    def send_signal(self, number: int) -> None:
        """Send a signal if the process has not ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()

    def __enter__(self) -> "Call":
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()


def start(*arguments: object, without_privileges: bool = False) -> Call:
    """Start a command of the command line."""
    return Call(_main, *map(str, arguments), without_privileges)


def _main(*arguments: Any) -> None:
    """Run the command line; the processes that it starts for devices are forked as well."""
    from napari_coordgate.cli import launching, main

    *words, without_privileges = arguments
    if without_privileges:
        _drop_privileges()
    sys.argv, sys.orig_argv = ["-c", *words], [*PROGRAM, *words]
    if FORKS:
        vars(launching)["subprocess"] = SimpleNamespace(Popen=partial(_start_rank, words))
    sys.exit(main())


def _start_rank(words: list[str], _: object, *, env: Mapping[str, str], **__: object) -> Call:
    return Call(_main, *words, False, variables=env, method="fork", is_captured=False)


def _run(
    files: list[Path],
    variables: dict[str, str],
    function: Callable[..., object],
    arguments: tuple[object, ...],
) -> None:
    """Call a function as a process of its own would."""
    os.setsid()
    for number, path in enumerate(files, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
        setattr(sys, ("stdout", "stderr")[number - 1], os.fdopen(number, "w", closefd=False))
    os.environ.clear()
    os.environ.update(variables, OMP_NUM_THREADS="1")
    # Processes of this one, such as workers of dask, come from the server that it came from.
    vars(forkserver._forkserver)["ensure_running"] = lambda: None  # noqa: SLF001
    function(*arguments)


def _drop_privileges() -> None:
    """Make file permissions apply to this process, even if it is root."""
    if sys.platform == "linux" and os.geteuid() == 0:
        version, nothing = 0x20080522, struct.pack("6I", *[0] * 6)
        assert ctypes.CDLL(None).capset(struct.pack("II", version, 0), nothing) == 0


def wait_until(condition: Callable[[], object], process: "Call | subprocess.Popen[str]") -> None:
    """Wait for something that a process does; it must not end before."""
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
