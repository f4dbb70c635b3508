"""Where in the trained frame an image lies."""

from typing import NamedTuple

import numpy as np

from napari_coordgate.errors import FrameMismatchError
from napari_coordgate.geometry import Window
from napari_coordgate.io import Image
from napari_coordgate.model import Model

__all__ = ["FrameAlignment", "align_to_frame"]

SAME_VIEW = 0.02
"""Relative difference up to which two fields of view are the same."""


class FrameAlignment(NamedTuple):
    """Where in the trained frame an image lies.

    Attributes
    ----------
    window : Window
        In pixels of the frame; of another shape than the image where that shows
        the whole frame at another size.
    note : str
        What its user should know of it; empty where all is as it was in training.
    """

    window: Window
    note: str = ""


def align_to_frame(
    image: Image, checkpoint: Model, origin: tuple[int, int] | None = None
) -> FrameAlignment:
    """Window of the trained frame that an image shows.

    Parameters
    ----------
    image : Image
        The image.
    checkpoint : Checkpoint
        The network that is to deblur it.
    origin : tuple of int, optional
        Frame pixel at which the image begins, where it is a part of the frame.

    Returns
    -------
    Placement
        The window; its note says so if the image shows the frame at another size, or
        its pixels are of another size.

    Raises
    ------
    FrameMismatchError
        If the image shows neither the frame nor a window of it.
    """
    frame = Window.whole(checkpoint.frame_shape)
    shape, name = image.frame_shape, image.name
    window = frame if origin is None else Window(*origin, *shape)
    if not frame.contains(window):
        raise FrameMismatchError(
            f"{name}: a window of {_size(shape)} pixels at {origin} leaves the trained frame of "
            f"{_size(frame.shape)}; correct the origin."
        )
    if window.shape == shape:
        if _same_view(image, checkpoint, window):
            return FrameAlignment(window)
        return FrameAlignment(
            window,
            f"{name} has pixels of {image.pixel_size_um} um, but the network was trained for "
            f"{checkpoint.pixel_size_um} um: the blur may be another than it learned.",
        )
    if _same_view(image, checkpoint, window):
        return FrameAlignment(
            window,
            f"{name} is {_size(shape)} pixels and is taken for the whole frame of "
            f"{_size(frame.shape)} at another size: it is resampled for the network and back.",
        )
    raise FrameMismatchError(
        f"{name} is {_size(shape)} pixels, but the network serves a frame of "
        f"{_size(frame.shape)}; state the origin of the window that it shows, or train a "
        "network for this frame."
    )


def _same_view(image: Image, checkpoint: Model, window: Window) -> bool:
    """Whether an image may show just this window, as far as shape and pixel size tell."""
    scales = np.divide(image.frame_shape, window.shape)
    rounding = 1 / min(*image.frame_shape, *window.shape)
    if abs(scales[0] / scales[1] - 1) > rounding:
        return False
    if image.pixel_size_um is None or checkpoint.pixel_size_um is None:
        return True
    pixels = np.divide(image.pixel_size_um, checkpoint.pixel_size_um)
    return bool(np.all(np.abs(scales * pixels - 1) < SAME_VIEW))


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}x{shape[1]}"
