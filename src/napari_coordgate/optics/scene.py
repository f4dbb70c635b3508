"""The scene around a window: taken from the image, mirrored where the image ends."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_coordgate.errors import FrameMismatchError
from napari_coordgate.geometry import Window, mirror_indices

__all__ = ["as_tensor", "pad_mirror", "pad_mirror_adjoint", "resolve_windows"]

Array = TypeVar("Array", NDArray[Any], Tensor)


def pad_mirror(image: Tensor, region: Window, around: Window) -> Tensor:
    """Scene on a rectangle, from an image that may not reach over all of it.

    Parameters
    ----------
    image : Tensor, shape (..., H, W)
        The image.
    region : Window
        Rectangle of the frame, of shape (H, W), that the image shows.
    around : Window
        Rectangle wanted; where it leaves the region, the image is mirrored.

    Returns
    -------
    Tensor, shape (..., h, w)
        The scene; a view of the image where the region holds all of it.
    """
    if region.contains(around):
        return image[..., *around.within(region)]
    for axis, indices in zip((-2, -1), _mirrored(region, around), strict=True):
        image = image.index_select(axis, indices.to(image.device))
    return image


def pad_mirror_adjoint(light: Tensor, region: Window, around: Window) -> Tensor:
    """Transpose of `pad_mirror`: every pixel added to the one it was taken from.

    Parameters
    ----------
    light : Tensor, shape (..., h, w)
        Image on the rectangle ``around``.
    region, around : Window
        As given to `pad_mirror`.

    Returns
    -------
    Tensor, shape (..., H, W)
        Image on the region.
    """
    if region == around:
        return light
    for axis, indices in zip((-2, -1), _mirrored(region, around), strict=True):
        shape = list(light.shape)
        shape[axis] = region.shape[axis]
        light = light.new_zeros(shape).index_add(axis, indices.to(light.device), light)
    return light


def _mirrored(region: Window, around: Window) -> tuple[Tensor, Tensor]:
    """Rows and columns of the region at each row and column of ``around``."""
    rows = mirror_indices(around.y0 - region.y0, around.height, region.height)
    columns = mirror_indices(around.x0 - region.x0, around.width, region.width)
    return torch.from_numpy(rows), torch.from_numpy(columns)


def resolve_windows(
    shape: Sequence[int],
    origin: tuple[int, int],
    window: Window | None,
    frame_shape: tuple[int, int],
) -> tuple[Window, Window]:
    """Window of the frame that is meant, and the region that an image shows.

    Parameters
    ----------
    shape : sequence of int
        Shape of the image, (..., H, W).
    origin : tuple of int
        Frame pixel of the image's first one.
    window : Window or None
        Part of the frame; all of it when None.
    frame_shape : tuple of int
        (height, width) of the frame, in pixels.

    Returns
    -------
    window, region : Window
        The region holds the window, and may leave the frame.

    Raises
    ------
    FrameMismatchError
        If the image does not cover the window, or the window leaves the frame.
    """
    if len(shape) < 2 or 0 in shape:
        raise FrameMismatchError(
            f"An array of shape {tuple(shape)} holds no image; give one of shape (..., H, W)."
        )
    region, frame = Window(*origin, *shape[-2:]), Window.whole(frame_shape)
    if window is None and not region.contains(frame):
        raise FrameMismatchError(
            f"An image of {shape[-2]}x{shape[-1]} pixels at {origin} does not cover the PSF "
            f"field's frame of {frame_shape[0]}x{frame_shape[1]} pixels; give an image of the "
            "frame's size, or name the window that it shows."
        )
    window = window or frame
    if window.height < 1 or window.width < 1 or not frame.contains(window):
        raise FrameMismatchError(f"{window} is no part of the frame of {frame_shape}; choose one.")
    if not region.contains(window):
        raise FrameMismatchError(
            f"An image that shows {region} does not cover {window}; give more of the scene, "
            "or choose a window inside it."
        )
    return window, region


def as_tensor(image: Array) -> tuple[Tensor, Callable[[Tensor], Array]]:
    """Floating-point tensor of an array, and the way back to the caller's kind of array.

    Parameters
    ----------
    image : ndarray or Tensor
        Image of any real type.

    Returns
    -------
    tensor : Tensor
        Double precision where the image is double, else single.
    back : callable
        Turns a tensor into the kind of array that was given.
    """
    if isinstance(image, Tensor):
        tensor = image if image.dtype == torch.float64 else image.float()
        return tensor, lambda result: cast(Array, result)
    kind = np.float64 if image.dtype.newbyteorder("=") == np.float64 else np.float32
    # A copy, for torch takes no array that is read-only, as one mapped from a file is.
    native = np.array(image, dtype=kind, order="C")
    return torch.from_numpy(native), lambda result: cast(Array, result.contiguous().numpy())
