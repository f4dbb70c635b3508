"""OME-Zarr images: versions 0.4 (zarr 2) and 0.5 (zarr 3) are read, 0.5 is written.

Specification: https://ngff.openmicroscopy.org/0.5
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.config import Compression
from napari_coordgate.errors import ImageError, OutputError
from napari_coordgate.io.lazy import AxisIndex, LazyArray, as_index
from napari_coordgate.io.metadata import ImageMetadata
from napari_coordgate.io.ome_xml import Element, ome_image_names, read_ome_xml
from napari_coordgate.io.ome_xml_writing import ome_xml_of
from napari_coordgate.io.ome_zarr_attributes import (
    ome_attributes,
    read_zarr_attributes,
    zarr_attributes,
)
from napari_coordgate.io.optical_metadata import OpticalMetadata
from napari_coordgate.io.pyramid import downsample, level_shapes
from napari_coordgate.io.scenes import Content, Scene, missing_scene, unreadable_scene
from napari_coordgate.io.zarr_stores import open_store, read_text
from napari_coordgate.opening import check_claim

_STORE_FILES = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
_NO_IMAGES = {"labels", "OME"}
"""Groups that are not images: masks, and metadata."""
_MAX_DEPTH = 8
"""Groups in groups; plates have wells with fields."""
_MAX_GROUPS = 50_000
"""Groups of a store, among them wells and fields; more are listed by links in circles."""
_OME_XML = "METADATA.ome.xml"

_ORDER = "TCSZYX"
_DEFAULT_CHUNK = (1024, 1024)


# Reading


def is_zarr(path: Path) -> bool:
    """Whether a folder is a zarr store, or a group in one."""
    return any((path / name).is_file() for name in _STORE_FILES)


def zarr_scenes(path: Path) -> list[Scene]:
    """Images of a store, or of a group in one.

    It may be an image, a series of images as bioformats2raw writes it, a plate, a well, another
    group of these, or a plain zarr array (no axes). Any exception other than ImageError means a
    damaged store.
    """
    node = open_store(path)
    if not hasattr(node, "group_keys"):
        pixels = _ZarrArray(path, node)
        return [Scene("", lambda: (pixels, "", ImageMetadata()), path)]
    found = list(_scenes_of_group(path, node, "", iter(range(_MAX_GROUPS))))
    if not found:
        raise ImageError(f"{path} contains no OME-Zarr image; use the folder of one.")
    return _name_by_xml(path, found)


def _scenes_of_group(path: Path, group: Any, name: str, numbers: Iterator[int]) -> Iterator[Scene]:
    """Images in a group of the store at a path; ``name`` is the path of the group in it.

    Each group in it takes one of the numbers.
    """
    attributes = ome_attributes(group.attrs.asdict())
    if "multiscales" in attributes:
        yield Scene(name, partial(_read_image, path / name, group, attributes), path / name)
        return
    for child in _children(path / name, group, attributes):
        child_name = f"{name}/{child}".lstrip("/")
        # By links of folders, or paths of wells, to themselves.
        if child_name.count("/") >= _MAX_DEPTH or next(numbers, None) is None:
            raise ImageError(
                f"{path} has groups without end, or nested too deeply; copy or export it again."
            )
        try:
            if path.is_dir() and not (path / child_name).exists():  # much faster than by zarr
                raise KeyError(child_name)
            node = group[child]
            if hasattr(node, "group_keys"):
                yield from _scenes_of_group(path, node, child_name, numbers)
        except KeyError:
            yield missing_scene(child_name, path)
        except ImageError:  # of the store as a whole
            raise
        except Exception as error:  # one damaged well must not cost the plate
            yield unreadable_scene(child_name, path / child_name, error)


def _each_once(names: Iterable[object]) -> list[str]:
    return list(dict.fromkeys(map(str, names)))


def _children(folder: Path, group: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Paths of the groups with the images of a group, as stated in it, or all but labels."""
    if "plate" in attributes:
        return _each_once(well["path"] for well in attributes["plate"]["wells"])
    if "well" in attributes:
        return _each_once(image["path"] for image in attributes["well"]["images"])
    if "OME" in group and (series := ome_attributes(group["OME"].attrs.asdict()).get("series")):
        return _each_once(series)
    if folder.is_dir():
        images = {child.name for child in folder.iterdir() if is_zarr(child)} - _NO_IMAGES
    else:
        images = set(group.group_keys()) - _NO_IMAGES
    return sorted(images, key=lambda name: (len(name), name))


def _read_image(path: Path, group: Any, attributes: Mapping[str, Any]) -> Content:
    """Read the first image of a group at full resolution."""
    level = attributes["multiscales"][0]["datasets"][0]
    pixels = _ZarrArray(path, group[level["path"]])
    letters, metadata = read_zarr_attributes(group.attrs.asdict(), pixels.dtype)
    return pixels, letters, metadata.completed_by(_read_ome_xml(path))


def _name_by_xml(path: Path, scenes: list[Scene]) -> list[Scene]:
    """Scenes of a series with the names in the OME-XML of bioformats2raw, if it is of these."""
    names = ome_image_names(_read_xml(path))
    if len(names) != len(scenes) or any("/" in scene.name for scene in scenes):
        return scenes
    return [
        scene._replace(name=name or scene.name) for scene, name in zip(scenes, names, strict=True)
    ]


def _read_ome_xml(path: Path) -> ImageMetadata:
    """Metadata in the OME-XML that bioformats2raw writes beside the images "0", "1", ..."""
    if xml := _read_xml(path):
        return read_ome_xml(xml)
    if path.name.isdecimal() and (xml := _read_xml(path.parent)):
        return read_ome_xml(xml, int(path.name))
    return ImageMetadata()


def _read_xml(store: Path) -> str:
    """OME-XML of a store that bioformats2raw wrote; empty if there is none."""
    return read_text(store / "OME" / _OME_XML)


class _ZarrArray(LazyArray):
    """Zarr array as a `LazyArray`, for its error messages."""

    def __init__(self, path: Path, array: Any) -> None:
        from napari_coordgate.io.zarr_decoding import limit_decoding  # imports zarr

        super().__init__(path, array.shape, np.dtype(array.dtype))
        self._array = array
        check_claim(math.prod(array.chunks) * self.dtype.itemsize, "its chunks claim")
        shards = array.shards or array.chunks
        index = [-(-shard // chunk) for shard, chunk in zip(shards, array.chunks, strict=True)]
        check_claim(16 * math.prod(index), "the index of its shards claims")
        limit_decoding(array)

    def _load(self, indices: tuple[AxisIndex, ...]) -> NDArray[Any]:
        return np.asarray(self._array[tuple(map(as_index, indices))])


# Writing


class ZarrLayout(NamedTuple):
    """Order of an image's axes in the store, and the store's names of them."""

    order: list[int]
    names: tuple[str, ...]


def zarr_layout(path: Path, dtype: np.dtype[Any], axes: str) -> ZarrLayout:
    """Layout of an image, colors as channels; OutputError if OME-Zarr cannot store it."""
    if dtype.itemsize > 8:
        raise OutputError(
            f"Cannot write {path}: OME-Zarr cannot store {dtype.name} pixels; choose .npy."
        )
    if {"C", "S"} <= set(axes):
        raise OutputError(
            f"Cannot write {path}: OME-Zarr cannot store several color channels; choose .tif."
        )
    order = sorted(range(len(axes)), key=lambda axis: _ORDER.index(axes[axis]))
    return ZarrLayout(order, tuple(axes[axis].replace("S", "C").lower() for axis in order))


@contextmanager
def create_ome_zarr(
    path: Path,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    layout: ZarrLayout,
    metadata: ImageMetadata,
    chunk: tuple[int, int] | None,
    compression: Compression = "auto",
) -> Iterator["_TransposedArray"]:
    """Create a store of zeros in an empty folder, to be filled window by window.

    Lower resolution levels and the metadata, which make the folder an image, are written at the
    end. ``chunk`` is the (height, width) of the windows.
    """
    import zarr  # slow to import
    from zarr.codecs import GzipCodec, ZstdCodec

    # The checksum detects damaged chunks; Blosc would read a truncated chunk without an error.
    zstd = ZstdCodec(level=1, checksum=True)
    codecs = {"none": None, "zlib": GzipCodec(level=6), "zstd": zstd, "auto": zstd}
    group = zarr.open_group(path, mode="a", zarr_format=3)
    levels: list[Any] = []
    for sides in level_shapes(tuple(shape[axis] for axis in layout.order)):
        chunk_sides = [min(pair) for pair in zip(chunk or _DEFAULT_CHUNK, sides[-2:], strict=True)]
        levels.append(
            group.create_array(
                str(len(levels)),
                shape=sides,
                chunks=(*(1,) * (len(sides) - 2), *chunk_sides),
                dtype=dtype,
                compressors=codecs[compression],
                dimension_names=layout.names,
            )
        )
    yield _TransposedArray(levels[0], layout.order)
    for finer, coarser in itertools.pairwise(levels):
        downsample(finer, coarser, coarser.chunks[-2:])
    for unfinished in path.rglob("*.partial"):  # of a process killed while it wrote a chunk
        unfinished.unlink()
    if metadata.original.ome or metadata.optics != OpticalMetadata():
        _write_ome_xml(path, levels[0], layout.names, metadata)
    group.attrs.update(zarr_attributes(levels, layout.names, metadata))


def _write_ome_xml(path: Path, level: Any, names: tuple[str, ...], metadata: ImageMetadata) -> None:
    """Write what OME-Zarr has no attributes for, where bioformats2raw does."""
    import zarr  # slow to import

    axes, element = "".join(names).upper(), Element("MetadataOnly")
    xml = ome_xml_of(metadata, axes, level.shape, level.dtype, element)
    zarr.open_group(path / "OME", mode="w", zarr_format=3)
    (path / "OME" / _OME_XML).write_text(xml, encoding="utf-8")


class _TransposedArray:
    """Zarr array with the axes in the image's order, for windows of planes."""

    def __init__(self, array: Any, order: list[int]) -> None:
        self._array = array
        self._order = order
        self.shape: tuple[int, ...] = tuple(array.shape[axis] for axis in np.argsort(order))
        self.dtype: np.dtype[Any] = array.dtype
        self.ndim: int = array.ndim

    def __getitem__(self, index: tuple[int | slice, ...]) -> NDArray[Any]:
        return np.asarray(self._array[tuple(index[axis] for axis in self._order)])

    def __setitem__(self, index: tuple[int | slice, ...], pixels: NDArray[Any]) -> None:
        self._array[tuple(index[axis] for axis in self._order)] = pixels
