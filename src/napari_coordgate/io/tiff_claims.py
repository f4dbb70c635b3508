"""What a TIFF file claims, checked before tifffile lists it: a few kB can claim gigabytes."""

import math
import struct
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import tifffile

from napari_coordgate.opening import check_regular

_MAX_PLANES, _MIN_PLANES = 10_000_000, 1_000_000
"""Planes that OME-XML may claim: not more than the file has bytes, within these limits."""
_MAX_PAGES = 200_000
"""Pages of a file; listing so many takes seconds, and some hundred MB."""
_MAX_TAGS, _MAX_LEVELS = 4096, 100
"""Tags and lower resolution levels of a page."""
_SIDES, _LEVELS = (256, 257), 330
"""Tags of width and height, and of the offsets of lower resolution levels."""
_INTEGER_BYTES = {1: 1, 3: 2, 4: 4, 13: 4, 16: 8, 18: 8}
"""Bytes of a number by the number of its type, of those that sides of a page have."""
_BIG_TAG_BYTES = 20


def open_tiff(path: str | Path, **options: Any) -> tifffile.TiffFile:
    """Open a TIFF file; OSError if it is a pipe."""
    check_regular(path)
    return tifffile.TiffFile(path, **options)


def ome_xml_in(tiff: tifffile.TiffFile) -> str:
    """OME-XML of a file; empty if there is none."""
    return (tiff.ome_metadata or "") if tiff.is_ome else ""


def check_claims(tiff: tifffile.TiffFile) -> None:
    """Raise an error if tifffile would list planes beyond number, or open a pipe of the set."""
    folder, xml = Path(tiff.filehandle.dirname), ome_xml_in(tiff)
    root = ElementTree.fromstring(xml) if xml else ElementTree.Element("none")
    # tifffile opens a file for each different identifier.
    named = {(each.text, name) for each in root.iter() if (name := each.get("FileName"))}
    others = {name for _, name in named} | {"NDTiff.index"}
    if tiff.is_mmstack or tiff.is_ndtiff:
        others |= {file.name for file in folder.glob("*.tif")}
    for file in (folder / name for name in others):
        if file.exists():
            check_regular(file)
    limit = min(max(tiff.filehandle.size, _MIN_PLANES), _MAX_PLANES)
    areas, listed = {tiff.filename: _page_areas(tiff)}, 0
    for _, name in named:
        if name not in areas:
            areas[name] = _page_areas_of_other(folder / name)
        listed += len(areas[name])
        _check_planes(listed, limit)
    smallest = min(map(min, filter(None, areas.values())))
    _check_planes(listed + _claimed_planes(root, smallest, max(map(len, areas.values()))), limit)


def _check_planes(planes: float, limit: int) -> None:
    if not planes <= limit:
        raise ValueError(f"it claims {planes:.0f} planes")


def _page_areas_of_other(file: Path) -> list[int]:
    """Pixels of each page of another file of a set; none if it is missing or no TIFF file."""
    try:
        with open_tiff(file) as tiff:
            return _page_areas(tiff)
    except (OSError, tifffile.TiffFileError):
        return []


def _claimed_planes(root: ElementTree.Element, smallest: int, most: int) -> float:
    """Planes, and labels of planes, that tifffile would list for an OME-XML.

    The smallest page of the set has so many pixels, and its longest file so many pages.
    """
    planes = 0.0
    for element in root.iter():
        stated = element.attrib
        if element.tag.endswith("Pixels"):
            sides = (abs(int(stated.get(f"Size{axis}", 1))) for axis in "TCZYX")
            planes += math.prod(sides) // smallest
        if element.tag.endswith("TiffData"):
            count = stated.get("NumPlanes", 1 if "IFD" in stated else most)
            planes += abs(int(stated.get("PlaneCount", count)))
        if element.tag[:-1].endswith("Along") and "Start" in stated:
            length = float(stated["End"]) - float(stated["Start"])
            planes += abs(length / float(stated.get("Step", 1)))
    return planes


def _page_areas(tiff: tifffile.TiffFile) -> list[int]:
    """Pixels of each page; ValueError if pages are too many, or form a loop.

    tifffile may follow a loop, and opens each lower resolution level of each page.
    """
    file, layout = tiff.filehandle, tiff.tiff
    is_big = layout.tagsize == _BIG_TAG_BYTES
    tag_format = f"{layout.byteorder}HH{'Q8s' if is_big else 'I4s'}"
    order: Literal["little", "big"] = "little" if layout.byteorder == "<" else "big"
    offset, areas = tiff.pages.first.offset, dict[int, int]()
    while offset:  # 0 ends the chain
        if offset in areas or offset >= file.size:
            raise ValueError("pages are missing")
        if len(areas) == _MAX_PAGES:
            raise ValueError(f"it has more than {_MAX_PAGES} pages; split it, or save it as Zarr")
        file.seek(offset)
        (count,) = struct.unpack(layout.tagnoformat, file.read(layout.tagnosize))
        if count > _MAX_TAGS:
            raise ValueError("pages are missing")
        tags = file.read(count * layout.tagsize)
        area = 1
        for code, kind, length, value in struct.iter_unpack(tag_format, tags):
            if code in _SIDES:
                area *= max(1, int.from_bytes(value[: _INTEGER_BYTES.get(kind, 0)], order))
            if code == _LEVELS and length > _MAX_LEVELS:
                raise ValueError(f"it claims {length} resolution levels")
        areas[offset] = area
        (offset,) = struct.unpack(layout.offsetformat, file.read(layout.offsetsize))
    return list(areas.values())
