"""What a layer says of how it came about, and how it lies over the frame."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from napari_coordgate.optics import PSFField

__all__ = [
    "GATES",
    "KEY",
    "LENS",
    "PREVIEW",
    "LayerData",
    "field_metadata",
    "field_of",
    "is_picture",
    "metadata",
    "on_frame",
    "provenance",
]

KEY = "napari_coordgate"
"""Under which a layer's metadata say how the layer came about."""
FIELD, LENS, GATES, PREVIEW = "psf field", "lens", "gating maps", "training preview"
"""Kinds of layers that picture something, and are no images to work on."""

LayerData = tuple[Any, dict[str, Any], str]
"""Pixels, the options of ``viewer.add_image``, and the type of layer."""


def metadata(kind: str, **facts: Any) -> dict[str, Any]:
    """Metadata of a layer of this program.

    Parameters
    ----------
    kind : str
        What the layer shows.
    **facts
        Whatever else there is to know.

    Returns
    -------
    dict
        For a layer's ``metadata``; `provenance` takes it apart.
    """
    return {KEY: {"kind": kind, **facts}}


def field_metadata(field: "PSFField", path: str | Path | None = None) -> dict[str, Any]:
    """Metadata of a layer that carries a PSF field, and so can be saved as one.

    Parameters
    ----------
    field : PSFField
        The field.
    path : str or Path, optional
        The file it was read from.

    Returns
    -------
    dict
        For the layer's ``metadata``.
    """
    return metadata(FIELD, field=field, path=None if path is None else str(path))


def provenance(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """How a layer came about, by its ``metadata``; empty for layers that are not ours."""
    found = metadata.get(KEY)
    return found if isinstance(found, Mapping) else {}


def field_of(metadata: Mapping[str, Any]) -> "PSFField | None":
    """PSF field that a layer carries in its ``metadata``, if it does."""
    found = provenance(metadata)
    return cast("PSFField", found["field"]) if found.get("kind") == FIELD else None


def is_picture(metadata: Mapping[str, Any]) -> bool:
    """Whether a layer of ours pictures a lens or network, and is no image to work on."""
    return provenance(metadata).get("kind") in (FIELD, LENS, GATES, PREVIEW)


def on_frame(
    leading: tuple[str, ...],
    pixel_size_um: float | None,
    pitch_px: tuple[float, float] = (1.0, 1.0),
) -> dict[str, Any]:
    """Options that place an image over the frame.

    Parameters
    ----------
    leading : tuple of str
        Labels of the axes before (y, x).
    pixel_size_um : float or None
        Side of a frame pixel in the object, um; none: pixels are the unit.
    pitch_px : tuple of float
        Frame pixels (y, x) that a pixel of the image covers.

    Returns
    -------
    dict
        ``scale``, ``translate``, ``units`` and ``axis_labels``.
    """
    side = 1.0 if pixel_size_um is None else pixel_size_um
    unit = "pixel" if pixel_size_um is None else "um"
    n = len(leading)
    # napari places the *centre* of the first pixel, and the frame's begins at its own.
    first_centre = tuple(side * (pitch - 1) / 2 for pitch in pitch_px)
    return {
        "scale": (1.0,) * n + tuple(side * pitch for pitch in pitch_px),
        "translate": (0.0,) * n + first_centre,
        "units": ("pixel",) * n + (unit,) * 2,
        "axis_labels": (*leading, "y", "x"),
    }
