"""Optics, camera and stage in Micro-Manager's metadata and in the info of ImageJ."""

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from napari_coordgate.io.metadata import seconds
from napari_coordgate.io.optical_metadata import Found, OpticalMetadata, stated_optics

_MAX_NAME = 200
"""Characters of the name of a property; patterns take the square of their number in time."""


def micromanager_optics(properties: Mapping[str, Any]) -> OpticalMetadata:
    """Metadata of a frame of Micro-Manager: properties of its devices, as "device-property"."""
    named = {key: value for key, value in properties.items() if len(key) <= _MAX_NAME}
    plain = {key: _property(value) for key, value in named.items()}

    def find(pattern: str) -> Found:
        for key, value in plain.items():
            if re.fullmatch(pattern, key, re.IGNORECASE) and value not in (None, ""):
                return value, f"Micro-Manager {key}"
        return None, ""

    camera = plain.get("Core-Camera") or plain.get("Camera") or ""
    device = re.escape(str(camera)[:_MAX_NAME])
    exposure, exposure_source = find("Exposure-ms")
    gain = find(f"{device}-(CONVERSION FACTOR COEFF|Actual Gain e/ADU)")
    return stated_optics(
        objective=find(r".*(nosepiece|objective|turret).*-Label"),
        camera=_first(find(f"{device}-(CameraName|Camera|Name)"), find("Core-Camera|Camera")),
        exposures_s=[(seconds(exposure, "ms"), exposure_source)],
        electrons_per_count=gain,
        offset=find(f"{device}-CONVERSION FACTOR OFFSET"),
        read_noise=find(f"{device}-Current Read Noise"),
        stage_y_um=find("YPositionUm"),
        stage_x_um=find("XPositionUm"),
        stage_z_um=find("ZPositionUm"),
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


_OURS = "napari-coordgate = "
"""Start of the last line of an info that we wrote."""


def ours_in_info(info: str) -> dict[str, Any]:
    """Values in an info that we wrote."""
    try:
        return dict(json.loads(_parted(info)[1]))
    except (ValueError, RecursionError):
        return {}


def info_without_ours(info: str) -> str:
    """Info as another program wrote it."""
    return _parted(info)[0]


def _parted(info: str) -> tuple[str, str]:
    """Info of another program, and the JSON of ours, which is empty if there is none."""
    other, ours, values = ("\n" + info.removesuffix("\n")).rpartition("\n" + _OURS)
    is_last = bool(ours) and values.startswith("{") and "\n" not in values
    return (other[1:], values) if is_last else (info, "")


def info_with_ours(info: str, values: Mapping[str, Any]) -> str | None:
    """Info with values of ours in a last line; None if there is neither."""
    ours = _OURS + json.dumps(dict(values)) if values else ""
    return "\n".join(filter(None, [info, ours])) or None


def imagej_optics(info: str) -> OpticalMetadata:
    """Metadata in ImageJ's info: lines "key = value", or the JSON of Micro-Manager.

    A key with several values, as of all objectives of a turret, is left out.
    """
    if info.lstrip().startswith("{"):
        try:
            properties, _ = json.JSONDecoder().raw_decode(info[:_MAX_INFO].lstrip())
            return micromanager_optics(properties)
        except (ValueError, AttributeError, RecursionError):
            return OpticalMetadata()
    values: dict[str, list[str]] = {}
    for line in info[:_MAX_INFO].splitlines():
        path, _, value = line.partition(" = ")
        key = re.sub(r" #\d+$", "", path.rpartition("|")[2].strip())
        values.setdefault(key, []).append(value.strip())
    waves = values.get("EmissionWavelength", [])
    found: dict[str, Any] = {
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
