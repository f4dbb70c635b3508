"""How images are stored in TIFF files."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_coordgate.errors import OutputError
from napari_coordgate.io.metadata import Metadata
from napari_coordgate.io.tiff.meaning import Flavour, metadata_options

__all__ = ["TiffLayout", "create_tiff", "tiff_layout", "write_tiff"]

_OME_TYPES = frozenset(
    ("bool", "int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64")
)
_IMAGEJ_TYPES = ("uint8", "uint16", "float32")
_CLASSIC_BYTES = 2**32 - 2**25


class TiffLayout(NamedTuple):
    """How an image is stored in a TIFF file.

    Attributes
    ----------
    order : list of int
        Axes of the image, in the order in which the file has them.
    options : dict
        What `tifffile.imwrite` is told.
    """

    order: list[int]
    options: dict[str, Any]


def tiff_layout(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], axes: str, metadata: Metadata
) -> TiffLayout:
    """Choose how to store an image: as OME-TIFF by its name, else as ImageJ's or a plain TIFF.

    Parameters
    ----------
    path : Path
        Name of the file.
    shape : tuple of int
        Shape of the image.
    dtype : data type
        Type of its pixels.
    axes : str
        Of TCZYX and S, one letter for each axis.
    metadata : Metadata
        Its sizes and names.

    Returns
    -------
    TiffLayout
        The layout.

    Raises
    ------
    OutputError
        If the format does not hold such pixels.
    """
    samples = shape[axes.index("S")] if "S" in axes else 0
    nbytes = math.prod(shape) * dtype.itemsize
    flavour = _flavour(path, dtype, samples, nbytes)
    letters = "TZCYXS" if flavour == "imagej" else "YXS"  # others stay in front, in their order
    order = sorted(range(len(axes)), key=lambda axis: letters.find(axes[axis]))
    stored = "".join(axes[axis] for axis in order)
    options = metadata_options(flavour, metadata, stored, tuple(shape[axis] for axis in order))
    options["ome"] = flavour == "ome"
    options["imagej"] = flavour == "imagej"
    options["bigtiff"] = nbytes >= _CLASSIC_BYTES
    options["photometric"] = "rgb" if samples in (3, 4) else "minisblack"
    options["planarconfig"] = "contig" if samples else None
    return TiffLayout(order, options)


def write_tiff(path: Path, data: NDArray[Any], layout: TiffLayout) -> None:
    """Write a TIFF file.

    Parameters
    ----------
    path : Path
        The file.
    data : ndarray
        The pixels; the file takes over their byte order.
    layout : TiffLayout
        How to store them.
    """
    tifffile.imwrite(path, data.transpose(layout.order), **layout.options)


def create_tiff(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], layout: TiffLayout
) -> np.memmap[Any, Any]:
    """Create a TIFF file of zeros, and map it into memory for writing.

    Parameters
    ----------
    path : Path
        The file.
    shape : tuple of int
        Shape of the image.
    dtype : data type
        Type of its pixels: not bool, which TIFF packs into bits.
    layout : TiffLayout
        How to store it.

    Returns
    -------
    memmap, shape ``shape``
        A view of the file, with the axes in the image's order.
    """
    stored = tuple(shape[axis] for axis in layout.order)
    mapped = tifffile.memmap(path, shape=stored, dtype=dtype, byteorder="=", **layout.options)
    return mapped.transpose(np.argsort(layout.order))


def _flavour(path: Path, dtype: np.dtype[Any], samples: int, nbytes: int) -> Flavour:
    """Kind of TIFF that the name asks for and the pixels allow."""
    if dtype.kind == "b" and samples:
        raise OutputError(f"Cannot write {path}: TIFF holds no bool colors; choose uint8 pixels.")
    if path.name.lower().endswith((".ome.tif", ".ome.tiff")):
        if dtype.name not in _OME_TYPES:
            raise OutputError(
                f"Cannot write {path}: OME-TIFF holds no {dtype.name} pixels; "
                "choose a name that ends in .tif alone."
            )
        return "ome"
    gray_or_rgb = samples == 0 or (samples == 3 and dtype == np.uint8)
    if dtype.name in _IMAGEJ_TYPES and gray_or_rgb and nbytes < _CLASSIC_BYTES:
        return "imagej"
    return "plain"
