"""Command ``gates``: write the gating maps of a model as images."""

from pathlib import Path

import numpy as np
import tifffile
import typer

from napari_coordgate.errors import ModelError, SettingsError
from napari_coordgate.inference import gating_maps, plot_gating_maps
from napari_coordgate.io.files import atomic_write, check_not_exists
from napari_coordgate.io.metadata import PixelSize
from napari_coordgate.io.tiff import GATING_MAP_PREFIX, pixel_size_options
from napari_coordgate.model import Model


def write_gates(path: Path, output: Path, figure: Path | None, overwrite: bool) -> None:
    """Write the maps of each gate as one image of an OME-TIFF, and optionally a figure."""
    if output.suffix.lower() not in (".tif", ".tiff"):
        raise SettingsError(f"{output}: the file name of gating maps must end in .tif.")
    check_not_exists([output] if figure is None else [output, figure], overwrite)
    model = Model.load(path)
    maps = gating_maps(model)
    if not maps:
        raise ModelError(f"{path} has no gates; choose a model with gates, such as a cg-unet.")
    with (
        atomic_write(output, overwrite) as temporary,
        tifffile.TiffWriter(temporary, ome=True, bigtiff=True) as tiff,
    ):
        for name, gate in maps.items():
            size = _pixel_size(model, gate.shape[-1])
            options = pixel_size_options("ome", size)
            options["metadata"] |= {
                "axes": "CYX",
                "Name": f"{GATING_MAP_PREFIX}{name}, {len(gate)} channels",
            }
            tiff.write(gate, photometric="minisblack", **options)
    if figure is not None:
        with atomic_write(figure, overwrite) as temporary:
            plot_gating_maps(maps).savefig(temporary, dpi=120)
    shapes = [f"{name} {' x '.join(map(str, gate.shape))}" for name, gate in maps.items()]
    typer.echo(f"{output}: {', '.join(shapes)}")


def _pixel_size(model: Model, width: int) -> PixelSize | None:
    """Pixel size (y, x) of a map of this width: 1, 2, 4, ... times that of the frame."""
    if model.pixel_size_um is None:
        return None
    side = model.pixel_size_um * 2 ** round(np.log2(model.frame_shape[1] / width))
    return side, side
