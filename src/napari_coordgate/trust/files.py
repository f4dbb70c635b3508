"""Names of the files of trust maps."""

from pathlib import Path

from napari_coordgate.io import IMAGE_SUFFIXES

MAPS = {"error_map": "error", "contradiction_map": "contradiction", "detail_um": "detail_um"}
"""Maps of a result, and what is added to the name of their files."""


def map_path(output: Path, word: str) -> Path:
    """File of a map beside a result: ``NAME.error.ome.tif`` beside ``NAME.tif``."""
    name = output.name
    for suffix in sorted((".ome.tif", ".ome.tiff", ".ome.zarr", *IMAGE_SUFFIXES), key=len)[::-1]:
        if name.lower().endswith(suffix):
            name = name[: -len(suffix)]
            break
    return output.with_name(f"{name}.{word}.ome.tif")
