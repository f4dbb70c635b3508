"""PNG files: pictures of 8 or 16 bits, grey or coloured."""

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from napari_coordgate.errors import ImageError, OutputError

__all__ = ["png_picture", "read_png"]


def read_png(path: Path) -> NDArray[Any]:
    """Read a PNG file.

    Parameters
    ----------
    path : Path
        The file. A palette is replaced by its colours.

    Returns
    -------
    ndarray, shape (H, W) or (H, W, S)
        bool, uint8 or uint16, as the file has it.

    Raises
    ------
    ImageError
        If the file has 16-bit colours, which would be cut to 8 bits. Any other
        exception means a damaged file.
    """
    with PIL.Image.open(path, formats=["PNG"]) as png:
        if png.mode.startswith("RGB") and str(png.tile[0][3]).endswith("16B"):
            raise ImageError(f"{path} has 16-bit colours, not read from PNG; save it as TIFF.")
        return np.array(png.convert("RGBA") if png.mode == "P" else png)


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
    grey = axes == "YX" and data.dtype.name in ("bool", "uint8", "uint16")
    colour = axes == "YXS" and data.dtype.name == "uint8" and data.shape[-1] in (3, 4)
    if not (grey or colour):
        or_keep = ", or --keep-dtype" if data.dtype.kind == "f" else ""
        raise OutputError(
            f"Cannot write {path}: PNG holds no {data.dtype.name} image of axes {axes}; "
            f"choose .tif{or_keep}."
        )
    return PIL.Image.fromarray(np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("=")))
