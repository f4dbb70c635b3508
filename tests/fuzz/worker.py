"""A process that reads corrupted files one by one, within limits.

It gets orders on its standard input and writes a line of JSON before and after each input, so that
the parent process knows at which input it died.
"""

import json
import os
import pickle
import random
import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil

from napari_coordgate.errors import CoordGateError
from tests.fuzz.mutations import Document, corrupt
from tests.fuzz.reader import Reader

SEEDS = "seeds.pickle"
"""The valid files of this trial."""

MEMORY_MB = 1024
"""Limit above the memory of a process that has read the valid files."""

_FORBIDDEN = (
    *("pickle.find_class", "subprocess.", "socket.", "ctypes.dlopen", "shutil."),
    *("os.system", "os.exec", "os.posix_spawn", "os.remove", "os.rename", "os.rmdir", "os.chmod"),
)


class ForbiddenError(BaseException):
    """A reader did something that reading does not need."""


class Guard:
    """Forbids, while on, to run, send, write or remove anything."""

    def __init__(self) -> None:
        self.is_on = False
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.is_on:
            return
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes or event.startswith(_FORBIDDEN):
            raise ForbiddenError(f"{event} {arguments!r}"[:300])


def document(name: str, seed: int, number: int, seeds: list[Document]) -> dict[str, bytes]:
    """Return the input of a number, the same at every call."""
    return corrupt(random.Random(f"{name} {seed} {number}"), seeds)


def main() -> None:
    """Read the inputs ordered on the standard input until it ends."""
    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)  # not for libraries, which are silenced
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    guard = Guard()
    for line in sys.stdin:
        order = json.loads(line)
        with tempfile.TemporaryDirectory(dir=order["folder"]) as folder:
            _read_many(order, Path(folder), guard, answers.write)
        answers.write(json.dumps({"end": True}) + "\n")


def _read_many(
    order: dict[str, Any], folder: Path, guard: Guard, report: Callable[[str], object]
) -> None:
    reader: Reader = import_module(order["module"]).READERS[order["reader"]]
    seeds: list[Document] = pickle.loads((folder.parent / SEEDS).read_bytes())
    for valid in seeds:
        reader.read(write(valid, folder))
    _limit_memory(MEMORY_MB)
    grown = 0.0
    for number in range(order["first"], order["end"]):
        corrupted = document(order["reader"], order["seed"], number, seeds)
        path = write(corrupted, folder)
        report(json.dumps({"began": number}) + "\n")
        _limit_seconds(order["cpu_seconds"])
        start, before = time.process_time(), _peak_memory_mb()
        kind, why = _outcome(reader.read, path, guard)
        seconds = time.process_time() - start
        grown += _peak_memory_mb() - before
        answer = {"number": number, "kind": kind, "why": why, "seconds": seconds, "grown_mb": grown}
        report(json.dumps(answer) + "\n")


def _outcome(read: Callable[[Path], object], path: Path, guard: Guard) -> tuple[str, str]:
    """Return the outcome of one input: loaded, refused, or a failure."""
    try:
        guard.is_on = True
        read(path)
    except CoordGateError as error:
        lines = str(error).splitlines()
        return ("refused" if len(lines) == 1 else "not one line"), str(error)
    except ForbiddenError as error:
        return "forbidden", str(error)
    except BaseException as error:
        return "exception", f"{type(error).__name__}: {error}"[:500]
    finally:
        guard.is_on = False
    return "loaded", ""


def write(files: Document, folder: Path) -> Path:
    """Write a document in place of the previous one."""
    root = folder / next(iter(sorted(files))).split("/")[0] if files else folder / "missing"
    for old in folder.iterdir():
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return root


def _limit_seconds(seconds: int) -> None:
    """Limit the additional CPU time of the process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = int(usage.ru_utime + usage.ru_stime) + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (used + seconds, hard))


def _limit_memory(megabytes: int) -> None:
    """Limit the additional memory of the process."""
    limit = psutil.Process().memory_info().vms + megabytes * 2**20
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _peak_memory_mb() -> float:
    """Return the peak resident set of this process."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


if __name__ == "__main__":
    main()
