"""Commands that describe a lens, and blur images as it does."""

from pathlib import Path
from typing import Annotated

import typer

from napari_coordgate.cli.commands.arguments import Overwrite, parse_frame
from napari_coordgate.cli.settings_flags import CliSettings, settings_flags
from napari_coordgate.config import BlurConfig, PSFFieldConfig


@settings_flags(PSFFieldConfig)
def psf(
    output: Annotated[Path, typer.Option("--output", "-o", help="PSF field to write (.tif).")],
    given: CliSettings[PSFFieldConfig],
    frame: Annotated[
        str | None,
        typer.Option(
            metavar="HxW", help="Height and width of the frame in pixels; default: as --from-image."
        ),
    ] = None,
    lens: Annotated[
        Path | None,
        typer.Argument(help="YAML file that describes the lens, or name of a calibrated one."),
    ] = None,
    from_image: Annotated[
        Path | None,
        typer.Option(
            help="Image whose metadata describe the lens: NA, emission wavelength, pixel size."
        ),
    ] = None,
    channel: Annotated[
        int, typer.Option(min=0, help="Channel of that image, which sets the wavelength.")
    ] = 0,
    measured: Annotated[
        Path | None, typer.Option(help="Stack of measured PSFs, one per plane, instead of a lens.")
    ] = None,
    positions: Annotated[
        Path | None,
        typer.Option(
            help="CSV file of their positions, with columns row,column in pixels of the frame."
        ),
    ] = None,
    pixel_size: Annotated[
        float | None,
        typer.Option(
            metavar="UM",
            help="Pixel size of the measured PSFs in um, if their file does not state it.",
        ),
    ] = None,
    flat_field: Annotated[
        Path | None,
        typer.Option(
            help="Gain of each pixel of the frame, made by 'napari-coordgate calibrate flat-field'."
        ),
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(help="Figure of the PSFs over the frame to write as well (.png).")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Make a PSF field from a lens or from measured PSFs.

    A PSF field describes the blur of each pixel of the camera frame.
    """
    from napari_coordgate.cli.lenses import LensSource
    from napari_coordgate.cli.psf import MeasuredSource, PSFFieldOutput, make_psf_field

    source = LensSource(lens, from_image, channel)
    measured_psfs = MeasuredSource(measured, positions, pixel_size)
    make_psf_field(
        source,
        measured_psfs,
        flat_field,
        PSFFieldOutput(output, figure),
        parse_frame(frame),
        given,
        overwrite,
    )


def lenses(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Calibrated lenses to keep (.yaml), made by 'calibrate'."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """List the calibrated lenses that were kept, after keeping others.

    A kept lens can be given by its name, and is chosen for images of its objective.
    """
    from napari_coordgate.cli.lenses import keep_and_list

    keep_and_list(files or [], overwrite)


@settings_flags(BlurConfig)
def blur(
    images: Annotated[
        list[Path], typer.Argument(help="Sharp images of the size of the frame, or larger.")
    ],
    psf: Annotated[Path, typer.Option(help="PSF field, made by 'napari-coordgate psf'.")],
    folder: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder for the blurred images; they keep their names."
        ),
    ],
    given: CliSettings[BlurConfig],
    overwrite: Overwrite = False,
) -> None:
    """Blur sharp images with a PSF field.

    Camera noise is added if --photons is given.
    """
    from napari_coordgate.cli.blur import blur_images

    blur_images(images, psf, folder, given, overwrite)
