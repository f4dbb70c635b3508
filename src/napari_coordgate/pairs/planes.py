"""Planes to train on: images (H, W) in memory, or read from their file when needed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.errors import ImageError
from napari_coordgate.images import Image, find_images, planes, read_image
from napari_coordgate.tiff import own_kind

__all__ = ["Images", "Plane", "find_planes"]

FILES_MAPPED = 256
"""Files kept mapped into memory; each holds one of the process's few file handles."""
BYTES_LOADED = 2**30
"""Pixels kept of files that cannot be mapped, such as compressed ones."""
_OWN = {"PSF field": "a PSF field", "gating maps": "gating maps"}

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
        """Pixels of the plane, shape (H, W); a file is kept for the next time."""
        if not isinstance(self.source, Path):
            return self.source[self.index]
        try:
            changed_ns = self.source.stat().st_mtime_ns
        except OSError:
            changed_ns = 0  # the reader says what is wrong
        return _kept.image(self.source, changed_ns).data[self.index]


class _KeptImages:
    """Images of files, in the order of their last use."""

    def __init__(self) -> None:
        self._images: dict[tuple[Path, int], Image] = {}

    def image(self, path: Path, changed_ns: int) -> Image:
        """Image in a file, as it is since its last change."""
        key = path, changed_ns
        kept = self._images.pop(key, None)
        image = self._images[key] = kept or read_image(path)
        if kept is None:
            self._shed()
        return image

    def _shed(self) -> None:
        """Let go of what is too much, but never of the last used one."""
        for oldest in list(self._images)[:-1]:
            if not self._is_too_much():
                break
            self._images.pop(oldest, None)

    def _is_too_much(self) -> bool:
        loaded = [i.data.nbytes for i in self._images.values() if not isinstance(i.data, np.memmap)]
        return sum(loaded) > BYTES_LOADED or len(self._images) - len(loaded) > FILES_MAPPED


_kept = _KeptImages()


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
        If there is none, or a file is no image, or one of this program's own making that
        is none: a PSF field or gating maps.
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
    kind = own_kind(path)
    if kind is not None:
        raise ImageError(f"{path} holds {_OWN[kind]}, no image to train on; move it elsewhere.")
    for index in planes(read_image(path)):
        place = [i for i in index if isinstance(i, int)]
        yield Plane(f"{path}, plane {place}" if any(place) else str(path), path, index)


def _planes_of_array(array: Pixels, number: int) -> Iterator[Plane]:
    if array.ndim < 2:
        raise ImageError(f"Image {number} has shape {array.shape}; it must be (..., H, W).")
    for place, index in enumerate(np.ndindex(array.shape[:-2])):
        yield Plane(f"image {number}, plane {place}", array, index)
