"""PSF fields and checkpoints as layers."""

from collections.abc import Callable
from pathlib import Path

from napari_coordgate.errors import ModelError
from napari_coordgate.io.tiff import coordgate_tiff_kind
from napari_coordgate.widgets.layers.gates import LONGEST_SIDE, gate_layers
from napari_coordgate.widgets.layers.places import on_frame
from napari_coordgate.widgets.layers.provenance import LayerData, field_metadata

__all__ = ["get_checkpoint_reader", "get_field_reader"]

Paths = str | list[str]
Reader = Callable[[Paths], list[LayerData]]


def get_field_reader(path: Paths) -> Reader | None:
    """Reader of PSF fields, if that is what the files hold.

    Parameters
    ----------
    path : str or list of str
        One file or several.

    Returns
    -------
    callable or None
        Makes a layer of each field: its PSFs, at their places in the frame. None for any
        other TIFF file, whole or damaged.
    """
    are_fields = all(coordgate_tiff_kind(file) == "PSF field" for file in _files(path))
    return _read_fields if are_fields else None


def get_checkpoint_reader(path: Paths) -> Reader | None:
    """Reader of checkpoints, unless the files are someone else's.

    Parameters
    ----------
    path : str or list of str
        One file or several.

    Returns
    -------
    callable or None
        Makes a layer of the maps of each gate. None for whole files of
        other programs; of damaged ones the reader says what is wrong.
    """
    return None if any(map(_is_foreign, _files(path))) else _read_checkpoints


def _files(path: Paths) -> list[Path]:
    return [Path(name) for name in ([path] if isinstance(path, str) else path)]


def _is_foreign(file: Path) -> bool:
    """Whether a file is whole, and holds the tensors of another program."""
    from safetensors import SafetensorError, safe_open

    from napari_coordgate.model import FORMAT, FORMER_FORMAT  # imports torch

    try:
        with safe_open(file, framework="numpy") as opened:
            return {FORMAT, FORMER_FORMAT}.isdisjoint(opened.metadata() or {})
    except (SafetensorError, OSError):
        return False


def _read_fields(path: Paths) -> list[LayerData]:
    from napari_coordgate.optics import PSFField, PSFGrid

    layers: list[LayerData] = []
    for file in _files(path):
        field = PSFField.load(file)
        options = {
            **on_frame((), field.pixel_size_um),
            "name": f"{file.stem.removesuffix('.psf')} psf field",
            "colormap": "gray",
            "contrast_limits": (0.0, 1.0),
            "metadata": field_metadata(field, file),
        }
        layers.append((PSFGrid.from_psf_field(field).montage(), options, "image"))
    return layers


def _read_checkpoints(path: Paths) -> list[LayerData]:
    from napari_coordgate.inference import gating_maps
    from napari_coordgate.model import Model

    layers: list[LayerData] = []
    for file in _files(path):
        checkpoint = Model.load(file)
        maps = gating_maps(checkpoint, longest_side=LONGEST_SIDE)
        if not maps:
            raise ModelError(f"{file} holds a network without gates; give a cg-unet.")
        layers += gate_layers(checkpoint, maps, file.stem, str(file))
    return layers
