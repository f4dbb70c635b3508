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
from napari_coordgate.io.reading import (
    IMAGE_SUFFIXES,
    find_images,
    find_scenes,
    is_image,
    open_scene,
    read_image,
    read_images,
    select_scenes,
)
from napari_coordgate.io.scenes import Scene, file_name_part
from napari_coordgate.io.writing import create_image, write_image

__all__ = [
    "IMAGE_SUFFIXES",
    "Image",
    "OpticalMetadata",
    "PixelArray",
    "PlaneIndex",
    "PlaneView",
    "Scene",
    "StackIndex",
    "Stated",
    "WritablePixelArray",
    "as_image",
    "as_pixel_array",
    "calibration_facts",
    "create_image",
    "describe_sources",
    "file_name_part",
    "find_images",
    "find_lens",
    "find_scenes",
    "is_image",
    "is_pixel_array",
    "keep_lens",
    "kept_flat_field",
    "kept_lens_for",
    "kept_lenses",
    "lens_from_metadata",
    "lens_of_image",
    "middle_plane_index",
    "open_scene",
    "plane_indices",
    "process_planes",
    "read_image",
    "read_images",
    "save_lens",
    "select_scenes",
    "stack_index",
    "subsample",
    "write_image",
]
