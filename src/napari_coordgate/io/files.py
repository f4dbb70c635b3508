"""Atomic writing of files and folders, and well-known paths."""

import errno
import hashlib
import math
import os
import platform
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from napari_coordgate.errors import CoordGateError, OutputError
from napari_coordgate.opening import check_regular, regular

_ADVICE = {
    errno.ENOSPC: "free some space or choose another disk",
    errno.EDQUOT: "free some space or choose another disk",
    errno.EFBIG: "write less or choose another disk",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that you may write to",
    errno.ENOTDIR: "choose a folder that is not a file",
    errno.EEXIST: "choose a folder that is not a file",
    errno.ENAMETOOLONG: "choose a shorter name",
}
_OUTPUT_EXISTS_HINT = "choose another name, or overwrite it (overwrite, --overwrite)"
_MAX_NAME_END = 40
"""Characters of a target's name in its temporary name, to stay below the longest name allowed."""
_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
_HIDDEN_NAME = re.compile(
    r"\.napari-coordgate-(?P<host>[0-9a-f]{8})-(?P<pid>[0-9]{1,10})-(?P<kind>[0-9a-f]{8}|old)-(?P<end>.+)",
    re.DOTALL,
)
"""Name of what is not complete, or of a folder while it is replaced (old).

It says which process of which computer wrote it. Nobody else removes it while that may live: locks
of files serve only the processes of one computer on some shared disks, and not all systems.
"""
_cleaned: set[Path] = set()
"""Folders from which this process has removed what killed processes left."""


def check_not_exists(
    paths: Iterable[str | Path], overwrite: bool, hint: str = _OUTPUT_EXISTS_HINT
) -> None:
    """Raise OutputError if a path exists, even as a broken link, and ``overwrite`` is False.

    So it does if nothing can be created in the folder, which shall be known before the work.
    """
    for path in paths:
        _check_not_exists(Path(path), overwrite, hint)
        try:
            _check_folder(Path(path))
        except OSError as error:
            raise _write_error(Path(path), error) from error


def check_not_source(source: str | Path, target: str | Path) -> None:
    """Raise OutputError if a result would replace the file that it is made of."""
    source, target = Path(source), Path(target)
    if source.exists() and target.exists() and source.samefile(target):
        raise OutputError(f"{source} would be replaced by its own result; choose another name.")


def check_not_linked(path: str | Path) -> None:
    """Raise OutputError if a file that is changed in place has another name, perhaps elsewhere."""
    path = Path(path)
    if path.is_symlink() or (path.is_file() and path.stat().st_nlink > 1):
        raise OutputError(f"{path} is a link; replace it by a copy, or choose another folder.")


def check_writable(path: str | Path) -> None:
    """Raise OutputError if a file cannot be created at a path; leaves nothing behind."""
    path = Path(path)
    try:
        _check_kind(path, folder=False)
        _check_folder(path)
    except OSError as error:
        raise _write_error(path, error) from error


def _check_not_exists(path: Path, overwrite: bool, hint: str) -> None:
    if not overwrite and os.path.lexists(path):
        raise OutputError(f"{path} already exists; {hint}.")


def _check_folder(path: Path) -> None:
    """Raise OSError if no file can be created in the folder of a path, or in the first that is."""
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    with tempfile.TemporaryFile(dir=folder):
        pass


def check_disk_space(folder: Path, size: int) -> None:
    """Raise OSError if the disk of a folder has less than ``size`` bytes free."""
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def sample_data_folder() -> Path:
    """Folder of the sample data, in the installed package or in the source tree."""
    package = Path(__file__).parents[1]
    for folder in (package / "sample_data", package.parents[1] / "sample_data"):
        if folder.is_dir():
            return folder
    raise CoordGateError(f"{package / 'sample_data'} is missing; install napari-coordgate again.")


def last_checkpoint_path(output: str | Path) -> Path:
    """Path of the checkpoint to resume a training from: ``NAME.last.safetensors``."""
    path = Path(output)
    return path.with_name(f"{path.stem}.last{path.suffix}")


@contextmanager
def atomic_write(
    path: str | Path,
    overwrite: bool = False,
    *,
    folder: bool = False,
    on_complete: Callable[[Path], object] = bool,
) -> Iterator[Path]:
    """Write a file (or folder) that appears under its name only when it is complete.

    The context gets an empty hidden file or folder beside the target, with the same suffix. At
    the end it is flushed to disk and renamed; if the body raises, it is removed and the target is
    unchanged. ``on_complete`` is called with it before it is renamed. A file keeps the mode of the
    one that it replaces. Missing parent folders are created; what killed processes left in the
    folder is removed once. Raises OutputError if the target exists and ``overwrite`` is False,
    even if it was created in the meantime, or if it cannot be written.
    """
    path, temporary = Path(path), Path()
    try:
        _check_not_exists(path, overwrite, _OUTPUT_EXISTS_HINT)
        _check_kind(path, folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.parent.absolute() not in _cleaned:
            _cleaned.add(path.parent.absolute())
            remove_stale_temp_files([path.parent])
        temporary = path.with_name(hidden_name(secrets.token_hex(4), path.name[-_MAX_NAME_END:]))
        if folder:
            temporary.mkdir()
        else:
            temporary.touch(exist_ok=False)
        yield temporary
        for written in temporary.rglob("*") if folder else [temporary]:
            if written.is_file():
                _sync(written)
        if overwrite and not folder and path.exists():
            shutil.copymode(path, temporary)
        on_complete(temporary)
        if folder:
            _rename_folder(temporary, path, overwrite)
        elif overwrite:
            temporary.replace(path)
        else:
            _rename_exclusively(temporary, path)
    except OSError as error:
        if _is_about_another_file(error, temporary, path):
            raise
        raise _write_error(path, error) from error
    finally:
        if temporary.name:
            _remove(temporary)


def file_hash(path: Path) -> str:
    """SHA-256 of the content of a file."""
    with open(path, "rb", opener=regular) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def name_and_hash(path: Path) -> str:
    """Name of a file, and the SHA-256 that identifies its content."""
    return f"{path.name} (sha256 {file_hash(path)})"


def hidden_name(kind: str, end: str, pid: int | None = None) -> str:
    """Name of a hidden file or folder of a process, by default of this one."""
    return f".napari-coordgate-{_HOST}-{os.getpid() if pid is None else pid}-{kind}-{end}"


def remove_stale_temp_files(folders: Iterable[str | Path]) -> list[Path]:
    """Remove temporary files that killed processes left in folders; returns the removed paths.

    Those of living processes and of other computers stay. A folder that was about to be replaced
    gets its name back.
    """
    removed = []
    for path in [path for folder in set(folders) for path in _list_folder(Path(folder))]:
        hidden = _HIDDEN_NAME.fullmatch(path.name)
        if hidden is None or hidden["host"] != _HOST or psutil.pid_exists(int(hidden["pid"])):
            continue
        if hidden["kind"] == "old" and not os.path.lexists(path.with_name(hidden["end"])):
            path.rename(path.with_name(hidden["end"]))
        else:
            _remove(path)
            removed.append(path)
    return removed


def scratch_array(
    folder: Path, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> np.memmap[Any, np.dtype[Any]]:
    """Array of zeros in a file without a name, on the disk of a folder; OSError if that is full."""
    size = math.prod(shape) * dtype.itemsize
    check_disk_space(folder, size)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.truncate(size)
        allocate(file.fileno(), size)
        return np.memmap(file, dtype, "r+", shape=shape)


def preallocate(path: Path) -> None:
    """Allocate disk space for the holes of an existing sparse file; OSError if the disk is full.

    Without this, writing to a hole through a memory map kills the process when the disk is full.
    """
    size = path.stat().st_size
    check_disk_space(path.parent, size)
    with path.open("r+b") as file:
        allocate(file.fileno(), size)


def allocate(descriptor: int, size: int) -> None:
    """Allocate ``size`` bytes for an open file on Linux; OSError if the disk is full."""
    if sys.platform == "linux":
        os.posix_fallocate(descriptor, 0, size)


def _check_kind(path: Path, folder: bool) -> None:
    """Raise an error if the target is a folder instead of a file, or the reverse, or a device."""
    if path.is_dir() and not folder:
        raise OutputError(f"Cannot write {path}: it is a folder; use the name of a file.")
    if folder and os.path.lexists(path) and not path.is_dir():
        raise OutputError(f"Cannot write {path}: it is a file; use the name of a folder.")
    if path.exists():
        check_regular(path)


def _sync(path: Path) -> None:
    """Flush a file to disk."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def _list_folder(folder: Path) -> list[Path]:
    """Contents of a folder, empty if it does not exist."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _rename_exclusively(temporary: Path, path: Path) -> None:
    """Rename a file; OutputError if the new name exists."""
    try:
        try:
            # A hard link fails if the name exists, while a rename would overwrite it.
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:
            # No hard links on this disk: reserve the name with an empty file, then replace that.
            path.touch(exist_ok=False)
            try:
                temporary.replace(path)
            except OSError:
                _remove(path)
                raise
    except FileExistsError as error:
        raise OutputError(f"{path} already exists; {_OUTPUT_EXISTS_HINT}.") from error


def _rename_folder(temporary: Path, path: Path, overwrite: bool) -> None:
    """Rename a folder; one that it replaces is kept under a backup name until this is done."""
    backup = path.with_name(hidden_name("old", path.name))
    try:
        if overwrite and os.path.lexists(path):
            _remove(backup)
            path.rename(backup)
        temporary.rename(path)  # fails if the name exists, except as an empty folder
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise OutputError(f"{path} already exists; {_OUTPUT_EXISTS_HINT}.") from error
        raise
    _remove(backup)


def _remove(path: Path) -> None:
    """Remove a file or folder, if it exists and that is possible."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError:
        return


def _is_about_another_file(error: OSError, temporary: Path, path: Path) -> bool:
    """Whether an error names a file other than the target, its folders and the temporary file."""
    if not isinstance(error.filename, str | Path):
        return False
    target, named = path.absolute(), Path(error.filename).absolute()
    return named not in (target, *target.parents) and not named.is_relative_to(temporary.absolute())


def _write_error(path: Path, error: OSError) -> OutputError:
    # NumPy reports a write truncated by a full disk without an error number.
    reason = (error.strerror or f"it was truncated, {error}").lower().splitlines()[0]
    advice = _ADVICE.get(error.errno or errno.ENOSPC, "check the disk or choose another folder")
    return OutputError(f"Cannot write {path}: {reason}; {advice}.")
