"""Layers as files of this program."""

from collections.abc import Sequence
from pathlib import Path

from napari_coordgate.errors import OutputError
from napari_coordgate.io.files import check_not_exists
from napari_coordgate.widgets.layers.provenance import LayerData, field_of

__all__ = ["write_field"]

SUFFIX = ".psf.tif"


def write_field(path: str, layers: Sequence[LayerData]) -> list[str]:
    """Save the PSF field that an image layer carries.

    Parameters
    ----------
    path : str
        The file. napari has asked before this name replaces another file; a suffix that
        it lacks is added, and then nothing is replaced.
    layers : sequence of layer data
        One image; points are left alone.

    Returns
    -------
    list of str
        The file that was written.

    Raises
    ------
    OutputError
        If the layer carries no PSF field, or the file cannot be written.
    """
    options = next(options for _, options, kind in layers if kind == "image")
    field = field_of(options.get("metadata", {}))
    if field is None:
        raise OutputError(
            f"{options.get('name', 'The layer')} carries no PSF field; save the layer that Lens "
            "PSF makes, or choose another format."
        )
    is_named = Path(path).suffix.lower() in (".tif", ".tiff")
    target = path if is_named else path + SUFFIX
    check_not_exists([target], overwrite=is_named, hint="choose another name")
    field.save(target, overwrite=is_named)
    return [target]
