"""Gating maps as images: what a network learned of the frame."""

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

__all__ = ["write_gates"]


def write_gates(model: Path, output: Path, figure: Path | None, overwrite: bool) -> None:
    """Write the maps of each gate as one image of an OME-TIFF, and perhaps a picture of some."""
    if output.suffix.lower() not in (".tif", ".tiff"):
        raise SettingsError(f"{output}: the name of a file of gating maps must end in .tif.")
    check_not_exists([output] if figure is None else [output, figure], overwrite)
    checkpoint = Model.load(model)
    maps = gating_maps(checkpoint)
    if not maps:
        raise ModelError(f"{model} holds a network without gates; give a cg-unet.")
    with (
        atomic_write(output, overwrite) as temporary,
        tifffile.TiffWriter(temporary, ome=True, bigtiff=True) as tiff,
    ):
        for name, gate in maps.items():
            size = _pixel_size(checkpoint, gate.shape[-1])
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


def _pixel_size(checkpoint: Model, width: int) -> PixelSize | None:
    """(y, x) size of the pixel of a map of this width, which covers 1, 2, 4 ... of the frame's."""
    if checkpoint.pixel_size_um is None:
        return None
    side = checkpoint.pixel_size_um * 2 ** round(np.log2(checkpoint.frame_shape[1] / width))
    return side, side
