"""Images to measure on: files, folders, arrays, one or many."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_coordgate.arrays import PixelArray
from napari_coordgate.errors import ImageError
from napari_coordgate.io import Image, as_image, find_images, is_image, is_pixel_array, read_image

Images = str | Path | PixelArray | Image | Sequence[str | Path | PixelArray | Image]


def as_images(images: Images, axes: str | None = None) -> list[Image]:
    """Every image that is given as a file, a folder, an array or a sequence of these."""
    is_one = isinstance(images, str | Path | Image) or is_pixel_array(images)
    items: Any = [images] if is_one else images
    found: list[Image] = []
    for item in items:
        if isinstance(item, str | Path):
            path = Path(item)
            is_folder = path.is_dir() and not is_image(path)
            files = find_images(path) if is_folder else [path]
            found += [read_image(file, axes) for file in files]
        else:
            found.append(as_image(item, axes))
    if not found:
        raise ImageError("No image was given; name files or a folder, or pass arrays.")
    for image in found:
        if "S" in image.axes:
            raise ImageError(
                f"{image.name} is a color image, whose colors were mixed and rescaled; use the "
                "single channel that the camera recorded."
            )
    return found
