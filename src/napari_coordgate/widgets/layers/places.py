"""Where layers lie and how they look: over a frame, over an image, or as another layer does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_coordgate.widgets.layers.images import pixels_of

if TYPE_CHECKING:
    from napari.layers import Image as ImageLayer

    from napari_coordgate.io import Image
    from napari_coordgate.model import Model

__all__ = ["laid_over", "look_of", "of_image", "on_frame", "place_of"]


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
    # napari places the *center* of the first pixel, and the frame's begins at its own.
    first_center = tuple(side * (pitch - 1) / 2 for pitch in pitch_px)
    return {
        "scale": (1.0,) * n + tuple(side * pitch for pitch in pitch_px),
        "translate": (0.0,) * n + first_center,
        "units": ("pixel",) * n + (unit,) * 2,
        "axis_labels": (*leading, "y", "x"),
    }


def laid_over(layer: ImageLayer, options: dict[str, Any], checkpoint: Model) -> dict[str, Any]:
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
    first_center = np.asarray(layer.translate)[-2:] + (frame_pixel - scale) / 2
    pitch, offset = (
        np.asarray(options[name])[-2:] / (checkpoint.pixel_size_um or 1.0)
        for name in ("scale", "translate")
    )
    # napari shows units only where all layers have the same ones along an axis.
    units = (*options["units"][:-2], *layer.units)[-len(options["units"]) :]
    return options | {
        "scale": (*options["scale"][:-2], *pitch * frame_pixel),
        "translate": (*options["translate"][:-2], *first_center + offset * frame_pixel),
        "units": units,
    }


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


def look_of(layer: ImageLayer) -> dict[str, Any]:
    """Options of a new layer that looks like another one: contrast and colors."""
    return {
        "contrast_limits": tuple(layer.contrast_limits),
        "colormap": layer.colormap,
        "gamma": layer.gamma,
        "interpolation2d": layer.interpolation2d,
    }


def of_image(image: Image) -> dict[str, Any]:
    """Options of a layer that shows an image of the core, as its file says that it lies.

    Parameters
    ----------
    image : Image
        The image.

    Returns
    -------
    dict
        ``scale``, ``units``, ``axis_labels`` and ``rgb``; steps that the file does not tell
        are 1 pixel.
    """
    height, width = image.pixel_size_um or (None, None)
    steps = {"T": image.time_step_s, "Z": image.z_step_um, "Y": height, "X": width}
    axes = image.axes.removesuffix("S")
    known = [steps.get(axis) for axis in axes]
    units = [
        "pixel" if step is None else "s" if axis == "T" else "um"
        for axis, step in zip(axes, known, strict=True)
    ]
    return {
        "scale": tuple(1.0 if step is None else step for step in known),
        "units": tuple(units),
        "axis_labels": tuple(axis.lower() for axis in axes),
        "rgb": image.axes.endswith("S"),
    }
