"""Locks between processes; the operating system releases them when a process ends."""

import getpass
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from napari_coordgate.errors import OutputError
from napari_coordgate.io.files import check_not_linked

LOCK_NAME = ".napari-coordgate.lock"
"""File in a folder that one process at a time writes to."""

_slots: dict[str, tuple[int, FileLock | None]] = {}
"""Slots that this process holds, by kind, with their locks."""


def acquire_lock(path: Path, message: str) -> FileLock:
    """Lock a file, created if missing; OutputError with ``message`` if another process holds it."""
    check_not_linked(path)  # some versions of the library empty what it leads to
    lock = FileLock(path, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise OutputError(message) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OutputError(f"Cannot write {path}: {reason}; choose another folder.") from error
    return lock


def is_locked(path: Path) -> bool:
    """Whether another process, or other code of this one, holds the lock of an existing file."""
    if not path.is_file():
        return False
    try:
        acquire_lock(path, "").release()
    except OutputError as error:
        return not str(error)
    return False


@contextmanager
def lock_folder(folder: Path, message: str) -> Iterator[None]:
    """Lock a folder, made if missing and left only if it is used; raises as `acquire_lock` does."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    with suppress(OSError):  # of which the lock tells
        folder.mkdir(parents=True, exist_ok=True)
    held = acquire_lock(folder / LOCK_NAME, message)
    try:
        yield
    finally:
        # Removed before it is released, or others would hold a lock that is then removed.
        Path(held.lock_file).unlink(missing_ok=True)
        held.release()
        for path in made:
            with suppress(OSError):
                path.rmdir()


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
        with suppress(OutputError):
            return slot, acquire_lock(folder / name, "")
    return os.getpid() % count, None
