"""Images: their pixels, their axes and the size of a pixel, in memory and on disk.

Axes are letters of TCZYX (time, channel, depth, row, column) and S (the samples
of a color pixel), one for each axis of the array, Y before X.
"""

from napari_coordgate.io.image import (
    Image,
    PixelArray,
    PlaneView,
    as_image,
    as_pixels,
    is_pixels,
    middle_plane,
    planes,
    sampled,
)
from napari_coordgate.io.reading import SUFFIXES, find_images, is_image, read_image
from napari_coordgate.io.writing import create_image, write_image

__all__ = [
    "SUFFIXES",
    "Image",
    "PixelArray",
    "PlaneView",
    "as_image",
    "as_pixels",
    "create_image",
    "find_images",
    "is_image",
    "is_pixels",
    "middle_plane",
    "planes",
    "read_image",
    "sampled",
    "write_image",
]
