"""The commands and their flags; their code is in the modules of their names.

These modules are imported when a command runs, so that ``--help`` is fast.
"""

import re
from pathlib import Path
from typing import Annotated

import typer

from napari_coordgate.cli.settings_flags import CliSettings, settings_flags
from napari_coordgate.cli.verbosity import set_verbosity
from napari_coordgate.config import (
    PRESET_DESCRIPTIONS,
    BatchSettings,
    BeadsConfig,
    BlurConfig,
    DeblurRuntime,
    DemoConfig,
    Device,
    PackageConfig,
    PresetName,
    PSFFieldConfig,
    RichardsonLucySettings,
    TrainingSettings,
    WienerSettings,
)
from napari_coordgate.errors import OutputError, SettingsError
from napari_coordgate.version import __version__

__all__ = ["app"]

app = typer.Typer(
    help="Deblur microscopy images that are sharp in the middle and soft at the edge.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

calibrate = typer.Typer(
    help="Measure the lens or the camera from images.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(calibrate, name="calibrate")

_PRESET_HELP = " ".join(f"{name}: {text}" for name, text in PRESET_DESCRIPTIONS.items())

MAIN_TRAINING_SETTINGS = (
    *("photons", "read_noise", "steps", "batch_size", "window_size", "learning_rate"),
    *("network", "depth", "base_channels", "device"),
)
"""What ``train --help`` shows; ``train --help-all`` shows all settings."""

VALIDATION_SETTINGS = (
    *("precision", "deconvolution", "camera"),
    *DeblurRuntime.model_fields,
)
"""Settings of a deblurring that a validation has, too."""

DEMO_FOLDER = "napari-coordgate-demo"

Blurred = Annotated[Path, typer.Argument(help="Blurred image, or stack of images.")]
Field = Annotated[Path, typer.Option(help="PSF field, made by 'napari-coordgate psf'.")]
Restored = Annotated[
    Path, typer.Option("--output", "-o", help="Image to write: .tif, .ome.tif, .npy or .png.")
]
Axes = Annotated[
    str | None,
    typer.Option(
        help="Axes of the image, such as TCYX, if the file does not state them correctly."
    ),
]
Origin = Annotated[
    str | None,
    typer.Option(
        metavar="Y,X",
        help="Position of the image's top left pixel in the frame, if it shows a part of it.",
    ),
]
LensOutput = Annotated[Path, typer.Option("--output", "-o", help="Lens to write (.yaml).")]
LensReport = Annotated[Path | None, typer.Option(help="Page of figures to write as well (.html).")]
KnownLens = Annotated[
    Path | None,
    typer.Option(
        help="Lens (.yaml, or the name of a kept one): NA, wavelength, pixel size, and values "
        "to hold; default: that of the objective, or as the metadata of the image state it."
    ),
]
PlaneDistance = Annotated[
    float | None,
    typer.Option(help="Distance of the planes of a stack, um; default: that in the file."),
]
Dark = Annotated[
    list[Path] | None,
    typer.Option(help="Frames without light; repeat the flag for several files."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")]

_PACKAGE = {name: field.description for name, field in PackageConfig.model_fields.items()}
PackageAuthor = Annotated[str | None, typer.Option(help=_PACKAGE["author"])]
PackageLicense = Annotated[str | None, typer.Option(help=_PACKAGE["license"])]
PackageTitle = Annotated[str | None, typer.Option(help=_PACKAGE["title"])]


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose",
            "-v",
            count=True,
            help="Log what happens, with the traceback of an error; -vv: what libraries log, too.",
        ),
    ] = 0,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Print results, warnings and errors only: no progress."),
    ] = False,
) -> None:
    """Print the version, or the list of commands if none is given."""
    if quiet and verbose:
        raise SettingsError("Give --quiet or --verbose, not both.")
    set_verbosity(verbose, quiet=quiet)
    if version:
        typer.echo(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


@app.command()
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
    from napari_coordgate.geometry import MAX_FRAME_SIDE

    shape = None if frame is None else _two_numbers(frame, "x", "--frame", "512x512")
    if shape is not None and 0 in shape:
        raise SettingsError(f"--frame {frame!r} has no pixels; use the form 512x512.")
    if shape is not None and max(shape) > MAX_FRAME_SIDE:
        raise SettingsError(f"--frame {frame!r} is larger than any camera; use the form 512x512.")
    source = LensSource(lens, from_image, channel)
    measured_psfs = MeasuredSource(measured, positions, pixel_size)
    make_psf_field(
        source, measured_psfs, flat_field, PSFFieldOutput(output, figure), shape, given, overwrite
    )


@app.command()
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


@app.command()
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


@app.command()
@settings_flags(TrainingSettings, main=MAIN_TRAINING_SETTINGS)
def train(
    output: Annotated[Path, typer.Option("--output", "-o", help="Model to write (.safetensors).")],
    given: CliSettings[TrainingSettings],
    sharp: Annotated[
        Path | None, typer.Argument(help="Folder of sharp images, or one image.")
    ] = None,
    psf: Annotated[
        Path | None, typer.Option(help="PSF field, made by 'napari-coordgate psf'.")
    ] = None,
    blurred: Annotated[
        Path | None,
        typer.Option(help="Measured blurred images; then no PSF field."),
    ] = None,
    blurred_only: Annotated[
        Path | None,
        typer.Option(help="Blurred images, if there are no sharp ones."),
    ] = None,
    validation: Annotated[
        Path | None,
        typer.Option(
            help="Sharp images for validation; default: a fraction of the training images."
        ),
    ] = None,
    preset: Annotated[
        PresetName, typer.Option(help=f"Defaults for all settings. {_PRESET_HELP}")
    ] = "balanced",
    init: Annotated[
        Path | None,
        typer.Option(
            help="Model to fine-tune, or universal; its network and PSF field are used unless "
            "others are given."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume the interrupted run that writes this output.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Train a model on sharp images.

    They are blurred with the PSF field, and the model learns to undo that blur.
    """
    from napari_coordgate.cli.train import Start, TrainingImages, train_network

    start = Start(preset, init, resume, overwrite)
    images = TrainingImages(sharp, blurred, blurred_only, validation)
    train_network(images, psf, output, start, given)


@app.command()
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
    from napari_coordgate.io import IMAGE_SUFFIXES, is_image

    if (output is None) == (target is None):
        raise SettingsError("Give one output: deblur IMAGE OUTPUT, or --output OUTPUT.")
    from napari_coordgate.cli.deblur import ImageSource, MethodFiles, deblur_image, deblur_scenes

    files = MethodFiles.from_flags(model, psf, lens)
    window_origin, path = _parse_origin(origin), output or target
    assert path is not None
    if target is not None and overwrite and is_image(target) and is_image(image):
        raise OutputError(
            f"{target} exists already; to replace it give it as --output {target}. To deblur "
            "several images, put them into a folder."
        )
    if _is_batch(image, path):
        from napari_coordgate.cli.batch import deblur_images

        if path.suffix.lower() in IMAGE_SUFFIXES:
            raise SettingsError(f"{image} is a folder; give a folder for its results, not {path}.")
        files.check()  # a file of the wrong kind is an error before the work
        settings = files.settings(given, axes=axes, origin=window_origin)
        raise typer.Exit(deblur_images(image, files.methods, path, settings, overwrite))
    settings = files.settings(given)

    def deblur_scene(source: ImageSource, output: Path) -> None:
        from napari_coordgate.cli.trust import assess_image

        run = assess_image if settings.trust else deblur_image
        run(source, files, output, axes, window_origin, given, overwrite)

    wanted = settings.selection.scenes
    if deblur_scenes(image, path, wanted, overwrite, deblur_scene):
        raise typer.Exit(1)


def _is_batch(image: Path, output: Path) -> bool:
    """Whether to deblur a folder, or to write the results of a file into a folder."""
    from napari_coordgate.io import IMAGE_SUFFIXES, is_image

    is_folder = output.suffix.lower() not in IMAGE_SUFFIXES and (
        output.is_dir() or not output.suffix
    )
    return (image.is_dir() and not is_image(image)) or (is_folder and image.exists())


@app.command()
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

    if check_images(images, (lens, psf, model), camera, axes, _parse_origin(origin)):
        raise typer.Exit(1)


@app.command()
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


@app.command()
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

    deconvolve_image(image, psf, output, axes, _parse_origin(origin), given, overwrite)


@app.command()
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

    deconvolve_image(image, psf, output, axes, _parse_origin(origin), given, overwrite)


@app.command()
def gates(
    model: Annotated[Path, typer.Argument(help="Model, made by 'napari-coordgate train'.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Gating maps to write (.tif), or table (.csv) of a universal model.",
        ),
    ],
    figure: Annotated[
        Path | None, typer.Option(help="Figure of some of the maps to write as well (.png).")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the gating maps of a model.

    They show what the network learned about each position in the frame. The gates of a
    universal model depend on the noise instead, and are written as a table.
    """
    from napari_coordgate.cli.gates import write_gates

    write_gates(model, output, figure, overwrite)


@app.command()
def export(
    model: Annotated[Path, typer.Argument(help="Model, made by 'napari-coordgate train'.")],
    output: Annotated[
        Path,
        typer.Argument(
            help="File to write: ONNX (.onnx), or a package for the BioImage Model Zoo (.zip)."
        ),
    ],
    author: PackageAuthor = None,
    license: PackageLicense = None,  # noqa: A002
    title: PackageTitle = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a model for other programs, for images of the whole frame.

    A package (.zip) states --author and --license.
    """
    from napari_coordgate.cli.export import export_to

    package = {"author": author, "license": license, "title": title}
    export_to(model, output, package, overwrite)


@app.command()
def info(
    file: Annotated[
        Path | None, typer.Argument(help="Model, PSF field, settings or image.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    system: Annotated[
        bool, typer.Option("--system", help="Show the versions and the device that is used.")
    ] = False,
) -> None:
    """Show what a file contains, or what the program runs on."""
    from napari_coordgate.cli.info import info_text
    from napari_coordgate.cli.messages import say

    say(info_text(file, system=system, json=json))


@app.command()
def compare(
    run: Annotated[Path, typer.Argument(help="YAML file of methods, images and PSF field.")],
    folder: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder for the results, or of a comparison to resume."
        ),
    ],
    device: Annotated[
        Device | None, typer.Option(help="Device to compute on; default: that in the YAML file.")
    ] = None,
) -> None:
    """Compare methods under equal conditions.

    Networks are trained, models loaded, and all methods tested on the same images.
    The results are a table and figures.
    """
    from napari_coordgate.cli.compare import compare_methods

    compare_methods(run, folder, device)


@app.command(hidden=True, context_settings={"ignore_unknown_options": True})
def paper(arguments: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Replaced by ``python -m paper`` in a clone of the repository."""
    raise SettingsError("Figures of the paper are made by 'python -m paper FIGURE' in a clone.")


@app.command()
@settings_flags(DemoConfig)
def demo(
    given: CliSettings[DemoConfig],
    folder: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="New or empty folder for the results; if given, the demo stays in the terminal.",
        ),
    ] = None,
    headless: Annotated[
        bool,
        typer.Option("--headless", help=f"Stay in the terminal and write to {DEMO_FOLDER}."),
    ] = False,
) -> None:
    """Run the whole workflow on sample images.

    The demo opens in napari if it is installed. In the terminal, it also fine-tunes the
    model and reports the gain of each step.
    """
    from napari_coordgate.cli.demo import can_open_a_window, open_demo, show_demo

    if headless or folder is not None or not can_open_a_window():
        show_demo(folder or Path(DEMO_FOLDER), given.settings())
    elif status := open_demo():
        raise typer.Exit(status)


@calibrate.command("beads")
@settings_flags(BeadsConfig)
def calibrate_beads(
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


@calibrate.command("images")
def calibrate_images(
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


@calibrate.command("focus")
def calibrate_focus(
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


@calibrate.command("shifted")
def calibrate_shifted(
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


@calibrate.command("noise")
def calibrate_noise(
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


@calibrate.command("flat-field")
def calibrate_flat_field(
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


def _parse_origin(origin: str | None) -> tuple[int, int] | None:
    """Value of the flag ``--origin``."""
    return None if origin is None else _two_numbers(origin, ",", "--origin", "128,256")


def _two_numbers(text: str, separator: str, flag: str, example: str) -> tuple[int, int]:
    """Two numbers of a flag such as ``512x512``."""
    match = re.fullmatch(rf"(-?\d+)\s*{separator}\s*(-?\d+)", text.strip(), re.IGNORECASE)
    if match is None:
        raise SettingsError(f"{flag} {text!r} is not valid; use the form {example}.")
    if "-" in text:
        raise SettingsError(f"{flag} {text!r} must not be negative; use the form {example}.")
    return int(match[1]), int(match[2])
