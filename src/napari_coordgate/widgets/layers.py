"""Layers as images of the core, and results as layers beside them.

The decisions are plain functions of layers; nothing here needs a window.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image as ImageLayer
from napari.viewer import Viewer

from napari_coordgate.errors import ImageError
from napari_coordgate.images import Image

if TYPE_CHECKING:
    from napari_coordgate.checkpoint import Checkpoint

__all__ = [
    "guess_axes",
    "image_of",
    "laid_over",
    "look_of",
    "pixel_size_um",
    "pixels_of",
    "place_of",
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
        A letter of TCZYX for each axis, and S for the samples of a colour image;
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


def place_of(layer: ImageLayer, ndim: int | None = None) -> dict[str, Any]:
    """Options of a new layer that lies where another one does.

    Parameters
    ----------
    layer : Image layer
        The other layer.
    ndim : int, optional
        Axes of the new one, the last of the other's; all of them when not given.

    Returns
    -------
    dict
        Arguments of ``viewer.add_image``; rotation and shear are those of whole layers.
    """
    last = slice(layer.ndim - (ndim or layer.ndim), None)
    options = {
        "scale": np.asarray(layer.scale)[last],
        "translate": np.asarray(layer.translate)[last],
        "units": tuple(layer.units)[last],
        "axis_labels": tuple(layer.axis_labels)[last],
    }
    if last.start == 0:
        options |= {"rotate": layer.rotate, "shear": layer.shear, "affine": layer.affine}
    return options


def laid_over(
    layer: ImageLayer, options: dict[str, Any], checkpoint: "Checkpoint"
) -> dict[str, Any]:
    """Options of a layer over a checkpoint's frame, laid over an image of that frame instead.

    Parameters
    ----------
    layer : Image layer
        The image, of the frame's size or another one.
    options : dict
        With ``scale``, ``translate`` and ``units`` that place the new layer over the frame.
    checkpoint : Checkpoint
        Whose frame it is.

    Returns
    -------
    dict
        The options, with another place.
    """
    scale = np.asarray(layer.scale)[-2:]
    frame_pixel = scale * pixels_of(layer).shape[-2:] / checkpoint.frame_shape
    first_centre = np.asarray(layer.translate)[-2:] + (frame_pixel - scale) / 2
    pitch, offset = (
        np.asarray(options[name])[-2:] / (checkpoint.pixel_size_um or 1.0)
        for name in ("scale", "translate")
    )
    return options | {
        "scale": (*options["scale"][:-2], *pitch * frame_pixel),
        "translate": (*options["translate"][:-2], *first_centre + offset * frame_pixel),
        "units": (*options["units"][:-2], *layer.units[-2:]),
    }


def look_of(layer: ImageLayer) -> dict[str, Any]:
    """Options of a new layer that looks like another one: contrast and colours."""
    return {
        "contrast_limits": tuple(layer.contrast_limits),
        "colormap": layer.colormap,
        "gamma": layer.gamma,
        "interpolation2d": layer.interpolation2d,
    }
