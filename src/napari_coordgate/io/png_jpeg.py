"""PNG (8 or 16 bits) and JPEG files, gray or color."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from napari_coordgate.errors import ImageError, OutputError
from napari_coordgate.io.expansion import jpeg_frame
from napari_coordgate.opening import check_claim, read_file

# Opened by format, not by `PIL.Image.open`, which warns of large images.
_READERS: Mapping[str, type[PngImageFile | JpegImageFile]] = MappingProxyType(
    {".png": PngImageFile, ".jpg": JpegImageFile, ".jpeg": JpegImageFile}
)
PNG_JPEG_SUFFIXES = tuple(_READERS)
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
_MAX_PIXELS = 178_956_970
"""Pillow's limit, against decompression bombs."""
_MAX_JUNK_BYTES = 2**22
_MAX_SCANNED_BYTES = 2**33
"""Limit for progressive JPEG, of which each scan may take as long as all pixels."""


def read_png_jpeg(path: Path) -> NDArray[Any]:
    """Read a PNG or JPEG file as bool, uint8 or uint16 pixels (H, W) or (H, W, S).

    A palette is replaced by its colors. 16-bit colors (which Pillow would cut to 8 bits) and CMYK
    are refused with an ImageError; any other exception means a damaged file.
    """
    jpeg = b"" if path.suffix.lower() == ".png" else read_file(path)
    _check_frame(jpeg)
    with _READERS[path.suffix.lower()](path) as picture:
        if picture.width * picture.height > _MAX_PIXELS:
            raise ImageError(
                f"{path} has more pixels than are read from a PNG or JPEG file; save it as TIFF."
            )
        if picture.mode.startswith("RGB") and str(picture.tile[0][3]).endswith("16B"):
            raise ImageError(
                f"{path} has 16-bit colors, which are not read from PNG; save it as TIFF."
            )
        if picture.mode not in _MODES:
            raise ImageError(f"{path} has {picture.mode} pixels; save it as gray or RGB.")
        copies = 2 * picture.width * picture.height * max(2, len(picture.getbands()))
        check_claim(copies, "its pixels need")
        if _scans(jpeg) * copies > _MAX_SCANNED_BYTES:
            raise ImageError(f"{path} has too many scans for its size; save it again.")
        return np.array(picture.convert("RGBA") if picture.mode == "P" else picture)


def _check_frame(data: bytes) -> None:
    """Raise ValueError if there is much before the frame of a JPEG image that is no segment.

    The library skips it byte by byte.
    """
    if len(data) > _MAX_JUNK_BYTES and not any(jpeg_frame(data)):
        raise ValueError("its parts are not in order")


def _scans(jpeg: bytes) -> int:
    """Number of scans of a JPEG file, some of them perhaps of a thumbnail in it."""
    return jpeg.count(b"\xff\xda")


def to_png(path: Path, data: NDArray[Any], axes: str) -> PIL.Image.Image:
    """Pillow image to be saved as PNG; OutputError if PNG cannot store pixels of this type."""
    gray = axes == "YX" and data.dtype.name in ("bool", "uint8", "uint16")
    color = axes == "YXS" and data.dtype.name == "uint8" and data.shape[-1] in (3, 4)
    if not (gray or color):
        raise OutputError(
            f"Cannot write {path}: PNG cannot store {data.dtype.name} pixels of axes {axes}; "
            "choose .tif."
        )
    return PIL.Image.fromarray(np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("=")))
