"""Images in memory and on disk: pixels, axes, physical sizes and channel names."""

from napari_coordgate.arrays import PixelArray, WritablePixelArray
from napari_coordgate.io.image import (
    Image,
    PlaneIndex,
    PlaneView,
    StackIndex,
    as_image,
    as_pixel_array,
    is_pixel_array,
    middle_plane_index,
    plane_indices,
    stack_index,
    subsample,
)
from napari_coordgate.io.reading import IMAGE_SUFFIXES, find_images, is_image, read_image
from napari_coordgate.io.writing import create_image, write_image

__all__ = [
    "IMAGE_SUFFIXES",
    "Image",
    "PixelArray",
    "PlaneIndex",
    "PlaneView",
    "StackIndex",
    "WritablePixelArray",
    "as_image",
    "as_pixel_array",
    "create_image",
    "find_images",
    "is_image",
    "is_pixel_array",
    "middle_plane_index",
    "plane_indices",
    "read_image",
    "stack_index",
    "subsample",
    "write_image",
]
