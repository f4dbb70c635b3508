"""Readers that do what none may do, to see that it is noticed."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.fuzz.reader import Reader

WHOLE = b"1234567890"


def spoiled_only(harm: Callable[[], object]) -> Reader:
    """A reader that does harm where it gets anything but the whole file."""

    def read(path: Path) -> None:
        if not path.is_file() or path.read_bytes() != WHOLE:
            harm()

    return Reader(read, {"file.bin": lambda path: path.write_bytes(WHOLE)})


def loop() -> None:
    while True:
        pass


READERS: Mapping[str, Reader] = {
    "abort": spoiled_only(os.abort),
    "loop": spoiled_only(loop),
    "swallow": spoiled_only(lambda: bytearray(2**32)),
    "stumble": spoiled_only(lambda: {"a": 1}["b"]),
    "unpickle": spoiled_only(lambda: pickle.loads(pickle.dumps(Path))),
    "run": spoiled_only(lambda: subprocess.run([sys.executable, "-c", ""], check=True)),
    "write": spoiled_only(lambda: Path("trace").write_text("I was here.")),
}
