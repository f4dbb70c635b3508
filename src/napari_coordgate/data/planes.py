"""Planes to train on: images (H, W) in memory, or loaded when needed; and their intensities."""

import threading
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
from napari_coordgate.errors import ImageError
from napari_coordgate.events import Event, Stopwatch, raise_if_canceled
from napari_coordgate.io import (
    Image,
    PixelArray,
    as_pixel_array,
    find_images,
    is_pixel_array,
    plane_indices,
    read_image,
)
from napari_coordgate.io.tiff import coordgate_tiff_kind
from napari_coordgate.normalization import Normalizer, fit_normalizer

MAX_CACHED_BYTES = 2**30
"""Size of the cache of loaded planes: of files, and of arrays that load lazily."""
MAX_MESSAGES = 3
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

    def read(self) -> Pixels:
        """Pixels (H, W) of the plane; loaded pixels are cached."""
        source, index, key = self.source, self.index, self._file_key()
        if isinstance(source, np.ndarray):
            return np.asarray(source[index])
        if not isinstance(source, Path):
            # Cached no longer than the plane itself exists: nothing else will ask for it.
            own = weakref.ref(self, _cache.forget)
            return _cache.array(own, lambda: np.asarray(source[index]))
        return _cache.array(key, lambda: _opened(source, key[1]).plane(index).copy())

    def normalizer(self, scaling: Scaling) -> Normalizer:
        """Intensity range of the plane; that of an unchanged file is computed once."""
        if not isinstance(self.source, Path):
            return fit_normalizer(self.read(), scaling, self.name)
        key = (*self._file_key(), scaling)
        if key not in _normalizers:
            _normalizers[key] = fit_normalizer(self.read(), scaling, self.name)
        return _normalizers[key]

    def _file_key(self) -> tuple[Any, int, tuple[int, ...]]:
        """Source, time of its last change, and position of the plane in it."""
        changed_ns = 0
        if isinstance(self.source, Path):
            with suppress(OSError):  # the reader reports what is wrong
                changed_ns = self.source.stat().st_mtime_ns
        return self.source, changed_ns, tuple(part for part in self.index if isinstance(part, int))


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
def _opened(path: Path, changed_ns: int) -> Image:
    """Image of the last used file, if unchanged: opening a long stack takes time."""
    return read_image(path)


def find_planes(images: Images | Sequence[Plane]) -> list[Plane]:
    """Every plane of a folder, of files, of arrays (..., H, W), or of images.

    Files are opened for their shape, not read. Lazy arrays, e.g. of dask, are loaded plane by
    plane. PSF fields and gating maps of our own are refused.
    """
    if isinstance(images, str | Path) and Path(images).is_dir():
        images = find_images(images)
    is_one = isinstance(images, str | Path | Image) or is_pixel_array(images)
    items: Any = [images] if is_one else images
    found: list[Plane] = []
    for number, item in enumerate(items):
        if isinstance(item, Plane):
            found.append(item)
        elif isinstance(item, str | Path):
            found += _planes_of_file(Path(item))
        elif isinstance(item, Image):
            found += _planes_of_image(item, item.data, item.name)
        else:
            found += _planes_of_array(as_pixel_array(item), number)
    if not found:
        raise ImageError("No image was given; name a folder of sharp images, or pass arrays.")
    return found


def _planes_of_file(path: Path) -> Iterator[Plane]:
    kind = coordgate_tiff_kind(path)
    if kind is not None:
        raise ImageError(f"{path} contains {_OWN[kind]}, not an image; move it elsewhere.")
    yield from _planes_of_image(read_image(path), path, str(path))


def _planes_of_image(image: Image, source: PixelArray | Path, name: str) -> Iterator[Plane]:
    for index in plane_indices(image):
        position = [i for i in index if isinstance(i, int)]
        title = f"{name}, plane {position}" if any(position) else name
        yield Plane(title, source, index, image.frame_shape)


def _planes_of_array(array: PixelArray, number: int) -> Iterator[Plane]:
    if array.ndim < 2:
        raise ImageError(f"Image {number} has shape {array.shape}; it must be (..., H, W).")
    *stack, height, width = array.shape
    for position, index in enumerate(np.ndindex(*stack)):
        yield Plane(f"image {number}, plane {position}", array, index, (height, width))


def compute_ranges(
    planes: Sequence[Plane], scaling: Scaling, cancel: threading.Event | None = None
) -> Generator[Event, None, list[Normalizer]]:
    """Intensity range of every plane; raises one error for all planes that cannot be used."""
    stopwatch = Stopwatch("reading images", len(planes))
    ranges, messages = [], []
    for number, plane in enumerate(planes):
        raise_if_canceled(cancel, "Stopped while reading the images; nothing was written.")
        try:
            ranges.append(plane.normalizer(scaling))
        except ImageError as error:
            messages.append(str(error))
        yield stopwatch.progress(number + 1)
    if messages:
        shown, more = messages[:MAX_MESSAGES], len(messages) - MAX_MESSAGES
        if more > 0:
            shown.append(f"And {more} more like these.")
        raise ImageError(" ".join(shown))
    return ranges
