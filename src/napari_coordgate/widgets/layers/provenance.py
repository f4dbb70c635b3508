"""What a layer says of how it came about."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from napari_coordgate.optics import PSFField

__all__ = [
    "BLURRED",
    "DEBLURRED",
    "GATES",
    "KEY",
    "LENS",
    "PREVIEW",
    "LayerData",
    "checkpoint_path_of",
    "field_metadata",
    "field_of",
    "is_picture",
    "metadata",
    "provenance",
]

KEY = "napari_coordgate"
"""Under which a layer's metadata say how the layer came about."""
FIELD, LENS, GATES, PREVIEW = "psf field", "lens", "gating maps", "training preview"
"""Kinds of layers that picture something, and are no images to work on."""
BLURRED, DEBLURRED = "blurred", "deblurred"
"""Kinds of layers that are images made of others."""

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


def checkpoint_path_of(metadata: Mapping[str, Any]) -> Path | None:
    """File of the checkpoint whose gating maps a layer shows, if it was opened from one."""
    how = provenance(metadata)
    path = how.get("path") if how.get("kind") == GATES else None
    return None if path is None else Path(path)


def is_picture(metadata: Mapping[str, Any]) -> bool:
    """Whether a layer of ours pictures a lens or network, and is no image to work on."""
    return provenance(metadata).get("kind") in (FIELD, LENS, GATES, PREVIEW)
