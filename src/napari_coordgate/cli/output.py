"""What a command writes: images piece by piece, and the settings beside a result."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_coordgate.io import Image, create_image, write_image
from napari_coordgate.io.files import atomic_write, check_not_exists
from napari_coordgate.io.pictures import png_picture
from napari_coordgate.version import __version__

__all__ = ["image_output", "settings_path", "write_settings"]


def settings_path(result: Path) -> Path:
    """Where the settings stand that made a result: ``NAME.tif.yaml`` beside ``NAME.tif``."""
    return result.with_name(f"{result.name}.yaml")


def write_settings(path: Path, text: str, overwrite: bool) -> None:
    """Write the settings of a run, so that ``--config`` repeats it.

    Parameters
    ----------
    path : Path
        See `settings_path`.
    text : str
        The settings as YAML; the command stands above them as a comment.
    overwrite : bool
        Replace a file of that name.

    Raises
    ------
    OutputError
        If the file exists, or cannot be written.
    """
    command = " ".join(shlex.join(["napari-coordgate", *sys.argv[1:]]).splitlines())
    with atomic_write(path, overwrite) as temporary:
        temporary.write_text(f"# {command}\n# version {__version__}\n{text}", encoding="utf-8")


@contextmanager
def image_output(
    path: Path,
    like: Image,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    overwrite: bool,
    chunk: tuple[int, int] | None = None,
) -> Iterator[Any]:
    """Write an image with the axes, sizes and names of another one.

    Parameters
    ----------
    path : Path
        The file or zarr store; it appears at the end, and need not fit into memory where
        its format allows it.
    like : Image
        The other image.
    shape : tuple of int
        Shape of the new one.
    dtype : data type
        Type of its pixels.
    overwrite : bool
        Replace a file of that name.
    chunk : tuple of int, optional
        See `create_image`.

    Yields
    ------
    array, shape ``shape``
        Zeros to be filled in, by planes or windows of them.

    Raises
    ------
    OutputError
        If the file exists, cannot be written, or its format cannot hold the image.
    """
    is_png = path.suffix.lower() == ".png"
    is_packed = dtype.kind == "b" and path.suffix.lower() in (".tif", ".tiff")
    if not (is_png or is_packed):
        pieces = create_image(
            path, like, shape=shape, dtype=dtype, chunk=chunk, overwrite=overwrite
        )
        with pieces as array:
            yield array
        return
    check_not_exists([path], overwrite)
    array = np.zeros(shape, dtype)
    if is_png:
        png_picture(path, array, like.axes)  # refuses now rather than after the work
    yield array
    write_image(path, replace(like, data=array), overwrite)
