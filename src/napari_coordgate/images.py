"""Images on disk: their pixels, their axes and the size of a pixel.

Axes are letters of TCZYX (time, channel, depth, row, column) and S (the samples
of a colour pixel), one for each axis of the array, Y before X.
"""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import DTypeLike, NDArray

from napari_coordgate.errors import ImageError, OutputError
from napari_coordgate.files import reserve, writing
from napari_coordgate.png import png_picture, read_png
from napari_coordgate.tiff import PixelSize, create_tiff, read_tiff, tiff_layout, write_tiff

__all__ = [
    "SUFFIXES",
    "Image",
    "create_image",
    "find_images",
    "planes",
    "read_image",
    "write_image",
]

SUFFIXES = (".tif", ".tiff", ".png", ".npy")

_AXES = "TCZYXS"


@dataclass(frozen=True, eq=False)
class Image:
    """Pixels, and what they stand for.

    Attributes
    ----------
    data : ndarray
        The pixels, of real numbers (bool too) in any byte order; a memory map
        where the file allows it.
    axes : str
        A letter of TCZYX or S for each axis of ``data``; Y before X.
    pixel_size_um : tuple of float, or None
        (y, x) size of a pixel in the object.
    path : Path, or None
        The file it was read from.

    Raises
    ------
    ImageError
        If the axes do not fit the pixels, or there are none.
    """

    data: NDArray[Any]
    axes: str
    pixel_size_um: PixelSize | None = None
    path: Path | None = None

    def __post_init__(self) -> None:
        """Check the pixels and the axes."""
        if self.data.dtype.kind not in "buif":
            raise ImageError(
                f"{self.name} holds {self.data.dtype} values; give an image of real numbers."
            )
        _check_axes(self.axes, self.data.shape, self.name)
        if self.data.size == 0:
            raise ImageError(f"{self.name} holds no pixels; give an image that does.")

    @property
    def name(self) -> str:
        """The file, or "The image" where there is none."""
        return "The image" if self.path is None else str(self.path)

    @property
    def frame_shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.data.shape[self.axes.index("Y")], self.data.shape[self.axes.index("X")]


def planes(image: Image) -> Iterator[tuple[int | slice, ...]]:
    """Walk through the planes of an image, whatever the order of its axes.

    Parameters
    ----------
    image : Image
        A single plane, or a stack of any axes; each colour sample is a plane.

    Yields
    ------
    tuple of int and slice
        ``image.data[index]`` is the plane, shape (H, W).
    """
    yield from itertools.product(
        *(
            [slice(None)] if letter in "YX" else range(length)
            for letter, length in zip(image.axes, image.data.shape, strict=True)
        )
    )


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
        raise ImageError(f"{folder} holds no images; give a folder of {_suffixes()} files.")
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


def write_image(path: str | Path, image: Image, overwrite: bool = False) -> None:
    """Write an image in the format that its name tells.

    ``.ome.tif`` is OME-TIFF; ``.tif`` opens in ImageJ where ImageJ has the
    pixel type, and is a plain TIFF otherwise (BigTIFF above 4 GB). Both keep
    axes and pixel size, though ImageJ's order of axes is TZCYXS, and axes of
    length 1 are left out when the file is read. ``.png`` and ``.npy`` keep the
    pixels alone.

    Parameters
    ----------
    path : str or Path
        The file, see `napari_coordgate.files.writing`.
    image : Image
        The image.
    overwrite : bool
        Replace a file of that name.

    Raises
    ------
    OutputError
        If the file exists, cannot be written, or its format cannot hold the image.
    """
    path = Path(path)
    write = _writer(path, image)
    with writing(path, overwrite) as temporary:
        write(temporary)


@contextmanager
def create_image(
    path: str | Path,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    axes: str,
    pixel_size_um: PixelSize | None = None,
    overwrite: bool = False,
) -> Iterator[NDArray[Any]]:
    """Write an image piece by piece, larger than memory if need be.

    Parameters
    ----------
    path : str or Path
        TIFF or .npy, as in `write_image`. It appears under its name at the end.
    shape : tuple of int
        Shape of the image.
    dtype : data type
        Type of its pixels.
    axes : str
        Letters of its axes.
    pixel_size_um : tuple of float, optional
        (y, x) size of a pixel.
    overwrite : bool
        Replace a file of that name.

    Yields
    ------
    ndarray, shape ``shape``
        Zeros to be filled in, mapped from the file; not to be used afterwards.

    Raises
    ------
    ImageError
        If the axes do not fit the shape.
    OutputError
        If the file exists, cannot be written, or its format cannot hold the image.
    """
    path, dtype = Path(path), np.dtype(dtype).newbyteorder("=")
    _check_axes(axes, shape, str(path))
    create = _creator(path, shape, dtype, axes, pixel_size_um)
    with writing(path, overwrite) as temporary:
        array = create(temporary)
        reserve(temporary)
        yield array
        array.flush()


def _check_file(path: Path) -> None:
    """Raise ImageError unless there is a file of a kind that we read."""
    if path.is_dir():
        raise ImageError(f"{path} is a folder; give an image file.")
    if not path.exists():
        raise ImageError(f"{path} does not exist; check the name.")
    if path.suffix.lower() not in SUFFIXES:
        raise ImageError(f"{path} is of no kind that can be read; give {_suffixes()}.")
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


def _check_axes(axes: str, shape: tuple[int, ...], name: str) -> None:
    """Raise ImageError unless the axes are a letter for each length, Y before X."""
    lengths = " x ".join(str(length) for length in shape)
    problem = None
    if len(axes) != len(shape):
        problem = f"are {len(axes)} letters for {len(shape)} axes ({lengths})"
    elif not set(axes) <= set(_AXES):
        problem = f"have letters other than {_AXES}"
    elif len(set(axes)) != len(axes):
        problem = "name one axis twice"
    elif not 0 <= axes.find("Y") < axes.find("X"):
        problem = "do not hold Y and then X"
    if problem:
        raise ImageError(f'{name}: the axes "{axes}" {problem}; state axes such as "TCYX".')


def _named_axes(letters: str, shape: tuple[int, ...], path: Path) -> str:
    """Axes with the unknown ones named, as `read_image` tells."""
    if not set("YX") <= set(letters):
        letters = {2: "YX", 3: "QYX"}.get(len(shape), letters)
        if len(shape) == 3 and shape[-1] in (3, 4):
            letters = "YXS"
    unknown = [letter for letter in letters if letter not in _AXES]
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
    colours = np.moveaxis(image.data, image.axes.index("S"), -1)
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


def _writer(path: Path, image: Image) -> Callable[[Path], None]:
    """Find what writes an image into a file that is to have this name."""
    match path.suffix.lower():
        case ".npy":
            return partial(_write_npy, data=image.data)
        case ".png":
            return partial(png_picture(path, image.data, image.axes).save, format="PNG")
        case ".tif" | ".tiff":
            layout = tiff_layout(
                path, image.data.shape, image.data.dtype, image.axes, image.pixel_size_um
            )
            return partial(write_tiff, data=image.data, layout=layout)
    raise _unknown_kind(path)


def _creator(
    path: Path,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    axes: str,
    pixel_size_um: PixelSize | None,
) -> Callable[[Path], np.memmap[Any, Any]]:
    """Find what maps into memory a new file that is to have this name."""
    match path.suffix.lower():
        case ".npy":
            return partial(open_memmap, mode="w+", dtype=dtype, shape=shape)
        case ".tif" | ".tiff" if dtype.kind != "b":
            layout = tiff_layout(path, shape, dtype, axes, pixel_size_um)
            return partial(create_tiff, shape=shape, dtype=dtype, layout=layout)
        case ".tif" | ".tiff" | ".png":
            raise OutputError(
                f"Cannot write {path} piece by piece: {dtype.name} pixels are packed in it; "
                "choose .npy."
            )
    raise _unknown_kind(path)


def _write_npy(path: Path, data: NDArray[Any]) -> None:
    """Write a NumPy file, whatever the case of its suffix."""
    with path.open("wb") as file:
        np.save(file, data, allow_pickle=False)


def _unknown_kind(path: Path) -> OutputError:
    return OutputError(f"Cannot write {path}: unknown kind of file; choose {_suffixes()}.")


def _suffixes() -> str:
    return ", ".join(SUFFIXES[:-1]) + " or " + SUFFIXES[-1]
