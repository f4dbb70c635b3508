"""Alignment of an image with the frame of a model or PSF field."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from skimage.transform import resize

from napari_coordgate.errors import DeviceMemoryError, FrameMismatchError
from napari_coordgate.geometry import Window, as_origin, format_shape
from napari_coordgate.io import Image
from napari_coordgate.io.image import check_square_pixels
from napari_coordgate.memory import free_host_memory
from napari_coordgate.model import Model
from napari_coordgate.optics import PSFField

PIXEL_SIZE_TOLERANCE = 0.01
"""Relative difference of height and width that the rounding of stated pixel sizes explains."""
FIELD_OF_VIEW_TOLERANCE = 0.02
"""Relative difference up to which two fields of view are considered the same."""

MAX_RESAMPLING = 4.0
"""Ratio of pixel sizes up to which an image is resampled to that of a lens."""

RESAMPLING_BYTES_PER_PIXEL = 16
"""Measured peak memory of resampling, per input and output pixel."""


class FrameAlignment(NamedTuple):
    """Window of the frame that an image shows, the frame, and a note for the user (may be empty).

    The window and the image differ in shape if the image shows the whole frame at another size.
    """

    window: Window
    frame_shape: tuple[int, int]
    note: str = ""


def align_to_frame(
    image: Image,
    model: Model | PSFField,
    origin: tuple[int, int] | None = None,
    *,
    whole_frame: bool = False,
) -> FrameAlignment:
    """Window of the frame of a model or PSF field that an image shows, from its first pixel.

    An image of another size is taken for the whole frame if the pixel sizes say so, or, where
    they are unknown, if ``whole_frame`` is set: it could as well be a window.
    """
    what = "model" if isinstance(model, Model) else "PSF field"
    frame = Window.whole(model.frame_shape)
    shape, name = image.frame_shape, image.name
    window = frame if origin is None else Window(*as_origin(origin), *shape)
    if not frame.contains(window):
        if not _fits(shape, frame):
            raise _mismatch(image, model)
        last = ", ".join(str(n - m) for n, m in zip(frame.shape, shape, strict=True))
        raise FrameMismatchError(
            f"{name}: a window of {format_shape(shape)} pixels at {origin} exceeds the {what}'s "
            f"frame of {format_shape(frame.shape)} pixels; correct the origin, which is at most "
            f"({last})."
        )
    is_known = image.pixel_size_um is not None and model.pixel_size_um is not None
    same_view = _is_same_view(image, model, window)
    if window.shape == shape and same_view:
        return FrameAlignment(window, frame.shape)
    if window.shape == shape:
        check_square_pixels(image, model.pixel_size_um, what)
        return FrameAlignment(
            window,
            frame.shape,
            f"{name} has a pixel size of {image.pixel_size_um} um, but the {what} is for "
            f"{model.pixel_size_um} um: the blur may differ.",
        )
    if same_view and (is_known or whole_frame):
        return FrameAlignment(
            window,
            frame.shape,
            f"{name} is {format_shape(shape)} pixels and is assumed to show the whole frame of "
            f"{format_shape(frame.shape)} pixels: it is resampled to that size, deblurred and "
            "resampled back.",
        )
    raise _mismatch(image, model, can_be_whole=same_view)


def lens_frame(image: Image, pixel_size_um: float | None) -> tuple[int, int]:
    """Frame (height, width) that an image shows, in the pixels of a lens, if both are known.

    FrameMismatchError if they differ too much for the image to be resampled.
    """
    if image.pixel_size_um is None or pixel_size_um is None:
        return image.frame_shape
    ratio = np.divide(image.pixel_size_um, pixel_size_um)
    if np.all(np.abs(ratio - 1) < FIELD_OF_VIEW_TOLERANCE):
        return image.frame_shape
    if ratio.max() > MAX_RESAMPLING or ratio.min() < 1 / MAX_RESAMPLING:
        y, x = image.pixel_size_um
        raise FrameMismatchError(
            f"{image.name} has pixels of {y:g} x {x:g} um, but the lens is for {pixel_size_um:g} "
            "um; correct the one that is wrong, or describe the lens for these pixels."
        )
    height, width = (round(n * r) for n, r in zip(image.frame_shape, ratio.tolist(), strict=True))
    return max(1, height), max(1, width)


def _fits(shape: tuple[int, int], frame: Window) -> bool:
    return frame.contains(Window(0, 0, *shape))


def _mismatch(
    image: Image, model: Model | PSFField, *, can_be_whole: bool = False
) -> FrameMismatchError:
    """Error for an image that is not the frame, with the advice that can be followed."""
    is_model, frame = isinstance(model, Model), Window.whole(model.frame_shape)
    advice = [f"{'train a model' if is_model else 'create a PSF field'} for this frame"]
    if can_be_whole:
        advice.insert(0, "say that it shows the whole frame, binned (whole_frame, --whole-frame)")
    if _fits(image.frame_shape, frame):
        advice.insert(0, "give the origin of the window that the image shows (origin, --origin)")
    return FrameMismatchError(
        f"{image.name} is {format_shape(image.frame_shape)} pixels, but the "
        f"{'model' if is_model else 'PSF field'} is for a frame of {format_shape(frame.shape)} "
        f"pixels; {', or '.join(advice)}."
    )


def _is_same_view(image: Image, model: Model | PSFField, window: Window) -> bool:
    """Whether an image can show this window of the frame, by its shape and pixel size."""
    views = np.divide(image.frame_shape, window.shape)
    rounding = 1 / min(*image.frame_shape, *window.shape)
    tolerance = math.inf
    if image.pixel_size_um is not None and model.pixel_size_um is not None:
        views *= np.divide(image.pixel_size_um, model.pixel_size_um)
        tolerance, rounding = FIELD_OF_VIEW_TOLERANCE, max(rounding, PIXEL_SIZE_TOLERANCE)
    is_alike = abs(views[0] / views[1] - 1) <= rounding
    return bool(is_alike and np.all(np.abs(views - 1) < tolerance))


def resample(plane: NDArray[Any], shape: tuple[int, int], name: str) -> NDArray[np.float32]:
    """Plane (H, W) resampled to a shape by cubic splines; ``name`` is for error messages."""
    required = RESAMPLING_BYTES_PER_PIXEL * (plane.size + math.prod(shape))
    try:
        if required > free_host_memory():
            raise MemoryError
        resampled: NDArray[np.float32] = resize(
            plane.astype(np.float32), shape, order=3, mode="symmetric"
        )
    except MemoryError:
        raise DeviceMemoryError(
            f"{name}: resampling from {format_shape(plane.shape)} to {format_shape(shape)} pixels "
            f"needs {required / 1e9:.1f} GB of memory, more than is free; resample it to the "
            "frame's size beforehand."
        ) from None
    return resampled
