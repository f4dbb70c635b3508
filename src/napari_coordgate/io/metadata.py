"""Physical sizes, channel names and optics of an image, and the units of files."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from napari_coordgate.io.optical_metadata import OpticalMetadata

PixelSize = tuple[float, float]
"""(y, x) size of a pixel in um."""

_MICROMETERS = {
    1e6: "m meter",
    1e4: "cm centimeter",
    1e3: "mm millimeter",
    1.0: "um µm \u03bcm \\u00B5m micron microns micrometer",  # micro, Greek mu, ImageJ's escape
    1e-3: "nm nanometer",
    1e-4: "Å angstrom",
}
_SECONDS = {
    86400.0: "d day",
    3600.0: "h hour",
    60.0: "min minute",
    1.0: "s sec second seconds",
    1e-3: "ms msec millisecond",
    1e-6: "µs us microsecond",
    1e-9: "ns nanosecond",
}


class ImageMetadata(NamedTuple):
    """Physical sizes, channel names and optics, as the attributes of `Image`."""

    pixel_size_um: PixelSize | None = None
    z_step_um: float | None = None
    time_step_s: float | None = None
    channel_names: tuple[str, ...] = ()
    optics: OpticalMetadata = OpticalMetadata()

    @classmethod
    def sanitized(
        cls,
        pixel_size_um: Sequence[float | None] = (None, None),
        z_step_um: float | None = None,
        time_step_s: float | None = None,
        channel_names: Sequence[str] = (),
        optics: OpticalMetadata | None = None,
    ) -> "ImageMetadata":
        """Metadata as a file states them, without sizes that are zero, negative or not finite."""
        y, x = map(_positive, pixel_size_um)
        return cls(
            None if y is None or x is None else (y, x),
            _positive(z_step_um),
            _positive(time_step_s),
            tuple(channel_names) if any(channel_names) else (),
            optics or OpticalMetadata(),
        )

    def for_channels(self, number: int) -> "ImageMetadata":
        """Metadata without names and wavelengths, unless they are those of so many channels."""
        names, waves = self.channel_names, self.optics.wavelengths_nm
        return self._replace(
            channel_names=names if len(names) == number else (),
            optics=self.optics if len(waves) == number else self.optics.select_channels(()),
        )


def micrometers(length: float | str | None, unit: str | None) -> float | None:
    """Length in um; None for an unknown unit or an invalid number. Units as in OME or ImageJ."""
    return _convert(length, unit, _MICROMETERS)


def seconds(time: float | str | None, unit: str | None) -> float | None:
    """Time in s; None for an unknown unit or an invalid number. Units as in OME or ImageJ."""
    return _convert(time, unit, _SECONDS)


def _convert(
    value: float | str | None, unit: str | None, factors: dict[float, str]
) -> float | None:
    for factor, names in factors.items():
        if value is not None and str(unit) in names.split():
            try:
                return factor * float(value)
            except (TypeError, ValueError):
                return None
    return None


def _positive(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and value > 0 else None
