"""OME-XML of an image: what it states, and all of it, so that what is not used passes through.

It is edited as a tree of elements. ome-types, which models each of them, takes 1 ms for a plane,
and refuses a document for one unknown element or size of 0, which many files have.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import lru_cache
from xml.etree import ElementTree

from napari_coordgate.io.metadata import ImageMetadata, Original, micrometers, seconds
from napari_coordgate.io.optical_metadata import Found, OpticalMetadata, stated_optics

CAMERA_NOISE, PROCESSING = "napari-coordgate/camera", "napari-coordgate/processing"
"""Namespaces of our annotations: noise of the camera, and how an image was made."""
NOISE_VALUES = ("electrons_per_count", "offset", "read_noise")
"""Optical metadata for which OME-XML has no attribute."""

Element = ElementTree.Element
_MAX_COPIES = 300_000
"""Elements in the documents of all images of a file together, which take a few seconds."""
_SCHEMAS = "{http://www.openmicroscopy.org/Schemas/"


def parse_ome_xml(xml: str) -> Element | None:
    """Root of a document, its elements without OME's namespace; None if the XML is damaged."""
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return None
    own = root.tag.rpartition("}")[0]
    for element in root.iter():
        namespace, _, tag = element.tag.rpartition("}")
        if namespace == own or namespace.startswith(_SCHEMAS):
            element.tag = tag
    return root


def read_ome_xml(xml: str, image: int = 0) -> ImageMetadata:
    """Metadata of an image of a document, with the part of it that is about this image."""
    documents = _split_ome_xml(xml)
    root = parse_ome_xml(documents[image]) if image < len(documents) else None
    if root is None:
        return ImageMetadata()
    return stated_in_ome_xml(root)._replace(original=Original(ome=documents[image]))


def ome_image_names(xml: str) -> list[str]:
    """Names of the images of a document, empty where there is none; no names if it is damaged."""
    root = parse_ome_xml(xml)
    return [] if root is None else [image.get("Name", "") for image in root.findall("Image")]


def stated_in_ome_xml(root: Element) -> ImageMetadata:
    """What a document of one image states about it."""
    pixels = _or_empty(root.find("Image/Pixels"))
    channels = pixels.findall("Channel")
    z, y, x = (_micrometers(pixels, f"PhysicalSize{axis}") for axis in "ZYX")
    return ImageMetadata.sanitized(
        (y, x),
        z,
        seconds(pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s")),
        [channel.get("Name", "") for channel in channels],
        _read_optics(root),
        [_read_color(channel.get("Color")) for channel in channels],
        _annotated(root, PROCESSING),
    )


def select_in_ome_xml(xml: str, subset: Mapping[str, Sequence[int]]) -> str:
    """Document of an image of some of the channels (C), times (T) and planes (Z)."""
    root = parse_ome_xml(xml)
    pixels = None if root is None else root.find("Image/Pixels")
    if root is None or pixels is None:
        return xml
    for axis, kept in subset.items():
        pixels.set(f"Size{axis}", str(len(kept)))
        numbers = {str(old): str(new) for new, old in enumerate(kept)}
        pixels[:] = [
            child for child in pixels
            if child.tag != "Plane" or child.get(f"The{axis}", "0") in numbers
        ]  # fmt: skip
        for plane in pixels.findall("Plane"):
            plane.set(f"The{axis}", numbers[plane.get(f"The{axis}", "0")])
    channels = pixels.findall("Channel")
    for channel in channels:
        pixels.remove(channel)
    pixels[:0] = [channels[n] for n in subset.get("C", range(len(channels))) if n < len(channels)]
    return ElementTree.tostring(root, "unicode")


@lru_cache(maxsize=1)
def _split_ome_xml(xml: str) -> tuple[str, ...]:
    """Documents of one image each; cached, as the images of a file are read one after another."""
    root = parse_ome_xml(xml)
    images = [] if root is None else root.findall("Image")
    if root is None or len(images) == 1:
        return () if root is None else (ElementTree.tostring(root, "unicode"),)
    references, shared = _references(root), _shared_elements(root, len(images))
    return tuple(_document_of(root, image, shared, references) for image in images)


def _shared_elements(root: Element, count: int) -> set[Element]:
    """Elements other than images: the largest, such as plates, are left out of very many copies."""
    others = [(sum(1 for _ in child.iter()), child) for child in root if child.tag != "Image"]
    shared, left = set[Element](), _MAX_COPIES // max(1, count)
    for size, child in sorted(others, key=lambda pair: pair[0]):
        left -= size
        if left >= 0:
            shared.add(child)
    return shared


def _document_of(root: Element, image: Element, shared: set[Element], references: set[str]) -> str:
    """Document without the other images and what only they refer to."""
    part = Element(root.tag, root.attrib)
    part.extend(deepcopy(child) for child in root if child is image or child in shared)
    known = {element.get("ID") for element in part.iter() if not _is_reference(element)}
    _remove(part, lambda element: _is_reference(element) and element.get("ID") not in known)
    orphans = references - _references(part)
    _remove(part, lambda element: not _is_reference(element) and element.get("ID") in orphans)
    return ElementTree.tostring(part, "unicode")


def _remove(root: Element, is_wrong: Callable[[Element], bool]) -> None:
    for parent in list(root.iter()):
        parent[:] = [child for child in parent if not is_wrong(child)]


def _references(root: Element) -> set[str]:
    return {element.get("ID", "") for element in root.iter() if _is_reference(element)} - {""}


def _is_reference(element: Element) -> bool:
    return element.tag.endswith("Ref")


# Values


def _read_optics(root: Element) -> OpticalMetadata:
    image = _or_empty(root.find("Image"))
    settings = _or_empty(image.find("ObjectiveSettings"))
    objective = referenced(root.findall("Instrument/Objective"), settings.get("ID"))
    channels = image.findall("Pixels/Channel")
    detectors = root.findall("Instrument/Detector")
    used = _or_empty(image.find("Pixels/Channel/DetectorSettings"))
    detector = referenced(detectors, used.get("ID"))
    placed = _or_empty(image.find("Pixels/Plane[@PositionX]"))
    # The first plane of each channel that states it.
    exposed = image.findall("Pixels/Plane[@ExposureTime]")
    exposures = {plane.get("TheC"): _exposure(plane) for plane in reversed(exposed)}
    noise = _annotated(root, CAMERA_NOISE)
    return stated_optics(
        na=(objective.get("LensNA"), "OME-XML Objective LensNA"),
        refractive_index=(
            settings.get("RefractiveIndex"),
            "OME-XML ObjectiveSettings RefractiveIndex",
        ),
        immersion=(
            f"{settings.get('Medium', '')} {objective.get('Immersion', '')}",
            "OME-XML Objective Immersion",
        ),
        objective=(objective.get("Model"), "OME-XML Objective Model"),
        magnification=(
            objective.get("NominalMagnification"),
            "OME-XML Objective NominalMagnification",
        ),
        camera=(detector.get("Model"), "OME-XML Detector Model"),
        acquired=(image.findtext("AcquisitionDate"), "OME-XML AcquisitionDate"),
        wavelengths_nm=[_nanometers(channel, "EmissionWavelength") for channel in channels],
        excitations_nm=[_nanometers(channel, "ExcitationWavelength") for channel in channels],
        exposures_s=[exposures.get(str(n), (None, "")) for n in range(len(channels))],
        **{
            f"stage_{axis.lower()}_um": (
                _micrometers(placed, f"Position{axis}"),
                f"OME-XML Plane Position{axis}",
            )
            for axis in "ZYX"
        },
        **{name: (noise.get(name), "OME-XML MapAnnotation") for name in NOISE_VALUES},
    )


def _exposure(plane: Element) -> Found:
    time = seconds(plane.get("ExposureTime"), plane.get("ExposureTimeUnit", "s"))
    return time, "OME-XML Plane ExposureTime"


def _micrometers(element: Element, name: str) -> float | None:
    return micrometers(element.get(name), element.get(f"{name}Unit", "µm"))


def _nanometers(channel: Element, name: str) -> Found:
    in_um = micrometers(channel.get(name), channel.get(f"{name}Unit", "nm"))
    return None if in_um is None else round(1e3 * in_um, 6), f"OME-XML Channel {name}"


def _read_color(text: str | None) -> str:
    """Color as RRGGBB, of a signed number of its bytes RGBA; empty if it is not stated."""
    try:
        return (int(text or "") % 2**32).to_bytes(4).hex()[:6].upper()
    except ValueError:
        return ""


def _annotated(root: Element, namespace: str) -> dict[str, str]:
    """Values of an annotation of ours."""
    found = root.findall(f"StructuredAnnotations/MapAnnotation[@Namespace='{namespace}']/Value/M")
    return {item.get("K", ""): item.text or "" for item in found}


def _or_empty(element: Element | None) -> Element:
    return Element("none") if element is None else element


def referenced(elements: Sequence[Element], name: str | None) -> Element:
    """Element with this ID; without an ID the only element, if there is one."""
    if name is None:
        return elements[0] if len(elements) == 1 else Element("none")
    return next(
        (element for element in elements if (element.get("ID") or element.get("Id")) == name),
        Element("none"),
    )
