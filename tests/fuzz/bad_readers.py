"""Readers that do forbidden things, to test that this is detected."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.fuzz.reader import Reader

ORIGINAL = b"1234567890"


def harmful_if_corrupted(harm: Callable[[], object]) -> Reader:
    """Return a reader that does harm unless it gets the original file."""

    def read(path: Path) -> None:
        if not path.is_file() or path.read_bytes() != ORIGINAL:
            harm()

    return Reader(read, {"file.bin": lambda path: path.write_bytes(ORIGINAL)})


def loop() -> None:
    while True:
        pass


READERS: Mapping[str, Reader] = {
    "abort": harmful_if_corrupted(os.abort),
    "loop": harmful_if_corrupted(loop),
    "swallow": harmful_if_corrupted(lambda: bytearray(2**32)),
    "stumble": harmful_if_corrupted(lambda: {"a": 1}["b"]),
    "unpickle": harmful_if_corrupted(lambda: pickle.loads(pickle.dumps(Path))),
    "run": harmful_if_corrupted(lambda: subprocess.run([sys.executable, "-c", ""], check=True)),
    "write": harmful_if_corrupted(lambda: Path("trace").write_text("I was here.")),
}
