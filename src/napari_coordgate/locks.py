"""Locks between processes, which the system drops with the process, however that ends."""

import os
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

from napari_coordgate.errors import OutputError

__all__ = ["claim_place", "lock"]

_held_places: dict[str, FileLock] = {}


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


def claim_place(kind: str, count: int) -> int:
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
        Number of the place; where all are taken, one that is shared.
    """
    for number in range(count):
        name = f"napari-coordgate-{kind}-{number}.lock"
        if name in _held_places:
            return number
        lock = FileLock(Path(tempfile.gettempdir(), name), timeout=0)
        try:
            lock.acquire()
        except Timeout:
            continue
        _held_places[name] = lock
        return number
    return os.getpid() % count
