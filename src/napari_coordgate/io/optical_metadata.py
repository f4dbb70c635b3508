"""Optics, camera and stage as far as the file of an image states them, and where it does so."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, Generic, TypeVar

V = TypeVar("V", float, str)


@dataclass(frozen=True)
class Stated(Generic[V]):
    """A value that a file states, and its source, such as "OME-XML Objective LensNA"."""

    value: V
    source: str


@dataclass(frozen=True)
class OpticalMetadata:
    """Optics, camera and stage of an image; None where the file states no possible value.

    The refractive index is that of the immersion medium; emission wavelengths, excitation
    wavelengths and exposures are one for each channel; the pixels of the camera are in counts, and
    the read noise is in electrons. The stage is where the first plane was recorded, along axes of
    the stage; the date of the acquisition is in ISO format.
    """

    na: Stated[float] | None = None
    refractive_index: Stated[float] | None = None
    objective: Stated[str] | None = None
    magnification: Stated[float] | None = None
    wavelengths_nm: tuple[Stated[float] | None, ...] = ()
    excitations_nm: tuple[Stated[float] | None, ...] = ()
    camera: Stated[str] | None = None
    exposures_s: tuple[Stated[float] | None, ...] = ()
    electrons_per_count: Stated[float] | None = None
    offset: Stated[float] | None = None
    read_noise: Stated[float] | None = None
    stage_y_um: Stated[float] | None = None
    stage_x_um: Stated[float] | None = None
    stage_z_um: Stated[float] | None = None
    acquired: Stated[str] | None = None

    def completed_by(self, other: "OpticalMetadata") -> "OpticalMetadata":
        """These values, and those of another source where there are none."""
        missing = {
            field.name: getattr(other, field.name)
            for field in fields(self)
            if not any(_listed(getattr(self, field.name)))
        }
        return replace(self, **missing)

    def wavelength_nm(self, channel: int) -> Stated[float] | None:
        """Emission wavelength of a channel."""
        known = self.wavelengths_nm
        return known[channel] if 0 <= channel < len(known) else None

    def select_channels(self, channels: Sequence[int]) -> "OpticalMetadata":
        """Metadata of an image of some of the channels."""
        selected: dict[str, Any] = {}
        for name in _OF_CHANNELS:
            known = getattr(self, name)
            selected[name] = tuple(known[channel] for channel in channels) if known else ()
        return replace(self, **selected)

    def at_planes_of(self, other: "OpticalMetadata") -> "OpticalMetadata":
        """Metadata with the exposures and the stage of other planes, where these are stated."""
        stated: dict[str, Any] = {
            name: value for name in _OF_PLANES if (value := getattr(other, name))
        }
        return replace(self, **stated)

    def for_channels(self, number: int) -> "OpticalMetadata":
        """Metadata without values of channels, unless they are those of so many channels.

        A single exposure is that of the first channel.
        """
        exposures = self.exposures_s
        if len(exposures) == 1:
            exposures += (None,) * (number - 1)
        kept = replace(self, exposures_s=exposures)
        wrong: dict[str, Any] = {
            name: () for name in _OF_CHANNELS if len(getattr(kept, name)) != number
        }
        return replace(kept, **wrong)

    def values(self) -> dict[str, Any]:
        """Stated values by name, without their sources; one for each channel in a tuple."""
        values: dict[str, Any] = {}
        for name in (field.name for field in fields(self)):
            stated = getattr(self, name)
            if isinstance(stated, tuple) and any(stated):
                values[name] = tuple(item and item.value for item in stated)
            elif isinstance(stated, Stated):
                values[name] = stated.value
        return values

    def described(self) -> dict[str, str]:
        """Text of each stated value with its source, by name; one for all channels."""
        texts = {}
        for field in fields(self):
            stated = [item for item in _listed(getattr(self, field.name)) if item is not None]
            if stated:
                values = ", ".join(str(item.value) for item in stated)
                texts[field.name] = f"{values} ({stated[0].source})"
        return texts


def _listed(value: object) -> Sequence[Any]:
    return value if isinstance(value, tuple) else (value,)


def optics_of_values(values: Mapping[str, Any], source: str) -> OpticalMetadata:
    """Metadata of `OpticalMetadata.values` that a source states."""
    known = {field.name for field in fields(OpticalMetadata)}
    found: dict[str, Any] = {
        name: [(item, source) for item in value] if isinstance(value, list) else (value, source)
        for name, value in values.items()
        if name in known
    }
    return stated_optics(**found)


# Values of a file

_OF_CHANNELS = ("wavelengths_nm", "excitations_nm", "exposures_s")
"""Values of which there is one for each channel."""
_OF_PLANES = ("exposures_s", "stage_y_um", "stage_x_um", "stage_z_um")
"""Values that differ between planes; those of the first one are stated."""
_RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "na": (0.0, 1.7),
        "refractive_index": (1 - 1e-9, 2.5),
        "magnification": (0.0, math.inf),
        "wavelengths_nm": (100.0, 3000.0),
        "excitations_nm": (100.0, 3000.0),
        "exposures_s": (0.0, math.inf),
        "electrons_per_count": (0.0, math.inf),
        "offset": (-1e-9, math.inf),
        "read_noise": (0.0, math.inf),
        "stage_y_um": (-math.inf, math.inf),
        "stage_x_um": (-math.inf, math.inf),
        "stage_z_um": (-math.inf, math.inf),
    }
)
"""Bounds, excluded, of possible values; microscopes store 0 or -1 for unknown ones."""

_IMMERSION = MappingProxyType(
    {
        "air": 1.0,
        "dry": 1.0,
        "water": 1.33,
        "oil": 1.515,
        "glycerol": 1.47,
        "glycerin": 1.47,
        "glyc": 1.47,
        "silicone": 1.406,
    }
)
"""Refractive index of immersion media."""
_MEDIUM = re.compile(rf"\b({'|'.join(_IMMERSION)})(?:\b|dipping)", re.IGNORECASE)
_NA_IN_NAME = re.compile(
    r"\d\s*[x\u00d7]\s*[/, ]?\s*(?:NA\s*)?(\d[.,]\d+)|\bNA\s*[=:]?\s*(\d[.,]\d+)", re.IGNORECASE
)
"""NA in the name of an objective, such as "Plan Apo 20x/0.75"."""
_MAX_TEXT = 200

Found = tuple[Any, str]
"""A value as a file has it, and its source."""


def stated_optics(
    *,
    wavelengths_nm: Sequence[Found] = (),
    excitations_nm: Sequence[Found] = (),
    exposures_s: Sequence[Found] = (),
    immersion: Found = (None, ""),
    acquired: Found = (None, ""),
    **values: Found,
) -> OpticalMetadata:
    """Metadata of values as a file has them, without missing and impossible ones.

    Where the NA and the immersion medium are missing, they are taken from the objective's name.
    """
    stated: dict[str, Any] = {
        name: _number(name, *found) if name in _RANGES else _text(*found)
        for name, found in values.items()
    }
    for name, found in zip(
        _OF_CHANNELS, (wavelengths_nm, excitations_nm, exposures_s), strict=True
    ):
        numbers = tuple(_number(name, *item) for item in found)
        stated[name] = numbers if any(numbers) else ()
    optics = OpticalMetadata(**stated, acquired=_date(*acquired))
    others = OpticalMetadata(refractive_index=_index_of_medium(*immersion))
    for other in (others, _optics_in_name(optics.objective)):
        optics = _consistent(_consistent(optics).completed_by(other))
    return optics


def _number(name: str, value: Any, source: str) -> Stated[float] | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    low, high = _RANGES[name]
    return Stated(number, source) if low < number < high else None


def _text(value: Any, source: str) -> Stated[str] | None:
    text = " ".join(str(value or "").split())[:_MAX_TEXT]
    return Stated(text, source) if text else None


def _date(value: Any, source: str) -> Stated[str] | None:
    """Date and time in ISO format; other ones may be ambiguous."""
    try:
        datetime.fromisoformat(str(value or "").strip())
    except ValueError:
        return None
    return Stated(str(value).strip(), source)


def _index_of_medium(text: Any, source: str) -> Stated[float] | None:
    """Refractive index of an immersion medium that is named in a text."""
    medium = _MEDIUM.search(str(text or ""))
    return None if medium is None else Stated(_IMMERSION[medium[1].lower()], source)


def _optics_in_name(objective: Stated[str] | None) -> OpticalMetadata:
    """NA and immersion in the name of an objective."""
    if objective is None:
        return OpticalMetadata()
    source = f'name of the objective "{objective.value}"'
    na = _NA_IN_NAME.search(objective.value)
    number = None if na is None else (na[1] or na[2]).replace(",", ".")
    return OpticalMetadata(
        na=_number("na", number, source),
        refractive_index=_index_of_medium(objective.value, source),
    )


def _consistent(optics: OpticalMetadata) -> OpticalMetadata:
    """Metadata without a refractive index that is below the NA."""
    if optics.na is None or optics.refractive_index is None:
        return optics
    is_possible = optics.na.value < optics.refractive_index.value
    return optics if is_possible else replace(optics, refractive_index=None)
