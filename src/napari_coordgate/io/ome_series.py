"""Which image of an OME-XML each series of a TIFF file is."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import tifffile

from napari_coordgate.io.ome_xml import Element, parse_ome_xml

NumberedSeries = tuple[int, str, tifffile.TiffPageSeries | None]
"""Number and name of an image, and its series; None if it has no pixels."""


class _Block(NamedTuple):
    """Pages that an image has in a file, which is empty if it is the one with the OME-XML."""

    file: str
    first: int
    end: float


def numbered_series(tiff: tifffile.TiffFile, xml: str) -> Iterator[NumberedSeries]:
    """Images of a file in the order of its OME-XML, which is empty if there is none.

    tifffile leaves out images of which no plane is in the file.
    """
    # Smaller versions of an image, as far as tifffile has not recognized them as its levels.
    numbered = enumerate(tiff.series)
    found = [(n, one) for n, one in numbered if n == 0 or not one.keyframe.is_reduced]
    root = parse_ome_xml(xml) if xml and found[0][1].kind == "ome" else None
    images = [] if root is None else root.findall("Image")
    if root is None or len(images) <= len(found):
        yield from ((number, series.name or "", series) for number, series in found)
        return
    own = {"", root.get("UUID", ""), tiff.filename.lower()}
    blocks = [[_block(data, own) for data in image.iter("TiffData")] for image in images]
    matched = _matched(tiff, [series for _, series in found], blocks)
    for number, image in enumerate(images):
        yield number, image.get("Name") or str(number), matched.get(number)


def _block(data: Element, own: set[str]) -> _Block:
    """Pages that an element states; all of its file if it states no number."""
    first = int(data.get("IFD", 0))
    count = data.get("PlaneCount", data.get("NumPlanes", 1 if "IFD" in data.attrib else math.inf))
    uuid = data.find("UUID")
    file = "" if uuid is None else uuid.get("FileName", "").lower()
    is_own = file in own or (uuid is not None and (uuid.text or "").strip() in own)
    return _Block("" if is_own else file, first, first + float(count))


def _matched(
    tiff: tifffile.TiffFile,
    found: Sequence[tifffile.TiffPageSeries],
    blocks: Sequence[Sequence[_Block]],
) -> dict[int, tifffile.TiffPageSeries]:
    """Series by the number of their image: both are in order, and images may have no series."""
    matched: dict[int, tifffile.TiffPageSeries] = {}
    number = 0
    for series in found:
        page = next(page for page in series.pages if page is not None)
        file = "" if page.parent is tiff else page.parent.filename.lower()
        remaining = range(number, len(blocks))
        is_here = (
            n for n in remaining
            if any(b.file == file and b.first <= page.index < b.end for b in blocks[n])
        )  # fmt: skip
        number = next(is_here, number)
        matched[number] = series
        number += 1
    return matched
