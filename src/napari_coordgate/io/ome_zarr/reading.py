"""OME-Zarr read, chunk by chunk."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.errors import ImageError
from napari_coordgate.io.lazy import LazyArray, Part, as_index
from napari_coordgate.io.metadata import Metadata, micrometers, seconds

__all__ = ["is_zarr", "read_ome_zarr"]

_MARKS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
_LETTERS = {"time": "T", "channel": "C"}
_CHUNK_BYTES = 2**32
"""A chunk that claims more is no honest one."""


def is_zarr(path: Path) -> bool:
    """Whether a folder is a store of zarr, or a group in one.

    Parameters
    ----------
    path : Path
        The folder.

    Returns
    -------
    bool
        The answer.
    """
    return any((path / mark).is_file() for mark in _MARKS)


def read_ome_zarr(path: Path) -> tuple[LazyArray, str, Metadata]:
    """Read the first image of a store at full resolution.

    Parameters
    ----------
    path : Path
        Folder of an OME-Zarr image, of a series of them as bioformats2raw makes it, or of
        a plain array of zarr.

    Returns
    -------
    data : LazyPixels
        The pixels. Chunks that are missing have the fill value.
    axes : str
        Letters, none for a plain array; unknown ones are neither of TCZYX nor S.
    metadata : Metadata
        Sizes and names, where the store tells them.

    Raises
    ------
    ImageError
        If the store holds no such image. Any other exception means a damaged store.
    """
    import zarr  # takes its time

    node = zarr.open(path, mode="r")
    if isinstance(node, zarr.Array):
        return _ZarrPixels(path, node), "", Metadata()
    group: Any = node
    told = _told(group)
    if "multiscales" not in told and "bioformats2raw.layout" in told:
        group = node["0"]
        told = _told(group)
    if "plate" in told:
        well = told["plate"]["wells"][0]["path"]
        raise ImageError(f"{path} is a plate; give one of its images, such as {path / well / '0'}.")
    if "multiscales" not in told:
        raise ImageError(f"{path} holds no OME-Zarr image; give the folder of one.")
    scales = told["multiscales"][0]
    level = scales["datasets"][0]
    pixels = _ZarrPixels(path, group[level["path"]])
    axes = [
        axis if isinstance(axis, dict) else {"name": axis}  # names alone until version 0.3
        for axis in scales.get("axes", "tczyx")
    ]
    letters = "".join(map(_letter, axes))
    scale = _scale(level) * _scale(scales)
    return pixels, letters, _metadata(letters, axes, np.broadcast_to(scale, len(axes)), told)


class _ZarrPixels(LazyArray):
    """Array of zarr, whose damage is told as that of any file."""

    def __init__(self, path: Path, array: Any) -> None:
        super().__init__(path, array.shape, np.dtype(array.dtype))
        self._array = array
        nbytes = math.prod(array.chunks) * self.dtype.itemsize
        if nbytes > _CHUNK_BYTES:
            raise ValueError(f"its chunks claim {nbytes / 1e9:.0f} GB each")

    def _load(self, parts: tuple[Part, ...]) -> NDArray[Any]:
        return np.asarray(self._array[tuple(map(as_index, parts))])


def _told(group: Any) -> dict[str, Any]:
    """What the attributes of a group say of its image."""
    attributes: dict[str, Any] = group.attrs.asdict()
    told: dict[str, Any] = attributes.get("ome", attributes)  # within "ome" since 0.5
    return told


def _letter(axis: dict[str, str]) -> str:
    return _LETTERS.get(axis.get("type", ""), axis["name"][:1].upper())


def _scale(level: dict[str, Any]) -> NDArray[np.float64]:
    """Size of a pixel along each axis, in the axes' units; 1 where nothing is said."""
    steps = level.get("coordinateTransformations", [])
    scales = [step["scale"] for step in steps if step.get("type") == "scale"]
    return np.prod(np.array(scales, float), axis=0) if scales else np.ones(1)


def _metadata(
    letters: str, axes: list[dict[str, str]], scale: NDArray[np.float64], told: dict[str, Any]
) -> Metadata:
    stated = {
        letter: (float(side), axis.get("unit"))
        for letter, side, axis in zip(letters, scale, axes, strict=True)
    }
    z, y, x = (micrometers(*stated.get(letter, (None, None))) for letter in "ZYX")
    time = seconds(*stated.get("T", (None, None)))
    channels = told.get("omero", {}).get("channels", [])
    return Metadata.of((y, x), z, time, [str(c.get("label", "")) for c in channels])
