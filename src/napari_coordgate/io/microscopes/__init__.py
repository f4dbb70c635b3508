"""Microscope file formats: Zeiss CZI, Nikon ND2 and Leica LIF.

Each is read by a library that an extra of the package installs.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from napari_coordgate.arrays import PixelArray
from napari_coordgate.errors import ImageError
from napari_coordgate.io.metadata import ImageMetadata
from napari_coordgate.io.microscopes.czi import read_czi
from napari_coordgate.io.microscopes.lif import read_lif
from napari_coordgate.io.microscopes.nd2 import read_nd2

__all__ = ["MICROSCOPE_SUFFIXES", "read_microscope"]

_READERS: Mapping[str, Callable[[Path], tuple[PixelArray, str, ImageMetadata]]] = MappingProxyType(
    {".czi": read_czi, ".nd2": read_nd2, ".lif": read_lif}
)
MICROSCOPE_SUFFIXES = tuple(_READERS)
"""File suffixes; without the dot, the extra that installs the library."""


def read_microscope(path: Path) -> tuple[PixelArray, str, ImageMetadata]:
    """Read the first image of a file at full resolution: lazy pixels, axes and metadata.

    The first image is the first scene of a CZI file with all its tiles, the first position of an
    ND2 file, and the first image of a LIF file (of a mosaic, its first tile). Axes of length 1
    are dropped. Any exception other than ImageError means a damaged file.
    """
    suffix = path.suffix.lower()
    try:
        return _READERS[suffix](path)
    except ImportError:
        raise ImageError(
            f"{path} needs a library that is not installed; run "
            f'python -m pip install "napari-coordgate[{suffix[1:]}]".'
        ) from None
