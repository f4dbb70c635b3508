"""Effective kernels: how a network gathers the light of one pixel."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_coordgate.errors import FrameMismatchError
from napari_coordgate.geometry import Window, frame_coordinates
from napari_coordgate.model import Model
from napari_coordgate.normalization import fit_normalizer

__all__ = ["effective_kernel"]

MID_GRAY = 0.5
"""Scaled intensity of the flat image."""


def effective_kernel(
    checkpoint: str | Path | Model,
    row: int,
    column: int,
    blurred: NDArray[Any] | None = None,
) -> NDArray[np.float32]:
    """Weight of each pixel around a place in what a network makes of that place.

    A network is no linear filter, but near one image it acts as one: a small change
    of the image changes the output at the place by the sum of that change times this
    kernel. The intensity scaling, which such a change hardly moves, is held fixed.

    Parameters
    ----------
    checkpoint : str, Path or Checkpoint
        The trained network.
    row, column : int
        Frame pixel of the output.
    blurred : ndarray, shape (H, W), optional
        Image of the whole frame, in its own units, near which the network is
        looked at; when not given, a flat mid-gray.

    Returns
    -------
    ndarray, shape (K, K)
        Gradient of the output with respect to the image, the place at its center;
        K = 2 ``receptive_radius`` + 1. Zero beyond the frame.

    Raises
    ------
    FrameMismatchError
        If the place lies outside the frame, or the image is not of its shape.
    ImageError
        If the image holds nothing to work with.
    CheckpointError
        If the checkpoint cannot be read.
    """
    model = checkpoint if isinstance(checkpoint, Model) else Model.load(checkpoint)
    frame, pixel = Window.whole(model.frame_shape), Window(row, column, 1, 1)
    if not frame.contains(pixel):
        raise FrameMismatchError(
            f"Pixel ({row}, {column}) lies outside the frame of {frame.height}x{frame.width}; "
            "choose one inside."
        )
    around = pixel.expanded(model.network.receptive_radius)
    window = around.snapped(model.config.network.multiple).clipped(frame.shape)
    gradient = _gradient(model, _scaled(model, window, blurred), window, pixel)
    kernel = np.zeros(around.shape, np.float32)
    seen = around.clipped(frame.shape)
    kernel[seen.within(around)] = gradient[seen.within(window)]
    return kernel


def _scaled(model: Model, window: Window, blurred: NDArray[Any] | None) -> NDArray[np.float32]:
    """Window of the image in the network's range."""
    if blurred is None:
        return np.full(window.shape, MID_GRAY, np.float32)
    plane, frame = np.asarray(blurred), Window.whole(model.frame_shape)
    if plane.shape != frame.shape:
        size = "x".join(str(length) for length in plane.shape)
        raise FrameMismatchError(
            f"The image is {size} pixels, but the network serves a frame of "
            f"{frame.height}x{frame.width}; give an image of the whole frame."
        )
    scaling = fit_normalizer(plane, model.config.scaling)
    return scaling.normalize(plane[window.within(frame)])


@torch.enable_grad()
def _gradient(
    model: Model, scaled: NDArray[np.float32], window: Window, pixel: Window
) -> NDArray[np.float32]:
    """Gradient of the output at one pixel with respect to the window around it."""
    blurred = torch.from_numpy(scaled)[None, None].requires_grad_()
    coordinates = torch.from_numpy(frame_coordinates(model.frame_shape, window))[None]
    deblurred = model.network(blurred, coordinates)[0, 0]
    (gradient,) = torch.autograd.grad(deblurred[pixel.within(window)].sum(), blurred)
    return gradient[0, 0].numpy()
