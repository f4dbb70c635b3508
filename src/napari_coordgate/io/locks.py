"""Locks between processes; the operating system releases them when a process ends."""

import getpass
import os
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

from napari_coordgate.errors import OutputError

_slots: dict[str, tuple[int, FileLock | None]] = {}
"""Slots that this process holds, by kind, with their locks."""


def acquire_lock(path: Path, message: str) -> FileLock:
    """Lock a file, created if missing; OutputError with ``message`` if another process holds it."""
    lock = FileLock(path, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise OutputError(message) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OutputError(f"Cannot write {path}: {reason}; choose another folder.") from error
    return lock


def acquire_slot(kind: str, count: int) -> int:
    """Acquire the first free slot (e.g. a GPU index) of ``count``; held until the process exits.

    Repeated calls return the same slot. If no slot is free, one is shared.
    """
    if kind not in _slots:
        _slots[kind] = _find_free_slot(kind, count)
    return _slots[kind][0]


def _find_free_slot(kind: str, count: int) -> tuple[int, FileLock | None]:
    """First free slot with its lock; without a lock if none is free."""
    folder = Path(tempfile.gettempdir())
    for slot in range(count):
        # The user's name, because files of other users cannot be locked.
        name = f"napari-coordgate-{getpass.getuser()}-{kind}-{slot}.lock"
        lock = FileLock(folder / name, timeout=0, thread_local=False)
        try:
            lock.acquire()
        except (Timeout, OSError):
            continue
        return slot, lock
    return os.getpid() % count, None
