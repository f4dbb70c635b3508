"""TIFF files of microscopes: OME-TIFF, ImageJ's, and plain ones.

Everything about the format stands here; `napari_coordgate.images` is the door.
"""

import logging
import math
import re
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_coordgate.errors import OutputError

__all__ = [
    "GATE",
    "PSF_FIELD",
    "PixelSize",
    "TiffLayout",
    "create_tiff",
    "own_kind",
    "pixel_size_options",
    "read_tiff",
    "tiff_layout",
    "write_tiff",
]

PSF_FIELD = "napari-coordgate psf field"
"""Key in the first page's description of a PSF field."""
GATE = "gate "
"""How the name of a gating map begins in a file of them."""

PixelSize = tuple[float, float]
Flavour = Literal["ome", "imagej", "plain"]

# tifffile reports damage to its log, which Python prints where no program listens to it.
# We report it ourselves, in an error.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_MICROMETRES = {
    "m": 1e6,
    "cm": 1e4,
    "mm": 1e3,
    "millimeter": 1e3,
    "µm": 1.0,  # micro sign
    "\u03bcm": 1.0,  # Greek mu
    "\\u00B5m": 1.0,  # as ImageJ spells it
    "um": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "nm": 1e-3,
    "nanometer": 1e-3,
}
# Dots per inch are those of a print, and say nothing of the object.
_CENTIMETRE = 3
_UNITS_UM = {_CENTIMETRE: 1e4, 4: 1e3, 5: 1.0}
_OME_TYPES = frozenset(
    ("bool", "int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64")
)
_IMAGEJ_TYPES = ("uint8", "uint16", "float32")
_CLASSIC_BYTES = 2**32 - 2**25


def read_tiff(path: Path) -> tuple[NDArray[np.generic], str, PixelSize | None]:
    """Read the first image of a TIFF file, at full resolution.

    Parameters
    ----------
    path : Path
        The file. Contiguous data are memory-mapped, others are loaded.

    Returns
    -------
    data : ndarray
        In the file's byte order.
    axes : str
        tifffile's letters; those of unknown axes are neither of TCZYX nor S.
    pixel_size_um : tuple of float, or None
        (y, x), where the file tells it.

    Raises
    ------
    ValueError
        If the file is not whole. Any other exception also means a damaged file.
    """
    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        _check_whole(tiff, series)
        pixel_size_um = _pixel_size_um(tiff)
        if series.dataoffset is None:
            return np.asarray(series.asarray()), series.axes, pixel_size_um
    return tifffile.memmap(path, series=0, mode="r"), series.axes, pixel_size_um


def own_kind(path: Path) -> Literal["PSF field", "gating maps"] | None:
    """What a TIFF file of this program is that is no microscope image.

    Parameters
    ----------
    path : Path
        Any file.

    Returns
    -------
    str or None
        None for images, and for what cannot be read: the image's reader says what is wrong.
    """
    try:
        with tifffile.TiffFile(path) as tiff:
            description = tiff.pages.first.description
    except Exception:  # a damaged or foreign file can fail anywhere
        return None
    if PSF_FIELD in description:
        return "PSF field"
    is_gate = re.search(rf'Name="{GATE}(down|up) \d+, \d+ channels"', description)
    return "gating maps" if is_gate else None


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
    path: Path,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    axes: str,
    pixel_size_um: PixelSize | None,
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
    pixel_size_um : tuple of float, or None
        (y, x).

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
    options = pixel_size_options(flavour, pixel_size_um)
    options["metadata"]["axes"] = "".join(axes[axis] for axis in order)
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


def _check_whole(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> None:
    """Raise ValueError if part of the file is missing; tifffile would be content with less."""
    for page in tiff.pages:
        ends = [sum(segment) for segment in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if not ends or max(ends) > tiff.filehandle.size:
            raise ValueError("the file ends before its pixels do")
    # An offset of 0 ends the chain of pages.
    tiff.filehandle.seek(tiff.pages.next_page_offset or 0)
    chain_ends = tiff.filehandle.read(tiff.tiff.offsetsize) == bytes(tiff.tiff.offsetsize)
    if not chain_ends or (tiff.is_ome and None in list(series)):
        raise ValueError("pages are missing")


def _pixel_size_um(tiff: tifffile.TiffFile) -> PixelSize | None:
    """(y, x) size of a pixel, where the file tells it."""
    if tiff.is_ome and tiff.ome_metadata is not None:
        size = _ome_pixel_size_um(tiff.ome_metadata)
    else:
        size = _resolution_pixel_size_um(tiff)
    return size if size and all(math.isfinite(side) and side > 0 for side in size) else None


def _ome_pixel_size_um(xml: str) -> PixelSize | None:
    """Size of a pixel of the first image that an OME-XML tells of."""
    images = tifffile.xml2dict(xml).get("OME", {}).get("Image", {})
    pixels = (images[0] if isinstance(images, list) else images).get("Pixels", {})
    sides = []
    for axis in "YX":
        unit = _MICROMETRES.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        if unit is None or f"PhysicalSize{axis}" not in pixels:
            return None
        sides.append(unit * float(pixels[f"PhysicalSize{axis}"]))
    return sides[0], sides[1]


def _resolution_pixel_size_um(tiff: tifffile.TiffFile) -> PixelSize | None:
    """Size of a pixel by the resolution tags, in ImageJ's unit or the tags' own."""
    page = tiff.pages.first
    unit = _UNITS_UM.get(int(page.resolutionunit))
    if tiff.imagej_metadata is not None:
        unit = _MICROMETRES.get(str(tiff.imagej_metadata.get("unit")))
    if unit is None or "XResolution" not in page.tags or 0 in page.resolution:
        return None
    per_x, per_y = page.resolution
    return unit / per_y, unit / per_x


def _flavour(path: Path, dtype: np.dtype[Any], samples: int, nbytes: int) -> Flavour:
    """Kind of TIFF that the name asks for and the pixels allow."""
    if dtype.kind == "b" and samples:
        raise OutputError(f"Cannot write {path}: TIFF holds no bool colours; choose uint8 pixels.")
    if path.name.lower().endswith((".ome.tif", ".ome.tiff")):
        if dtype.name not in _OME_TYPES:
            raise OutputError(
                f"Cannot write {path}: OME-TIFF holds no {dtype.name} pixels; "
                "choose a name that ends in .tif alone."
            )
        return "ome"
    grey_or_rgb = samples == 0 or (samples == 3 and dtype == np.uint8)
    if dtype.name in _IMAGEJ_TYPES and grey_or_rgb and nbytes < _CLASSIC_BYTES:
        return "imagej"
    return "plain"


def pixel_size_options(flavour: Flavour, pixel_size_um: PixelSize | None) -> dict[str, Any]:
    """Choose how a TIFF file keeps the size of a pixel.

    Parameters
    ----------
    flavour : {"ome", "imagej", "plain"}
        Kind of TIFF.
    pixel_size_um : tuple of float, or None
        (y, x).

    Returns
    -------
    dict
        What tifffile is told: ``metadata``, and for ImageJ's and plain files a
        ``resolution``, which is (x, y) pixels per unit.
    """
    if pixel_size_um is None:
        return {"metadata": {}}
    y, x = pixel_size_um
    if flavour == "ome":
        sides = {"PhysicalSizeY": y, "PhysicalSizeX": x}
        units = {"PhysicalSizeYUnit": "µm", "PhysicalSizeXUnit": "µm"}
        return {"metadata": {**sides, **units}}
    if flavour == "imagej":
        return {"resolution": (1 / x, 1 / y), "metadata": {"unit": "um"}}
    per_centimetre = (_UNITS_UM[_CENTIMETRE] / x, _UNITS_UM[_CENTIMETRE] / y)
    return {"resolution": per_centimetre, "resolutionunit": _CENTIMETRE, "metadata": {}}
