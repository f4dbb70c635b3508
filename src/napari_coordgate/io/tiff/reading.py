"""TIFF files read, as far as they are whole."""

import logging
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_coordgate.io.lazy import LazyArray, RawFileArray, Source
from napari_coordgate.io.metadata import Metadata
from napari_coordgate.io.tiff.meaning import read_metadata
from napari_coordgate.io.tiff.pages import PagedPixels, TiffPage, keyframe

__all__ = ["GATE", "PSF_FIELD", "own_kind", "read_tiff"]

PSF_FIELD = "napari-coordgate psf field"
"""Key in the first page's description of a PSF field."""
GATE = "gate "
"""How the name of a gating map begins in a file of them."""

# tifffile reports damage to its log, which Python prints where no program listens to it.
# We report it ourselves, in an error.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def read_tiff(path: Path) -> tuple[LazyArray | NDArray[Any], str, Metadata]:
    """Read the first image of a TIFF file, at full resolution.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    data : LazyPixels or ndarray
        The pixels; loaded at once where pages are of a kind that is rare: volumes in tiles.
    axes : str
        tifffile's letters; those of unknown axes are neither of TCZYX nor S.
    metadata : Metadata
        Sizes and names, where the file tells them.

    Raises
    ------
    ValueError
        If the file is not whole. Any other exception also means a damaged file.
    """
    source = Source(path)
    with tifffile.TiffFile(path) as tiff:
        _check_chain(tiff)
        series = tiff.series[0]
        metadata = read_metadata(tiff, series.axes, series.shape)
        if series.dataoffset is not None:
            dtype = np.dtype(series.dtype).newbyteorder(tiff.byteorder)
            whole = RawFileArray(source, series.dataoffset, series.shape, dtype)
            return whole, series.axes, metadata
        pages: Sequence[TiffPage | None] = series.pages
        if None in pages:
            raise ValueError("pages are missing")
        found = [page for page in pages if page is not None]
        _check_whole(found)
        first = keyframe(found[0])
        stack, page_shape = np.split(series.shape, [series.ndim - first.ndim])
        fits = tuple(page_shape) == first.shape and stack.prod() == len(found)
        if first.imagedepth > 1 or not fits:
            return np.asarray(series.asarray()), series.axes, metadata
        return PagedPixels(path, series.shape, found), series.axes, metadata


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


def _check_chain(tiff: tifffile.TiffFile) -> None:
    """Raise ValueError unless page leads to page until the last; tifffile may follow for ever."""
    file, layout = tiff.filehandle, tiff.tiff
    offset, seen = tiff.pages.first.offset, set()
    while offset:  # 0 ends the chain
        if offset in seen or offset >= file.size:
            raise ValueError("pages are missing")
        seen.add(offset)
        file.seek(offset)
        (tags,) = struct.unpack(layout.tagnoformat, file.read(layout.tagnosize))
        file.seek(offset + layout.tagnosize + tags * layout.tagsize)
        (offset,) = struct.unpack(layout.offsetformat, file.read(layout.offsetsize))


def _check_whole(pages: Sequence[TiffPage]) -> None:
    """Raise ValueError if pixels of a page are missing."""
    for page in pages:
        ends = [sum(segment) for segment in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if not ends or max(ends) > page.parent.filehandle.size:
            raise ValueError("the file ends before its pixels do")
