"""Files that appear under their name only when they are whole."""

import errno
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_coordgate.errors import CoordGateError, OutputError

__all__ = [
    "allocate",
    "atomic_write",
    "check_disk_space",
    "check_not_exists",
    "check_writable",
    "last_checkpoint_path",
    "preallocate",
    "remove_stale_temp_files",
    "sample_data_folder",
    "temporary_path",
]

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
_NAME_KEPT = 40
_TEMPORARY = re.compile(r"\.napari-coordgate-[0-9a-f]{8}-(?P<end>.+)", re.DOTALL)
"""Names of files that are being written, and of nobody else's."""
_ASIDE = re.compile(r"\.napari-coordgate-old-(?P<end>.+)", re.DOTALL)
"""Names of folders that stand aside while others take their place."""
_NAME_TAKEN = "choose another name or pass --overwrite"


def check_not_exists(
    paths: Iterable[str | Path], overwrite: bool, advice: str = _NAME_TAKEN
) -> None:
    """Make sure that nothing stands where a job is to write, before it does its work.

    Parameters
    ----------
    paths : iterable of str or Path
        The targets.
    overwrite : bool
        They may be replaced: nothing is looked at.
    advice : str
        What to do, for the error.

    Raises
    ------
    OutputError
        If there is something of that name, be it a link that leads nowhere.
    """
    for path in paths:
        if not overwrite and os.path.lexists(path):
            raise OutputError(f"{path} already exists; {advice}.")


def check_writable(path: str | Path) -> None:
    """Make sure that a file can be begun, before a job does its work; nothing is left behind.

    Parameters
    ----------
    path : str or Path
        The target. Folders on the way to it may be missing.

    Raises
    ------
    OutputError
        If the target is a folder, or its folder cannot be written to.
    """
    path = Path(path)
    try:
        _check_kind(path, folder=False)
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _cannot_write(path, error) from error


def sample_data_folder() -> Path:
    """Folder of the sample data: inside the installed package, or in the source tree.

    Returns
    -------
    Path
        The folder; see its README for what it holds.

    Raises
    ------
    CoordGateError
        If it is missing from the installation.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "sample_data", package.parents[1] / "sample_data"):
        if folder.is_dir():
            return folder
    raise CoordGateError(f"{package / 'sample_data'} is missing; install napari-coordgate again.")


def last_checkpoint_path(output: str | Path) -> Path:
    """Where the state of a training stands from which it can be resumed.

    Parameters
    ----------
    output : str or Path
        The run's checkpoint.

    Returns
    -------
    Path
        ``NAME.last.safetensors`` beside ``NAME.safetensors``.
    """
    path = Path(output)
    return path.with_name(f"{path.stem}.last{path.suffix}")


@contextmanager
def atomic_write(
    path: str | Path, overwrite: bool = False, *, folder: bool = False
) -> Iterator[Path]:
    """Write a file or a folder that appears under its name only when it is whole.

    The body writes a hidden one beside the target, with the same suffix. At
    its end that is on the disk and takes the target's name; when the body
    fails or is interrupted, it is removed and the target is as it was.

    Parameters
    ----------
    path : str or Path
        The target. Folders on the way to it are made where they are missing.
    overwrite : bool
        Replace a file of that name; for a folder, a folder with all that is in it.
    folder : bool
        The target is a folder.

    Yields
    ------
    Path
        The hidden file or folder, which exists and is empty.

    Raises
    ------
    OutputError
        If the target exists and is not to be overwritten, even if it turned up
        in the meantime, or if it cannot be written.
    """
    path = Path(path)
    temporary = temporary_path(path, secrets.token_hex(4))
    try:
        check_not_exists([path], overwrite)
        _check_kind(path, folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        if folder:
            temporary.mkdir()
        else:
            temporary.touch(exist_ok=False)
        yield temporary
        for written in temporary.rglob("*") if folder else [temporary]:
            if written.is_file():
                _sync(written)
        if folder:
            _move_folder(temporary, path, overwrite)
        elif overwrite:
            temporary.replace(path)
        else:
            _move_to_free_name(temporary, path)
    except OSError as error:
        if _concerns_another_file(error, temporary, path):
            raise
        raise _cannot_write(path, error) from error
    finally:
        _remove(temporary)


def remove_stale_temp_files(targets: Iterable[str | Path]) -> list[Path]:
    """Remove what `atomic_write` had begun when its process was killed.

    Nobody else may be writing these files: the caller holds their lock. A folder that stood
    aside to be replaced, and was not, gets its name back.

    Parameters
    ----------
    targets : iterable of str or Path
        What the files were to become; those of other targets are left alone.

    Returns
    -------
    list of Path
        What was removed.
    """
    ends: dict[Path, set[str]] = {}
    for target in map(Path, targets):
        ends.setdefault(target.parent, set()).add(target.name[-_NAME_KEPT:])
    removed = []
    for folder, known in ends.items():
        for path in _listed(folder):
            aside = _ASIDE.fullmatch(path.name)
            match = aside or _TEMPORARY.fullmatch(path.name)
            if match is None or match["end"][-_NAME_KEPT:] not in known:
                continue
            if aside and not os.path.lexists(path.with_name(aside["end"])):
                path.rename(path.with_name(aside["end"]))
                continue
            _remove(path)
            removed.append(path)
    return removed


def temporary_path(target: Path, token: str) -> Path:
    """Hidden name beside a target, which `remove_stale_temp_files` knows.

    Parameters
    ----------
    target : Path
        The target.
    token : str
        Eight hexadecimal digits.

    Returns
    -------
    Path
        The name. Its end is the target's, whose suffixes it keeps; of long names, as much as
        stays clear of the longest allowed.
    """
    return target.with_name(f".napari-coordgate-{token}-{target.name[-_NAME_KEPT:]}")


def check_disk_space(folder: Path, size: int) -> None:
    """Raise an error unless a disk has room, as far as can be told beforehand.

    Parameters
    ----------
    folder : Path
        A folder on the disk.
    size : int
        Bytes.

    Raises
    ------
    OSError
        If the disk has not enough room.
    """
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def preallocate(path: Path) -> None:
    """Claim the disk space of a file that has its final size but holes in its data.

    Writing into a hole through a memory map ends the whole process when the
    disk is full; claimed beforehand, a full disk is an error like any other.

    Parameters
    ----------
    path : Path
        An existing file, all of it holes but for a header; its contents stay as they are.

    Raises
    ------
    OSError
        If the disk has not enough room.
    """
    size = path.stat().st_size
    check_disk_space(path.parent, size)
    with path.open("r+b") as file:
        allocate(file.fileno(), size)


def allocate(descriptor: int, size: int) -> None:
    """Claim disk space for an open file, where the system can.

    Parameters
    ----------
    descriptor : int
        Of the file.
    size : int
        Bytes.

    Raises
    ------
    OSError
        If the disk has not enough room.
    """
    if sys.platform == "linux":
        os.posix_fallocate(descriptor, 0, size)


def _check_kind(path: Path, folder: bool) -> None:
    """Raise OutputError if a folder stands where a file is to be, or the other way round."""
    if path.is_dir() and not folder:
        raise OutputError(f"Cannot write {path}: it is a folder; give the name of a file.")
    if folder and os.path.lexists(path) and not path.is_dir():
        raise OutputError(f"Cannot write {path}: it is a file; give the name of a folder.")


def _sync(path: Path) -> None:
    """Wait until a file is on the disk."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def _listed(folder: Path) -> list[Path]:
    """All that is in a folder; nothing where it is gone."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _move_to_free_name(temporary: Path, path: Path) -> None:
    """Give a file its name, unless something else has taken it."""
    try:
        try:
            # A link fails where the name is taken, while a move would overwrite.
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:
            # No hard links here: take the name with an empty file, then replace that.
            path.touch(exist_ok=False)
            try:
                temporary.replace(path)
            except OSError:
                _remove(path)
                raise
    except FileExistsError as error:
        raise OutputError(f"{path} already exists; {_NAME_TAKEN}.") from error


def _move_folder(temporary: Path, path: Path, overwrite: bool) -> None:
    """Give a folder its name; what is replaced stands aside until then, and is lost at no time."""
    aside = path.with_name(f".napari-coordgate-old-{path.name}")
    try:
        if overwrite and os.path.lexists(path):
            _remove(aside)
            path.rename(aside)
        temporary.rename(path)  # fails where the name is taken, but by an empty folder
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise OutputError(f"{path} already exists; {_NAME_TAKEN}.") from error
        raise
    _remove(aside)


def _remove(path: Path) -> None:
    """Remove a file or folder if it is there; a folder that became unusable keeps it."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError:
        return


def _concerns_another_file(error: OSError, temporary: Path, path: Path) -> bool:
    """Whether an error names a file that is not the one being written, nor in that folder."""
    if not isinstance(error.filename, str | Path):
        return False
    target, named = path.absolute(), Path(error.filename).absolute()
    return named not in (target, *target.parents) and not named.is_relative_to(temporary.absolute())


def _cannot_write(path: Path, error: OSError) -> OutputError:
    # NumPy reports a write cut short by a full disk in words alone.
    reason = (error.strerror or f"it was cut short, {error}").lower().splitlines()[0]
    advice = _ADVICE.get(error.errno or errno.ENOSPC, "check the disk or choose another place")
    return OutputError(f"Cannot write {path}: {reason}; {advice}.")
