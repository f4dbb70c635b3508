"""Which files of a folder are to be deblurred, and what their results are called."""

import os
import stat
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from napari_coordgate.batch.report import REPORT_NAME
from napari_coordgate.config import OutputFormat
from napari_coordgate.errors import ImageError
from napari_coordgate.io import IMAGE_SUFFIXES

__all__ = ["SUFFIX", "Source", "find_sources", "state_of", "target_names"]

SUFFIX: Mapping[OutputFormat, str] = {"ome-tiff": ".ome.tif", "ome-zarr": ".ome.zarr"}
"""What the name of a result ends in."""
OF_FILE_MANAGERS = {".DS_Store", "Thumbs.db", "desktop.ini"}
"""Files that appear in a folder when somebody looks into it."""


class Source(NamedTuple):
    """A file, or a folder that is one image, as it was when it was looked at.

    Attributes
    ----------
    name : str
        Its path within the searched folder, with ``/``.
    state : tuple of int
        Its size, and when it was last changed, see `state_of`.
    is_image : bool
        Whether its name is that of an image.
    problem : str
        Why it cannot be worked on; empty for nearly all.
    """

    name: str
    state: tuple[int, int]
    is_image: bool
    problem: str = ""

    @property
    def size(self) -> int:
        """Bytes."""
        return self.state[0]


def find_sources(folder: Path, pattern: str, leave_out: Path) -> list[Source]:
    """Files that a pattern means, in this folder and all folders in it.

    Parameters
    ----------
    folder : Path
        The folder.
    pattern : str
        Patterns such as ``*.tif``, separated by commas: of a file's name, or of its path
        within the folder where it holds a ``/``. Upper and lower case are one.
    leave_out : Path
        Folder that is not looked into, for results go there; so is no other that holds
        the report of a batch.

    Returns
    -------
    list of Source
        In alphabetical order; hidden files are none of them.

    Raises
    ------
    ImageError
        If there is no such folder, or nothing in it that the pattern means.
    """
    if not folder.is_dir():
        raise ImageError(f"{folder} is not a folder that can be read; check the name.")
    patterns = [part.strip().lower() for part in pattern.split(",") if part.strip()]
    found = []
    for path, problem in _walk(folder, leave_out.resolve()):
        name = path.relative_to(folder).as_posix()
        if any(fnmatch((name if "/" in one else path.name).lower(), one) for one in patterns):
            found.append(_looked_at(path, name, problem))
    if not found:
        raise ImageError(f"{folder} holds nothing of the pattern {pattern!r}; correct either.")
    return sorted(found)


def _looked_at(path: Path, name: str, problem: str) -> Source:
    """State and kind of what was found, or why they cannot be told."""
    shown = name.encode(errors="replace").decode()
    if shown != name:
        problem = "its name is no text in UTF-8; rename it"
    try:
        path.stat()
        is_image = path.suffix.lower() in IMAGE_SUFFIXES
    except OSError as error:
        problem, is_image = f"it cannot be read ({(error.strerror or '').lower()})", True
    return Source(shown, state_of(path), is_image, problem)


def state_of(path: Path) -> tuple[int, int]:
    """Bytes of a file, or of all files in a folder, and when they were last changed.

    Parameters
    ----------
    path : Path
        The file or folder. What file managers leave in a folder does not count.

    Returns
    -------
    size, modified_ns : int
        Zero where it is gone.
    """
    size, modified_ns = 0, 0
    inside = (Path(parent, name) for parent, _, names in os.walk(path) for name in names)
    for part in (path, *(file for file in inside if file.name not in OF_FILE_MANAGERS)):
        try:
            status = part.stat()
        except OSError:
            continue
        if not stat.S_ISDIR(status.st_mode):
            size += status.st_size
            modified_ns = max(modified_ns, status.st_mtime_ns)
    return size, modified_ns


def target_names(
    names: list[str], file_format: OutputFormat, kept: Mapping[str, str]
) -> dict[str, str]:
    """Names of results, so that no two are the same, not even where case does not count.

    Parameters
    ----------
    names : list of str
        Sources.
    file_format : {"ome-tiff", "ome-zarr"}
        Format of the results.
    kept : mapping of str to str
        Results that sources have from earlier runs, also such that are not named now; they
        keep their names, which are taken for all others.

    Returns
    -------
    dict of str to str
        ``FOLDER/STEM.ome.tif`` for each source; where another source has that name,
        all of the source's own name stands before the suffix.
    """
    suffix = SUFFIX[file_format]
    targets: dict[str, str] = {}
    absent = kept.keys() - set(names)  # a set: there may be ten thousand of both
    taken = {kept[name].lower() for name in absent}
    for name in names:
        if kept.get(name, "").endswith(suffix) and kept[name].lower() not in taken:
            targets[name] = kept[name]
            taken.add(kept[name].lower())
    for name in names:
        if name in targets:
            continue
        short, long = _without_suffixes(name) + suffix, name + suffix
        target = long if short.lower() in taken else short
        while target.lower() in taken:  # a source may be called as the long name of another
            target = target.removesuffix(suffix) + "-" + suffix
        targets[name] = target
        taken.add(target.lower())
    return targets


def _walk(folder: Path, leave_out: Path) -> Iterator[tuple[Path, str]]:
    """Files, and folders that are images, that are not hidden; and what could not be entered."""
    unreadable: list[OSError] = []
    for parent, folders, files in os.walk(folder, onerror=unreadable.append):
        for name in list(folders):
            path = Path(parent, name)
            is_ours = path.resolve() == leave_out or (path / REPORT_NAME).exists()
            if name.startswith(".") or is_ours:
                folders.remove(name)
            elif path.is_symlink():
                yield path, "it is a link to a folder, which is not followed"
            elif path.suffix.lower() == ".zarr":
                folders.remove(name)
                yield path, ""
        yield from ((Path(parent, name), "") for name in files if not name.startswith("."))
    for error in unreadable:
        yield Path(error.filename), f"the folder cannot be read ({(error.strerror or '').lower()})"


def _without_suffixes(name: str) -> str:
    """``plate/a.ome.tif`` without its ``.ome.tif``; dots of other kinds stay."""
    path = PurePosixPath(name)
    stem = path.stem[:-4] if path.stem.lower().endswith(".ome") else path.stem
    return str(path.with_name(stem or path.name))
