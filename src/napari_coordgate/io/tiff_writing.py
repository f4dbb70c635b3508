"""Writing of TIFF files: at once, or of zeros that are filled window by window."""

import itertools
import math
import mmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_coordgate.config import Compression
from napari_coordgate.errors import OutputError
from napari_coordgate.io.files import scratch_array
from napari_coordgate.io.metadata import ImageMetadata
from napari_coordgate.io.ome_xml_writing import OME_TYPES, ome_xml_of, tiff_data
from napari_coordgate.io.pyramid import downsample, level_shapes
from napari_coordgate.io.tiff_metadata import TiffFlavor, metadata_options

_IMAGEJ_TYPES = ("uint8", "uint16", "float32")
_MAX_CLASSIC_BYTES = 2**32 - 2**25
_TILE = (512, 512)
"""Tiles of compressed planes."""
_BAND = (1024, 1024)
"""Part of a level that is computed at a time."""


class TiffLayout(NamedTuple):
    """Order of an image's axes in the file, options of tifffile, and levels of a pyramid."""

    order: list[int]
    writer: dict[str, Any]
    """Options of the file."""
    options: dict[str, Any]
    """Options of the pages."""
    levels: int
    """Number of lower resolution levels."""

    @property
    def of_levels(self) -> dict[str, Any]:
        """Options of the pages of lower resolution levels."""
        return self.options | {"description": None, "metadata": None, "subfiletype": 1}


def tiff_layout(
    path: Path,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    axes: str,
    metadata: ImageMetadata,
    compression: Compression = "auto",
) -> TiffLayout:
    """Layout of an image: OME-TIFF if the name says so, ImageJ's if possible, else a plain TIFF.

    Large planes of OME-TIFF are pyramids, and compressed files are not ImageJ's.
    """
    samples = shape[axes.index("S")] if "S" in axes else 0
    nbytes = math.prod(shape) * dtype.itemsize
    is_compressed = compression in ("zlib", "zstd")
    flavor = _choose_flavor(path, dtype, samples, nbytes, is_compressed)
    last = "TZCYXS" if flavor == "imagej" else "YXS"  # other axes come first, in their order
    order = sorted(range(len(axes)), key=lambda axis: last.find(axes[axis]))
    stored = "".join(axes[axis] for axis in order)
    lengths = tuple(shape[axis] for axis in order)
    if flavor == "ome":
        planes = math.prod(n for n, axis in zip(lengths, stored, strict=True) if axis not in "YXS")
        xml = ome_xml_of(metadata, stored, lengths, dtype, tiff_data(planes))
        options: dict[str, Any] = {"description": xml.encode(), "metadata": None}
    else:
        options = metadata_options(flavor, metadata, stored, lengths)
    sides = tuple(shape[axes.index(axis)] for axis in "YX")
    options["photometric"] = "rgb" if samples in (3, 4) else "minisblack"
    options["planarconfig"] = "contig" if samples else None
    if is_compressed:
        options |= {"compression": compression, "predictor": dtype.kind != "b"}
        options |= {"tile": _TILE} if min(sides) >= min(_TILE) else {}
    is_pyramid = flavor == "ome" and dtype.kind != "b"
    writer = {
        "ome": False,  # tifffile would describe the image itself
        "imagej": flavor == "imagej",
        "bigtiff": nbytes * (4 / 3 if is_pyramid else 1) >= _MAX_CLASSIC_BYTES,
    }
    return TiffLayout(order, writer, options, len(level_shapes(sides)) - 1 if is_pyramid else 0)


def write_tiff(path: Path, data: NDArray[Any], layout: TiffLayout) -> None:
    """Write a TIFF file; it keeps the byte order of the pixels."""
    level = data.transpose(layout.order)
    with tifffile.TiffWriter(path, **layout.writer) as tiff:
        tiff.write(level, subifds=layout.levels or None, **layout.options)
        for _ in range(layout.levels):
            coarser = scratch_array(path.parent, _coarser(level.shape, layout), level.dtype)
            _downsample(level, coarser, layout)
            tiff.write(coarser, **layout.of_levels)
            level = coarser


def create_tiff(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], layout: TiffLayout
) -> np.memmap[Any, Any]:
    """Create an uncompressed TIFF file of zeros as a writable memory map with the image's axes."""
    stored = level = tuple(shape[axis] for axis in layout.order)
    zeros: dict[str, Any] = {"dtype": dtype, "align": mmap.ALLOCATIONGRANULARITY}
    with tifffile.TiffWriter(path, **layout.writer) as tiff:
        subifds = layout.levels or None
        written = tiff.write(
            shape=stored, subifds=subifds, returnoffset=True, **zeros, **layout.options
        )
        for _ in range(layout.levels):
            level = _coarser(level, layout)
            tiff.write(shape=level, **zeros, **layout.of_levels)
    assert written is not None
    mapped = np.memmap(path, dtype, "r+", written[0], stored)
    return mapped.transpose(np.argsort(layout.order))


def fill_levels(path: Path, layout: TiffLayout) -> None:
    """Fill the lower resolution levels of a file that `create_tiff` created."""
    if not layout.levels:
        return
    with tifffile.TiffFile(path) as tiff:
        levels = []
        for level in tiff.series[0].levels:
            assert level.dataoffset is not None  # they were created in one piece
            levels.append(np.memmap(path, level.dtype, "r+", level.dataoffset, level.shape))
    for finer, coarser in itertools.pairwise(levels):
        _downsample(finer, coarser, layout)
        coarser.flush()


def _planes(array: NDArray[Any], layout: TiffLayout) -> NDArray[Any]:
    """View of stored pixels with the axes Y and X at the end."""
    return np.moveaxis(array, -1, 0) if layout.options["planarconfig"] else array


def _coarser(shape: tuple[int, ...], layout: TiffLayout) -> tuple[int, ...]:
    """Shape of the next level of stored pixels."""
    row = -3 if layout.options["planarconfig"] else -2
    halved = [-(-side // 2) for side in shape[row:][:2]]
    return (*shape[:row], *halved, *shape[row:][2:])


def _downsample(finer: NDArray[Any], coarser: NDArray[Any], layout: TiffLayout) -> None:
    downsample(_planes(finer, layout), _planes(coarser, layout), _BAND)


def _choose_flavor(
    path: Path, dtype: np.dtype[Any], samples: int, nbytes: int, is_compressed: bool
) -> TiffFlavor:
    """Flavor that the name asks for and the pixels allow."""
    if dtype.kind == "b" and samples:
        raise OutputError(f"Cannot write {path}: TIFF cannot store bool colors; use uint8 pixels.")
    if path.name.lower().endswith((".ome.tif", ".ome.tiff")):
        if dtype.name not in OME_TYPES:
            raise OutputError(
                f"Cannot write {path}: OME-TIFF cannot store {dtype.name} pixels; "
                "use a name that ends in .tif only."
            )
        return "ome"
    gray_or_rgb = samples == 0 or (samples == 3 and dtype == np.uint8)
    fits = nbytes < _MAX_CLASSIC_BYTES and not is_compressed
    if dtype.name in _IMAGEJ_TYPES and gray_or_rgb and fits:
        return "imagej"
    return "plain"
