"""Files of microscopes' own programs: Zeiss CZI, Nikon ND2, Leica LIF.

Each format is read by a library of its own, which an extra of the package installs.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from napari_coordgate.errors import ImageError
from napari_coordgate.io.image import PixelArray
from napari_coordgate.io.metadata import Metadata
from napari_coordgate.io.microscopes.czi import read_czi
from napari_coordgate.io.microscopes.lif import read_lif
from napari_coordgate.io.microscopes.nd2 import read_nd2

__all__ = ["MICROSCOPES", "read_microscope"]

_READERS: Mapping[str, Callable[[Path], tuple[PixelArray, str, Metadata]]] = MappingProxyType(
    {".czi": read_czi, ".nd2": read_nd2, ".lif": read_lif}
)
MICROSCOPES = tuple(_READERS)
"""How the names of such files end; without the dot, the extra that reads them."""


def read_microscope(path: Path) -> tuple[PixelArray, str, Metadata]:
    """Read the first image of a microscope's file, at full resolution, lazily.

    The first is the first scene of a CZI file, the first position of an ND2
    file, and the first image of a LIF file, of a mosaic its first tile. The
    tiles of a CZI scene are one plane, as they lie in it.

    Parameters
    ----------
    path : Path
        A file whose suffix is one of `MICROSCOPES`.

    Returns
    -------
    data : PixelArray
        Windows of its planes, or lines of them, are loaded alone.
    axes : str
        Of TCZYX, and S where it has colors; those of length 1 are left out.
    metadata : Metadata
        Sizes and names.

    Raises
    ------
    ImageError
        If the library is missing, or the file has axes other than these. Any
        other exception also means a damaged file.
    """
    suffix = path.suffix.lower()
    try:
        return _READERS[suffix](path)
    except ImportError:
        raise ImageError(
            f"{path} needs a library that is not installed; run "
            f'python -m pip install "napari-coordgate[{suffix[1:]}]".'
        ) from None
