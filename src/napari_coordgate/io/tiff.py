"""TIFF files of microscopes: OME-TIFF, ImageJ's and plain ones."""

import contextlib
import itertools
import math
import re
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_coordgate.io.lazy import (
    AxisIndex,
    FileSnapshot,
    InvertedArray,
    LazyArray,
    PartArray,
    RawFileArray,
    as_index,
    mute_logger,
)
from napari_coordgate.io.ome_series import numbered_series
from napari_coordgate.io.scenes import Content, Scene, missing_scene, read_now
from napari_coordgate.io.tiff_claims import check_claims, ome_xml_in, open_tiff
from napari_coordgate.io.tiff_metadata import position_labels, read_tiff_metadata
from napari_coordgate.io.tiff_pages import Page, PagesArray, SegmentReader, is_whole, keyframe_of
from napari_coordgate.opening import check_claim, read_file

PSF_FIELD_KEY = "napari-coordgate psf field"
"""Key of a PSF field in the description of the first page."""
GATING_MAP_PREFIX = "gate "
"""Start of the image name of a gating map."""

_POSITION_AXES = "RJK"
"""Axes of tifffile that are positions of the stage: position, column and row."""


def tiff_scenes(path: Path) -> list[Scene]:
    """Images of a file, and of the other files of its set: series, and positions of stacks.

    Pixels are loaded lazily, but volumes in tiles, which are rare, as a whole. Any exception means
    a damaged file; reading an image raises ValueError if all its pages or pixels are missing. Of a
    stack whose acquisition was stopped, the planes that are there can be loaded.
    """
    mute_logger("tifffile")
    with _open_set(path) as tiff:
        check_claims(tiff)
        found: list[Scene] = []
        for number, name, series in numbered_series(tiff, ome_xml_in(tiff)):
            if series is None:
                found.append(missing_scene(name, path))
            else:
                found += _scenes_of_series(path, tiff, series, number, name)
        return found


@contextlib.contextmanager
def _open_set(path: Path) -> Iterator[tifffile.TiffFile]:
    """Open a file; or that with the OME-XML, if the file refers to another one of its set."""
    with open_tiff(path) as tiff:
        named = re.search(r'<(?:\w+:)?BinaryOnly\b[^<>]*\bMetadataFile="([^"]+)"', ome_xml_in(tiff))
        other = None if named is None else path.with_name(Path(named[1]).name)
        if tiff.is_mmstack or other is None or not other.is_file():
            yield tiff
            return
    if other.suffix.lower() in (".tif", ".tiff"):
        with open_tiff(other) as tiff:
            yield tiff
        return
    text = read_file(other).decode(errors="replace")
    with open_tiff(path, omexml=text) as tiff:
        yield tiff


def _scenes_of_series(
    path: Path, tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, number: int, name: str
) -> Iterator[Scene]:
    """The image of a series, or one for each position."""
    axes = [axis for axis, letter in enumerate(series.axes) if letter in _POSITION_AXES]
    labels = position_labels(tiff, math.prod(series.shape[axis] for axis in axes))
    for index in np.ndindex(*(series.shape[axis] for axis in axes)):
        fixed = dict(zip(axes, index, strict=True))
        position = labels[index[0]] if labels and axes else "-".join(map(str, index))
        title = " ".join(filter(None, [name if len(tiff.series) > 1 or not axes else "", position]))
        page = _first_page(series, fixed)
        if page is None and axes:
            yield missing_scene(title, path)
            continue
        home = path if page is None else Path(page.parent.filehandle.path)
        image = index[0] if series.kind == "mmstack" and index else number
        yield Scene(title, read_now(partial(_read_series, path, tiff, series, fixed, image)), home)


def _first_page(series: tifffile.TiffPageSeries, fixed: Mapping[int, int]) -> Page | None:
    """First page that is whole of those at fixed elements of some axes; None if all are missing."""
    pages = _pages_at(series, fixed) if series.dataoffset is None else [series.keyframe]
    return next((page for page in pages or [] if page is not None and is_whole(page)), None)


def _pages_at(
    series: tifffile.TiffPageSeries, fixed: Mapping[int, int]
) -> list[Page | None] | None:
    """Pages at fixed elements of some axes; None if pages are not the planes of a stack."""
    pages = list(series.pages)
    stack = series.shape[: series.ndim - series.keyframe.ndim]
    if math.prod(stack) != len(pages) or any(axis >= len(stack) for axis in fixed):
        return None
    grid = np.empty(len(pages), object)
    grid[:] = pages
    index = tuple(fixed.get(axis, slice(None)) for axis in range(len(stack)))
    return list(np.atleast_1d(grid.reshape(stack)[index]).ravel())


def _read_series(
    path: Path,
    tiff: tifffile.TiffFile,
    series: tifffile.TiffPageSeries,
    fixed: Mapping[int, int],
    number: int,
) -> Content:
    """Read a series at fixed elements of some axes: pixels, tifffile's axes, and metadata."""
    axes = "".join(letter for axis, letter in enumerate(series.axes) if axis not in fixed)
    page = _first_page(series, fixed) or series.keyframe
    pixels = _series_pixels(path, series, fixed)
    key = series.keyframe
    if key.photometric == tifffile.PHOTOMETRIC.MINISWHITE and not tiff.is_imagej:
        pixels = _black_is_zero(pixels, key, path)
    return pixels, axes, read_tiff_metadata(tiff, series, number, page, axes, pixels.shape)


def _series_pixels(
    path: Path, series: tifffile.TiffPageSeries, fixed: Mapping[int, int]
) -> LazyArray | NDArray[Any]:
    """Pixels of a series at fixed elements of some axes."""
    if series.dataoffset is not None:
        own = series.keyframe.parent  # perhaps another file of the set
        file = FileSnapshot(Path(own.filehandle.path))
        dtype = np.dtype(series.dtype).newbyteorder(own.byteorder)
        contiguous = RawFileArray(file, series.dataoffset, series.shape, dtype)
        return PartArray(contiguous, fixed, path) if fixed else contiguous
    pages = _pages_at(series, fixed)
    whole = [page if page is not None and is_whole(page) else None for page in pages or []]
    present = [page for page in whole if page is not None]
    if pages is not None and not present:
        raise ValueError("the file ends before the end of its pixels")
    key = keyframe_of(present[0] if present else series.keyframe)
    shape = tuple(n for axis, n in enumerate(series.shape) if axis not in fixed)
    is_stack = bool(present) and shape[len(shape) - key.ndim :] == key.shape
    if len(present) < len(whole) and not (is_stack and key.imagedepth == 1):
        raise ValueError("pages are missing")
    if key.imagedepth > 1 or not is_stack:
        volume = _VolumeArray(path, series)
        return PartArray(volume, fixed, path) if fixed else volume
    return PagesArray(path, shape, whole)


class _VolumeArray(LazyArray):
    """Volume in tiles, or pages that are not planes: loaded as a whole at the first access."""

    _lock = threading.Lock()
    """Of all volumes, because those of one file share its handle."""

    def __init__(self, path: Path, series: tifffile.TiffPageSeries) -> None:
        super().__init__(path, series.shape, np.dtype(series.dtype))
        self._series = series
        self._file = FileSnapshot(Path(series.keyframe.parent.filehandle.path))
        self._pixels: NDArray[Any] | None = None
        check_claim(math.prod(self.shape) * self.dtype.itemsize, "its pixels claim")

    def _load(self, indices: tuple[AxisIndex, ...]) -> NDArray[Any]:
        with self._lock:
            if self._pixels is None:
                self._check_segments()
                handle = self._series.keyframe.parent.filehandle
                with self._file.open(), contextlib.closing(handle):
                    handle.open()
                    self._pixels = np.asarray(self._series.asarray())
        return self._pixels[tuple(map(as_index, indices))].copy()

    def _check_segments(self) -> None:
        """Raise ValueError if a tile or strip is a JPEG image of far more pixels."""
        pages = [page for page in self._series.pages if page is not None]
        segments = SegmentReader(pages, self.dtype)
        count = segments.count if segments.is_jpeg else 0
        for page, segment in itertools.product(range(len(pages)), range(count)):
            segments.read(page, segment)


def _black_is_zero(
    pixels: LazyArray | NDArray[Any], page: tifffile.TiffPage, path: Path
) -> LazyArray | NDArray[Any]:
    """Inverted whole numbers, of which 0 was stored as white.

    ImageJ says so of images that it merely displays inverted, and tifffile of bool pixels.
    """
    if pixels.dtype.kind not in "ui":
        return pixels
    white = -1 if pixels.dtype.kind == "i" else 2 ** int(np.max(page.bitspersample)) - 1
    return InvertedArray(pixels, white, path)


def coordgate_tiff_kind(path: Path) -> Literal["PSF field", "gating maps"] | None:
    """Kind of a TIFF file that this package wrote and that is not an image, else None."""
    mute_logger("tifffile")
    try:
        with open_tiff(path) as tiff:
            description = tiff.pages.first.description
    except Exception:  # a damaged or foreign file can fail anywhere
        return None
    if PSF_FIELD_KEY in description:
        return "PSF field"
    is_gate = re.search(rf'Name="{GATING_MAP_PREFIX}(down|up) \d+, \d+ channels"', description)
    return "gating maps" if is_gate else None
