"""Planes to train on: images (H, W) in memory, or loaded when needed; and their intensities."""

import threading
import warnings
import weakref
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.config import Scaling
from napari_coordgate.errors import ImageError, TrainingImagesWarning
from napari_coordgate.events import Event, Stopwatch, raise_if_canceled
from napari_coordgate.io import (
    Image,
    PixelArray,
    Scene,
    as_pixel_array,
    find_images,
    find_scenes,
    is_image,
    is_pixel_array,
    open_scene,
    plane_indices,
)
from napari_coordgate.io.tiff import coordgate_tiff_kind
from napari_coordgate.normalization import Normalizer, fit_normalizer

MAX_CACHED_BYTES = 2**30
"""Size of the cache of loaded planes: of files, and of arrays that load lazily."""
MAX_MESSAGES, MAX_WARNED = 3, 20
"""Images that are named in an error, and in a warning."""
_OWN = {"PSF field": "a PSF field", "gating maps": "gating maps"}

Pixels = NDArray[Any]
Images = str | Path | PixelArray | Image | Sequence[str | Path | PixelArray | Image]


@dataclass(frozen=True, eq=False)
class Plane:
    """One image (H, W) of an array or a file, named for error messages."""

    name: str
    source: PixelArray | Path
    index: tuple[int | slice, ...]
    shape: tuple[int, int]
    scene: int = 0
    """Number of the image in a file of several."""

    def read(self) -> Pixels:
        """Pixels (H, W) of the plane; loaded pixels are cached."""
        source, index, key = self.source, self.index, self._file_key()
        if isinstance(source, np.ndarray):
            return np.asarray(source[index])
        if not isinstance(source, Path):
            # Cached no longer than the plane itself exists: nothing else will ask for it.
            own = weakref.ref(self, _cache.forget)
            return _cache.array(own, lambda: np.asarray(source[index]))
        return _cache.array(key, lambda: _opened(source, *key[1:3]).plane(index).copy())

    def normalizer(self, scaling: Scaling) -> Normalizer:
        """Intensity range of the plane; that of an unchanged file is computed once."""
        if not isinstance(self.source, Path):
            return fit_normalizer(self.read(), scaling, self.name)
        key = (*self._file_key(), scaling)
        if key not in _normalizers:
            _normalizers[key] = fit_normalizer(self.read(), scaling, self.name)
        return _normalizers[key]

    def _file_key(self) -> tuple[Any, int, int, tuple[int, ...]]:
        """Source, time of its last change, scene, and position of the plane in it."""
        changed_ns = 0
        if isinstance(self.source, Path):
            with suppress(OSError):  # the reader reports what is wrong
                changed_ns = self.source.stat().st_mtime_ns
        position = tuple(part for part in self.index if isinstance(part, int))
        return self.source, changed_ns, self.scene, position


_normalizers: dict[Hashable, Normalizer] = {}


class _ArrayCache:
    """Cache of loaded arrays, in the order of their last use."""

    def __init__(self) -> None:
        self._arrays: dict[Hashable, Pixels] = {}

    def array(self, key: Hashable, load: Callable[[], Pixels]) -> Pixels:
        """Array of a key, loaded unless it is cached."""
        cached = self._arrays.pop(key, None)
        array = self._arrays[key] = load() if cached is None else cached
        if cached is None:
            self._shrink()
        return array

    def forget(self, key: Hashable) -> None:
        """Remove an array."""
        self._arrays.pop(key, None)

    def _shrink(self) -> None:
        """Remove the oldest arrays until the others fit, but never the last used one."""
        for oldest in list(self._arrays)[:-1]:
            if sum(array.nbytes for array in self._arrays.values()) <= MAX_CACHED_BYTES:
                break
            self.forget(oldest)


_cache = _ArrayCache()


@lru_cache(maxsize=1)
def _opened(path: Path, changed_ns: int, scene: int) -> Image:
    """Image of the last used file, if unchanged: opening a long stack takes time."""
    return open_scene(path, _scenes(path, changed_ns), scene)


@lru_cache(maxsize=1)
def _scenes(path: Path, changed_ns: int) -> list[Scene]:
    """Scenes of the last used file, if unchanged."""
    return find_scenes(path)


def find_planes(images: Images | Sequence[Plane]) -> list[Plane]:
    """Every plane of a folder, of files, of arrays (..., H, W), or of images.

    Files are opened for their shape, not read. Lazy arrays, e.g. of dask, are loaded plane by
    plane. PSF fields and gating maps of our own are refused.
    """
    items = items_of(images)
    return [plane for number, item in enumerate(items) for plane in planes_of(item, number)]


def find_usable_planes(images: Images) -> tuple[list[Plane], list[str]]:
    """Planes as `find_planes` finds them, and a line for each file or folder that is passed over.

    The planes are empty if no file can be used.
    """
    planes, passed_over = [], folders_below(images)
    for number, item in enumerate(items_of(images)):
        try:
            planes += planes_of(item, number)
        except ImageError as error:
            passed_over.append(str(error))
    return planes, passed_over


def items_of(images: Images | Sequence[Plane]) -> list[Any]:
    """Files of a folder, or the files, arrays, images or planes given."""
    if isinstance(images, str | Path) and Path(images).is_dir() and not is_image(images):
        return list(_images_in(Path(images)))
    is_one = isinstance(images, str | Path | Image) or is_pixel_array(images)
    items: Any = [images] if is_one else images
    found = list(items)
    if not found:
        raise ImageError("No image was given; name a folder of sharp images, or pass arrays.")
    return found


def _images_in(folder: Path) -> list[Path]:
    try:
        return find_images(folder)
    except ImageError as error:
        below = folders_below(folder)
        raise ImageError(f"{error} {' '.join(below)}".strip()) from None


def folders_below(images: Any) -> list[str]:
    """A line for each folder with images that is in a given folder, and so not searched."""
    if not isinstance(images, str | Path) or not Path(images).is_dir():
        return []
    lines = []
    for path in sorted(Path(images).iterdir()):
        if path.is_dir() and not is_image(path) and not path.name.startswith("."):
            with suppress(OSError):
                if any(is_image(file) for file in path.iterdir()):
                    lines.append(f"{path} is a folder of images below, and is not searched.")
    return lines


def planes_of(item: Any, number: int) -> list[Plane]:
    """Planes of a file, image, or array, which is named by its number."""
    if isinstance(item, Plane):
        return [item]
    if isinstance(item, str | Path):
        return list(_planes_of_file(Path(item)))
    if isinstance(item, Image):
        return list(_planes_of_image(item, item.data, item.name))
    return list(_planes_of_array(as_pixel_array(item), number))


def _planes_of_file(path: Path) -> Iterator[Plane]:
    kind = coordgate_tiff_kind(path)
    if kind is not None:
        raise ImageError(f"{path} contains {_OWN[kind]}, not an image; move it elsewhere.")
    scenes = find_scenes(path)
    for number, scene in enumerate(scenes):
        if not scene.is_missing or len(scenes) == 1:
            image = open_scene(path, scenes, number)
            yield from _planes_of_image(image, path, image.name, number)


def _planes_of_image(
    image: Image, source: PixelArray | Path, name: str, scene: int = 0
) -> Iterator[Plane]:
    for index in plane_indices(image):
        position = [i for i in index if isinstance(i, int)]
        title = f"{name}, plane {position}" if any(position) else name
        yield Plane(title, source, index, image.frame_shape, scene)


def _planes_of_array(array: PixelArray, number: int) -> Iterator[Plane]:
    if array.ndim < 2 or 0 in array.shape:
        raise ImageError(f"Image {number} has shape {array.shape}; it must be (..., H, W).")
    *stack, height, width = array.shape
    for position, index in enumerate(np.ndindex(*stack)):
        yield Plane(f"image {number}, plane {position}", array, index, (height, width))


def compute_ranges(
    planes: Sequence[Plane], scaling: Scaling, cancel: threading.Event | None = None
) -> Generator[Event, None, list[Normalizer]]:
    """Intensity range of every plane; raises one error for all planes that cannot be used."""
    ranges, messages = yield from find_ranges(planes, scaling, cancel)
    if messages:
        raise ImageError(summarize(messages, MAX_MESSAGES))
    return [one for one in ranges if one is not None]


def find_ranges(
    planes: Sequence[Plane], scaling: Scaling, cancel: threading.Event | None = None
) -> Generator[Event, None, tuple[list[Normalizer | None], list[str]]]:
    """Intensity range of every plane; None, and a line, for each one that cannot be used."""
    stopwatch = Stopwatch("reading images", len(planes))
    ranges: list[Normalizer | None] = []
    messages = []
    for number, plane in enumerate(planes):
        raise_if_canceled(cancel, "Stopped while reading the images; nothing was written.")
        try:
            ranges.append(plane.normalizer(scaling))
        except ImageError as error:
            ranges.append(None)
            messages.append(str(error))
        yield stopwatch.progress(number + 1)
    return ranges, messages


def summarize(messages: Sequence[str], shown: int) -> str:
    """The first messages, and the number of the others."""
    more = len(messages) - shown
    return " ".join([*messages[:shown], *([f"And {more} more like these."] if more > 0 else [])])


def usable_planes(
    images: Images, scaling: Scaling, cancel: threading.Event | None = None
) -> Generator[Event, None, tuple[list[Plane], list[Normalizer]]]:
    """Planes that can be used, and their intensity ranges; warns of those that cannot."""
    planes, passed_over = find_usable_planes(images)
    found, messages = yield from find_ranges(planes, scaling, cancel)
    usable = [n for n, one in enumerate(found) if one is not None]
    warn_of_unused([*passed_over, *messages], len(usable))
    return [planes[n] for n in usable], [one for one in found if one is not None]


def warn_of_unused(messages: Sequence[str], used: int) -> None:
    """Warn of images that are passed over; an ImageError if none are left."""
    if not used:
        raise ImageError(summarize(messages, MAX_MESSAGES))
    if messages:
        shown = summarize(messages, MAX_WARNED)
        warnings.warn(f"Not trained on: {shown}", TrainingImagesWarning, stacklevel=2)
