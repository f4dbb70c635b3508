"""OME-Zarr: images as folders of compressed pieces, with levels of resolution.

Version 0.4 (of zarr 2) and 0.5 (of zarr 3) are read, 0.5 is written:
https://ngff.openmicroscopy.org/0.5
"""

from napari_coordgate.io.ome_zarr.reading import is_zarr, read_ome_zarr
from napari_coordgate.io.ome_zarr.writing import create_ome_zarr, zarr_layout

__all__ = ["create_ome_zarr", "is_zarr", "read_ome_zarr", "zarr_layout"]
