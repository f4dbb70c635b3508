"""Microscope file formats: Zeiss CZI, Nikon ND2 and Leica LIF.

Each is read by a library that an extra of the package installs.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from napari_coordgate.errors import ImageError
from napari_coordgate.io.microscopes.czi import czi_scenes
from napari_coordgate.io.microscopes.lif import lif_scenes
from napari_coordgate.io.microscopes.nd2 import nd2_scenes
from napari_coordgate.io.scenes import Scene

__all__ = ["MICROSCOPE_SUFFIXES", "microscope_scenes"]

_READERS: Mapping[str, Callable[[Path], list[Scene]]] = MappingProxyType(
    {".czi": czi_scenes, ".nd2": nd2_scenes, ".lif": lif_scenes}
)
MICROSCOPE_SUFFIXES = tuple(_READERS)
"""File suffixes; without the dot, the extra that installs the library."""


def microscope_scenes(path: Path) -> list[Scene]:
    """Images of a file at full resolution: lazy pixels, axes and metadata.

    They are the scenes of a CZI file with all their tiles, the positions of an ND2 file, and the
    images of a LIF file (of a mosaic, its tiles). Axes of length 1 are dropped. Any exception
    other than ImageError means a damaged file.
    """
    suffix = path.suffix.lower()
    try:
        return _READERS[suffix](path)
    except ImportError:
        raise ImageError(
            f"{path} needs a library that is not installed; run "
            f'python -m pip install "napari-coordgate[{suffix[1:]}]".'
        ) from None
