"""Output of commands: images written window by window, and the settings beside a result."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_coordgate.cli.messages import printable
from napari_coordgate.config import Compression
from napari_coordgate.io import Image, create_image, write_image
from napari_coordgate.io.files import atomic_write, check_not_exists
from napari_coordgate.io.png_jpeg import to_png
from napari_coordgate.version import __version__


def settings_path(result: Path) -> Path:
    """Path of the settings of a result: ``NAME.tif.yaml`` beside ``NAME.tif``."""
    return result.with_name(f"{result.name}.yaml")


def write_settings(path: Path, text: str, overwrite: bool) -> None:
    """Write the settings of a run as YAML for ``--config``, with its command as a comment."""
    with atomic_write(path, overwrite) as temporary:
        temporary.write_text(
            f"# {printable(command_line())}\n# version {__version__}\n{text}",
            encoding="utf-8",
            errors="backslashreplace",
        )


def command_line() -> str:
    """Command of this run, in one line."""
    return " ".join(shlex.join(["napari-coordgate", *sys.argv[1:]]).splitlines())


@contextmanager
def image_output(
    path: Path,
    like: Image,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    overwrite: bool,
    chunk: tuple[int, int] | None = None,
    compression: Compression = "auto",
) -> Iterator[Any]:
    """Open an image for writing, with the metadata of another one; yields an array of zeros.

    The file appears at the end. It need not fit into memory if its format can be written in
    windows.
    """
    is_png = path.suffix.lower() == ".png"
    is_packed = dtype.kind == "b" and path.suffix.lower() in (".tif", ".tiff")
    if not (is_png or is_packed):
        pieces = create_image(
            path,
            like,
            shape=shape,
            dtype=dtype,
            chunk=chunk,
            overwrite=overwrite,
            compression=compression,
        )
        with pieces as array:
            yield array
        return
    check_not_exists([path], overwrite)
    array = np.zeros(shape, dtype)
    if is_png:
        to_png(path, array, like.axes)  # fails now rather than after the work
    yield array
    write_image(path, replace(like, data=array), overwrite, compression=compression)
