"""Images in memory and on disk: pixels, axes, physical sizes, channel names and optics."""

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
from napari_coordgate.io.lens_library import (
    find_lens,
    keep_lens,
    kept_flat_field,
    kept_lens_for,
    kept_lenses,
    save_lens,
)
from napari_coordgate.io.lens_metadata import (
    calibration_facts,
    describe_sources,
    lens_from_metadata,
    lens_of_image,
)
from napari_coordgate.io.optical_metadata import OpticalMetadata, Stated
from napari_coordgate.io.processing import process_planes
from napari_coordgate.io.reading import IMAGE_SUFFIXES, find_images, is_image, read_image
from napari_coordgate.io.writing import create_image, write_image

__all__ = [
    "IMAGE_SUFFIXES",
    "Image",
    "OpticalMetadata",
    "PixelArray",
    "PlaneIndex",
    "PlaneView",
    "StackIndex",
    "Stated",
    "WritablePixelArray",
    "as_image",
    "as_pixel_array",
    "calibration_facts",
    "create_image",
    "describe_sources",
    "find_images",
    "find_lens",
    "is_image",
    "is_pixel_array",
    "keep_lens",
    "kept_flat_field",
    "kept_lens_for",
    "kept_lenses",
    "lens_from_metadata",
    "lens_of_image",
    "middle_plane_index",
    "plane_indices",
    "process_planes",
    "read_image",
    "save_lens",
    "stack_index",
    "subsample",
    "write_image",
]
