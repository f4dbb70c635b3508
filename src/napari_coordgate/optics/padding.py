"""Mirror padding of an image to the scene that a window needs, and checks of windows."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_coordgate.errors import FrameMismatchError, PSFError
from napari_coordgate.geometry import Window, as_origin, as_window, format_shape, mirror_indices

Array = TypeVar("Array", NDArray[Any], Tensor)


def pad_mirror(image: Tensor, region: Window, window: Window) -> Tensor:
    """Scene (..., h, w) on a window, from an image (..., H, W) of a region, mirrored beyond it.

    Returns a view of the image if the region contains the window.
    """
    if region.contains(window):
        return image[..., *window.within(region)]
    for axis, indices in zip((-2, -1), _mirrored(region, window), strict=True):
        image = image.index_select(axis, indices.to(image.device))
    return image


def pad_mirror_adjoint(scene: Tensor, region: Window, window: Window) -> Tensor:
    """Transpose of `pad_mirror`: adds every pixel (..., h, w) to its source in (..., H, W)."""
    if region == window:
        return scene
    for axis, indices in zip((-2, -1), _mirrored(region, window), strict=True):
        shape = list(scene.shape)
        shape[axis] = region.shape[axis]
        scene = scene.new_zeros(shape).index_add(axis, indices.to(scene.device), scene)
    return scene


def _mirrored(region: Window, window: Window) -> tuple[Tensor, Tensor]:
    """Row and column indices into the region at each row and column of the window."""
    rows = mirror_indices(window.y0 - region.y0, window.height, region.height)
    columns = mirror_indices(window.x0 - region.x0, window.width, region.width)
    return torch.from_numpy(rows), torch.from_numpy(columns)


def resolve_windows(
    shape: Sequence[int],
    origin: tuple[int, int],
    window: Window | None,
    frame_shape: tuple[int, int],
) -> tuple[Window, Window]:
    """Check and return the window (default: the frame) and the region of an image (..., H, W)."""
    if len(shape) < 2 or 0 in shape:
        raise FrameMismatchError(
            f"An array of shape {tuple(shape)} is not an image; pass one of shape (..., H, W)."
        )
    region, frame = Window(*as_origin(origin), *shape[-2:]), Window.whole(frame_shape)
    if window is None and not region.contains(frame):
        raise FrameMismatchError(
            f"An image of {format_shape(shape[-2:])} pixels at {origin} does not cover the PSF "
            f"field's frame of {format_shape(frame_shape)} pixels; pass an image of the "
            "frame's size, or the window that it shows."
        )
    window = check_window(as_window(window or frame), frame_shape)
    if not region.contains(window):
        raise FrameMismatchError(
            f"An image that shows {region} does not cover {window}; pass a larger image, "
            "or choose a window inside it."
        )
    return window, region


def check_window(window: Window, frame_shape: tuple[int, int]) -> Window:
    """Window, if it is not empty and inside the frame."""
    if window.height < 1 or window.width < 1 or not Window.whole(frame_shape).contains(window):
        raise FrameMismatchError(
            f"{window} is not inside the frame of {format_shape(frame_shape)} pixels; "
            "choose another."
        )
    return window


def as_tensor(image: Array) -> tuple[Tensor, Callable[[Tensor], Array]]:
    """Tensor of an image in its float precision, and a function that converts back to its type."""
    if isinstance(image, Tensor):
        tensor = image if image.dtype == torch.float64 else image.float()
        return tensor, lambda result: cast(Array, result)
    if not isinstance(getattr(image, "dtype", None), np.dtype):
        raise PSFError(
            f"An image must be a NumPy array or a PyTorch tensor, got {type(image).__name__}; "
            "convert it, for example with numpy.asarray."
        )
    dtype = np.float64 if image.dtype.newbyteorder("=") == np.float64 else np.float32
    # Copied because torch does not accept read-only arrays, such as memory maps.
    native = np.array(image, dtype=dtype, order="C")
    return torch.from_numpy(native), lambda result: cast(Array, result.contiguous().numpy())
