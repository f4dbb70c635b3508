"""Effective kernel: local linear approximation of a network at one pixel."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_coordgate.errors import FrameMismatchError
from napari_coordgate.geometry import Window, format_shape, frame_coordinates
from napari_coordgate.model import Model, as_model
from napari_coordgate.normalization import fit_normalizer

MID_GRAY = 0.5
"""Scaled intensity of the default image."""


def effective_kernel(
    model: str | Path | Model,
    row: int,
    column: int,
    blurred: NDArray[Any] | None = None,
) -> NDArray[np.float32]:
    """Gradient of one output pixel with respect to the input image.

    A network is not a linear filter, but close to a given image it acts like one: a small
    change of the image changes the output pixel by the sum of that change times this
    kernel. The intensity scaling, which such a change hardly affects, is held fixed.

    Parameters
    ----------
    model : str, Path or Model
        Trained model, or the file of one.
    row, column : int
        Frame pixel of the output.
    blurred : ndarray, shape (H, W), optional
        Image of the whole frame, in its own units, at which the gradient is taken;
        uniform mid-gray by default.

    Returns
    -------
    ndarray of float32, shape (K, K)
        Gradient, with pixel (row, column) in the center; K = 2 ``receptive_radius`` + 1.
        Zero outside the frame.

    Raises
    ------
    FrameMismatchError
        If the pixel is outside the frame, or the image does not have the frame's shape.
    ImageError
        If the image is constant or contains NaN.
    ModelError
        If the model cannot be read.

    Examples
    --------
    >>> from napari_coordgate import Model, effective_kernel
    >>> model = Model.load("sample_data/starter.safetensors")
    >>> kernel = effective_kernel(model, 128, 128)
    >>> kernel.shape, model.network.receptive_radius
    ((47, 47), 23)
    """
    model = as_model(model)
    frame, pixel = Window.whole(model.frame_shape), Window(row, column, 1, 1)
    if not frame.contains(pixel):
        raise FrameMismatchError(
            f"Pixel ({row}, {column}) is outside the frame of {format_shape(frame.shape)} "
            "pixels; choose one inside."
        )
    around = pixel.expanded(model.network.receptive_radius)
    window = around.snapped(model.network.multiple).clipped(frame.shape)
    gradient = _gradient(model, _scaled(model, window, blurred), window, pixel)
    kernel = np.zeros(around.shape, np.float32)
    visible = around.clipped(frame.shape)
    kernel[visible.within(around)] = gradient[visible.within(window)]
    return kernel


def _scaled(model: Model, window: Window, blurred: NDArray[Any] | None) -> NDArray[np.float32]:
    """Window of the image, normalized for the network."""
    if blurred is None:
        return np.full(window.shape, MID_GRAY, np.float32)
    plane, frame = np.asarray(blurred), Window.whole(model.frame_shape)
    if plane.shape != frame.shape:
        raise FrameMismatchError(
            f"The image is {format_shape(plane.shape)} pixels, but the model was trained for a "
            f"frame of {format_shape(frame.shape)} pixels; give an image of the whole frame."
        )
    normalizer = fit_normalizer(plane, model.config.scaling)
    return normalizer.normalize(plane[window.within(frame)])


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
