"""Split the files of a batch into their images: scenes, positions, and the fields of plates."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from napari_coordgate.batch.sources import Source, size_and_mtime
from napari_coordgate.errors import CoordGateError, ImageError
from napari_coordgate.events import raise_if_canceled
from napari_coordgate.io import find_scenes, select_scenes
from napari_coordgate.io.png_jpeg import PNG_JPEG_SUFFIXES
from napari_coordgate.io.scenes import missing_text
from napari_coordgate.io.tiff import coordgate_tiff_kind

_ONE_IMAGE = (".npy", *PNG_JPEG_SUFFIXES)
"""Suffixes of files that have only one image."""


class _Scene(NamedTuple):
    """Name of a scene, the file or folder with its pixels, and whether they are missing."""

    name: str
    path: Path
    is_missing: bool


def split_scenes(
    sources: Sequence[Source], wanted: str | None, cancel: threading.Event | None = None
) -> list[Source]:
    """Sources for the wanted images of each file, or the file itself if it has only one.

    An image of a set of files is a source of the file with its first plane. Files that cannot be
    opened are left as they are: deblurring them says what is wrong.
    """
    found: dict[Path, list[_Scene]] = {}
    for source in sources:
        raise_if_canceled(cancel, "Stopped while opening the files; start the batch again.")
        found[source.path] = _scenes_of(source)
    taken = {
        (path, scene.name) for path, scenes in found.items() for scene in scenes
        if scene.path == path
    }  # fmt: skip
    split: list[Source] = []
    for source in sources:
        scenes = found[source.path]
        if not scenes:
            split.append(source)
            continue
        own = [s for s in scenes if s.path == source.path or (s.path, s.name) not in taken]
        taken |= {(scene.path, scene.name) for scene in own}
        split += _split(source, scenes, own, wanted)
    return split


def _scenes_of(source: Source) -> list[_Scene]:
    """Images of a file; none if it cannot be opened, or is no image."""
    path = source.path
    if source.problem or not source.is_image or path.suffix.lower() in _ONE_IMAGE:
        return []
    try:
        scenes = [_Scene(s.name, s.path, s.is_missing) for s in find_scenes(path)]
    except CoordGateError:
        return []
    return [] if len(scenes) > 1 and coordgate_tiff_kind(path) else scenes


def _split(
    source: Source, scenes: Sequence[_Scene], own: Sequence[_Scene], wanted: str | None
) -> Iterator[Source]:
    """Sources for the wanted scenes of a file that are its own."""
    names = [scene.name for scene in scenes]
    try:
        chosen = [scenes[number] for number in select_scenes(names, wanted, source.path)]
    except ImageError as error:
        yield replace(source, problem=str(error))
        return
    if not own:
        first = scenes[0].path.name
        yield replace(source, is_image=False, problem=f"its images are those of the set of {first}")
    for scene in own:
        if scene in chosen:
            yield source if len(scenes) == 1 else _source_of(source, scene)


def _source_of(source: Source, scene: _Scene) -> Source:
    """Source of a scene; one in a store that is not zipped is a folder of its own."""
    if scene.path != source.path and scene.path.is_dir():
        name = f"{source.name}/{scene.path.relative_to(source.path).as_posix()}"
        return Source(scene.path, name, *size_and_mtime(scene.path))
    problem = missing_text(scene.name, source.path) if scene.is_missing else ""
    return replace(source, scene=scene.name, problem=problem)
