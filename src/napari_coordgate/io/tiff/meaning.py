"""Sizes and names of an image in TIFF's three dialects, read and written."""

from collections.abc import Iterator
from typing import Any, Literal

import tifffile

from napari_coordgate.io.metadata import Metadata, PixelSize, micrometers, seconds

__all__ = ["Flavour", "metadata_options", "pixel_size_options", "read_metadata"]

Flavour = Literal["ome", "imagej", "plain"]

# Dots per inch are those of a print, and say nothing of the object.
_CENTIMETER = 3
_UNITS_UM = {_CENTIMETER: 1e4, 4: 1e3, 5: 1.0}


def read_metadata(tiff: tifffile.TiffFile, axes: str, shape: tuple[int, ...]) -> Metadata:
    """Sizes and names of the first image of a file.

    Parameters
    ----------
    tiff : TiffFile
        The file.
    axes : str
        The image's axes.
    shape : tuple of int
        Their lengths.

    Returns
    -------
    Metadata
        As far as the file tells them.
    """
    if tiff.is_ome and tiff.ome_metadata is not None:
        return _ome_metadata(tiff.ome_metadata)
    if tiff.imagej_metadata is not None:
        count = shape[axes.index("C")] if "C" in axes else 0
        return _imagej_metadata(tiff, tiff.imagej_metadata, count)
    ours = (tiff.shaped_metadata or ({},))[0]
    return Metadata.of(
        _sides_by_resolution(tiff, _UNITS_UM.get(int(tiff.pages.first.resolutionunit))),
        micrometers(ours.get("z_step_um"), "um"),
        seconds(ours.get("time_step_s"), "s"),
        _texts(ours.get("channels")),
    )


def metadata_options(
    flavour: Flavour, metadata: Metadata, axes: str, shape: tuple[int, ...]
) -> dict[str, Any]:
    """Choose how a TIFF file keeps sizes and names.

    Parameters
    ----------
    flavour : {"ome", "imagej", "plain"}
        Kind of TIFF.
    metadata : Metadata
        What to keep.
    axes : str
        The image's axes, in the order in which the file has them.
    shape : tuple of int
        Their lengths.

    Returns
    -------
    dict
        What tifffile is told; see `pixel_size_options`.
    """
    options = pixel_size_options(flavour, metadata.pixel_size_um)
    z_step, time_step, names = metadata.z_step_um, metadata.time_step_s, list(metadata.channels)
    kept: dict[str, Any]
    match flavour:
        case "ome":
            kept = {
                "PhysicalSizeZ": z_step,
                "PhysicalSizeZUnit": z_step and "µm",
                "TimeIncrement": time_step,
                "TimeIncrementUnit": time_step and "s",
                "Channel": {"Name": names} if names else None,
            }
        case "imagej":
            labels = [names[n] for n in _channel_numbers(axes, shape)] if names else None
            kept = {"spacing": z_step, "finterval": time_step, "Labels": labels}
            if z_step is not None:
                kept["unit"] = "um"
                # tifffile would state 1 pixel per unit; 0 is what ImageJ and we pass over.
                options.setdefault("resolution", (0, 0))
        case "plain":
            kept = {"z_step_um": z_step, "time_step_s": time_step, "channels": names or None}
    known = {key: value for key, value in kept.items() if value is not None}
    options["metadata"] |= {"axes": axes, **known}
    return options


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
    per_centimeter = (_UNITS_UM[_CENTIMETER] / x, _UNITS_UM[_CENTIMETER] / y)
    return {"resolution": per_centimeter, "resolutionunit": _CENTIMETER, "metadata": {}}


def _ome_metadata(xml: str) -> Metadata:
    """Metadata of the first image that an OME-XML tells of."""
    images = tifffile.xml2dict(xml).get("OME", {}).get("Image", {})
    pixels = (images[0] if isinstance(images, list) else images).get("Pixels", {})
    z, y, x = (
        micrometers(pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        for axis in "ZYX"
    )
    time = seconds(pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s"))
    channels = pixels.get("Channel", [])
    channels = channels if isinstance(channels, list) else [channels]
    return Metadata.of((y, x), z, time, [str(c.get("Name", "")) for c in channels])


def _imagej_metadata(tiff: tifffile.TiffFile, stated: dict[str, Any], count: int) -> Metadata:
    """Metadata of an ImageJ file of some channels; each plane has the label of its channel."""
    unit = stated.get("unit")
    labels = _texts(stated.get("Labels"))
    names = labels[:count]
    if any(label != names[number % count] for number, label in enumerate(labels) if count):
        names = ()  # these are labels of planes
    return Metadata.of(
        _sides_by_resolution(tiff, micrometers(1, unit)),
        micrometers(stated.get("spacing"), unit),
        seconds(stated.get("finterval"), stated.get("tunit", "s")),
        names,
    )


def _sides_by_resolution(
    tiff: tifffile.TiffFile, unit_um: float | None
) -> tuple[float | None, float | None]:
    """(y, x) size of a pixel by the tags that tell how many there are in a unit."""
    page = tiff.pages.first
    if unit_um is None or "XResolution" not in page.tags or 0 in page.resolution:
        return None, None
    per_x, per_y = page.resolution
    return unit_um / per_y, unit_um / per_x


def _channel_numbers(axes: str, shape: tuple[int, ...]) -> Iterator[int]:
    """Number of the channel of each plane of an ImageJ file, whose channels vary fastest."""
    lengths = dict(zip(axes, shape, strict=True))
    channels = lengths.get("C", 1)
    for plane in range(lengths.get("T", 1) * lengths.get("Z", 1) * channels):
        yield plane % channels


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list | tuple) else ()
