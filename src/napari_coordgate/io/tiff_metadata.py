"""Metadata of TIFF files: those of OME, ImageJ, Micro-Manager and ours."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_coordgate.io.imagej_display import display_of, display_options
from napari_coordgate.io.metadata import ImageMetadata, Original, PixelSize, micrometers, seconds
from napari_coordgate.io.ome_xml import read_ome_xml
from napari_coordgate.io.optical_metadata import optics_of_values
from napari_coordgate.io.optics_in_files import (
    imagej_optics,
    info_with_ours,
    info_without_ours,
    micromanager_optics,
    ours_in_info,
)
from napari_coordgate.io.tiff_claims import ome_xml_in, open_tiff
from napari_coordgate.io.tiff_pages import Page

TiffFlavor = Literal["ome", "imagej", "plain"]

_MICROMANAGER_TAG = 51123
_CENTIMETER = 3
_UNITS_UM = {_CENTIMETER: 1e4, 4: 1e3, 5: 1.0}
"""Resolution units in um. Inches are left out: dots per inch are the size of a print."""


def read_tiff_metadata(
    tiff: tifffile.TiffFile,
    series: tifffile.TiffPageSeries,
    number: int,
    page: Page,
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


def position_labels(tiff: tifffile.TiffFile, count: int) -> list[str]:
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


def metadata_options(
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
