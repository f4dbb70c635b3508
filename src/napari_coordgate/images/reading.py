"""Images read from disk."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from napari_coordgate.errors import ImageError
from napari_coordgate.images.image import AXES, Image
from napari_coordgate.png import read_png
from napari_coordgate.tiff import PixelSize, read_tiff

__all__ = ["SUFFIXES", "find_images", "read_image", "suffixes"]

SUFFIXES = (".tif", ".tiff", ".png", ".npy")


def suffixes() -> str:
    """Kinds of files that are images, as a part of a sentence."""
    return ", ".join(SUFFIXES[:-1]) + " or " + SUFFIXES[-1]


def find_images(folder: str | Path) -> list[Path]:
    """Files of a folder that `read_image` reads, by their names.

    Parameters
    ----------
    folder : str or Path
        The folder; its own folders are left alone, and so are hidden files.

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
        found = sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
        )
    except OSError as error:
        raise ImageError(f"{folder} is not a folder that can be read; check the name.") from error
    if not found:
        raise ImageError(f"{folder} holds no images; give a folder of {suffixes()} files.")
    return found


def read_image(path: str | Path, axes: str | None = None) -> Image:
    """Read an image, with its axes and pixel size where the file tells them.

    Where a file does not name its axes, two are YX; a third one is S if it
    stands last and is 3 or 4 long (a colour image), else Z (a stack). An alpha
    channel that is opaque everywhere is left out, and so are axes of length 1
    that a TIFF writer put in. Bool stays bool.

    Parameters
    ----------
    path : str or Path
        TIFF, OME-TIFF, ImageJ TIFF, PNG or NumPy's .npy. NumPy files and
        uncompressed TIFF files are memory-mapped, not loaded. Of a file of
        several images the first is read, at its full resolution.
    axes : str, optional
        Letters to use in place of the file's own.

    Returns
    -------
    Image
        The image.

    Raises
    ------
    ImageError
        If the file is missing, damaged, incomplete, of another kind, or its axes are unclear.
    """
    path = Path(path)
    try:
        _check_file(path)
        data, letters, pixel_size_um = _read(path)
    except ImageError:
        raise
    except Exception as error:  # a damaged file can make a reader stumble in any way
        raise _unreadable(path, error) from error
    letters = _named_axes(letters, data.shape, path) if axes is None else axes.upper()
    whole = Image(data, letters, pixel_size_um, path)
    return _without_opaque_alpha(whole)


def _check_file(path: Path) -> None:
    """Raise ImageError unless there is a file of a kind that we read."""
    if path.is_dir():
        raise ImageError(f"{path} is a folder; give an image file.")
    if not path.exists():
        raise ImageError(f"{path} does not exist; check the name.")
    if path.suffix.lower() not in SUFFIXES:
        raise ImageError(f"{path} is of no kind that can be read; give {suffixes()}.")
    if path.stat().st_size == 0:
        raise ImageError(f"{path} is empty (0 bytes); copy or export it again.")


def _unreadable(path: Path, error: Exception) -> ImageError:
    if isinstance(error, OSError) and error.strerror:
        return ImageError(f"{path} cannot be read ({error.strerror.lower()}); check the file.")
    if isinstance(error, MemoryError):
        return ImageError(f"{path} does not fit into memory; save it as uncompressed TIFF.")
    reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    if "imagecodecs" in reason:
        return ImageError(
            f"{path} cannot be read ({reason}); install imagecodecs, or save it uncompressed."
        )
    return ImageError(
        f"{path} cannot be read ({reason}); it may be damaged, incomplete or of another kind: "
        "copy or export it again."
    )


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
    if samples not in (2, 4) or image.data.dtype.kind != "u":
        return image
    colours = np.moveaxis(image.pixels, image.axes.index("S"), -1)
    if (colours[..., -1] != np.iinfo(colours.dtype).max).any():
        return image
    letters = image.axes.replace("S", "")
    if samples == 2:
        return Image(colours[..., 0], letters, image.pixel_size_um, image.path)
    return Image(colours[..., :3], letters + "S", image.pixel_size_um, image.path)


def _read(path: Path) -> tuple[NDArray[Any], str, PixelSize | None]:
    """Pixels, axes as far as the file tells them, and pixel size."""
    if path.suffix.lower() == ".npy":
        return open_memmap(path, mode="r"), "", None
    if path.suffix.lower() == ".png":
        pixels = read_png(path)
        return pixels, "YXS"[: pixels.ndim], None
    return read_tiff(path)
