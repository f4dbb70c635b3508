"""Images written to disk, whole or piece by piece."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import DTypeLike, NDArray

from napari_coordgate.errors import OutputError
from napari_coordgate.files import reserve, writing
from napari_coordgate.images.image import Image, check_axes
from napari_coordgate.images.reading import suffixes
from napari_coordgate.png import png_picture
from napari_coordgate.tiff import PixelSize, create_tiff, tiff_layout, write_tiff

__all__ = ["create_image", "write_image"]


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
    check_axes(axes, shape, str(path))
    create = _creator(path, shape, dtype, axes, pixel_size_um)
    with writing(path, overwrite) as temporary:
        array = create(temporary)
        reserve(temporary)
        yield array
        array.flush()


def _writer(path: Path, image: Image) -> Callable[[Path], None]:
    """Find what writes an image into a file that is to have this name."""
    match path.suffix.lower():
        case ".npy":
            return partial(_write_npy, data=image.pixels)
        case ".png":
            return partial(png_picture(path, image.pixels, image.axes).save, format="PNG")
        case ".tif" | ".tiff":
            layout = tiff_layout(
                path, image.data.shape, image.data.dtype, image.axes, image.pixel_size_um
            )
            return partial(write_tiff, data=image.pixels, layout=layout)
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
    return OutputError(f"Cannot write {path}: unknown kind of file; choose {suffixes()}.")
