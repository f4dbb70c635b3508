"""Reading images from disk."""

from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from napari_coordgate.arrays import PixelArray
from napari_coordgate.errors import ImageError
from napari_coordgate.io.image import AXES, Image, alpha_sample, plane_indices
from napari_coordgate.io.lazy import FileSnapshot, RawFileArray, SubsetArray, read_error
from napari_coordgate.io.metadata import ImageMetadata
from napari_coordgate.io.microscopes import MICROSCOPE_SUFFIXES, read_microscope
from napari_coordgate.io.ome_zarr import is_zarr, read_ome_zarr
from napari_coordgate.io.png_jpeg import PNG_JPEG_SUFFIXES, read_png_jpeg
from napari_coordgate.io.tiff import read_tiff

IMAGE_SUFFIXES = (".tif", ".tiff", ".zarr", *PNG_JPEG_SUFFIXES, ".npy", *MICROSCOPE_SUFFIXES)
"""Suffixes of images that can be read; ``.zarr`` is a folder, all others are files."""

_BAND_BYTES = 2**26


def is_image(path: str | Path) -> bool:
    """Whether a path is a visible file, or zarr folder, with the suffix of an image."""
    path = Path(path)
    suffix = path.suffix.lower()
    exists = path.is_dir() if suffix == ".zarr" else path.is_file()
    return suffix in IMAGE_SUFFIXES and not path.name.startswith(".") and exists


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


def read_image(path: str | Path, axes: str | None = None) -> Image:
    """Read an image with its axes, physical sizes, channel names and optics.

    Pixels are loaded when they are accessed, and only the windows accessed (PNG and JPEG are
    loaded at once). Of several images in a file, the first is read, at full resolution. If the
    file does not state its axes, two are YX, and a third is S if it is last and 3 or 4 long (a
    color image), else Z. An alpha channel that is opaque everywhere is dropped, and so are axes
    of length 1 that a TIFF writer added.

    Parameters
    ----------
    path : str or Path
        TIFF, OME-TIFF, ImageJ TIFF, OME-Zarr 0.4 or 0.5, PNG, JPEG, NumPy's .npy; CZI, ND2 and
        LIF if the corresponding extra is installed. Missing zarr chunks have the fill value.
    axes : str, optional
        Axes that replace those of the file, letters of TCZYXS.

    Returns
    -------
    Image
        The image. Accessing its pixels raises ImageError if the file is damaged there, or was
        changed after it was opened.

    Raises
    ------
    ImageError
        If the file is missing, damaged, incomplete, of another format, or its axes are unclear.

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
    path = Path(path)
    try:
        _check_file(path)
        data, letters, metadata = _read(path)
    except ImageError:
        raise
    except Exception as error:  # a damaged file can make a reader fail in any way
        raise read_error(path, error) from error
    letters = _complete_axes(letters, data.shape, path) if axes is None else axes.upper()
    num_channels = data.shape[letters.find("C")] if "C" in letters else 1
    stated = metadata.for_channels(num_channels)._asdict()
    return _drop_opaque_alpha(Image(data, letters, path=path, **stated))


def _suffix_list() -> str:
    """Suffixes of images, as a part of a sentence."""
    return ", ".join(IMAGE_SUFFIXES[:-1]) + " or " + IMAGE_SUFFIXES[-1]


def _check_file(path: Path) -> None:
    """Raise ImageError unless there is a file of a format that can be read."""
    if path.is_dir():
        if not is_zarr(path):
            raise ImageError(f"{path} is a folder; use an image file.")
        return
    if not path.exists():
        raise ImageError(f"{path} does not exist; check the name.")
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise ImageError(f"{path} is not a supported image file; use {_suffix_list()}.")
    if path.suffix.lower() == ".zarr":
        raise ImageError(f"{path} is a file; an OME-Zarr image is a folder: unpack or copy it.")
    if path.stat().st_size == 0:
        raise ImageError(f"{path} is empty (0 bytes); copy or export it again.")


def _read(path: Path) -> tuple[PixelArray, str, ImageMetadata]:
    """Pixels, axes as far as the file names them, and metadata."""
    if path.is_dir():
        return read_ome_zarr(path)
    if path.suffix.lower() == ".npy":
        return _read_npy(path), "", ImageMetadata()
    if path.suffix.lower() in PNG_JPEG_SUFFIXES:
        pixels = read_png_jpeg(path)
        return pixels, "YXS"[: pixels.ndim], ImageMetadata()
    if path.suffix.lower() in MICROSCOPE_SUFFIXES:
        return read_microscope(path)
    return read_tiff(path)


def _read_npy(path: Path) -> PixelArray:
    # NumPy's memory map parses the header, and refuses a file that is shorter than it claims.
    mapped: np.memmap[tuple[int, ...], np.dtype[np.generic]] = open_memmap(path, mode="r")
    if not mapped.flags.c_contiguous:
        return np.array(mapped)
    return RawFileArray(FileSnapshot(path), mapped.offset, mapped.shape, mapped.dtype)


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
    letters, metadata = image.axes.replace("S", ""), image.metadata._asdict()
    if alpha == 1:
        gray = image.pixels.take(0, image.axes.index("S"))
        return Image(gray, letters, path=image.path, **metadata)
    colors = SubsetArray(image.data, {image.axes.index("S"): range(alpha)}, image.path)
    data = np.asarray(colors) if isinstance(image.data, np.ndarray) else colors
    return Image(data, image.axes, path=image.path, **metadata)


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
