"""Many inputs for a reader, in separate processes, and their outcomes."""

import itertools
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.fuzz.mutations import Document
from tests.fuzz.worker import SEEDS, document

GOOD = ("loaded", "refused")
"""Allowed outcomes of an input."""

HANG_SECONDS = 300
"""Time after which a process without CPU use is considered hanging."""

READERS = "tests.fuzz.readers"
Note = Callable[[int, str, str], None]


@dataclass(frozen=True)
class Failure:
    """An input that a reader neither loaded nor refused."""

    reader: str
    seed: int
    number: int
    kind: str
    why: str
    files: Document = field(repr=False)


@dataclass
class Trial:
    """The outcomes of the inputs of one reader, with the largest CPU time and memory growth."""

    kinds: Counter[str] = field(default_factory=Counter)
    slowest_seconds: float = 0.0
    grown_mb: float = 0.0
    failures: list[Failure] = field(default_factory=list)


class Workers:
    """A process that reads corrupted files; it is replaced when it dies."""

    def __init__(self, folder: Path, module: str = READERS, cpu_seconds: int = 10) -> None:
        self._folder = folder
        self._module = module
        self._cpu_seconds = cpu_seconds
        self._process: subprocess.Popen[str] | None = None

    def run(self, reader: str, count: int, seed: int) -> Trial:
        """Test inputs 0 to ``count`` of a reader."""
        seeds = import_module(self._module).READERS[reader].seeds()
        (self._folder / SEEDS).write_bytes(pickle.dumps(seeds))
        trial, first = Trial(), 0

        def note(number: int, kind: str, why: str) -> None:
            trial.kinds[kind] += 1
            if kind not in GOOD:
                files = document(reader, seed, number, seeds)
                trial.failures.append(Failure(reader, seed, number, kind, why, files))

        while first < count:
            began, died = self._run(reader, range(first, count), seed, trial, note)
            if died is None:
                break
            if began < 0:
                raise RuntimeError(f"The valid files of {reader} are not read: {died}")
            note(began, "crash", died)
            first = began + 1
        return trial

    def _run(
        self, reader: str, numbers: range, seed: int, trial: Trial, note: Note
    ) -> tuple[int, str | None]:
        """Test inputs until the end or a crash; return the last input and the cause of death."""
        process = self._started()
        order = {
            "module": self._module,
            "cpu_seconds": self._cpu_seconds,
            "reader": reader,
            "seed": seed,
            "first": numbers.start,
            "end": numbers.stop,
            "folder": str(self._folder),
        }
        assert process.stdin is not None
        print(json.dumps(order), file=process.stdin, flush=True)
        began = -1
        for answer in self._answers(process):
            if "end" in answer:
                return began, None
            if "began" in answer:
                began = answer["began"]
                continue
            note(answer["number"], answer["kind"], answer["why"])
            trial.slowest_seconds = max(trial.slowest_seconds, answer["seconds"])
            trial.grown_mb = max(trial.grown_mb, answer["grown_mb"])
        return began, self._ended(process)

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fuzz.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=Path(__file__).parents[2],
                env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
        return self._process

    def _answers(self, process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
        """Yield the answers of the process while it lives; a silent one is killed."""
        assert process.stdout is not None
        for _ in itertools.count():
            watch = threading.Timer(HANG_SECONDS, process.kill)
            watch.start()
            line = process.stdout.readline()
            watch.cancel()
            if not line:
                return
            yield json.loads(line)

    def _ended(self, process: subprocess.Popen[str]) -> str:
        """Return the signal or exit code with which a process ended."""
        self._process = None
        with process:
            code = process.wait()
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._ended(self._process)
