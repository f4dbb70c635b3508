"""Layers as images of the core: pixels, axes, pixel size, and the plane on view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_coordgate.errors import ImageError
from napari_coordgate.io import Image

if TYPE_CHECKING:
    from napari.layers import Image as ImageLayer
    from napari.viewer import Viewer

    pass

__all__ = [
    "guess_axes",
    "image_of",
    "pixel_size_um",
    "pixels_of",
    "plane_on_view",
]

_NAMES = {
    "time": "T",
    "channel": "C",
    "depth": "Z",
    "plane": "Z",
    "row": "Y",
    "height": "Y",
    "column": "X",
    "width": "X",
}


def pixels_of(layer: ImageLayer) -> Any:
    """Pixels of a layer at full resolution, as lazy as the layer holds them."""
    return layer.data[0] if layer.multiscale else layer.data


def guess_axes(layer: ImageLayer) -> str:
    """Axes of a layer, by the names of its axes or, where they have none, their number.

    Parameters
    ----------
    layer : Image layer
        The layer.

    Returns
    -------
    str
        A letter of TCZYX for each axis, and S for the samples of a color image;
        fewer letters where the names leave an axis unknown.

    Raises
    ------
    ImageError
        If the layer has more than five axes.
    """
    if layer.ndim > 5:
        raise ImageError(
            f"{layer.name} has {layer.ndim} axes; give an image, or a stack of up to three axes "
            "before height and width."
        )
    letters = [_NAMES.get(str(name).lower(), str(name).upper()) for name in layer.axis_labels]
    named = "".join(letters)
    samples = "S" if layer.rgb else ""
    if set(letters) <= set("TCZYX") and len(set(letters)) == layer.ndim and named.endswith("YX"):
        return named + samples
    # A single axis before the plane is a stack, as where a file leaves it unnamed.
    return {2: "YX", 3: "ZYX", 4: "TZYX", 5: "TCZYX"}[layer.ndim] + samples


def pixel_size_um(layer: ImageLayer) -> tuple[float, float] | None:
    """(y, x) size of a layer's pixel in um; None where its units are pixels."""
    sizes = []
    for scale, unit in zip(layer.scale[-2:], layer.units[-2:], strict=True):
        if "[length]" not in unit.dimensionality:
            return None
        sizes.append(float((scale * unit).to("micrometer").magnitude))
    return sizes[0], sizes[1]


def image_of(layer: ImageLayer, axes: str | None = None) -> Image:
    """Layer as an image of the core; lazy pixels stay lazy.

    Parameters
    ----------
    layer : Image layer
        The layer.
    axes : str, optional
        Letters of its axes; guessed when not given.

    Returns
    -------
    Image
        With the layer's pixel size.

    Raises
    ------
    ImageError
        If the axes do not fit the layer.
    """
    return Image(
        pixels_of(layer),
        guess_axes(layer) if axes is None else axes,
        pixel_size_um(layer),
        title=layer.name,
    )


def plane_on_view(viewer: Viewer, layer: ImageLayer) -> tuple[int, ...]:
    """Which plane of a layer is on view.

    Parameters
    ----------
    viewer : Viewer
        The viewer.
    layer : Image layer
        One of its layers.

    Returns
    -------
    tuple of int
        Index over the axes before height and width; the nearest there is.
    """
    place = layer.world_to_data(viewer.dims.point)[: layer.ndim - 2]
    lengths = pixels_of(layer).shape
    return tuple(min(max(round(i), 0), n - 1) for i, n in zip(place, lengths, strict=False))
