"""OME-XML for an image: that of its source, with the pixels and what has changed."""

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any
from xml.etree import ElementTree

import numpy as np

from napari_coordgate.io.metadata import ImageMetadata
from napari_coordgate.io.ome_xml import (
    CAMERA_NOISE,
    NOISE_VALUES,
    PROCESSING,
    Element,
    parse_ome_xml,
    stated_in_ome_xml,
)
from napari_coordgate.io.optical_metadata import OpticalMetadata
from napari_coordgate.version import __version__

OME_TYPES: Mapping[str, str] = MappingProxyType(
    {"bool": "bit", "float32": "float", "float64": "double"}
    | {name: name for name in ("int8", "int16", "int32", "uint8", "uint16", "uint32")}
)
"""Pixel types of OME by NumPy's names."""

_NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_LOCATION = "{http://www.w3.org/2001/XMLSchema-instance}schemaLocation"
_SCHEMA = MappingProxyType({"xmlns": _NAMESPACE, _LOCATION: f"{_NAMESPACE} {_NAMESPACE}/ome.xsd"})
_ORDER: Mapping[str, str] = MappingProxyType(
    {
        "OME": "Rights Project Dataset Folder Experiment Plate Screen Experimenter "
        "ExperimenterGroup Instrument Image StructuredAnnotations ROI",
        "Image": "AcquisitionDate ExperimenterRef Description ExperimentRef ExperimenterGroupRef "
        "InstrumentRef ObjectiveSettings ImagingEnvironment StageLabel Pixels ROIRef "
        "MicrobeamManipulationRef AnnotationRef",
        "Instrument": "Microscope GenericExcitationSource LightEmittingDiode Filament Arc Laser "
        "Detector Objective FilterSet Filter Dichroic AnnotationRef",
        "Pixels": "Channel BinData TiffData MetadataOnly Plane",
        "Channel": "LightSourceSettings DetectorSettings FilterSetRef AnnotationRef LightPath",
    }
)
"""Order of the children of an element in the schema."""
_NOT_XML = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""Characters, as of names in other files, with which no program could parse the document."""
_OF_CHANNELS = MappingProxyType(
    {"wavelengths_nm": "EmissionWavelength", "excitations_nm": "ExcitationWavelength"}
)


def ome_xml_of(
    metadata: ImageMetadata,
    axes: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    pixels_in: Element,
) -> str:
    """Document of an image whose pixels are where the last element says.

    What the metadata state as the source did keeps its form there.
    """
    root = parse_ome_xml(metadata.original.ome) if metadata.original.ome else None
    if root is None:
        root = Element("OME")
    for name in ("UUID", *_SCHEMA):
        root.attrib.pop(name, None)
    root.attrib |= {**_SCHEMA, "Creator": f"napari-coordgate {__version__}"}
    image = _child(root, "Image", ID="Image:0", Name="image")
    pixels = _child(image, "Pixels", ID="Pixels:0")
    lengths = dict(zip(axes, shape, strict=True))
    _set_layout(pixels, axes, lengths, dtype)
    for tag in ("BinData", "TiffData", "MetadataOnly"):
        for element in pixels.findall(tag):
            pixels.remove(element)
    _insert(pixels, pixels_in)
    metadata = metadata.for_channels(lengths.get("C", 1))
    _set_changed(root, image, pixels, metadata, stated_in_ome_xml(root))
    return _NOT_XML.sub("", ElementTree.tostring(root, "unicode", xml_declaration=True))


def tiff_data(planes: int) -> Element:
    """Pixels that are in the pages of the same file, in order."""
    return Element("TiffData", IFD="0", PlaneCount=str(planes))


def _set_layout(pixels: Element, axes: str, lengths: dict[str, int], dtype: np.dtype[Any]) -> None:
    """Set type, order and sizes; channels and planes of another number are replaced."""
    samples, channels = lengths.get("S", 1), lengths.get("C", 1)
    if len(pixels.findall("Channel")) != channels:
        for channel in pixels.findall("Channel"):
            pixels.remove(channel)
        for number in range(channels):
            _insert(pixels, Element("Channel", ID=f"Channel:0:{number}"))
    numbers = {axis: {str(n) for n in range(lengths.get(axis, 1))} for axis in "TCZ"}
    for plane in pixels.findall("Plane"):
        if any(plane.get(f"The{axis}", "0") not in numbers[axis] for axis in "TCZ"):
            pixels.remove(plane)  # of those before a part was selected, or damaged
    for channel in pixels.findall("Channel"):
        channel.set("SamplesPerPixel", str(samples))
    order = "".join(axis for axis in reversed(axes) if axis in "TCZ")
    pixels.attrib |= {
        "DimensionOrder": f"XY{order}" + "".join(sorted(set("TCZ") - set(order))),
        "Type": OME_TYPES.get(dtype.name, "double"),
        **{f"Size{axis}": str(lengths.get(axis, 1)) for axis in "XYZT"},
        "SizeC": str(channels * samples),
    }
    pixels.attrib.pop("BigEndian", None)
    pixels.attrib.pop("SignificantBits", None)


def _set_changed(
    root: Element, image: Element, pixels: Element, metadata: ImageMetadata, stated: ImageMetadata
) -> None:
    """Set what the metadata state otherwise than the document."""
    for axis, value, former in zip("ZYX", _sizes(metadata), _sizes(stated), strict=True):
        if value != former:
            _set_quantity(pixels, f"PhysicalSize{axis}", value, "µm")
    if metadata.time_step_s != stated.time_step_s:
        _set_quantity(pixels, "TimeIncrement", metadata.time_step_s, "s")
    channels = pixels.findall("Channel")
    if metadata.channel_names != stated.channel_names:
        for channel, name in zip(channels, _each(metadata.channel_names, channels), strict=True):
            _set(channel, "Name", name)
    if metadata.channel_colors != stated.channel_colors:
        for channel, color in zip(channels, _each(metadata.channel_colors, channels), strict=True):
            _set(channel, "Color", _signed_rgba(color) if color else None)
    _set_optics(root, image, pixels, _changes(metadata.optics, stated.optics))
    if metadata.processing:
        _annotate(root, image, PROCESSING, metadata.processing)


def _sizes(metadata: ImageMetadata) -> tuple[float | None, ...]:
    """Sizes of a voxel (z, y, x)."""
    return (metadata.z_step_um, *(metadata.pixel_size_um or (None, None)))


def _changes(optics: OpticalMetadata, former: OpticalMetadata) -> dict[str, Any]:
    """Values that differ, without their sources."""
    new, old = optics.values(), former.values()
    return {name: value for name, value in new.items() if value != old.get(name)}


def _set_optics(root: Element, image: Element, pixels: Element, values: dict[str, Any]) -> None:
    """Set optics, camera and stage; the stage and the exposures are those of the first planes."""
    if values.keys() & {"na", "objective", "magnification", "refractive_index"}:
        objective, settings = _device(root, image, image, "Objective")
        _set(objective, "LensNA", values.get("na"))
        _set(objective, "Model", values.get("objective"))
        _set(objective, "NominalMagnification", values.get("magnification"))
        _set(settings, "RefractiveIndex", values.get("refractive_index"))
    channels = pixels.findall("Channel")
    if "camera" in values:
        for channel in channels:
            _set(_device(root, image, channel, "Detector")[0], "Model", values["camera"])
    for name, attribute in _OF_CHANNELS.items():
        for channel, value in zip(channels, _each(values.get(name, ()), channels), strict=True):
            if value is not None:
                _set_quantity(channel, attribute, value, "nm")
    for number, value in enumerate(values.get("exposures_s", ())):
        if value is not None:
            _set_quantity(_first_plane(pixels, number), "ExposureTime", value, "s")
    for axis in "XYZ":
        if (value := values.get(f"stage_{axis.lower()}_um")) is not None:
            _set_quantity(_first_plane(pixels, 0), f"Position{axis}", value, "µm")
    if "acquired" in values:
        _child(image, "AcquisitionDate").text = values["acquired"]
    if noise := {name: str(values[name]) for name in NOISE_VALUES if name in values}:
        _annotate(root, image, CAMERA_NOISE, noise)


def _device(root: Element, image: Element, user: Element, kind: str) -> tuple[Element, Element]:
    """Objective or detector that an element uses, and its settings there; made if there is none."""
    settings = _child(user, f"{kind}Settings")
    devices = root.findall(f"Instrument/{kind}")
    for device in devices:
        if device.get("ID") == settings.get("ID") or len(devices) == 1:
            settings.set("ID", device.get("ID", ""))
            return device, settings
    instrument = _child(root, "Instrument", ID="Instrument:0")
    _child(image, "InstrumentRef", ID=instrument.get("ID", ""))
    device = _insert(instrument, Element(kind, ID=f"{kind}:napari-coordgate"))
    settings.set("ID", device.get("ID", ""))
    return device, settings


def _first_plane(pixels: Element, channel: int) -> Element:
    """First plane of a channel that the document lists."""
    plane = pixels.find(f"Plane[@TheC='{channel}']")
    if plane is None:
        plane = _insert(pixels, Element("Plane", TheZ="0", TheT="0", TheC=str(channel)))
    return plane


def _annotate(root: Element, image: Element, namespace: str, values: Mapping[str, str]) -> None:
    """Set an annotation of ours of the image."""
    annotations = _child(root, "StructuredAnnotations")
    name = f"Annotation:{namespace.replace('/', '-')}"
    for former in annotations.findall(f"*[@ID='{name}']"):
        annotations.remove(former)
    annotation = ElementTree.SubElement(annotations, "MapAnnotation", ID=name, Namespace=namespace)
    value = ElementTree.SubElement(annotation, "Value")
    for key, text in values.items():
        ElementTree.SubElement(value, "M", K=key).text = text
    if image.find(f"AnnotationRef[@ID='{name}']") is None:
        _insert(image, Element("AnnotationRef", ID=name))


def _child(parent: Element, tag: str, **attributes: str) -> Element:
    """First child of a kind, made with these attributes if there is none."""
    found = parent.find(tag)
    return _insert(parent, Element(tag, attributes)) if found is None else found


def _insert(parent: Element, child: Element) -> Element:
    """Insert a child where the schema has it."""
    order = _ORDER.get(parent.tag, "").split()
    before = order[: order.index(child.tag) + 1]
    parent.insert(sum(other.tag in before for other in parent), child)
    return child


def _set(element: Element, name: str, value: object) -> None:
    """Set an attribute, unless there is no value."""
    if value is not None:
        element.set(name, str(value))


def _set_quantity(element: Element, name: str, value: float | None, unit: str) -> None:
    """Set a value with its unit, or remove both."""
    for attribute, text in ((name, value), (f"{name}Unit", unit)):
        element.attrib.pop(attribute, None)
        _set(element, attribute, None if value is None else text)


def _each(values: Sequence[Any], channels: Sequence[Element]) -> Iterable[Any]:
    """One value for each channel, None where there are none."""
    return values or [None] * len(channels)


def _signed_rgba(color: str) -> int:
    """Opaque color RRGGBB as OME has it: a signed number of 32 bits."""
    return int.from_bytes(bytes.fromhex(f"{color}FF"), signed=True)
