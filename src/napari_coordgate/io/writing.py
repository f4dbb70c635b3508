"""Images written to disk, whole or piece by piece."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import DTypeLike, NDArray

from napari_coordgate.errors import OutputError
from napari_coordgate.io.files import atomic_write, check_disk_space, preallocate
from napari_coordgate.io.image import Image, PlaneView, check_axes, planes
from napari_coordgate.io.ome_zarr import create_ome_zarr, is_zarr, zarr_layout
from napari_coordgate.io.pictures import png_picture
from napari_coordgate.io.tiff import create_tiff, tiff_layout, write_tiff

__all__ = ["create_image", "write_image"]

_BAND = 1024
"""Rows that are copied at a time."""


def write_image(path: str | Path, image: Image, overwrite: bool = False) -> None:
    """Write an image in the format that its name tells.

    ``.ome.tif`` is OME-TIFF; ``.tif`` opens in ImageJ where ImageJ has the
    pixel type, and is a plain TIFF otherwise (BigTIFF above 4 GB);
    ``.ome.zarr`` is a folder, OME-Zarr 0.5. They keep axes, sizes and names, though
    the order of axes is TZCYXS in ImageJ and TCZYX in OME-Zarr, where color samples are
    channels, and TIFF drops axes of length 1 when it is read. ``.png`` and ``.npy`` keep
    the pixels alone.

    Parameters
    ----------
    path : str or Path
        The file, see `napari_coordgate.io.files.atomic_write`.
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
    if path.suffix.lower() == ".zarr":
        with create_image(path, image, overwrite=overwrite) as out:
            for index in planes(image):
                source, target = image.view(index), PlaneView(out, index)
                for top in range(0, image.frame_shape[0], _BAND):
                    band = slice(top, top + _BAND), slice(None)
                    target[band] = source[band]
        return
    write = _writer(path, image)
    with atomic_write(path, overwrite) as temporary:
        write(temporary)


@contextmanager
def create_image(
    path: str | Path,
    like: Image,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
    chunk: tuple[int, int] | None = None,
    overwrite: bool = False,
) -> Iterator[Any]:
    """Write an image piece by piece, larger than memory if need be.

    Parameters
    ----------
    path : str or Path
        TIFF, OME-Zarr or .npy, as in `write_image`. It appears under its name at the end.
    like : Image
        What it has its axes, sizes and names of.
    shape : tuple of int, optional
        Shape of the image, by default that of ``like``.
    dtype : data type, optional
        Type of its pixels, by default that of ``like``.
    chunk : tuple of int, optional
        (height, width) of the pieces in which planes will be filled, one after the other
        from the first pixel on; OME-Zarr is stored in these.
    overwrite : bool
        Replace a file of that name.

    Yields
    ------
    array, shape ``shape``
        Zeros, of which planes or windows of them are to be filled in, as by
        `napari_coordgate.io.PlaneView`; not to be used afterwards.

    Raises
    ------
    ImageError
        If the axes do not fit the shape.
    OutputError
        If the file exists, cannot be written, or its format cannot hold the image.
    """
    path, shape = Path(path), shape or like.data.shape
    dtype = np.dtype(like.data.dtype if dtype is None else dtype).newbyteorder("=")
    check_axes(like.axes, shape, str(path))
    if path.suffix.lower() == ".zarr":
        pieces = _zarr_created(path, like, shape, dtype, chunk, overwrite)
    else:
        pieces = _mapped(path, _creator(path, like, shape, dtype), overwrite)
    with pieces as array:
        yield array


@contextmanager
def _mapped(
    path: Path, create: Callable[[Path], np.memmap[Any, Any]], overwrite: bool
) -> Iterator[NDArray[Any]]:
    """Map a new file into memory."""
    with atomic_write(path, overwrite) as temporary:
        array = create(temporary)
        preallocate(temporary)
        yield array
        array.flush()


@contextmanager
def _zarr_created(
    path: Path,
    like: Image,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    chunk: tuple[int, int] | None,
    overwrite: bool,
) -> Iterator[Any]:
    """Begin a new store of zarr."""
    layout = zarr_layout(path, dtype, like.axes)
    if path.is_dir() and not is_zarr(path):
        raise OutputError(f"Cannot write {path}: it is a folder of other files; move it away.")
    with atomic_write(path, overwrite, folder=True) as temporary:
        check_disk_space(temporary, math.prod(shape) * dtype.itemsize)
        with create_ome_zarr(temporary, shape, dtype, layout, like.metadata, chunk) as array:
            yield array


def _writer(path: Path, image: Image) -> Callable[[Path], None]:
    """Find what writes an image into a file that is to have this name."""
    match path.suffix.lower():
        case ".npy":
            return partial(_write_npy, data=image.pixels)
        case ".png":
            return partial(png_picture(path, image.pixels, image.axes).save, format="PNG")
        case ".tif" | ".tiff":
            layout = tiff_layout(
                path, image.data.shape, image.data.dtype, image.axes, image.metadata
            )
            return partial(write_tiff, data=image.pixels, layout=layout)
    raise _unknown_kind(path)


def _creator(
    path: Path, like: Image, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Callable[[Path], np.memmap[Any, Any]]:
    """Find what maps into memory a new file that is to have this name."""
    match path.suffix.lower():
        case ".npy":
            return partial(open_memmap, mode="w+", dtype=dtype, shape=shape)
        case ".tif" | ".tiff" if dtype.kind != "b":
            layout = tiff_layout(path, shape, dtype, like.axes, like.metadata)
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
    return OutputError(
        f"Cannot write {path}: unknown kind of file; choose .tif, .ome.zarr, .png or .npy."
    )
