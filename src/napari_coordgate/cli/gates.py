"""Command ``gates``: write the gating maps of a model as images."""

import csv
from pathlib import Path

import numpy as np
import tifffile

from napari_coordgate.cli.messages import say
from napari_coordgate.errors import ModelError, SettingsError
from napari_coordgate.inference import (
    PHOTONS,
    gating_maps,
    noise_gates,
    plot_gating_maps,
    plot_noise_gates,
)
from napari_coordgate.io.files import atomic_write, check_not_exists
from napari_coordgate.io.metadata import PixelSize
from napari_coordgate.io.tiff import GATING_MAP_PREFIX
from napari_coordgate.io.tiff_metadata import pixel_size_options
from napari_coordgate.model import Model, is_universal
from napari_coordgate.universal_model import UniversalModel


def write_gates(path: Path, output: Path, figure: Path | None, overwrite: bool) -> None:
    """Write the maps of each gate as one image of an OME-TIFF, and optionally a figure.

    The gates of a universal model are written as a table over the noise.
    """
    if is_universal(path):
        _write_noise_gates(path, output, figure, overwrite)
        return
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
    say(f"{output}: {', '.join(shapes)}")


def _write_noise_gates(path: Path, output: Path, figure: Path | None, overwrite: bool) -> None:
    """Write the gates of a universal model as a table, and optionally a figure."""
    if output.suffix.lower() != ".csv":
        raise SettingsError(
            f"{output}: the gates of a universal model depend on the noise alone and are no maps; "
            "give a table (.csv) to write."
        )
    check_not_exists([output] if figure is None else [output, figure], overwrite)
    gates = noise_gates(UniversalModel.load(path))
    if not gates:
        raise ModelError(f"{path} has no gates; choose a model with gates.")
    with (
        atomic_write(output, overwrite) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["gate", "channel", *(f"{photons:g} photons" for photons in PHOTONS)])
        for name, values in gates.items():
            for channel, row in enumerate(values.T.tolist()):
                writer.writerow([name, channel, *(f"{value:.5g}" for value in row)])
    if figure is not None:
        with atomic_write(figure, overwrite) as temporary:
            plot_noise_gates(gates).savefig(temporary, dpi=120)
    say(f"{output}: {len(gates)} gates at {len(PHOTONS)} numbers of photons")


def _pixel_size(model: Model, width: int) -> PixelSize | None:
    """Pixel size (y, x) of a map of this width: 1, 2, 4, ... times that of the frame."""
    if model.pixel_size_um is None:
        return None
    side = model.pixel_size_um * 2 ** round(np.log2(model.frame_shape[1] / width))
    return side, side
