"""Commands that measure a lens or a camera from images."""

from pathlib import Path
from typing import Annotated

import typer

from napari_coordgate.cli.commands.arguments import (
    Axes,
    Dark,
    KnownLens,
    LensOutput,
    LensReport,
    Overwrite,
    PlaneDistance,
)
from napari_coordgate.cli.settings_flags import CliSettings, settings_flags
from napari_coordgate.config import BeadsConfig

app = typer.Typer(
    help="Measure the lens or the camera from images.", no_args_is_help=True, rich_markup_mode=None
)


@app.command()
@settings_flags(BeadsConfig)
def beads(
    image: Annotated[
        Path, typer.Argument(help="Image of beads, or a stack of a few planes at known z.")
    ],
    output: LensOutput,
    given: CliSettings[BeadsConfig],
    lens: Annotated[
        Path | None,
        typer.Option(
            help="YAML file with na, wavelength_nm, pixel_size_um and refractive_index of the "
            "lens; default: as the metadata of the image state them."
        ),
    ] = None,
    report: LensReport = None,
    diameter_um: Annotated[
        float, typer.Option("--bead-diameter-um", help="Diameter of the beads, um; 0: points.")
    ] = 0.0,
    z_um: PlaneDistance = None,
    camera: Annotated[
        Path | None,
        typer.Option(help="Camera, made by 'calibrate noise'; default: noise from the image."),
    ] = None,
    flat_field: Annotated[
        Path | None,
        typer.Option(help="Gain of each pixel, made by 'calibrate flat-field'; default: none."),
    ] = None,
    psf_field: Annotated[
        Path | None,
        typer.Option(
            help="PSF field to write as well (.tif), with what the lens cannot describe, if that "
            "helps, and the flat field."
        ),
    ] = None,
    axes: Axes = None,
    overwrite: Overwrite = False,
) -> None:
    """Measure a lens with an image of beads: curvature, tilt, axis, aberrations.

    The lens is written with its error bars, and used as any other lens file.
    """
    from napari_coordgate.cli.calibrate import BeadFiles, calibrate_beads

    files = BeadFiles(image, lens, camera, flat_field, output, report, psf_field)
    calibrate_beads(files, diameter_um, z_um, axes, given, overwrite)


@app.command()
def images(
    images: Annotated[
        list[Path],
        typer.Argument(help="Blurred images of the whole frame, or folders of them."),
    ],
    output: LensOutput,
    lens: KnownLens = None,
    report: LensReport = None,
    free: Annotated[
        list[str] | None,
        typer.Option(
            help="Parameter to estimate; repeat the flag for several. Default: defocus_um, "
            "field_curvature_um and tilt_um."
        ),
    ] = None,
    camera: Annotated[
        Path | None,
        typer.Option(help="Camera, made by 'calibrate noise'; default: noise from the images."),
    ] = None,
    axes: Axes = None,
    overwrite: Overwrite = False,
) -> None:
    """Estimate the focus of a lens over the frame from blurred images.

    About thirty images of 256 x 256 pixels are needed, or one of 2048 x 2048, with detail all
    over the frame. Beads are more accurate.
    """
    from napari_coordgate.cli.calibrate import ImageFiles, calibrate_from_images

    files = ImageFiles(images, lens, camera, output, report)
    calibrate_from_images(files, free or (), axes, overwrite)


@app.command()
def focus(
    stack: Annotated[
        Path, typer.Argument(help="Planes of a thin sample, through the focus of all parts.")
    ],
    output: LensOutput,
    lens: KnownLens = None,
    z_um: PlaneDistance = None,
    report: LensReport = None,
    axes: Axes = None,
    overwrite: Overwrite = False,
) -> None:
    """Measure the focus of a lens over the frame with a focus series.

    Each part of the frame is sharpest in another plane: the field curvature and the tilt follow,
    with their signs.
    """
    from napari_coordgate.cli.calibrate import calibrate_from_focus_series

    calibrate_from_focus_series(stack, lens, output, report, z_um, axes, overwrite)


@app.command()
def shifted(
    images: Annotated[
        list[Path],
        typer.Argument(
            help="Images of one sample that was moved between them; all overlap the first."
        ),
    ],
    output: LensOutput,
    lens: KnownLens = None,
    report: LensReport = None,
    shift_px: Annotated[
        list[str] | None,
        typer.Option(
            metavar="Y,X",
            help="How far the content of the first image moved, pixels; once for each other "
            "image. Default: positions of the stage in the files, else found in the images.",
        ),
    ] = None,
    shift_um: Annotated[
        list[str] | None, typer.Option(metavar="Y,X", help="The same in um.")
    ] = None,
    camera: Annotated[
        Path | None,
        typer.Option(help="Camera, made by 'calibrate noise'; default: noise from the images."),
    ] = None,
    free: Annotated[
        list[str] | None,
        typer.Option(
            help="Parameter to estimate; repeat the flag for several. Default: defocus_um, "
            "field_curvature_um and tilt_um."
        ),
    ] = None,
    axes: Axes = None,
    overwrite: Overwrite = False,
) -> None:
    """Measure the focus of a lens over the frame with shifted images of one sample.

    Two or three images suffice, shifted by a quarter to half of the frame: the same content is
    blurred differently at its different places in the frame. Any sample will do.
    """
    from napari_coordgate.cli.calibrate import GivenShifts, calibrate_from_shifted_images

    shifts = GivenShifts(shift_px or (), shift_um or ())
    calibrate_from_shifted_images(
        images, lens, output, report, shifts, camera, free or (), axes, overwrite
    )


@app.command()
def noise(
    output: Annotated[Path, typer.Option("--output", "-o", help="Camera to write (.yaml).")],
    images: Annotated[
        list[Path] | None,
        typer.Argument(help="Images as the camera recorded them, with dark and bright parts."),
    ] = None,
    dark: Dark = None,
    offset: Annotated[
        float | None, typer.Option(help="Gray value without light, if it is known.")
    ] = None,
    axes: Axes = None,
    overwrite: Overwrite = False,
) -> None:
    """Measure the noise of a camera: offset, electrons per count and read noise.

    The file is given to other commands as --camera. A time series (axis T) of a still
    scene gives the best figures, and dark frames the offset and the read noise.
    """
    from napari_coordgate.cli.calibrate import calibrate_noise

    calibrate_noise(images or [], dark or [], offset, output, axes, overwrite)


@app.command()
def flat_field(
    images: Annotated[
        list[Path], typer.Argument(help="Images of the whole frame, or a folder of them.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Flat field to write (.tif).")],
    dark: Dark = None,
    offset: Annotated[
        float | None, typer.Option(help="Gray value without light, instead of dark frames.")
    ] = None,
    uniform: Annotated[
        bool,
        typer.Option("--uniform", help="The images show a uniform sample; one of them is enough."),
    ] = False,
    axes: Axes = None,
    overwrite: Overwrite = False,
) -> None:
    """Measure the flat field: how much of the light each pixel sees.

    Many images of different scenes are needed, or images of a uniform sample. Give the
    result to psf --flat-field.
    """
    from napari_coordgate.cli.calibrate import calibrate_flat_field

    calibrate_flat_field(images, dark or [], offset, output, uniform, axes, overwrite)
