"""Locks between processes, which the system drops with the process, however that ends."""

import getpass
import os
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

from napari_coordgate.errors import OutputError

__all__ = ["acquire_slot", "lock"]

_places: dict[str, tuple[int, FileLock | None]] = {}
"""Places that this process has claimed, by their kind, and the locks that keep them."""


def lock(path: Path, taken: str) -> FileLock:
    """Lock what a file stands for, which is made where it is missing.

    Parameters
    ----------
    path : Path
        The file, which holds nothing.
    taken : str
        What is wrong, and what to do, where another process holds the lock.

    Returns
    -------
    FileLock
        The lock, which is held until it is released.

    Raises
    ------
    OutputError
        If another process holds it, or the file cannot be made.
    """
    held = FileLock(path, timeout=0, thread_local=False)
    try:
        held.acquire()
    except Timeout:
        raise OutputError(taken) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OutputError(f"Cannot write {path}: {reason}; choose another folder.") from error
    return held


def acquire_slot(kind: str, count: int) -> int:
    """Claim the first of so many places that no other process holds; it is held to the end.

    The system keeps the claims and drops them with the process, however that ends. So no
    two workers share a GPU before each has one, whoever started them.

    Parameters
    ----------
    kind : str
        What the places are, for the name of the claim.
    count : int
        How many there are.

    Returns
    -------
    int
        Number of the place, always the same one in a process; where all are taken, one
        that is shared.
    """
    if kind not in _places:
        _places[kind] = _free_place(kind, count)
    return _places[kind][0]


def _free_place(kind: str, count: int) -> tuple[int, FileLock | None]:
    """First place that is free, with its lock; any of them where none is."""
    folder = Path(tempfile.gettempdir())
    for number in range(count):
        # A file of another user could not be locked.
        name = f"napari-coordgate-{getpass.getuser()}-{kind}-{number}.lock"
        held = FileLock(folder / name, timeout=0, thread_local=False)
        try:
            held.acquire()
        except (Timeout, OSError):
            continue
        return number, held
    return os.getpid() % count, None
