"""Pictures: PNG of 8 or 16 bits and JPEG, gray or colored."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from napari_coordgate.errors import ImageError, OutputError

__all__ = ["PICTURES", "png_picture", "read_picture"]

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
PICTURES = tuple(_FORMATS)
"""Ends of the names of pictures."""
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")

# Pillow warns of large pictures, but refuses those of twice that size alone.
warnings.filterwarnings("ignore", category=PIL.Image.DecompressionBombWarning)


def read_picture(path: Path) -> NDArray[Any]:
    """Read a PNG or JPEG file.

    Parameters
    ----------
    path : Path
        The file. A palette is replaced by its colors.

    Returns
    -------
    ndarray, shape (H, W) or (H, W, S)
        bool, uint8 or uint16, as the file has it.

    Raises
    ------
    ImageError
        If the file has 16-bit colors, which would be cut to 8 bits, inks in place of
        colors, or more pixels than a picture may claim. Any other exception means a
        damaged file.
    """
    try:
        with PIL.Image.open(path, formats=[_FORMATS[path.suffix.lower()]]) as picture:
            if picture.mode.startswith("RGB") and str(picture.tile[0][3]).endswith("16B"):
                raise ImageError(f"{path} has 16-bit colors, not read from PNG; save it as TIFF.")
            if picture.mode not in _MODES:
                raise ImageError(f"{path} has {picture.mode} pixels; save it as gray or RGB.")
            return np.array(picture.convert("RGBA") if picture.mode == "P" else picture)
    except PIL.Image.DecompressionBombError as error:
        raise ImageError(
            f"{path} claims more pixels than are read from a picture; save it as TIFF."
        ) from error


def png_picture(path: Path, data: NDArray[Any], axes: str) -> PIL.Image.Image:
    """Picture to be saved as PNG.

    Parameters
    ----------
    path : Path
        The file, for the error.
    data : ndarray
        bool, uint8 or uint16 with axes YX, or uint8 with axes YXS of 3 or 4 samples.
    axes : str
        Letters of its axes.

    Returns
    -------
    PIL.Image.Image
        The picture.

    Raises
    ------
    OutputError
        If PNG does not hold such an image.
    """
    gray = axes == "YX" and data.dtype.name in ("bool", "uint8", "uint16")
    color = axes == "YXS" and data.dtype.name == "uint8" and data.shape[-1] in (3, 4)
    if not (gray or color):
        or_keep = ", or --keep-dtype" if data.dtype.kind == "f" else ""
        raise OutputError(
            f"Cannot write {path}: PNG holds no {data.dtype.name} image of axes {axes}; "
            f"choose .tif{or_keep}."
        )
    return PIL.Image.fromarray(np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("=")))
