"""Optics, camera and stage in OME-XML, in Micro-Manager's metadata and in the info of ImageJ."""

import json
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any
from xml.etree import ElementTree

from napari_coordgate.io.metadata import micrometers, seconds
from napari_coordgate.io.optical_metadata import Found, OpticalMetadata, stated_optics


def ome_optics(xml: str, image: int = 0) -> OpticalMetadata:
    """Metadata of an image in OME-XML; none if the XML is damaged."""
    try:
        root = ElementTree.fromstring(xml)
        element = root.findall("{*}Image")[image]
    except (ElementTree.ParseError, IndexError):
        return OpticalMetadata()
    settings = _or_empty(element.find("{*}ObjectiveSettings"))
    objective = referenced(root.findall("{*}Instrument/{*}Objective"), settings.get("ID"))
    channels = element.findall("{*}Pixels/{*}Channel")
    detector_settings = element.find("{*}Pixels/{*}Channel/{*}DetectorSettings")
    detectors = root.findall("{*}Instrument/{*}Detector")
    detector = referenced(detectors, _or_empty(detector_settings).get("ID"))
    plane = _or_empty(element.find("{*}Pixels/{*}Plane[@ExposureTime]"))
    placed = _or_empty(element.find("{*}Pixels/{*}Plane[@PositionX]"))
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
        camera=(detector.get("Model"), "OME-XML Detector Model"),
        exposure_s=(
            seconds(plane.get("ExposureTime"), plane.get("ExposureTimeUnit", "s")),
            "OME-XML Plane ExposureTime",
        ),
        wavelengths_nm=[
            (
                _nanometers(c.get("EmissionWavelength"), c.get("EmissionWavelengthUnit", "nm")),
                "OME-XML Channel EmissionWavelength",
            )
            for c in channels
        ],
        stage_y_um=_position(placed, "Y"),
        stage_x_um=_position(placed, "X"),
    )


def ome_image_names(xml: str) -> list[str]:
    """Names of the images in OME-XML, empty where there is none; no names if it is damaged."""
    try:
        return [image.get("Name", "") for image in ElementTree.fromstring(xml).findall("{*}Image")]
    except ElementTree.ParseError:
        return []


def _position(plane: ElementTree.Element, axis: str) -> Found:
    """Position of the stage along an axis."""
    unit = plane.get(f"Position{axis}Unit", "µm")
    return micrometers(plane.get(f"Position{axis}"), unit), f"OME-XML Plane Position{axis}"


def _nanometers(length: str | None, unit: str) -> float | None:
    in_um = micrometers(length, unit)
    return None if in_um is None else round(1e3 * in_um, 6)


def _or_empty(element: ElementTree.Element | None) -> ElementTree.Element:
    return ElementTree.Element("none") if element is None else element


def referenced(elements: Sequence[ElementTree.Element], name: str | None) -> ElementTree.Element:
    """Element with this ID; without an ID the only element, if there is one."""
    if name is None:
        return elements[0] if len(elements) == 1 else ElementTree.Element("none")
    return next(
        (element for element in elements if (element.get("ID") or element.get("Id")) == name),
        ElementTree.Element("none"),
    )


def micromanager_optics(properties: Mapping[str, Any]) -> OpticalMetadata:
    """Metadata of a frame of Micro-Manager: properties of its devices, as "device-property"."""
    plain = {key: _property(value) for key, value in properties.items()}

    def find(pattern: str) -> Found:
        for key, value in plain.items():
            if re.fullmatch(pattern, key, re.IGNORECASE) and value not in (None, ""):
                return value, f"Micro-Manager {key}"
        return None, ""

    camera = plain.get("Core-Camera") or plain.get("Camera") or ""
    device = re.escape(str(camera))
    exposure, exposure_source = find("Exposure-ms")
    gain = find(f"{device}-(CONVERSION FACTOR COEFF|Actual Gain e/ADU)")
    return stated_optics(
        objective=find(r".*(nosepiece|objective|turret).*-Label"),
        camera=_first(find(f"{device}-(CameraName|Camera|Name)"), find("Core-Camera|Camera")),
        exposure_s=(seconds(exposure, "ms"), exposure_source),
        electrons_per_count=gain,
        offset=find(f"{device}-CONVERSION FACTOR OFFSET"),
        read_noise=find(f"{device}-Current Read Noise"),
        stage_y_um=find("YPositionUm"),
        stage_x_um=find("XPositionUm"),
    )


def _property(value: Any) -> Any:
    """Plain value of a property; Micro-Manager 2 wraps some of them."""
    value = value.get("PropVal") if isinstance(value, dict) else value
    return value if isinstance(value, str | int | float) else None


def _first(*found: Found) -> Found:
    """First of some values that is there."""
    return next((item for item in found if item[0] not in (None, "")), (None, ""))


_INFO_KEYS = MappingProxyType(
    {
        "na": ("LensNA", "NumericalAperture", "Numerical Aperture", "dObjectiveNA"),
        "refractive_index": ("RefractiveIndex", "RefractionIndex", "dRefractIndex1"),
        "objective": ("ObjectiveName", "wsObjectiveName"),
        "camera": ("CameraName", "wsCameraName"),
    }
)
"""Last parts of the keys in the info of ImageJ, as Bio-Formats names them."""
_MAX_INFO = 10_000_000


def imagej_optics(info: str) -> OpticalMetadata:
    """Metadata in ImageJ's info: lines "key = value", or the JSON of Micro-Manager.

    A key that stands there with several values, as of all objectives of a turret, is left out.
    """
    if info.lstrip().startswith("{"):
        try:
            return micromanager_optics(json.loads(info[:_MAX_INFO]))
        except (ValueError, AttributeError, RecursionError):
            return OpticalMetadata()
    values: dict[str, list[str]] = {}
    for line in info[:_MAX_INFO].splitlines():
        path, _, value = line.partition(" = ")
        key = re.sub(r" #\d+$", "", path.rpartition("|")[2].strip())
        values.setdefault(key, []).append(value.strip())
    waves = values.get("EmissionWavelength", [])
    found = {
        name: _first(
            *(
                (values[key][0], f"ImageJ info {key}")
                for key in keys
                if key in values and len(set(values[key])) == 1
            )
        )
        for name, keys in _INFO_KEYS.items()
    }
    return stated_optics(
        **found, wavelengths_nm=[(wave, "ImageJ info EmissionWavelength") for wave in waves]
    )
