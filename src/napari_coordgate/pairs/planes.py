"""Planes to train on: images (H, W) in memory, or read from their file when needed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.errors import ImageError
from napari_coordgate.images import Image, find_images, planes, read_image

__all__ = ["Images", "Plane", "find_planes"]

FILES_OPEN = 256

Pixels = NDArray[Any]
Images = str | Path | Pixels | Sequence[str | Path | Pixels]


@dataclass(frozen=True, eq=False)
class Plane:
    """One image (H, W).

    Attributes
    ----------
    name : str
        What errors call it.
    source : ndarray or Path
        The array or the file that holds it.
    index : tuple of int and slice
        Its index within the source's array.
    """

    name: str
    source: Pixels | Path
    index: tuple[int | slice, ...] = ()

    def read(self) -> Pixels:
        """Pixels of the plane, shape (H, W); a file stays open for the next time."""
        if not isinstance(self.source, Path):
            return self.source[self.index]
        try:
            changed_ns = self.source.stat().st_mtime_ns
        except OSError:
            changed_ns = 0  # the reader says what is wrong
        return _open_image(self.source, changed_ns).data[self.index]


@lru_cache(maxsize=FILES_OPEN)
def _open_image(path: Path, changed_ns: int) -> Image:
    """Image in a file, as it is since its last change."""
    return read_image(path)


def find_planes(images: Images) -> list[Plane]:
    """Every plane of a folder, of files, or of arrays.

    Parameters
    ----------
    images : path, ndarray of shape (..., H, W), or sequence of either
        A folder stands for all images in it.

    Returns
    -------
    list of Plane
        Files are opened for their shape, not read.

    Raises
    ------
    ImageError
        If there is none, or a file is no image.
    """
    if isinstance(images, str | Path) and Path(images).is_dir():
        images = find_images(images)
    several = [images] if isinstance(images, str | Path | np.ndarray) else images
    found: list[Plane] = []
    for number, item in enumerate(several):
        if isinstance(item, str | Path):
            found += _planes_of_file(Path(item))
        else:
            found += _planes_of_array(np.asarray(item), number)
    if not found:
        raise ImageError("No image was given; name a folder of sharp images, or pass arrays.")
    return found


def _planes_of_file(path: Path) -> Iterator[Plane]:
    for index in planes(read_image(path)):
        place = [i for i in index if isinstance(i, int)]
        yield Plane(f"{path}, plane {place}" if any(place) else str(path), path, index)


def _planes_of_array(array: Pixels, number: int) -> Iterator[Plane]:
    if array.ndim < 2:
        raise ImageError(f"Image {number} has shape {array.shape}; it must be (..., H, W).")
    for place, index in enumerate(np.ndindex(array.shape[:-2])):
        yield Plane(f"image {number}, plane {place}", array, index)
