"""Commands that deblur images, and check them before and after."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_coordgate.cli.commands.arguments import (
    Axes,
    Blurred,
    Field,
    Origin,
    Overwrite,
    Restored,
    parse_origin,
)
from napari_coordgate.cli.settings_flags import CliSettings, settings_flags
from napari_coordgate.config import (
    BatchSettings,
    DeblurRuntime,
    RichardsonLucySettings,
    WienerSettings,
)
from napari_coordgate.errors import OutputError, SettingsError

if TYPE_CHECKING:
    from napari_coordgate.cli.deblur import MethodFiles

VALIDATION_SETTINGS = (
    *("precision", "deconvolution", "camera"),
    *DeblurRuntime.model_fields,
)
"""Settings of a deblurring that a validation has, too."""


@settings_flags(
    BatchSettings, *(n for n in BatchSettings.model_fields if n not in ("axes", "origin"))
)
def deblur(
    image: Annotated[
        Path, typer.Argument(help="Blurred image, stack of images, or folder of either.")
    ],
    given: CliSettings[BatchSettings],
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="[CHANNEL=]FILE",
            help="Model for this lens, made by 'napari-coordgate train'; or, with --psf or "
            "--lens, a universal model in place of the one that is shipped. Of an image of several "
            "channels, a model, PSF field or lens for each: -m DAPI=FILE -m GFP=FILE.",
        ),
    ] = None,
    psf: Annotated[
        Path | None, typer.Option(help="PSF field of the lens, made by 'napari-coordgate psf'.")
    ] = None,
    lens: Annotated[
        Path | None,
        typer.Option(
            help="Lens (.yaml, or the name of a kept one); its PSF field is made for the frame of "
            "each image."
        ),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Argument(metavar="[OUTPUT]", help="Same as --output.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Image to write (.tif, .ome.tif, .ome.zarr, .npy or .png), or folder for the "
            "results of a folder, or of a file of several images.",
        ),
    ] = None,
    axes: Axes = None,
    origin: Origin = None,
    overwrite: Overwrite = False,
) -> None:
    """Deblur an image, all images of a file, or all images in a folder.

    Give the PSF field of the lens, or the lens itself, for a method that needs no training
    (--method); or a model that was trained for this lens.

    Stacks are deblurred plane by plane. The result has the units of the image. Of a file with
    several images (scenes, positions, wells), each has a result: OUTPUT with the name of the
    scene, or a file in the folder OUTPUT.

    In a folder, files that cannot be deblurred are reported and skipped. A restart
    processes only files without a result, or whose image changed; results of another
    model or other settings are kept, unless --overwrite is given.
    """
    from napari_coordgate.io import is_image

    if (output is None) == (target is None):
        raise SettingsError("Give one output: deblur IMAGE OUTPUT, or --output OUTPUT.")
    from napari_coordgate.cli.deblur import MethodFiles

    files = MethodFiles.from_flags(model, psf, lens)
    path = output or target
    assert path is not None
    if target is not None and overwrite and is_image(target) and is_image(image):
        raise OutputError(
            f"{target} exists already; to replace it give it as --output {target}. To deblur "
            "several images, put them into a folder."
        )
    work = _deblur_folder if _is_batch(image, path) else _deblur_file
    if work(image, files, path, axes, parse_origin(origin), given, overwrite):
        raise typer.Exit(1)


def _deblur_folder(
    folder: Path,
    files: "MethodFiles",
    output: Path,
    axes: str | None,
    origin: tuple[int, int] | None,
    given: CliSettings[BatchSettings],
    overwrite: bool,
) -> int:
    """Deblur all images of a folder, or of a file; returns 1 if one failed."""
    from napari_coordgate.cli.batch import deblur_images
    from napari_coordgate.io import IMAGE_SUFFIXES

    if output.suffix.lower() in IMAGE_SUFFIXES:
        raise SettingsError(f"{folder} is a folder; give a folder for its results, not {output}.")
    files.check()  # a file of the wrong kind is an error before the work
    settings = files.settings(given, axes=axes, origin=origin)
    return deblur_images(folder, files.methods, output, settings, overwrite)


def _deblur_file(
    image: Path,
    files: "MethodFiles",
    output: Path,
    axes: str | None,
    origin: tuple[int, int] | None,
    given: CliSettings[BatchSettings],
    overwrite: bool,
) -> int:
    """Deblur the wanted images of a file; returns 1 if one failed while others could be tried."""
    from napari_coordgate.cli.deblur import ImageSource, deblur_image, deblur_scenes
    from napari_coordgate.cli.trust import assess_image

    settings = files.settings(given)
    run = assess_image if settings.trust else deblur_image

    def deblur_scene(source: ImageSource, output: Path) -> None:
        run(source, files, output, axes, origin, given, overwrite)

    return deblur_scenes(image, output, settings.selection.scenes, overwrite, deblur_scene)


def _is_batch(image: Path, output: Path) -> bool:
    """Whether to deblur a folder, or to write the results of a file into a folder."""
    from napari_coordgate.io import IMAGE_SUFFIXES, is_image

    is_folder = output.suffix.lower() not in IMAGE_SUFFIXES and (
        output.is_dir() or not output.suffix
    )
    return (image.is_dir() and not is_image(image)) or (is_folder and image.exists())


def check(
    images: Annotated[
        list[Path], typer.Argument(help="Blurred images or stacks; of many planes, ten are used.")
    ],
    lens: Annotated[
        Path | None, typer.Option(help="Lens (.yaml, or the name of a kept one) to check against.")
    ] = None,
    psf: Annotated[Path | None, typer.Option(help="PSF field (.tif) to check against.")] = None,
    model: Annotated[
        Path | None, typer.Option("--model", "-m", help="Model (.safetensors) to check against.")
    ] = None,
    camera: Annotated[
        Path | None,
        typer.Option(help="Camera (.yaml) with the noise to expect; default: that of the model."),
    ] = None,
    axes: Axes = None,
    origin: Origin = None,
) -> None:
    """Check whether images fit a lens, PSF field or model, before deblurring.

    The pixel size, the noise, and how the blur varies over the frame are compared. The exit
    status is 1 if something is red: deblurring would make the images worse.
    """
    from napari_coordgate.cli.check import check_images

    if check_images(images, (lens, psf, model), camera, axes, parse_origin(origin)):
        raise typer.Exit(1)


@settings_flags(BatchSettings, *VALIDATION_SETTINGS)
def validate_shifted(
    first: Annotated[Path, typer.Argument(metavar="A", help="Image of a sample.")],
    second: Annotated[
        Path,
        typer.Argument(
            metavar="B", help="Image of the same sample, moved by about half of the frame."
        ),
    ],
    given: CliSettings[BatchSettings],
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            "-m",
            help="Model for this lens; or, with --psf or --lens, a universal model in place of "
            "the one that is shipped.",
        ),
    ] = None,
    psf: Annotated[
        Path | None, typer.Option(help="PSF field of the lens, made by 'napari-coordgate psf'.")
    ] = None,
    lens: Annotated[
        Path | None, typer.Option(help="Lens (.yaml, or the name of a kept one).")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for a picture (.png) and the numbers (.json)."),
    ] = None,
    shift_px: Annotated[
        str | None,
        typer.Option(
            metavar="Y,X",
            help="How far the content of A moved in B, pixels. Default: positions of the stage in "
            "the files, else found in the images.",
        ),
    ] = None,
    axes: Axes = None,
    overwrite: Overwrite = False,
) -> None:
    """Prove a deblurring without ground truth, by two shifted images of one sample.

    The same content is once at the edge of the frame and once in the middle. Printed is by how
    much both agree better after deblurring. The exit status is 1 if they do not.
    """
    from napari_coordgate.cli.deblur import MethodFiles
    from napari_coordgate.cli.validate import validate_shifted_images

    files = MethodFiles.from_flags([] if model is None else [str(model)], psf, lens)
    images = first, second
    if not validate_shifted_images(images, files, output, shift_px, axes, given, overwrite):
        raise typer.Exit(1)


@settings_flags(WienerSettings, *(n for n in WienerSettings.model_fields if n != "method"))
def wiener(
    image: Blurred,
    psf: Field,
    output: Restored,
    given: CliSettings[WienerSettings],
    axes: Axes = None,
    origin: Origin = None,
    overwrite: Overwrite = False,
) -> None:
    """Deconvolve an image with a Wiener filter.

    No training is needed.
    """
    from napari_coordgate.cli.deblur import deconvolve_image

    deconvolve_image(image, psf, output, axes, parse_origin(origin), given, overwrite)


@settings_flags(
    RichardsonLucySettings, *(n for n in RichardsonLucySettings.model_fields if n != "method")
)
def richardson_lucy(
    image: Blurred,
    psf: Field,
    output: Restored,
    given: CliSettings[RichardsonLucySettings],
    axes: Axes = None,
    origin: Origin = None,
    overwrite: Overwrite = False,
) -> None:
    """Deconvolve an image with Richardson-Lucy.

    No training is needed.
    """
    from napari_coordgate.cli.deblur import deconvolve_image

    deconvolve_image(image, psf, output, axes, parse_origin(origin), given, overwrite)
