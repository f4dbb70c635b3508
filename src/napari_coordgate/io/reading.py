"""Images read from disk."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap

from napari_coordgate.errors import ImageError
from napari_coordgate.io.image import AXES, Image, PixelArray, planes
from napari_coordgate.io.lazy import RawFileArray, Source, SubsetArray, unreadable
from napari_coordgate.io.metadata import Metadata
from napari_coordgate.io.microscopes import MICROSCOPES, read_microscope
from napari_coordgate.io.ome_zarr import is_zarr, read_ome_zarr
from napari_coordgate.io.pictures import PICTURES, read_picture
from napari_coordgate.io.tiff import read_tiff

__all__ = ["SUFFIXES", "find_images", "is_image", "read_image"]

SUFFIXES = (".tif", ".tiff", ".zarr", *PICTURES, ".npy", *MICROSCOPES)
"""Ends of the names of what can be read; ``.zarr`` is a folder, all others are files."""

_BAND_BYTES = 2**26


def is_image(path: str | Path) -> bool:
    """Whether a path has the name of an image: of a file, or of a folder that is a zarr store.

    Parameters
    ----------
    path : str or Path
        The path. What is hidden is no image.

    Returns
    -------
    bool
        The answer; nothing is opened.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    is_right = path.is_dir() if suffix == ".zarr" else path.is_file()
    return suffix in SUFFIXES and not path.name.startswith(".") and is_right


def find_images(folder: str | Path) -> list[Path]:
    """Images of a folder that `read_image` reads, by their names.

    Parameters
    ----------
    folder : str or Path
        The folder; its own folders are left alone but for zarr stores, and so is what
        is hidden.

    Returns
    -------
    list of Path
        In alphabetical order.

    Raises
    ------
    ImageError
        If there is no such folder, or no image in it.
    """
    folder = Path(folder)
    try:
        found = sorted(path for path in folder.iterdir() if is_image(path))
    except OSError as error:
        raise ImageError(f"{folder} is not a folder that can be read; check the name.") from error
    if not found:
        raise ImageError(f"{folder} holds no images; give a folder of {_suffixes()} files.")
    return found


def read_image(path: str | Path, axes: str | None = None) -> Image:
    """Read an image, with its axes, sizes and names where the file tells them.

    Where a file does not name its axes, two are YX; a third one is S if it
    stands last and is 3 or 4 long (a color image), else Z (a stack). An alpha
    channel that is opaque everywhere is left out, and so are axes of length 1
    that a TIFF writer put in. Bool stays bool.

    Parameters
    ----------
    path : str or Path
        TIFF, OME-TIFF, ImageJ TIFF, OME-Zarr 0.4 or 0.5, PNG, JPEG, NumPy's .npy, or
        CZI, ND2 and LIF where the extra for it is installed. But for PNG and JPEG, pixels
        are loaded when they are asked for, and no more of them. Of several images the first
        is read, at its full resolution. Chunks that a zarr store lacks are read as its fill
        value, as its specification says.
    axes : str, optional
        Letters to use in place of the file's own.

    Returns
    -------
    Image
        The image; `ImageError` when its pixels are loaded tells that the file is damaged
        there, or changed in the meantime.

    Raises
    ------
    ImageError
        If the file is missing, damaged, incomplete, of another kind, or its axes are unclear.
    """
    path = Path(path)
    try:
        _check_file(path)
        data, letters, metadata = _read(path)
    except ImageError:
        raise
    except Exception as error:  # a damaged file can make a reader stumble in any way
        raise unreadable(path, error) from error
    letters = _named_axes(letters, data.shape, path) if axes is None else axes.upper()
    if len(metadata.channels) != (data.shape[letters.find("C")] if "C" in letters else 1):
        metadata = metadata._replace(channels=())
    whole = Image(data, letters, path=path, **metadata._asdict())
    return _without_opaque_alpha(whole)


def _suffixes() -> str:
    """Kinds of files that are images, as a part of a sentence."""
    return ", ".join(SUFFIXES[:-1]) + " or " + SUFFIXES[-1]


def _check_file(path: Path) -> None:
    """Raise ImageError unless there is a file of a kind that we read."""
    if path.is_dir():
        if not is_zarr(path):
            raise ImageError(f"{path} is a folder; give an image file.")
        return
    if not path.exists():
        raise ImageError(f"{path} does not exist; check the name.")
    if path.suffix.lower() not in SUFFIXES:
        raise ImageError(f"{path} is of no kind that can be read; give {_suffixes()}.")
    if path.suffix.lower() == ".zarr":
        raise ImageError(f"{path} is a file; an OME-Zarr image is a folder: unpack or copy it.")
    if path.stat().st_size == 0:
        raise ImageError(f"{path} is empty (0 bytes); copy or export it again.")


def _named_axes(letters: str, shape: tuple[int, ...], path: Path) -> str:
    """Axes with the unknown ones named, as `read_image` tells."""
    if not set("YX") <= set(letters):
        letters = {2: "YX", 3: "QYX"}.get(len(shape), letters)
        if len(shape) == 3 and shape[-1] in (3, 4):
            letters = "YXS"
    unknown = [letter for letter in letters if letter not in AXES]
    if len(unknown) == 1 and "Z" not in letters:
        return letters.replace(unknown[0], "Z")
    if unknown or not letters:
        lengths = " x ".join(str(length) for length in shape)
        raise ImageError(f'{path} does not name its axes ({lengths}); state them, as in "TCYX".')
    return letters


def _without_opaque_alpha(image: Image) -> Image:
    """Leave out an alpha channel that says nothing: it is no image to work on."""
    samples = image.data.shape[image.axes.index("S")] if "S" in image.axes else 0
    if samples not in (2, 4) or image.data.dtype.kind != "u" or not _is_opaque(image):
        return image
    letters, metadata = image.axes.replace("S", ""), image.metadata._asdict()
    if samples == 2:
        gray = image.pixels.take(0, image.axes.index("S"))
        return Image(gray, letters, path=image.path, **metadata)
    colors = SubsetArray(image.data, {image.axes.index("S"): range(3)}, image.path)
    data = np.asarray(colors) if isinstance(image.data, np.ndarray) else colors
    return Image(data, image.axes, path=image.path, **metadata)


def _is_opaque(image: Image) -> bool:
    """Whether the last of the samples has its largest value everywhere; loaded by bands."""
    place = image.axes.index("S")
    last, largest = image.data.shape[place] - 1, np.iinfo(image.data.dtype).max
    height, width = image.frame_shape
    rows = max(1, _BAND_BYTES // (width * (last + 1) * image.data.dtype.itemsize))
    return all(
        (image.view(index)[top : top + rows, :] == largest).all()
        for index in planes(image)
        if index[place] == last
        for top in range(0, height, rows)
    )


def _read(path: Path) -> tuple[PixelArray, str, Metadata]:
    """Pixels, axes as far as the file tells them, sizes and names."""
    if path.is_dir():
        return read_ome_zarr(path)
    if path.suffix.lower() == ".npy":
        return _read_npy(path), "", Metadata()
    if path.suffix.lower() in PICTURES:
        pixels = read_picture(path)
        return pixels, "YXS"[: pixels.ndim], Metadata()
    if path.suffix.lower() in MICROSCOPES:
        return read_microscope(path)
    return read_tiff(path)


def _read_npy(path: Path) -> PixelArray:
    # NumPy's map of the file tells what is where, and refuses what claims more than there is.
    mapped: np.memmap[Any, Any] = open_memmap(path, mode="r")
    if not mapped.flags.c_contiguous:
        return np.array(mapped)
    return RawFileArray(Source(path), mapped.offset, mapped.shape, mapped.dtype)
