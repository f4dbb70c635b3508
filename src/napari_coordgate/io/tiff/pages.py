"""Pages of TIFF files, of which the tiles or strips that a window needs are decoded alone."""

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_coordgate.io.lazy import Part, PlaneStackArray, RawFileArray, Source, as_index, span

__all__ = ["PagedPixels", "TiffPage", "keyframe"]

TiffPage = tifffile.TiffPage | tifffile.TiffFrame

_KEPT_BYTES = 2**27
"""Decoded tiles and strips that are kept: strips span the plane, and neighbors need them too."""
_SEGMENT_BYTES = 2**32
"""A tile or strip that claims more is no honest one."""


def keyframe(page: TiffPage) -> tifffile.TiffPage:
    """Page that tells how another one is stored, or itself.

    Parameters
    ----------
    page : TiffPage
        The page.

    Returns
    -------
    TiffPage
        A whole page.

    Raises
    ------
    ValueError
        If there is none.
    """
    if page.keyframe is None:
        raise ValueError("pages are missing")
    return page.keyframe


class PagedPixels(PlaneStackArray):
    """Pages of a TIFF file as one array.

    Parameters
    ----------
    path : Path
        The file.
    shape : tuple of int
        Shape of the array; its last axes are those of a page.
    pages : sequence of TiffPage
        All pages, of a file that is still open and need not stay so.

    Raises
    ------
    ValueError
        If a tile or strip claims a size that is none.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], pages: Sequence[TiffPage]) -> None:
        key = keyframe(pages[0])
        super().__init__(path, shape, np.dtype(key.dtype), range(len(shape) - key.ndim))
        self._page_shape = key.shape
        self._segments = _Segments(pages, self.dtype)
        self._stored = self.dtype.newbyteorder(key.parent.byteorder) if key.is_final else None
        nbytes = math.prod(self._segments.shape) * self.dtype.itemsize
        if self._stored is None and nbytes > _SEGMENT_BYTES:
            raise ValueError(f"its tiles or strips claim {nbytes / 1e9:.0f} GB each")
        self._segment = lru_cache(max(1, _KEPT_BYTES // max(1, nbytes)))(self._segments.load)

    def _piece(self, parts: tuple[Part, ...]) -> NDArray[Any]:
        """Load a part of one page."""
        lead = len(self.shape) - len(self._page_shape)
        number = 0
        for length, place in zip(self.shape, parts[:lead], strict=False):
            number = number * length + span(place)[0]
        if self._stored is None:
            return self._gathered(number, parts[lead:])
        source, offset = self._segments.place(number)
        page = RawFileArray(source, offset, self._page_shape, self._stored)
        return page[tuple(map(as_index, parts[lead:]))]

    def _gathered(self, number: int, parts: tuple[Part, ...]) -> NDArray[Any]:
        """Put a part of a page together from the tiles or strips that it lies in."""
        spans, sides = [span(part) for part in parts], self._segments.shape
        whole = np.empty([end - first for first, end in spans], self.dtype)
        touched = [
            range(first // side, (end - 1) // side + 1)
            for (first, end), side in zip(spans, sides, strict=True)
        ]
        for place in itertools.product(*touched):
            segment = self._segment(number, place)
            there, here = [], []
            for (first, end), index, side in zip(spans, place, sides, strict=True):
                begin, stop = max(first, index * side), min(end, (index + 1) * side)
                there.append(slice(begin - first, stop - first))
                here.append(slice(begin - index * side, stop - index * side))
            whole[tuple(there)] = segment[tuple(here)]
        within = (0 if isinstance(p, int) else slice(None, None, p.step) for p in parts)
        return whole[tuple(within)]


class _Segments:
    """Tiles or strips of pages that are stored alike, each decoded alone."""

    def __init__(self, pages: Sequence[TiffPage], dtype: np.dtype[Any]) -> None:
        key = keyframe(pages[0])
        self._dtype = dtype
        self._grid = key.chunked
        self.shape = (*(1,) * (len(key.chunked) - len(key.chunks)), *key.chunks)
        # An image may lie in several files.
        files = {page.parent for page in pages}
        sources = {file: Source(Path(file.filehandle.path)) for file in files}
        self._sources = [sources[page.parent] for page in pages]
        self._offsets = [page.dataoffsets for page in pages]
        self._sizes = [page.databytecounts for page in pages]
        is_jpeg = key.jpegtables is not None or key.jpegheader is not None
        self._tables = [page.jpegtables for page in pages] if is_jpeg else None
        self._header = key.jpegheader
        self._decode = key.decode
        self._fill = key.nodata

    def place(self, number: int) -> tuple[Source, int]:
        """File of a page, and where its pixels begin."""
        return self._sources[number], self._offsets[number][0]

    def load(self, number: int, place: tuple[int, ...]) -> NDArray[Any]:
        """Decode a tile or strip of a page, which may reach beyond that or end with it."""
        segment = int(np.ravel_multi_index(place, self._grid))
        size, decoded = self._sizes[number][segment], None
        if size:
            data = self._sources[number].read([self._offsets[number][segment]], size)
            tables = {}
            if self._tables is not None:
                tables = {"jpegtables": self._tables[number], "jpegheader": self._header}
            decoded = self._decode(data.tobytes(), segment, **tables)[0]
        if decoded is None:  # left out by the writer
            return np.full(self.shape, self._fill, self._dtype)
        # tifffile's axes are depth, y, x and samples; ours are those of a page.
        pixels = decoded[0] if decoded.shape[-1] > 1 else decoded[0, ..., 0]
        return np.asarray(pixels[None] if pixels.ndim < len(self.shape) else pixels)
