"""Planes to train on: images (H, W) in memory, or loaded when needed."""

import weakref
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.errors import ImageError
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

__all__ = ["Images", "Plane", "find_planes"]

BYTES_LOADED = 2**30
"""Pixels kept of what was loaded: planes of files, and of arrays that load lazily."""
_OWN = {"PSF field": "a PSF field", "gating maps": "gating maps"}

Pixels = NDArray[Any]
Images = str | Path | PixelArray | Image | Sequence[str | Path | PixelArray | Image]


@dataclass(frozen=True, eq=False)
class Plane:
    """One image (H, W).

    Attributes
    ----------
    name : str
        What errors call it.
    source : PixelArray or Path
        The array or the file that holds it.
    index : tuple of int and slice
        Its index within the source's array.
    shape : tuple of int
        (height, width) in pixels, as it was when the plane was found.
    """

    name: str
    source: PixelArray | Path
    index: tuple[int | slice, ...]
    shape: tuple[int, int]

    def read(self) -> Pixels:
        """Pixels of the plane, shape (H, W); what had to be loaded is kept for the next time."""
        source, index = self.source, self.index
        if isinstance(source, np.ndarray):
            return np.asarray(source[index])
        if not isinstance(source, Path):
            # No longer than the plane itself: nobody else will ask for it.
            mine = weakref.ref(self, _kept.forget)
            return _kept.array(mine, lambda: np.asarray(source[index]))
        try:
            changed_ns = source.stat().st_mtime_ns
        except OSError:
            changed_ns = 0  # the reader says what is wrong
        place = tuple(part for part in index if isinstance(part, int))
        return _kept.array(
            (source, changed_ns, place), lambda: _opened(source, changed_ns).plane(index).copy()
        )


class _KeptArrays:
    """Arrays that were loaded, in the order of their last use."""

    def __init__(self) -> None:
        self._arrays: dict[Hashable, Pixels] = {}

    def array(self, key: Hashable, load: Callable[[], Pixels]) -> Pixels:
        """Array of this key, loaded unless it was kept."""
        kept = self._arrays.pop(key, None)
        array = self._arrays[key] = load() if kept is None else kept
        if kept is None:
            self._shed()
        return array

    def forget(self, key: Hashable) -> None:
        """Let go of an array."""
        self._arrays.pop(key, None)

    def _shed(self) -> None:
        """Let go of what is too much, but never of the last used one."""
        for oldest in list(self._arrays)[:-1]:
            if not self._is_too_much():
                break
            self.forget(oldest)

    def _is_too_much(self) -> bool:
        return sum(array.nbytes for array in self._arrays.values()) > BYTES_LOADED


_kept = _KeptArrays()


@lru_cache(maxsize=1)
def _opened(path: Path, changed_ns: int) -> Image:
    """Image of the file used last, if it has not changed: to open a long stack takes time."""
    return read_image(path)


def find_planes(images: Images) -> list[Plane]:
    """Every plane of a folder, of files, or of arrays.

    Parameters
    ----------
    images : path, array of shape (..., H, W), Image, or sequence of these
        A folder stands for all images in it. An array of dask, zarr and the like
        serves as it is: planes are loaded one by one. An `Image` tells its axes, and
        the name that errors call it.

    Returns
    -------
    list of Plane
        Files are opened for their shape, not read.

    Raises
    ------
    ImageError
        If there is none, or a file is no image, or one of this program's own making that
        is none: a PSF field or gating maps.
    """
    if isinstance(images, str | Path) and Path(images).is_dir():
        images = find_images(images)
    is_one = isinstance(images, str | Path | Image) or is_pixel_array(images)
    several: Any = [images] if is_one else images
    found: list[Plane] = []
    for number, item in enumerate(several):
        if isinstance(item, str | Path):
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
        raise ImageError(f"{path} holds {_OWN[kind]}, no image to train on; move it elsewhere.")
    yield from _planes_of_image(read_image(path), path, str(path))


def _planes_of_image(image: Image, source: PixelArray | Path, name: str) -> Iterator[Plane]:
    for index in plane_indices(image):
        place = [i for i in index if isinstance(i, int)]
        title = f"{name}, plane {place}" if any(place) else name
        yield Plane(title, source, index, image.frame_shape)


def _planes_of_array(array: PixelArray, number: int) -> Iterator[Plane]:
    if array.ndim < 2:
        raise ImageError(f"Image {number} has shape {array.shape}; it must be (..., H, W).")
    *stack, height, width = array.shape
    for place, index in enumerate(np.ndindex(*stack)):
        yield Plane(f"image {number}, plane {place}", array, index, (height, width))
