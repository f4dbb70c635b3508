"""Reading images from disk."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from napari_coordgate.arrays import PixelArray
from napari_coordgate.errors import ImageError
from napari_coordgate.io.image import (
    AXES,
    Image,
    alpha_sample,
    check_axes,
    plane_indices,
    selected_elements,
)
from napari_coordgate.io.lazy import FileSnapshot, RawFileArray, SubsetArray, read_error
from napari_coordgate.io.metadata import ImageMetadata
from napari_coordgate.io.microscopes import MICROSCOPE_SUFFIXES, microscope_scenes
from napari_coordgate.io.ome_zarr import is_zarr, zarr_scenes
from napari_coordgate.io.png_jpeg import PNG_JPEG_SUFFIXES, read_png_jpeg
from napari_coordgate.io.scenes import Content, Scene, name_scenes
from napari_coordgate.io.tiff import tiff_scenes
from napari_coordgate.io.zarr_stores import RemotePath, as_path, is_zip
from napari_coordgate.opening import check_claim, check_regular, regular

IMAGE_SUFFIXES = (".tif", ".tiff", ".zarr", *PNG_JPEG_SUFFIXES, ".npy", *MICROSCOPE_SUFFIXES)
"""Suffixes of images that can be read; ``.zarr`` is a folder, all others are files."""

_BAND_BYTES = 2**26
_MAX_PLANES, _MAX_SIDE = 1_000_000, 2**31 - 1
"""Planes of an image, which are listed, and its sides in pixels."""


def is_image(path: str | Path) -> bool:
    """Whether a path is a visible file, or zarr folder, with the suffix of an image."""
    path = Path(path)
    suffix = path.suffix.lower()
    exists = path.is_dir() if suffix == ".zarr" else path.is_file()
    is_known = suffix in IMAGE_SUFFIXES or is_zip(path)
    return is_known and not path.name.startswith(".") and exists


def find_images(folder: str | Path) -> list[Path]:
    """Images in a folder, sorted by name, without subfolders; ImageError if there are none."""
    folder = Path(folder)
    try:
        found = sorted(path for path in folder.iterdir() if is_image(path))
    except OSError as error:
        raise ImageError(f"{folder} is not a folder that can be read; check the name.") from error
    if not found:
        raise ImageError(f"{folder} has no images; use a folder of {_suffix_list()} files.")
    return found


def read_image(
    path: str | Path, axes: str | None = None, *, scene: str | int | None = None
) -> Image:
    """Read an image with its axes, physical sizes, channel names and optics.

    Pixels are loaded when they are accessed, and only the windows accessed (PNG and JPEG are
    loaded at once). Of several images in a file, the first is read unless ``scene`` selects
    another; `read_images` reads all. If the file does not state its axes, two are YX, and a third
    is S if it is last and 3 or 4 long (a color image), else Z. An alpha channel that is opaque
    everywhere is dropped, and so are axes of length 1 that a TIFF writer added.

    Parameters
    ----------
    path : str or Path
        TIFF, OME-TIFF, ImageJ TIFF, OME-Zarr 0.4 or 0.5, PNG, JPEG, NumPy's .npy; CZI, ND2 and
        LIF if the corresponding extra is installed. OME-Zarr may be a folder, a ``.zarr.zip``, or
        with the extra "remote" an address (``https://``, ``s3://``). Missing zarr chunks have the
        fill value.
    axes : str, optional
        Axes that replace those of the file, letters of TCZYXS.
    scene : str or int, optional
        Name, or number from 0, of an image of a file that has several.

    Returns
    -------
    Image
        The image at full resolution. Accessing its pixels raises ImageError if the file is
        damaged there, or was changed after it was opened.

    Raises
    ------
    ImageError
        If the file is missing, damaged, incomplete, of another format, or its axes are unclear.

    Warns
    -----
    UserWarning
        If the file has several images, and none is selected.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from napari_coordgate.io import write_image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     stack = Image(np.ones((5, 64, 48), "uint16"), "ZYX", pixel_size_um=(0.1, 0.1))
    ...     write_image(f"{folder}/stack.ome.tif", stack)
    ...     image = read_image(f"{folder}/stack.ome.tif")
    ...     print(image.axes, image.pixel_size_um, image.data[2, :3, :4].shape)
    ZYX (0.1, 0.1) (3, 4)
    """
    path = as_path(path)
    scenes = find_scenes(path)
    if scene is None and len(scenes) > 1:
        warnings.warn(
            f"{path} has {len(scenes)} images; only the first one is read, scene "
            f"{scenes[0].name} (scene=, or read_images for all)",
            stacklevel=2,
        )
    return open_scene(path, scenes, scene or 0, axes)


def _scene_number(names: Sequence[str], scene: str | int, path: Path) -> int:
    """Number of a scene; an integer is a number even if it is the name of another one."""
    if isinstance(scene, int) and 0 <= scene < len(names):
        return scene
    return select_scenes(names, str(scene), path)[0]


def read_images(
    path: str | Path, axes: str | None = None, *, scenes: str | None = None
) -> list[Image]:
    """Read all images of a file: scenes, positions, series, or the fields of a plate.

    Images are read as `read_image` does. Thumbnails, slide labels and lower resolution levels are
    left out. Positions of Micro-Manager, and images of an OME-TIFF in several files, are found
    from each of the files.

    Parameters
    ----------
    path : str or Path
        The file; or the folder of an OME-Zarr image, plate, well, or series of images.
    axes : str, optional
        Axes that replace those of the file, letters of TCZYXS.
    scenes : str, optional
        Images to read: numbers from 0, ranges such as ``0:3``, and names, separated by commas.

    Returns
    -------
    list of Image
        The images, with their names as `Image.scene` if there are several.

    Raises
    ------
    ImageError
        If one of them cannot be read, see `read_image`, or a selected one does not exist.

    Warns
    -----
    UserWarning
        If images are missing, because the acquisition was stopped; the others are read.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import tifffile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with tifffile.TiffWriter(f"{folder}/positions.ome.tif") as file:
    ...         for name in ("left", "right"):
    ...             file.write(np.ones((64, 48)), metadata={"axes": "YX", "Name": name})
    ...     print([image.scene for image in read_images(f"{folder}/positions.ome.tif")])
    ['left', 'right']
    """
    path = as_path(path)
    found = find_scenes(path)
    chosen = select_scenes([scene.name for scene in found], scenes, path)
    missing = [scene.name for scene in found if scene.is_missing]
    if scenes is None and 0 < len(missing) < len(found):
        warnings.warn(
            f"{path}: the pixels of {', '.join(missing)} are missing; the other scenes are read",
            stacklevel=2,
        )
        chosen = [number for number in chosen if not found[number].is_missing]
    return [open_scene(path, found, number, axes) for number in chosen]


def find_scenes(path: Path) -> list[Scene]:
    """Images of a file, at least one; opens the file, and reads no pixels."""
    path = as_path(path)
    try:
        _check_file(path)
        return name_scenes(_scenes(path))
    except ImageError:
        raise
    except Exception as error:  # a damaged file can make a reader fail in any way
        raise read_error(path, error) from error


def select_scenes(names: Sequence[str], text: str | None, path: Path) -> Sequence[int]:
    """Numbers of the scenes that a text selects, all if it is None; ImageError if none exist."""
    if text is None:
        return range(len(names))
    return selected_elements(text, "scene", len(names), names, str(path))


def open_scene(
    path: Path, scenes: Sequence[Scene], scene: str | int, axes: str | None = None
) -> Image:
    """Open the image with a name or number among the scenes of a file; reads no pixels."""
    path = as_path(path)
    found = scenes[_scene_number([one.name for one in scenes], scene, path)]
    try:
        data, letters, metadata = found.read()
    except ImageError:
        raise
    except Exception as error:  # a damaged file can make a reader fail in any way
        raise read_error(path, error) from error
    name = found.name if len(scenes) > 1 else None
    letters = _complete_axes(letters, data.shape, path) if axes is None else axes.upper()
    check_axes(letters, data.shape, str(path))
    _check_number(letters, data.shape, path)
    num_channels = data.shape[letters.index("C")] if "C" in letters else 1
    stated = metadata.for_channels(num_channels)._asdict()
    return _drop_opaque_alpha(Image(data, letters, path=path, scene=name, **stated))


def _check_number(axes: str, shape: tuple[int, ...], path: Path) -> None:
    """Raise ImageError if an image claims more planes or longer sides than can be listed."""
    planes = math.prod(n for n, axis in zip(shape, axes, strict=True) if axis not in "YXS")
    if planes > _MAX_PLANES or max(shape) > _MAX_SIDE:
        lengths = " x ".join(map(str, shape))
        raise ImageError(f"{path} claims {lengths} pixels, too many to be listed; save a part.")


def _suffix_list() -> str:
    """Suffixes of images, as a part of a sentence."""
    return ", ".join(IMAGE_SUFFIXES[:-1]) + " or " + IMAGE_SUFFIXES[-1]


def _check_file(path: Path) -> None:
    """Raise ImageError unless there is a file of a format that can be read."""
    if isinstance(path, RemotePath) or (is_zip(path) and path.is_file()):
        return
    if path.is_dir():
        if not is_zarr(path):
            raise ImageError(f"{path} is a folder; use an image file.")
        return
    if not path.exists():
        raise ImageError(f"{path} does not exist; check the name.")
    check_regular(path)
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise ImageError(f"{path} is not a supported image file; use {_suffix_list()}.")
    if path.suffix.lower() == ".zarr":
        raise ImageError(f"{path} is a file; an OME-Zarr image is a folder: unpack or copy it.")
    if path.stat().st_size == 0:
        raise ImageError(f"{path} is empty (0 bytes); copy or export it again.")


def _scenes(path: Path) -> list[Scene]:
    """Images of a file, as its format has them."""
    if path.is_dir() or isinstance(path, RemotePath) or is_zip(path):
        return zarr_scenes(path)
    if path.suffix.lower() == ".npy":
        return [Scene("", partial(_read_npy, path), path)]
    if path.suffix.lower() in PNG_JPEG_SUFFIXES:
        return [Scene("", partial(_read_png_jpeg, path), path)]
    if path.suffix.lower() in MICROSCOPE_SUFFIXES:
        return microscope_scenes(path)
    return tiff_scenes(path)


def _read_png_jpeg(path: Path) -> Content:
    pixels = read_png_jpeg(path)
    return pixels, "YXS"[: pixels.ndim], ImageMetadata()


def _read_npy(path: Path) -> Content:
    return _npy_pixels(path), "", ImageMetadata()


def _npy_pixels(path: Path) -> PixelArray:
    with open(path, "rb", opener=regular) as file:
        version = npy.read_magic(file)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, is_fortran, dtype = read_header(file)
        offset = file.tell()
    if dtype.hasobject:
        raise ValueError("it has Python objects instead of numbers")
    if min(shape, default=0) < 0:
        raise ValueError(f"its shape is {shape}")
    shape = tuple(map(int, shape))  # True and False are numbers to the library
    stored = RawFileArray(FileSnapshot(path), offset, shape[::-1] if is_fortran else shape, dtype)
    if not is_fortran:
        return stored
    check_claim(
        math.prod(shape) * dtype.itemsize, "as its axes are in reverse order, it is read at once:"
    )
    return stored[...].T


def _complete_axes(letters: str, shape: tuple[int, ...], path: Path) -> str:
    """Axes with unknown ones named as `read_image` documents; ImageError if they are unclear."""
    if not set("YX") <= set(letters):
        letters = {2: "YX", 3: "QYX"}.get(len(shape), letters)
        if len(shape) == 3 and shape[-1] in (3, 4):
            letters = "YXS"
    unknown = [letter for letter in letters if letter not in AXES]
    if len(unknown) == 1 and "Z" not in letters:
        return letters.replace(unknown[0], "Z")
    if unknown or not letters:
        lengths = " x ".join(str(length) for length in shape)
        raise ImageError(f'{path} does not state its axes ({lengths}); state them, as in "TCYX".')
    return letters


def _drop_opaque_alpha(image: Image) -> Image:
    """Image without its alpha channel, if that is opaque everywhere."""
    alpha = alpha_sample(image)
    if alpha is None or not _is_opaque(image):
        return image
    if alpha == 1:
        gray = image.pixels.take(0, image.axes.index("S"))
        return replace(image, data=gray, axes=image.axes.replace("S", ""))
    colors = SubsetArray(image.data, {image.axes.index("S"): range(alpha)}, image.path)
    data = np.asarray(colors) if isinstance(image.data, np.ndarray) else colors
    return replace(image, data=data)


def _is_opaque(image: Image) -> bool:
    """Whether the last color sample has its maximum everywhere; loaded in bands."""
    axis = image.axes.index("S")
    last, maximum = image.data.shape[axis] - 1, np.iinfo(image.data.dtype).max
    height, width = image.frame_shape
    rows = max(1, _BAND_BYTES // (width * (last + 1) * image.data.dtype.itemsize))
    return all(
        (image.view(index)[top : top + rows, :] == maximum).all()
        for index in plane_indices(image)
        if index[axis] == last
        for top in range(0, height, rows)
    )
