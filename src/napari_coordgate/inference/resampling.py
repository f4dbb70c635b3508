"""Planes at another size than the frame that they show."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.transform import resize

from napari_coordgate.errors import DeviceMemoryError
from napari_coordgate.memory import free_host_memory

__all__ = ["resampled"]

BYTES_PER_PIXEL = 16
"""Memory that resampling takes for each pixel that comes in or out, bytes; measured."""


def resampled(plane: NDArray[Any], shape: tuple[int, int], name: str) -> NDArray[np.float32]:
    """Plane of the same view in another number of pixels.

    Parameters
    ----------
    plane : ndarray, shape (H, W)
        The plane, whole.
    shape : tuple of int
        (height, width) wanted, in pixels.
    name : str
        What the plane is called in an error.

    Returns
    -------
    ndarray of float32, of ``shape``
        Its pixels, by cubic splines.

    Raises
    ------
    DeviceMemoryError
        If the memory does not suffice.
    """
    need = BYTES_PER_PIXEL * (plane.size + math.prod(shape))
    try:
        if need > free_host_memory():
            raise MemoryError
        whole: NDArray[np.float32] = resize(
            plane.astype(np.float32), shape, order=3, mode="symmetric"
        )
    except MemoryError:
        sizes = " to ".join(f"{height}x{width}" for height, width in (plane.shape, shape))
        raise DeviceMemoryError(
            f"{name} is resampled whole, from {sizes} pixels, and the memory does not hold the "
            f"{need / 1e9:.1f} GB for it; resample it to the frame's size beforehand."
        ) from None
    return whole
