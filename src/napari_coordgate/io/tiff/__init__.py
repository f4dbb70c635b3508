"""TIFF files of microscopes: OME-TIFF, ImageJ's, and plain ones.

Everything about the format stands here; `napari_coordgate.io` is the door.
"""

from napari_coordgate.io.tiff.layout import TiffLayout, create_tiff, tiff_layout, write_tiff
from napari_coordgate.io.tiff.meaning import pixel_size_options
from napari_coordgate.io.tiff.reading import GATE, PSF_FIELD, own_kind, read_tiff

__all__ = [
    "GATE",
    "PSF_FIELD",
    "TiffLayout",
    "create_tiff",
    "own_kind",
    "pixel_size_options",
    "read_tiff",
    "tiff_layout",
    "write_tiff",
]
