"""Physical sizes and channel names of an image, and the units that files state them in."""

import math
from collections.abc import Sequence
from typing import NamedTuple

PixelSize = tuple[float, float]
"""(y, x) size of a pixel in um."""

_MICROMETERS = {
    "m": 1e6,
    "meter": 1e6,
    "cm": 1e4,
    "centimeter": 1e4,
    "mm": 1e3,
    "millimeter": 1e3,
    "µm": 1.0,  # micro sign
    "\u03bcm": 1.0,  # Greek mu
    "\\u00B5m": 1.0,  # as ImageJ writes it
    "um": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "Å": 1e-4,
    "angstrom": 1e-4,
}
_SECONDS = {
    "d": 86400.0,
    "day": 86400.0,
    "h": 3600.0,
    "hour": 3600.0,
    "min": 60.0,
    "minute": 60.0,
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "seconds": 1.0,
    "ms": 1e-3,
    "msec": 1e-3,
    "millisecond": 1e-3,
    "µs": 1e-6,
    "us": 1e-6,
    "microsecond": 1e-6,
}


class ImageMetadata(NamedTuple):
    """Physical sizes and channel names, with the units and meaning of `Image`'s attributes."""

    pixel_size_um: PixelSize | None = None
    z_step_um: float | None = None
    time_step_s: float | None = None
    channel_names: tuple[str, ...] = ()

    @classmethod
    def sanitized(
        cls,
        pixel_size_um: Sequence[float | None] = (None, None),
        z_step_um: float | None = None,
        time_step_s: float | None = None,
        channel_names: Sequence[str] = (),
    ) -> "ImageMetadata":
        """Metadata as a file states them, without sizes that are zero, negative or not finite."""
        y, x = map(_positive, pixel_size_um)
        return cls(
            None if y is None or x is None else (y, x),
            _positive(z_step_um),
            _positive(time_step_s),
            tuple(channel_names) if any(channel_names) else (),
        )


def micrometers(length: float | str | None, unit: str | None) -> float | None:
    """Length in um; None for an unknown unit or an invalid number. Units as in OME or ImageJ."""
    return _scaled(length, _MICROMETERS.get(str(unit)))


def seconds(time: float | str | None, unit: str | None) -> float | None:
    """Time in s; None for an unknown unit or an invalid number. Units as in OME or ImageJ."""
    return _scaled(time, _SECONDS.get(str(unit)))


def _scaled(value: float | str | None, factor: float | None) -> float | None:
    if value is None or factor is None:
        return None
    try:
        return factor * float(value)
    except (TypeError, ValueError):
        return None


def _positive(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and value > 0 else None
