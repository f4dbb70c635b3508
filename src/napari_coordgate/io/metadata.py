"""Physical sizes, channel names and optics of an image, and the units of files."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from napari_coordgate.io.optical_metadata import OpticalMetadata

PixelSize = tuple[float, float]
"""(y, x) size of a pixel in um."""

_MICROMETERS = {
    1e6: "m meter metre",
    1e4: "cm centimeter centimetre",
    1e3: "mm millimeter millimetre",
    1.0: "um µm \u03bcm \\u00b5m micron micrometer micrometre",  # micro, Greek mu, ImageJ's escape
    1e-3: "nm nanometer nanometre",
    1e-4: "å angstrom ångström",
}
_SECONDS = {
    86400.0: "d day",
    3600.0: "h hr hour",
    60.0: "min minute",
    1.0: "s sec second",
    1e-3: "ms msec millisecond",
    1e-6: "µs \u03bcs us microsecond",
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
        """Metadata as a file states them, without sizes that are zero, negative or not finite.

        A z step may be negative, for a stack that was taken downwards. Of a pixel that has only
        one size, it is that of both sides.
        """
        y, x = map(_positive, pixel_size_um)
        y, x = y or x, x or y
        return cls(
            None if y is None or x is None else (y, x),
            _positive(None if z_step_um is None else abs(z_step_um)),
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
    """Value in the unit of factor 1; units may be in capitals or in the plural."""
    wanted = str(unit).strip().lower()
    for factor, names in factors.items():
        if value is not None and (
            wanted in names.split()
            or (len(wanted) > 3 and wanted.removesuffix("s") in names.split())
        ):
            try:
                return factor * float(value)
            except (TypeError, ValueError):
                return None
    return None


def _positive(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and value > 0 else None
