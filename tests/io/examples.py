"""Small images that differ from one another, for tests."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.io import Image

LENGTHS = {"T": 2, "C": 3, "Z": 4, "Y": 6, "X": 7, "S": 3}
DTYPES = ["?", "u1", "u2", "u4", "i2", "i4", "f2", "f4", "f8", ">u2", ">i4", ">f4", ">f8"]
PIXEL_SIZE_UM = (0.325, 0.11)


def numbers(axes: str, dtype: str = "u2") -> NDArray[Any]:
    shape = [LENGTHS[letter] for letter in axes]
    return (np.arange(np.prod(shape)).reshape(shape) % 251).astype(dtype)


def rearranged(image: Image, axes: str) -> NDArray[Any]:
    """Pixels of an image with its axes in another order."""
    assert sorted(image.axes) == sorted(axes)
    pixels: NDArray[Any] = image.pixels.transpose([image.axes.index(letter) for letter in axes])
    return pixels
