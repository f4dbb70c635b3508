"""Pages of a TIFF file as one array, of which windows are decoded."""

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_coordgate.errors import ImageError
from napari_coordgate.io.expansion import check_expansion
from napari_coordgate.io.lazy import (
    AxisIndex,
    FileSnapshot,
    PlaneStackArray,
    RawFileArray,
    as_index,
    bounds,
    relative_index,
)
from napari_coordgate.opening import check_claim

Page = tifffile.TiffPage | tifffile.TiffFrame

_JPEG_CODECS = (6, 7, 33007, 34892)
_CACHE_BYTES = 2**27
"""Cache of decoded segments: strips are as wide as the plane, so that windows share them."""


def is_whole(page: Page) -> bool:
    """Whether the pixels of a page are within the file."""
    if page.offset == 0:  # planned by Micro-Manager, and never recorded
        return False
    ends = [sum(segment) for segment in zip(page.dataoffsets, page.databytecounts, strict=True)]
    return bool(ends) and max(ends) <= page.parent.filehandle.size


def keyframe_of(page: Page) -> tifffile.TiffPage:
    """Page that describes how a page is stored."""
    if page.keyframe is None:
        raise ValueError("pages are missing")
    return page.keyframe


class PagesArray(PlaneStackArray):
    """Pages of a TIFF file as one array; only the tiles or strips of a window are decoded.

    tifffile's ``aszarr`` store decodes one chunk at a time without a cache: 36 windows of 288 x
    288 pixels from a plane of 4096 x 4096 took it 1.4 s for deflated strips of 16 rows and 8.2 s
    for LZW strips of one row, this class 0.17 s and 0.71 s (deflated tiles: 0.11 s and 0.07 s). It
    also keeps the file open, and reports a file that was truncated as a decoder's error.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], pages: Sequence[Page | None]) -> None:
        present = [page for page in pages if page is not None]
        key = keyframe_of(present[0])
        super().__init__(path, shape, np.dtype(key.dtype), range(len(shape) - key.ndim))
        self._page_shape = key.shape
        numbers = itertools.count()
        self._present = [None if page is None else next(numbers) for page in pages]
        self._segments = SegmentReader(present, self.dtype)
        # Uncompressed pages in one piece are read without a decoder.
        self._raw_dtype = self.dtype.newbyteorder(key.parent.byteorder) if key.is_final else None
        nbytes = math.prod(self._segments.shape) * self.dtype.itemsize
        if self._raw_dtype is None:
            check_claim(nbytes, "its tiles or strips claim")
        self._decoded = lru_cache(max(1, _CACHE_BYTES // max(1, nbytes)))(self._segments.decode)

    @property
    def missing_planes(self) -> int:
        """Number of planes that were planned and never recorded."""
        return self._present.count(None)

    def _load_plane(self, indices: tuple[AxisIndex, ...]) -> NDArray[Any]:
        stack_ndim = len(self.shape) - len(self._page_shape)
        page = 0
        for length, item in zip(self.shape, indices[:stack_ndim], strict=False):
            page = page * length + bounds(item)[0]
        page = self._existing(page)
        if self._raw_dtype is None:
            return self._decode_window(page, indices[stack_ndim:])
        file, offset = self._segments.location(page)
        pixels = RawFileArray(file, offset, self._page_shape, self._raw_dtype)
        return pixels[tuple(map(as_index, indices[stack_ndim:]))]

    def _existing(self, page: int) -> int:
        """Number of a page among those that are there; ImageError if it is not."""
        number = self._present[page]
        if number is None:
            stack = self.shape[: len(self.shape) - len(self._page_shape)]
            index = ", ".join(str(n) for n in np.unravel_index(page, stack))
            total = len(self._present)
            raise ImageError(
                f"{self.path}: plane {index} is missing, {total - self._present.count(None)} of "
                f"{total} are there; the acquisition was stopped, or the file was cut off. Select "
                "planes that are there (times, channels or planes)."
            )
        return number

    def _decode_window(self, page: int, indices: tuple[AxisIndex, ...]) -> NDArray[Any]:
        """Assemble a window of a page from the segments that it overlaps."""
        limits, sides = [bounds(item) for item in indices], self._segments.shape
        window = np.empty([end - first for first, end in limits], self.dtype)
        overlapped = [
            range(first // side, (end - 1) // side + 1)
            for (first, end), side in zip(limits, sides, strict=True)
        ]
        for position in itertools.product(*overlapped):
            segment = self._decoded(page, position)
            target, source = [], []
            for (first, end), index, side in zip(limits, position, sides, strict=True):
                begin, stop = max(first, index * side), min(end, (index + 1) * side)
                target.append(slice(begin - first, stop - first))
                source.append(slice(begin - index * side, stop - index * side))
            window[tuple(target)] = segment[tuple(source)]
        return window[tuple(map(relative_index, indices))]


class SegmentReader:
    """Decodes single segments (tiles or strips) of pages that are stored alike."""

    def __init__(self, pages: Sequence[Page], dtype: np.dtype[Any]) -> None:
        key = keyframe_of(pages[0])
        self._dtype = dtype
        self._grid = key.chunked
        self.shape = (*(1,) * (len(key.chunked) - len(key.chunks)), *key.chunks)
        # The pages of an OME-TIFF can be in several files.
        parents = {page.parent for page in pages}
        files = {parent: FileSnapshot(Path(parent.filehandle.path)) for parent in parents}
        self._files = [files[page.parent] for page in pages]
        self._offsets = [page.dataoffsets for page in pages]
        self._sizes = [page.databytecounts for page in pages]
        has_tables = key.jpegtables is not None or key.jpegheader is not None
        self._jpeg_tables = [page.jpegtables for page in pages] if has_tables else None
        self._jpeg_header = key.jpegheader
        self.is_jpeg = key.compression in _JPEG_CODECS
        self._decode = key.decode
        self._fill_value = key.nodata

    def location(self, page: int) -> tuple[FileSnapshot, int]:
        """File of a page, and the offset of its pixels."""
        return self._files[page], self._offsets[page][0]

    @property
    def count(self) -> int:
        """Number of segments of a page."""
        return math.prod(self._grid)

    def read(self, page: int, segment: int) -> bytes:
        """Read the data of a segment; ValueError if it is a JPEG image of far more pixels.

        Data of other codecs are decoded into the bytes that they claim, or not at all.
        """
        if not (size := self._sizes[page][segment]):
            return b""
        data = self._files[page].read([self._offsets[page][segment]], size).tobytes()
        if self.is_jpeg:
            check_expansion("jpeg", data, math.prod(self.shape) * self._dtype.itemsize)
        return data

    def decode(self, page: int, position: tuple[int, ...]) -> NDArray[Any]:
        """Decode the segment at a position of the grid; it may extend beyond the page."""
        segment = int(np.ravel_multi_index(position, self._grid))
        data, decoded = self.read(page, segment), None
        if data:
            tables = {}
            if self._jpeg_tables is not None:
                tables = {"jpegtables": self._jpeg_tables[page], "jpegheader": self._jpeg_header}
            decoded = self._decode(data, segment, **tables)[0]
        if decoded is None:  # a sparse file
            return np.full(self.shape, self._fill_value, self._dtype)
        # From tifffile's axes (depth, y, x, samples) to those of a page.
        pixels = decoded[0] if decoded.shape[-1] > 1 else decoded[0, ..., 0]
        return np.asarray(pixels[None] if pixels.ndim < len(self.shape) else pixels)
