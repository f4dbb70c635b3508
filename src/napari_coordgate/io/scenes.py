"""Scenes: the images of a file that has several, such as positions, series and wells."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from napari_coordgate.arrays import PixelArray
from napari_coordgate.errors import ImageError
from napari_coordgate.io.metadata import ImageMetadata

Content = tuple[PixelArray, str, ImageMetadata]
"""Pixels, axes as far as the file names them, and metadata of an image."""

_ACCESSORY = re.compile(
    r"(.*\W)?(thumbnail|label|macro|preview|overview) image"
    r"|(thumbnail|label|macro|preview|overview)s?",
    re.IGNORECASE,
)
"""Names of what programs store beside the images."""
_MAX_NAME_PART = 60


class Scene(NamedTuple):
    """One of the images of a file, and the file or folder that has its pixels.

    ``is_missing`` is a scene that was planned and never recorded; reading it raises ImageError.
    """

    name: str
    read: Callable[[], Content]
    path: Path
    is_missing: bool = False


def name_scenes(scenes: Iterable[Scene]) -> list[Scene]:
    """Scenes with unique names, numbers if they have none; without thumbnails and slide labels."""
    found = list(scenes)
    kept = [scene for scene in found if not _ACCESSORY.fullmatch(scene.name.strip())] or found
    named: dict[str, Scene] = {}
    for number, scene in enumerate(kept):
        name = " ".join(scene.name.split()) or str(number)
        while name in named:
            name = f"{name}-{number}"
        named[name] = scene._replace(name=name)
    return list(named.values())


def missing_scene(name: str, path: Path) -> Scene:
    """Scene that a file names, and of which it has no pixels."""
    return Scene(name, _raise(ImageError(missing_text(name, path))), path, is_missing=True)


def missing_text(name: str, path: Path) -> str:
    """What is missing of a scene, and what to do."""
    return (
        f"{path}, scene {name}: its pixels are missing; the acquisition was stopped, or not all "
        "files were copied. Select the scenes that are there (scenes, --scenes)."
    )


def unreadable_scene(name: str, path: Path, error: Exception) -> Scene:
    """Scene whose reading raises an error."""
    return Scene(name, _raise(error), path)


def read_now(read: Callable[[], Content]) -> Callable[[], Content]:
    """Function that returns what another one returns now, or raises its error."""
    try:
        content = read()
    except Exception as error:  # of one scene; the others may be good
        return _raise(error)
    return lambda: content


def _raise(error: Exception) -> Callable[[], Content]:
    def fail() -> Content:
        raise error

    return fail


def file_name_part(scene: str) -> str:
    """Name of a scene as a part of a file name: ``A/1/0`` becomes ``A-1-0``."""
    return re.sub(r"[^\w.+-]+", "-", scene)[:_MAX_NAME_PART].strip("-.") or "scene"
