"""Which results are ours: those of which a batch noted the size and time, and nothing else."""

import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from napari_coordgate.batch.sources import size_and_mtime
from napari_coordgate.opening import regular

_MAX_BYTES = 100


def note_made(target: Path, made: Path) -> None:
    """Note the identity of a complete result, just before it gets the name of the target."""
    path = _note_path(target)
    path.unlink(missing_ok=True)
    with path.open("x") as file:
        file.write(_identity(made))
        file.flush()
        os.fsync(file.fileno())


def is_made(target: Path) -> bool:
    """Whether a file or folder is the one that was noted as the result."""
    try:
        with open(_note_path(target), opener=regular) as file:
            return target.exists() and file.read(_MAX_BYTES) == _identity(target)
    except (OSError, ValueError):
        return False


def remove_notes(targets: Iterable[Path]) -> None:
    """Remove the notes about results, which the report has now."""
    for target in targets:
        with suppress(OSError):
            _note_path(target).unlink(missing_ok=True)


def _identity(path: Path) -> str:
    size, modified_ns = size_and_mtime(path)
    return f"{size} {modified_ns}"


def _note_path(target: Path) -> Path:
    name = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
    return target.with_name(f".napari-coordgate-made-{name}")
