"""Writing images to disk, at once or window by window."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import DTypeLike, NDArray

from napari_coordgate.arrays import PixelArray, WritablePixelArray
from napari_coordgate.config import Compression
from napari_coordgate.errors import OutputError
from napari_coordgate.io.files import atomic_write, check_disk_space, preallocate, scratch_array
from napari_coordgate.io.image import Image, PlaneView, as_image, check_axes, plane_indices
from napari_coordgate.io.ome_zarr import create_ome_zarr, is_zarr, zarr_layout
from napari_coordgate.io.png_jpeg import to_png
from napari_coordgate.io.tiff_writing import (
    TiffLayout,
    create_tiff,
    fill_levels,
    tiff_layout,
    write_tiff,
)

Target = Callable[[], AbstractContextManager[Path]]
"""Function that creates the temporary file of a result, which gets its name at the end."""
_BAND_ROWS = 1024
"""Rows that are copied at a time."""


def write_image(
    path: str | Path,
    image: PixelArray | Image,
    overwrite: bool = False,
    *,
    axes: str | None = None,
    compression: Compression = "auto",
) -> None:
    """Write an image in the format of the file name's suffix.

    ``.ome.tif`` is OME-TIFF. ``.tif`` opens in ImageJ if that supports the pixel type, else it is
    a plain TIFF (BigTIFF above 4 GB). ``.ome.zarr`` is a folder, OME-Zarr 0.5. These keep axes,
    physical sizes, channels and optics; the order of axes is TZCYXS in ImageJ and TCZYX in
    OME-Zarr, where color samples are channels, and axes of length 1 are dropped when a TIFF is
    read. Large planes of OME-TIFF and OME-Zarr have lower resolution levels.
    ``.png`` and ``.npy`` keep only the pixels.

    Parameters
    ----------
    path : str or Path
        The file; missing folders are created. It appears only when it is complete.
    image : Image or ndarray
        The image.
    overwrite : bool
        Replace an existing file.
    axes : str, optional
        One letter of TCZYXS for each axis; default: those of the `Image`, or the last letters of
        TCZYX for an array.
    compression : {"auto", "none", "zlib", "zstd"}
        Lossless compression; auto: none in TIFF, zstd in OME-Zarr.

    Raises
    ------
    ImageError
        If an array is not an image, or its axes are not valid.
    OutputError
        If the file exists, cannot be written, or its format cannot hold the image.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     image = Image(np.ones((64, 48), "uint16"), "YX", pixel_size_um=(0.1, 0.1))
    ...     write_image(Path(folder, "deblurred.tif"), image)
    ...     print([file.name for file in Path(folder).iterdir()])
    ['deblurred.tif']
    """
    if not isinstance(path, str | PathLike):
        raise OutputError(
            f"The path must be a file name, got {type(path).__name__}; "
            "call write_image(path, image)."
        )
    path, image = Path(path), as_image(image, axes)
    if path.suffix.lower() == ".zarr":
        with create_image(path, image, overwrite=overwrite, compression=compression) as out:
            for index in plane_indices(image):
                source, target = image.view(index), PlaneView(out, index)
                for top in range(0, image.frame_shape[0], _BAND_ROWS):
                    band = slice(top, top + _BAND_ROWS), slice(None)
                    target[band] = source[band]
        return
    _check_compression(path, compression)
    write = _writer(path, image, compression)
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
    compression: Compression = "auto",
    on_complete: Callable[[Path], object] = bool,
) -> Iterator[WritablePixelArray]:
    """Create an image file (TIFF, OME-Zarr or .npy) of zeros, to be filled window by window.

    Axes and metadata are those of ``like``, and so are shape and type by default. ``chunk`` is
    the (height, width) of the windows, which OME-Zarr uses as chunks. The file appears when the
    context ends; it may be larger than memory. Until then, a compressed TIFF needs the space of an
    uncompressed one, too. ``on_complete`` is called with the complete file before it appears.
    Raises OutputError as `write_image` does.
    """
    path, shape = Path(path), shape or like.data.shape
    dtype = np.dtype(like.data.dtype if dtype is None else dtype).newbyteorder("=")
    check_axes(like.axes, shape, str(path))
    _check_compression(path, compression)
    is_folder = path.suffix.lower() == ".zarr"
    target = partial(atomic_write, path, overwrite, folder=is_folder, on_complete=on_complete)
    with _created(path, like, shape, dtype, chunk, target, compression) as array:
        yield array


def _created(
    path: Path,
    like: Image,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    chunk: tuple[int, int] | None,
    target: Target,
    compression: Compression,
) -> AbstractContextManager[WritablePixelArray]:
    """Context of a file of zeros, in the format of ``path``."""
    nbytes = math.prod(shape) * dtype.itemsize
    match path.suffix.lower():
        case ".zarr":
            return _create_zarr(path, like, shape, dtype, chunk, target, compression)
        case ".npy":
            create = partial(open_memmap, mode="w+", dtype=dtype, shape=shape)
            return _create_mapped(create, target, nbytes)
        case ".tif" | ".tiff" if dtype.kind != "b":
            layout = tiff_layout(path, shape, dtype, like.axes, like.metadata, compression)
            if "compression" in layout.options:
                return _create_compressed(shape, dtype, layout, target)
            create = partial(create_tiff, shape=shape, dtype=dtype, layout=layout)
            return _create_mapped(create, target, nbytes, partial(fill_levels, layout=layout))
        case ".tif" | ".tiff" | ".png":
            raise OutputError(
                f"Cannot write {path} window by window: it packs {dtype.name} pixels; choose .npy."
            )
    raise _unknown_format(path)


@contextmanager
def _create_mapped(
    create: Callable[[Path], np.memmap[Any, Any]],
    target: Target,
    nbytes: int,
    finish: Callable[[Path], object] = bool,
) -> Iterator[WritablePixelArray]:
    """Create a file as a memory map."""
    with target() as temporary:
        check_disk_space(temporary.parent, nbytes)
        array = create(temporary)
        preallocate(temporary)
        yield array
        array.flush()
        finish(temporary)


@contextmanager
def _create_compressed(
    shape: tuple[int, ...], dtype: np.dtype[Any], layout: TiffLayout, target: Target
) -> Iterator[WritablePixelArray]:
    """Create a compressed TIFF file, which is written from a scratch file at the end."""
    with target() as temporary:
        array = scratch_array(temporary.parent, shape, dtype)
        yield array
        write_tiff(temporary, array, layout)


@contextmanager
def _create_zarr(
    path: Path,
    like: Image,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    chunk: tuple[int, int] | None,
    target: Target,
    compression: Compression,
) -> Iterator[WritablePixelArray]:
    """Create a zarr store."""
    layout = zarr_layout(path, dtype, like.axes)
    if path.is_dir() and not is_zarr(path):
        raise OutputError(f"Cannot write {path}: it is a folder of other files; move it away.")
    with target() as temporary:
        check_disk_space(temporary, math.prod(shape) * dtype.itemsize)
        with create_ome_zarr(
            temporary, shape, dtype, layout, like.metadata, chunk, compression
        ) as array:
            yield array


def _check_compression(path: Path, compression: Compression) -> None:
    """Raise OutputError if the format cannot be compressed."""
    if path.suffix.lower() == ".npy" and compression not in ("auto", "none"):
        raise OutputError(f"Cannot compress {path}; choose .tif or .ome.zarr.")


def _writer(path: Path, image: Image, compression: Compression) -> Callable[[Path], None]:
    """Function that writes an image to a temporary file, in the format of ``path``."""
    match path.suffix.lower():
        case ".npy":
            return partial(_write_npy, data=image.pixels)
        case ".png":
            return partial(to_png(path, image.pixels, image.axes).save, format="PNG")
        case ".tif" | ".tiff":
            shape, dtype = image.data.shape, image.data.dtype
            layout = tiff_layout(path, shape, dtype, image.axes, image.metadata, compression)
            return partial(write_tiff, data=image.pixels, layout=layout)
    raise _unknown_format(path)


def _write_npy(path: Path, data: NDArray[Any]) -> None:
    """Write a NumPy file; `numpy.save` would append a suffix to ``.NPY``."""
    with path.open("wb") as file:
        np.save(file, data, allow_pickle=False)


def _unknown_format(path: Path) -> OutputError:
    return OutputError(
        f"Cannot write {path}: unknown file format; choose .tif, .ome.zarr, .png or .npy."
    )
