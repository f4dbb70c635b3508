"""OME-Zarr 0.5 written, plane by plane and chunk by chunk."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.errors import OutputError
from napari_coordgate.io.metadata import Metadata
from napari_coordgate.io.ome_zarr.description import described
from napari_coordgate.io.ome_zarr.levels import LARGEST_SIDE, reduce_by_two

__all__ = ["ZarrLayout", "create_ome_zarr", "zarr_layout"]

_CHUNK = (1024, 1024)
_ORDER = "TCSZYX"


class ZarrLayout(NamedTuple):
    """How an image is stored in OME-Zarr.

    Attributes
    ----------
    order : list of int
        Axes of the image, in the order in which the store has them.
    names : tuple of str
        The store's names of them.
    """

    order: list[int]
    names: tuple[str, ...]


def zarr_layout(path: Path, dtype: np.dtype[Any], axes: str) -> ZarrLayout:
    """Choose how to store an image.

    Parameters
    ----------
    path : Path
        The folder, for the error.
    dtype : data type
        Type of the pixels.
    axes : str
        The image's axes. Samples of a color become channels.

    Returns
    -------
    ZarrLayout
        The layout.

    Raises
    ------
    OutputError
        If OME-Zarr has no place for such pixels.
    """
    if dtype.itemsize > 8:
        raise OutputError(
            f"Cannot write {path}: OME-Zarr holds no {dtype.name} pixels; choose .npy."
        )
    if {"C", "S"} <= set(axes):
        raise OutputError(
            f"Cannot write {path}: OME-Zarr holds no colors of several channels; choose .tif."
        )
    order = sorted(range(len(axes)), key=lambda axis: _ORDER.index(axes[axis]))
    return ZarrLayout(order, tuple(axes[axis].replace("S", "C").lower() for axis in order))


@contextmanager
def create_ome_zarr(
    path: Path,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    layout: ZarrLayout,
    metadata: Metadata,
    chunk: tuple[int, int] | None,
) -> Iterator["_Arranged"]:
    """Write an image into an empty folder, piece by piece.

    Large planes get levels of resolution at the end, and only then does the folder
    tell that it is an image.

    Parameters
    ----------
    path : Path
        The folder.
    shape : tuple of int
        Shape of the image.
    dtype : data type
        Type of its pixels.
    layout : ZarrLayout
        How to store it.
    metadata : Metadata
        Its sizes and names.
    chunk : tuple of int, or None
        (height, width) of the pieces in which planes will be filled.

    Yields
    ------
    array, shape ``shape``
        Zeros, of which windows of planes are to be filled in.
    """
    import zarr  # takes its time
    from zarr.codecs import ZstdCodec

    # A checksum finds a damaged chunk; Blosc would read one that is cut short as if it were whole.
    codec = ZstdCodec(level=1, checksum=True)
    group = zarr.open_group(path, mode="a", zarr_format=3)
    sides = [shape[axis] for axis in layout.order]
    levels: list[Any] = []
    while not levels or max(sides[-2:]) > LARGEST_SIDE:
        if levels:
            sides[-2:] = (-(-side // 2) for side in sides[-2:])
        pieces = [min(pair) for pair in zip(chunk or _CHUNK, sides[-2:], strict=True)]
        levels.append(
            group.create_array(
                str(len(levels)),
                shape=tuple(sides),
                chunks=(*(1,) * (len(sides) - 2), *pieces),
                dtype=dtype,
                compressors=codec,
                dimension_names=layout.names,
            )
        )
    yield _Arranged(levels[0], layout.order)
    for finer, coarser in itertools.pairwise(levels):
        reduce_by_two(finer, coarser)
    for partial in path.rglob("*.partial"):  # of a process that was killed while it wrote a chunk
        partial.unlink()
    group.attrs.update(described(levels, layout.names, metadata))


class _Arranged:
    """Array of a store with the axes in the image's order, for windows of planes."""

    def __init__(self, array: Any, order: list[int]) -> None:
        self._array = array
        self._order = order
        self.shape: tuple[int, ...] = tuple(array.shape[place] for place in np.argsort(order))
        self.dtype: np.dtype[Any] = array.dtype
        self.ndim: int = array.ndim

    def __getitem__(self, index: tuple[int | slice, ...]) -> NDArray[Any]:
        return np.asarray(self._array[tuple(index[axis] for axis in self._order)])

    def __setitem__(self, index: tuple[int | slice, ...], pixels: NDArray[Any]) -> None:
        self._array[tuple(index[axis] for axis in self._order)] = pixels
