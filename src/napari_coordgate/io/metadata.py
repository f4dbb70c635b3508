"""Physical sizes, channel names and optics of an image, and the units of files."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from napari_coordgate.io.optical_metadata import OpticalMetadata
from napari_coordgate.version import __version__

PixelSize = tuple[float, float]
"""(y, x) size of a pixel in um."""

_RRGGBB = re.compile("[0-9A-F]{6}")
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


class Original(NamedTuple):
    """Metadata of one image as its file has them, so that what is not used passes through."""

    ome: str = ""
    """OME-XML."""
    zarr: Mapping[str, Any] | None = None
    """Attributes of an OME-Zarr image, as `ome_zarr_attributes` sorts them."""
    info: str = ""
    """Info of ImageJ."""
    imagej: Mapping[str, Any] | None = None
    """Display in ImageJ, as `imagej_display` sorts it."""

    def completed_by(self, other: "Original") -> "Original":
        """These metadata, and those of another source where there are none."""
        own = {name: value for name, value in self._asdict().items() if value}
        return other._replace(**own)


class ImageMetadata(NamedTuple):
    """Physical sizes, channels and optics, as the attributes of `Image`."""

    pixel_size_um: PixelSize | None = None
    z_step_um: float | None = None
    time_step_s: float | None = None
    channel_names: tuple[str, ...] = ()
    optics: OpticalMetadata = OpticalMetadata()
    channel_colors: tuple[str, ...] = ()
    processing: Mapping[str, str] | None = None
    original: Original = Original()

    @classmethod
    def sanitized(
        cls,
        pixel_size_um: Sequence[float | None] = (None, None),
        z_step_um: float | None = None,
        time_step_s: float | None = None,
        channel_names: Sequence[str] = (),
        optics: OpticalMetadata | None = None,
        channel_colors: Sequence[str] = (),
        processing: object = None,
    ) -> "ImageMetadata":
        """Metadata as a file states them, without sizes that are zero, negative or not finite.

        A z step may be negative, for a stack that was taken downwards. Of a pixel that has only
        one size, it is that of both sides. White and black are what programs write
        where no color was chosen; text that is not RRGGBB is an unknown color.
        """
        colors = [color if _RRGGBB.fullmatch(color) else "" for color in channel_colors]
        y, x = map(_positive, pixel_size_um)
        y, x = y or x, x or y
        return cls(
            None if y is None or x is None else (y, x),
            _positive(None if z_step_um is None else abs(z_step_um)),
            _positive(time_step_s),
            tuple(channel_names) if any(channel_names) else (),
            optics or OpticalMetadata(),
            tuple(colors) if set(colors) - {"", "FFFFFF", "000000"} else (),
            _texts(processing) or None,
        )

    def completed_by(self, other: "ImageMetadata") -> "ImageMetadata":
        """These values, and those of another source where there are none."""
        missing = {name: getattr(other, name) for name in self._fields if not getattr(self, name)}
        return self._replace(
            **missing,
            optics=self.optics.completed_by(other.optics),
            original=self.original.completed_by(other.original),
        )

    def for_channels(self, number: int) -> "ImageMetadata":
        """Metadata without values of channels, unless they are those of so many channels."""
        names, colors = self.channel_names, self.channel_colors
        return self._replace(
            channel_names=names if len(names) == number else (),
            channel_colors=colors if len(colors) == number else (),
            optics=self.optics.for_channels(number),
        )


def processing_facts(settings: str, **facts: str) -> dict[str, str]:
    """How this program made an image: its version, other facts, and the settings as YAML."""
    return {"program": f"napari-coordgate {__version__}", **facts, "settings": settings}


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


def _texts(values: object) -> dict[str, str]:
    """Entries of a mapping that are texts; none if it is no mapping."""
    entries = values.items() if isinstance(values, Mapping) else ()
    return {name: value for name, value in entries if isinstance(value, str)}


def _positive(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and value > 0 else None
