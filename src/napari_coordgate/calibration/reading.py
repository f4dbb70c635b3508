"""Images to measure on: files, folders, arrays, one or many."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.arrays import PixelArray
from napari_coordgate.errors import ImageError, SettingsError
from napari_coordgate.io import Image, as_image, find_images, is_image, is_pixel_array, read_images

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
            found += [image for file in files for image in read_images(file, axes)]
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


def plane_positions(image: Image, z_um: float | Sequence[float] | None) -> NDArray[np.float64]:
    """Defocus (P,) in um that each plane adds, zero in the middle of a stack of even steps."""
    count = image.data.shape[image.axes.index("Z")] if "Z" in image.axes else 1
    if count == 1:
        return np.zeros(1)
    step = image.z_step_um if z_um is None else z_um
    if step is None:
        raise ImageError(
            f"{image.name} is a stack of {count} planes whose distance is not known; give it "
            "(z_um, --z-um), or use one plane."
        )
    if np.ndim(step) == 0:
        step = [(plane - (count - 1) / 2.0) * float(np.asarray(step)) for plane in range(count)]
    positions: NDArray[np.float64] = np.asarray(step, np.float64)
    if positions.shape != (count,) or not np.isfinite(positions).all():
        raise SettingsError(
            f"z_um has {positions.size} values for the {count} planes of {image.name}; give one "
            "for each plane, or their distance."
        )
    return positions
