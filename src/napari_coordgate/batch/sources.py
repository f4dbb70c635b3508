"""Find the images of a folder and choose the names of their results."""

import errno
import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePath, PurePosixPath

from napari_coordgate.config import OutputFormat
from napari_coordgate.errors import ImageError
from napari_coordgate.io import IMAGE_SUFFIXES, file_name_part, is_image
from napari_coordgate.io.ome_zarr import is_zarr
from napari_coordgate.io.zarr_stores import is_zip

REPORT_NAME = "deblur-report.jsonl"
SUFFIX: Mapping[OutputFormat, str] = {"ome-tiff": ".ome.tif", "ome-zarr": ".ome.zarr"}
"""Suffix of a result, by format."""
MAX_DEPTH = 200
"""Folders in folders; Python can follow some hundred."""
IGNORED_FILES = {".DS_Store", "Thumbs.db", "desktop.ini"}
"""Files that file managers create when somebody opens a folder."""


@dataclass(frozen=True)
class Source:
    """A file, or a folder that is one image, with its size and time when it was found.

    `name` is the path within the searched folder, with ``/``; `problem` says why the file
    cannot be deblurred and is empty for nearly all. Of a file with several images, each is a
    source of its own, with the name of its `scene`; images of a store are folders of their own.
    """

    path: Path
    name: str
    size: int
    modified_ns: int
    is_image: bool = True
    problem: str = ""
    scene: str | None = None

    @property
    def key(self) -> str:
        """Name of the source in the folder that no other one has."""
        return source_key(self.name, self.scene)


def source_key(name: str, scene: str | None) -> str:
    """Name of a file in the folder, and below it that of its scene, if it has several."""
    return name if scene is None else f"{name}/{scene}"


def find_sources(folder: Path, pattern: str, exclude: Path) -> list[Source]:
    """Find the files in a folder and its subfolders that match a pattern, sorted by name.

    Patterns such as ``*.tif`` are separated by commas, ignore case and match the name of a
    file, or its path within the folder if they contain a ``/``. Hidden files, the folder
    `exclude` and folders with the report of a batch are left out. Instead of a folder, one image
    may be given, with the pattern of any.
    """
    if is_one_image(folder):
        return [_source(folder.parent, folder, folder.name, "")]
    if not folder.is_dir():
        raise ImageError(f"{folder} is not a folder that can be read; check the name.")
    folder = folder.resolve()
    patterns = [part.strip().lower() for part in pattern.split(",") if part.strip()]
    found = []
    for path, problem in _walk(folder, exclude.resolve()):
        name = path.relative_to(folder).as_posix()
        if any(fnmatch((name if "/" in one else path.name).lower(), one) for one in patterns):
            found.append(_source(folder, path, name, problem))
    if not found:
        raise ImageError(
            f"{folder} contains no file that matches the pattern {pattern!r}; correct either."
        )
    return sorted(found, key=lambda source: source.name)


def is_one_image(path: Path) -> bool:
    """Whether a path is a file, or a folder that is an image or a plate."""
    return path.is_file() or (path.is_dir() and (is_zarr(path) or is_image(path)))


def is_inside(target: Path, folder: Path) -> bool:
    """Whether a result is in a folder, and not behind a link to another one."""
    return target.parent.resolve().is_relative_to(folder.resolve())


def size_and_mtime(path: Path) -> tuple[int, int]:
    """Size in bytes and modification time in ns of a file, or of all files in a folder; 0 if none.

    Files that file managers create are ignored.
    """
    size, modified_ns = 0, 0
    inside = (Path(parent, name) for parent, _, names in walk(path) for name in names)
    for part in (path, *(file for file in inside if file.name not in IGNORED_FILES)):
        try:
            status = part.stat()
        except OSError:
            continue
        if not stat.S_ISDIR(status.st_mode):
            size += status.st_size
            modified_ns = max(modified_ns, status.st_mtime_ns)
    return size, modified_ns


def target_names(
    names: list[str], file_format: OutputFormat, existing: Mapping[str, str]
) -> dict[str, str]:
    """Choose a unique name for the result of each source, ignoring case and forms of letters.

    The name is ``FOLDER/STEM.ome.tif``, of a scene ``FOLDER/STEM.SCENE.ome.tif``, or keeps the
    suffix of the source if another source has that name. Results of earlier runs (`existing`)
    keep their names, including those of sources that are not in `names`.
    """
    suffix = SUFFIX[file_format]
    targets: dict[str, str] = {}
    absent = existing.keys() - set(names)  # a set: there may be ten thousand of both
    taken = {_folded(existing[name]) for name in absent}
    for name in names:
        if existing.get(name, "").endswith(suffix) and _folded(existing[name]) not in taken:
            targets[name] = existing[name]
            taken.add(_folded(existing[name]))
    for name in names:
        if name in targets:
            continue
        file, scene = _file_and_scene(name)
        short, long = _with_scene(_without_suffixes(file), scene), _with_scene(file, scene)
        target = (long if _folded(short + suffix) in taken else short) + suffix
        while _folded(target) in taken:  # another source may have the long name
            target = target.removesuffix(suffix) + "-" + suffix
        targets[name] = target
        taken.add(_folded(target))
    return targets


def walk(
    folder: Path, on_error: Callable[[OSError], object] | None = None
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Like `os.walk`, which recurses, but down to a depth."""
    for parent, folders, files in os.walk(folder, onerror=on_error):
        if folders and len(Path(parent).parts) - len(folder.parts) >= MAX_DEPTH:
            if on_error is not None:
                on_error(OSError(errno.ELOOP, "nested too deeply", str(Path(parent, folders[0]))))
            folders.clear()
        yield parent, folders, files


def _folded(name: str) -> str:
    """Name as disks compare it that ignore case, and how accents are composed."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _source(folder: Path, path: Path, name: str, problem: str) -> Source:
    """Record of a file that was found, or of why it cannot be read."""
    readable = name.encode(errors="replace").decode()
    if readable != name:
        problem = "the name is not valid UTF-8; rename it"
    try:
        path.stat()
        is_image = _has_image_suffix(path) or is_zarr(path)
    except OSError as error:
        problem, is_image = f"it cannot be read ({(error.strerror or '').lower()})", True
    return Source(folder / readable, readable, *size_and_mtime(path), is_image, problem)


def _has_image_suffix(path: PurePath) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES or is_zip(path)


def _walk(folder: Path, exclude: Path) -> Iterator[tuple[Path, str]]:
    """Visible files and folders that are images, and what cannot be entered, with the reason."""
    unreadable: list[OSError] = []
    for parent, folders, files in walk(folder, unreadable.append):
        for name in list(folders):
            path = Path(parent, name)
            try:
                is_output = path.resolve() == exclude or (path / REPORT_NAME).exists()
                is_store = path.suffix.lower() == ".zarr" or is_zarr(path)
            except OSError:
                continue  # to be entered, which says why it cannot be
            if name.startswith(".") or is_output:
                folders.remove(name)
            elif path.is_symlink():
                yield path, "it is a link to a folder, and such links are not followed"
            elif is_store:
                folders.remove(name)
                yield path, ""
        yield from ((Path(parent, name), "") for name in files if not name.startswith("."))
    for error in unreadable:
        yield Path(error.filename), f"the folder cannot be read ({(error.strerror or '').lower()})"


def _file_and_scene(key: str) -> tuple[str, str]:
    """File of a source, and its scene, which is empty if the file has only one image."""
    parts = key.split("/")
    for end, part in enumerate(parts[:-1], start=1):
        if _has_image_suffix(PurePosixPath(part)):
            return "/".join(parts[:end]), "/".join(parts[end:])
    return key, ""


def _with_scene(stem: str, scene: str) -> str:
    """Name of a file with that of a scene, unless it ends with it as ``cells_Pos0`` does."""
    part = file_name_part(scene) if scene else ""
    is_named = not part.isdecimal() and re.search(rf"[\W_]{re.escape(part)}$", stem)
    return stem if not part or is_named else f"{stem}.{part}"


def _without_suffixes(name: str) -> str:
    """``plate/a.ome.tif`` without its ``.ome.tif``; other dots are kept."""
    path = PurePosixPath(name)
    path = path.with_suffix("") if path.suffix.lower() == ".zip" else path
    stem = path.stem[:-4] if path.stem.lower().endswith(".ome") else path.stem
    return str(path.with_name(stem or path.name))
