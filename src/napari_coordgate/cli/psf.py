"""Command ``psf``: make a PSF field from a lens or from measured PSFs."""

import csv
from pathlib import Path

import numpy as np
import typer
from numpy.typing import NDArray

from napari_coordgate.cli.info import psf_field_info, to_text
from napari_coordgate.cli.output import settings_path, write_settings
from napari_coordgate.cli.settings_flags import CliSettings
from napari_coordgate.config import PSFFieldConfig, load_lens
from napari_coordgate.errors import PSFError, SettingsError
from napari_coordgate.io import read_image
from napari_coordgate.io.files import check_not_exists
from napari_coordgate.optics import PSFField


def make_psf_field(
    lens: Path | None,
    measured: Path | None,
    positions: Path | None,
    output: Path,
    frame_shape: tuple[int, int],
    given: CliSettings[PSFFieldConfig],
    overwrite: bool,
) -> None:
    """Make a PSF field from a lens file, or from a stack of PSFs and a table of their positions."""
    if output.suffix.lower() not in (".tif", ".tiff"):
        raise SettingsError(f"{output}: the file name of a PSF field must end in .tif.")
    config = given.settings()
    check_not_exists([output, settings_path(output)], overwrite)
    if lens is not None and measured is None and positions is None:
        psf_field = PSFField.from_lens(
            load_lens(lens), frame_shape, config.tolerance, config.enclosed_energy
        )
    elif lens is None and measured is not None and positions is not None:
        psf_field = _measured_field(measured, positions, frame_shape, config.tolerance)
    else:
        raise SettingsError("Give either a lens file, or both --measured and --positions.")
    psf_field.save(output, overwrite=overwrite)
    write_settings(settings_path(output), given.to_yaml(config), overwrite)
    typer.echo(to_text({"file": str(output), **psf_field_info(psf_field)}))


def _measured_field(
    stack: Path, positions: Path, frame_shape: tuple[int, int], tolerance: float
) -> PSFField:
    """PSF field of a stack of measured PSFs."""
    image = read_image(stack)
    if image.data.ndim != 3 or "S" in image.axes:
        raise PSFError(f"{stack} has axes {image.axes}; give a stack with one PSF per plane.")
    points = _read_positions(positions)
    pixel_size_um = image.pixel_size_um and image.pixel_size_um[0]
    try:
        return PSFField.from_psfs(image.pixels, points, frame_shape, tolerance, pixel_size_um)
    except PSFError as error:
        raise PSFError(f"{stack} with {positions}: {error}") from None


def _read_positions(path: Path) -> NDArray[np.float64]:
    """Frame pixels (row, column), shape (N, 2), from a CSV file with these columns."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
        return np.array([(float(row["row"]), float(row["column"])) for row in rows])
    except (OSError, ValueError, TypeError, KeyError, csv.Error) as error:
        raise PSFError(
            f"{path} is not a table of positions ({error!r}); "
            "give a CSV file with the columns row and column, in frame pixels."
        ) from None
