"""TIFF files of microscopes: OME-TIFF, ImageJ's and plain ones."""

import contextlib
import itertools
import math
import mmap
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_coordgate.config import Compression
from napari_coordgate.errors import ImageError, OutputError
from napari_coordgate.io.expansion import check_expansion
from napari_coordgate.io.files import scratch_array
from napari_coordgate.io.imagej_display import display_of, display_options
from napari_coordgate.io.lazy import (
    AxisIndex,
    FileSnapshot,
    InvertedArray,
    LazyArray,
    PartArray,
    PlaneStackArray,
    RawFileArray,
    as_index,
    bounds,
    mute_logger,
    relative_index,
)
from napari_coordgate.io.metadata import ImageMetadata, Original, PixelSize, micrometers, seconds
from napari_coordgate.io.ome_series import numbered_series
from napari_coordgate.io.ome_xml import read_ome_xml
from napari_coordgate.io.ome_xml_writing import OME_TYPES, ome_xml_of, tiff_data
from napari_coordgate.io.optical_metadata import optics_of_values
from napari_coordgate.io.optics_in_files import (
    imagej_optics,
    info_with_ours,
    info_without_ours,
    micromanager_optics,
    ours_in_info,
)
from napari_coordgate.io.pyramid import downsample, level_shapes
from napari_coordgate.io.scenes import Content, Scene, missing_scene, read_now
from napari_coordgate.io.tiff_claims import check_claims, ome_xml_in, open_tiff
from napari_coordgate.opening import check_claim, read_file

PSF_FIELD_KEY = "napari-coordgate psf field"
"""Key of a PSF field in the description of the first page."""
GATING_MAP_PREFIX = "gate "
"""Start of the image name of a gating map."""

TiffFlavor = Literal["ome", "imagej", "plain"]
_Page = tifffile.TiffPage | tifffile.TiffFrame

_IMAGEJ_TYPES = ("uint8", "uint16", "float32")
_MAX_CLASSIC_BYTES = 2**32 - 2**25
_JPEG_CODECS = (6, 7, 33007, 34892)
_CACHE_BYTES = 2**27
"""Cache of decoded segments: strips are as wide as the plane, so that windows share them."""

_TILE = (512, 512)
"""Tiles of compressed planes."""
_BAND = (1024, 1024)
"""Part of a level that is computed at a time."""
_MICROMANAGER_TAG = 51123
_POSITION_AXES = "RJK"
"""Axes of tifffile that are positions of the stage: position, column and row."""
_CENTIMETER = 3
_UNITS_UM = {_CENTIMETER: 1e4, 4: 1e3, 5: 1.0}
"""Resolution units in um. Inches are left out: dots per inch are the size of a print."""


# Reading


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
    labels = _position_labels(tiff, math.prod(series.shape[axis] for axis in axes))
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


def _first_page(series: tifffile.TiffPageSeries, fixed: Mapping[int, int]) -> _Page | None:
    """First page that is whole of those at fixed elements of some axes; None if all are missing."""
    pages = _pages_at(series, fixed) if series.dataoffset is None else [series.keyframe]
    return next((page for page in pages or [] if page is not None and _is_whole(page)), None)


def _pages_at(
    series: tifffile.TiffPageSeries, fixed: Mapping[int, int]
) -> list[_Page | None] | None:
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
    return pixels, axes, _read_metadata(tiff, series, number, page, axes, pixels.shape)


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
    whole = [page if page is not None and _is_whole(page) else None for page in pages or []]
    present = [page for page in whole if page is not None]
    if pages is not None and not present:
        raise ValueError("the file ends before the end of its pixels")
    key = _keyframe(present[0] if present else series.keyframe)
    shape = tuple(n for axis, n in enumerate(series.shape) if axis not in fixed)
    is_stack = bool(present) and shape[len(shape) - key.ndim :] == key.shape
    if len(present) < len(whole) and not (is_stack and key.imagedepth == 1):
        raise ValueError("pages are missing")
    if key.imagedepth > 1 or not is_stack:
        volume = _VolumeArray(path, series)
        return PartArray(volume, fixed, path) if fixed else volume
    return _PagesArray(path, shape, whole)


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
        segments = _SegmentReader(pages, self.dtype)
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


def _is_whole(page: _Page) -> bool:
    """Whether the pixels of a page are within the file."""
    if page.offset == 0:  # planned by Micro-Manager, and never recorded
        return False
    ends = [sum(segment) for segment in zip(page.dataoffsets, page.databytecounts, strict=True)]
    return bool(ends) and max(ends) <= page.parent.filehandle.size


def _keyframe(page: _Page) -> tifffile.TiffPage:
    """Page that describes how a page is stored."""
    if page.keyframe is None:
        raise ValueError("pages are missing")
    return page.keyframe


class _PagesArray(PlaneStackArray):
    """Pages of a TIFF file as one array; only the tiles or strips of a window are decoded.

    tifffile's ``aszarr`` store decodes one chunk at a time without a cache: 36 windows of 288 x
    288 pixels from a plane of 4096 x 4096 took it 1.4 s for deflated strips of 16 rows and 8.2 s
    for LZW strips of one row, this class 0.17 s and 0.71 s (deflated tiles: 0.11 s and 0.07 s). It
    also keeps the file open, and reports a file that was truncated as a decoder's error.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], pages: Sequence[_Page | None]) -> None:
        present = [page for page in pages if page is not None]
        key = _keyframe(present[0])
        super().__init__(path, shape, np.dtype(key.dtype), range(len(shape) - key.ndim))
        self._page_shape = key.shape
        numbers = itertools.count()
        self._present = [None if page is None else next(numbers) for page in pages]
        self._segments = _SegmentReader(present, self.dtype)
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


class _SegmentReader:
    """Decodes single segments (tiles or strips) of pages that are stored alike."""

    def __init__(self, pages: Sequence[_Page], dtype: np.dtype[Any]) -> None:
        key = _keyframe(pages[0])
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


# Metadata


def _read_metadata(
    tiff: tifffile.TiffFile,
    series: tifffile.TiffPageSeries,
    number: int,
    page: _Page,
    axes: str,
    shape: tuple[int, ...],
) -> ImageMetadata:
    """Physical sizes, channel names and optics of an image; ``page`` is its first one."""
    metadata = _sizes_and_names(tiff, series, number, axes, shape)
    if _MICROMANAGER_TAG not in series.keyframe.tags or not page.offset:
        return metadata
    if summary := _micromanager_summary(tiff):
        metadata = metadata.completed_by(_micromanager_sizes(summary))
    with open_tiff(page.parent.filehandle.path) as own:  # it may be another file
        own.filehandle.seek(page.offset)
        stated = tifffile.TiffPage(own, page.index).tags.valueof(_MICROMANAGER_TAG)
    if isinstance(stated, dict):
        optics = metadata.optics.completed_by(micromanager_optics(stated))
        metadata = metadata._replace(optics=optics)
    return metadata


def _micromanager_summary(tiff: tifffile.TiffFile) -> dict[str, Any]:
    """What Micro-Manager states of an acquisition; empty for files of other programs."""
    stated = tiff.micromanager_metadata if tiff.is_mmstack or tiff.is_ndtiff else None
    summary: dict[str, Any] = (stated or {}).get("Summary", {})
    return summary


def _micromanager_sizes(summary: dict[str, Any]) -> ImageMetadata:
    """Physical sizes and channel names in the summary of Micro-Manager."""
    size = micrometers(summary.get("PixelSize_um"), "um")
    return ImageMetadata.sanitized(
        (size, size),
        micrometers(summary.get("z-step_um"), "um"),
        seconds(summary.get("Interval_ms"), "ms"),
        _strings(summary.get("ChNames")),
    )


def _sizes_and_names(
    tiff: tifffile.TiffFile,
    series: tifffile.TiffPageSeries,
    number: int,
    axes: str,
    shape: tuple[int, ...],
) -> ImageMetadata:
    """Metadata without those of Micro-Manager."""
    if xml := ome_xml_in(tiff):
        return read_ome_xml(xml, number)
    if tiff.imagej_metadata is not None:
        num_channels = shape[axes.index("C")] if "C" in axes else 0
        return _imagej_metadata(tiff, tiff.imagej_metadata, num_channels)
    stated = tiff.shaped_metadata or ()
    ours = stated[number] if number < len(stated) else {}
    page = series.keyframe
    return ImageMetadata.sanitized(
        _resolution_um(page, _UNITS_UM.get(int(page.resolutionunit))),
        micrometers(ours.get("z_step_um"), "um"),
        seconds(ours.get("time_step_s"), "s"),
        _strings(ours.get("channels")),
        **_read_ours(ours),
    )


def _ours(metadata: ImageMetadata) -> dict[str, Any]:
    """Plain values of what neither ImageJ nor tifffile have a place for."""
    values = {
        "optics": metadata.optics.values(),
        "colors": metadata.channel_colors,
        "processing": metadata.processing,
    }
    return {name: value for name, value in values.items() if value}


def _read_ours(values: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments for metadata of the values that `_ours` wrote."""
    optics, processing = values.get("optics"), values.get("processing")
    return {
        "optics": optics_of_values(optics if isinstance(optics, dict) else {}, "TIFF description"),
        "channel_colors": _strings(values.get("colors")),
        "processing": processing if isinstance(processing, dict) else None,
    }


def _position_labels(tiff: tifffile.TiffFile, count: int) -> list[str]:
    """Names that Micro-Manager gave so many positions; none if it gave fewer."""
    summary = _micromanager_summary(tiff)
    positions = summary.get("StagePositions") or summary.get("InitialPositionList") or []
    names = [str(position.get("Label", "")) for position in positions]
    index = (tiff.micromanager_metadata or {}).get("IndexMap")
    if count < len(names) and index is not None:
        # tifffile leaves out the positions before the first one of this file.
        names = names[int(index[:, 3].min()) :][:count]
    return names if len(names) == count else []


def _imagej_metadata(
    tiff: tifffile.TiffFile, stated: dict[str, Any], num_channels: int
) -> ImageMetadata:
    unit = stated.get("unit")
    labels = _strings(stated.get("Labels"))
    names = labels[:num_channels]
    # ImageJ labels planes: these are channel names if all planes of a channel have the same one.
    if any(label != names[n % num_channels] for n, label in enumerate(labels) if num_channels):
        names = ()
    info = str(stated.get("Info", ""))
    ours = _read_ours(ours_in_info(info))
    metadata = ImageMetadata.sanitized(
        _resolution_um(tiff.pages.first, micrometers(1, unit)),
        micrometers(stated.get("spacing"), unit),
        seconds(stated.get("finterval"), stated.get("tunit", "s")),
        names,
        imagej_optics(info).completed_by(ours.pop("optics")),
        **{**ours, "channel_colors": _colors_of_luts(stated.get("LUTs"))},
    )
    original = Original(info=info_without_ours(info), imagej=display_of(stated))
    return metadata._replace(original=original)


def _colors_of_luts(tables: object) -> list[str]:
    """Color of the brightest pixel in each lookup table (3, 256)."""
    if not isinstance(tables, list):  # tifffile returns one as such
        tables = [] if tables is None else [tables]
    return [bytes(np.asarray(table, np.uint8)[:3, -1]).hex().upper() for table in tables]


def _resolution_um(
    page: tifffile.TiffPage, unit_um: float | None
) -> tuple[float | None, float | None]:
    """(y, x) size of a pixel, from the tags that state pixels per unit."""
    if unit_um is None or "XResolution" not in page.tags or 0 in page.resolution:
        return None, None
    per_x, per_y = page.resolution
    return unit_um / per_y, unit_um / per_x


def _strings(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list | tuple) else ()


def pixel_size_options(flavor: TiffFlavor, pixel_size_um: PixelSize | None) -> dict[str, Any]:
    """Options of tifffile's writer, ``metadata`` among them, that store the (y, x) pixel size."""
    if pixel_size_um is None:
        return {"metadata": {}}
    y, x = pixel_size_um
    if flavor == "ome":
        sizes = {"PhysicalSizeY": y, "PhysicalSizeX": x}
        units = {"PhysicalSizeYUnit": "µm", "PhysicalSizeXUnit": "µm"}
        return {"metadata": {**sizes, **units}}
    if flavor == "imagej":
        return {"resolution": (1 / x, 1 / y), "metadata": {"unit": "um"}}
    per_centimeter = (_UNITS_UM[_CENTIMETER] / x, _UNITS_UM[_CENTIMETER] / y)
    return {"resolution": per_centimeter, "resolutionunit": _CENTIMETER, "metadata": {}}


def _metadata_options(
    flavor: Literal["imagej", "plain"], metadata: ImageMetadata, axes: str, shape: tuple[int, ...]
) -> dict[str, Any]:
    """Options of tifffile's writer that store axes, sizes and channel names, but those of OME."""
    options = pixel_size_options(flavor, metadata.pixel_size_um)
    z_step, time_step, names = metadata.z_step_um, metadata.time_step_s, metadata.channel_names
    stored: dict[str, Any]
    match flavor:
        case "imagej":
            lengths = dict.fromkeys("TZC", 1) | dict(zip(axes, shape, strict=True))
            planes = lengths["T"] * lengths["Z"]
            info = info_with_ours(metadata.original.info, _ours(metadata))
            stored = {"spacing": z_step, "finterval": time_step, "Info": info}
            if metadata.channel_colors:
                stored |= {"LUTs": [_lut(color) for color in metadata.channel_colors]}
                stored |= {"mode": "composite"} if "C" in axes else {}
            stored |= display_options(metadata.original.imagej or {}, lengths)
            if names:  # channels vary fastest
                stored["Labels"] = list(names) * planes
            if z_step is not None:
                stored["unit"] = "um"
                # tifffile would write 1 pixel per unit; ImageJ and `_resolution_um` ignore 0.
                options.setdefault("resolution", (0, 0))
        case "plain":
            stored = {
                "z_step_um": z_step,
                "time_step_s": time_step,
                "channels": list(names) or None,
                **_ours(metadata),
            }
    known = {key: value for key, value in stored.items() if value is not None}
    options["metadata"] |= {"axes": axes, **known}
    return options


def _lut(color: str) -> NDArray[np.uint8]:
    """Lookup table (3, 256) from black to a color, white where it is unknown."""
    brightest = np.frombuffer(bytes.fromhex(color or "FFFFFF"), np.uint8)
    return np.linspace(0, brightest, 256).round().astype(np.uint8).T


# Writing


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
        options = _metadata_options(flavor, metadata, stored, lengths)
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
