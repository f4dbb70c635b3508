"""Command ``psf``: make a PSF field from a lens or from measured PSFs."""

import codecs
import csv
import io
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.cli.info import to_text
from napari_coordgate.cli.info_models import psf_field_info
from napari_coordgate.cli.lenses import LensSource
from napari_coordgate.cli.messages import say
from napari_coordgate.cli.output import settings_path, write_settings
from napari_coordgate.cli.settings_flags import CliSettings
from napari_coordgate.config import PSFFieldConfig, measured_frame
from napari_coordgate.errors import MeasuredPSFWarning, PSFError, SettingsError
from napari_coordgate.geometry import format_shape
from napari_coordgate.io import Image, read_image
from napari_coordgate.io.files import atomic_write, check_not_exists
from napari_coordgate.opening import read_file
from napari_coordgate.optics import PSFField


@dataclass(frozen=True)
class MeasuredSource:
    """Files of measured PSFs, and their pixel size in um if the files do not state it."""

    psfs: Path | None
    positions: Path | None
    pixel_size_um: float | None


@dataclass(frozen=True)
class PSFFieldOutput:
    """Files of a PSF field to write."""

    psf_field: Path
    figure: Path | None

    def check(self, overwrite: bool) -> None:
        """Raise an error, before the work, if a file exists or has a wrong name."""
        if self.psf_field.suffix.lower() not in (".tif", ".tiff"):
            raise SettingsError(f"{self.psf_field}: the file name of a PSF field must end in .tif.")
        if self.figure is not None and self.figure.suffix.lower() != ".png":
            raise SettingsError(f"{self.figure}: the file name of a figure must end in .png.")
        files = [self.psf_field, settings_path(self.psf_field)]
        check_not_exists([*files, *([self.figure] if self.figure else [])], overwrite)

    def write(self, psf_field: PSFField, settings: str, overwrite: bool) -> None:
        """Write the PSF field, its settings, and the figure if it is wanted."""
        psf_field.save(self.psf_field, overwrite=overwrite)
        write_settings(settings_path(self.psf_field), settings, overwrite)
        if self.figure is not None:
            with atomic_write(self.figure, overwrite) as temporary:
                psf_field.plot().savefig(temporary, dpi=120)


def make_psf_field(
    source: LensSource,
    measured_psfs: MeasuredSource,
    flat_field: Path | None,
    output: PSFFieldOutput,
    frame_shape: tuple[int, int] | None,
    given: CliSettings[PSFFieldConfig],
    overwrite: bool,
) -> None:
    """Make a PSF field from a lens, or from a stack of PSFs and a table of their positions."""
    config = given.settings()
    measured, positions = measured_psfs.psfs, measured_psfs.positions
    pixel_size_um = measured_psfs.pixel_size_um
    if pixel_size_um is not None and (measured is None or not 0 < pixel_size_um < math.inf):
        raise SettingsError(
            f"--pixel-size {pixel_size_um:g}: give a positive number of um, with --measured; a "
            "lens file states its own."
        )
    output.check(overwrite)
    given_lenses = [item for item in (source.lens, source.image) if item is not None]
    if len(given_lenses) == 1 and measured is None and positions is None:
        lens, image_shape = source.read()
        own_shape = measured_frame(lens)
        shape = _frame_shape(frame_shape or own_shape or image_shape)
        if own_shape is not None and own_shape != shape:
            warnings.warn(
                f"The lens was measured on a frame of {format_shape(own_shape)} pixels; its blur "
                f"is spread over {format_shape(shape)}. Omit --frame, unless the same field of "
                "view has other pixels.",
                MeasuredPSFWarning,
                stacklevel=2,
            )
        psf_field = PSFField.from_lens(lens, shape, config.tolerance, config.enclosed_energy)
    elif not given_lenses and measured is not None and positions is not None:
        shape = _frame_shape(frame_shape)
        psf_field = _measured_field(measured, positions, shape, config.tolerance, pixel_size_um)
    else:
        raise SettingsError(
            "Give either a lens file, or --from-image, or both --measured and --positions."
        )
    if flat_field is not None:
        psf_field = _with_flat_field(psf_field, flat_field)
    output.write(psf_field, given.to_yaml(config), overwrite)
    say(to_text({"file": str(output.psf_field), **psf_field_info(psf_field)}))


def _frame_shape(frame_shape: tuple[int, int] | None) -> tuple[int, int]:
    """Frame that was given; SettingsError if there is none."""
    if frame_shape is None:
        raise SettingsError("Give --frame, height and width of the frame, such as 512x512.")
    return frame_shape


def _with_flat_field(psf_field: PSFField, path: Path) -> PSFField:
    """PSF field with the gain of a file."""
    try:
        return psf_field.with_flat_field(read_image(path).pixels)
    except PSFError as error:
        raise PSFError(f"{path}: {error}") from None


def _measured_field(
    stack: Path,
    positions: Path,
    frame_shape: tuple[int, int],
    tolerance: float,
    pixel_size_um: float | None,
) -> PSFField:
    """PSF field of a stack of measured PSFs."""
    image = read_image(stack)
    if image.data.ndim != 3 or "S" in image.axes:
        raise PSFError(f"{stack} has axes {image.axes}; give a stack with one PSF per plane.")
    points = _read_positions(positions)
    pixel_size_um = _pixel_size(stack, image, pixel_size_um)
    try:
        return PSFField.from_psfs(image.pixels, points, frame_shape, tolerance, pixel_size_um)
    except PSFError as error:
        raise PSFError(f"{stack} with {positions}: {error}") from None


def _pixel_size(stack: Path, image: Image, given: float | None) -> float | None:
    """Pixel size in um that is given, or that of the file; a warning if it is unknown."""
    y, x = image.pixel_size_um or (None, None)
    stated = y if y == x else None  # PSFs on other pixels are for images of the same
    if given is None and y is None:
        warnings.warn(
            f"{stack} does not state its pixel size; give it as --pixel-size, so that images of "
            "another pixel size are noticed.",
            MeasuredPSFWarning,
            stacklevel=2,
        )
    if given and stated and not math.isclose(given, stated, rel_tol=0.02):
        warnings.warn(
            f"{stack} states a pixel size of {stated:g} um; --pixel-size {given:g} is used.",
            MeasuredPSFWarning,
            stacklevel=2,
        )
    return stated if given is None else given


def _read_positions(path: Path) -> NDArray[np.float64]:
    """Frame pixels (row, column), shape (N, 2), from a CSV file with these columns."""
    try:
        data = read_file(path)
        is_wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        table = io.StringIO(data.decode("utf-16" if is_wide else "utf-8-sig"), newline="")
        header, *rows = (row for row in csv.reader(table, _dialect(table)) if any(row))
        names = [name.strip().lower() for name in header]
        at = [_find_column(names, column) for column in _COLUMNS]
        return np.array([[float(row[index]) for index in at] for row in rows])
    except UnicodeDecodeError:
        reason = "it is not a text file"
    except OSError as error:
        reason = (error.strerror or "it cannot be read").lower()
    except IndexError:
        reason = "a row has too few columns"
    except (ValueError, csv.Error) as error:
        reason = str(error)
    raise PSFError(
        f"{path} is not a table of positions ({reason}); "
        "give a CSV file with the columns row and column, in frame pixels."
    )


_COLUMNS = (("row", "rows", "y", "axis-0"), ("column", "columns", "col", "x", "axis-1"))
"""Accepted names of the columns, those of napari's points files included."""


def _dialect(file: TextIO) -> type[csv.Dialect]:
    """Separator of a table (comma, semicolon or tab), by its header."""
    header = file.readline()
    file.seek(0)

    class Table(csv.excel):
        delimiter = max(",;\t", key=header.count)
        skipinitialspace = True

    return Table


def _find_column(names: list[str], accepted: tuple[str, ...]) -> int:
    """Index of the column that has one of the accepted names."""
    found = [names.index(name) for name in accepted if name in names]
    if not found:
        raise ValueError(f"no column {accepted[0]!r}")
    return found[0]
