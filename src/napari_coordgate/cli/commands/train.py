"""Commands that make a model, compare it with other methods, and show or export it."""

from pathlib import Path
from typing import Annotated

import typer

from napari_coordgate.cli.commands.arguments import Overwrite
from napari_coordgate.cli.settings_flags import CliSettings, settings_flags
from napari_coordgate.config import (
    PRESET_DESCRIPTIONS,
    Device,
    PackageConfig,
    PresetName,
    TrainingSettings,
)

_PRESET_HELP = " ".join(f"{name}: {text}" for name, text in PRESET_DESCRIPTIONS.items())

MAIN_TRAINING_SETTINGS = (
    *("photons", "read_noise", "steps", "batch_size", "window_size", "learning_rate"),
    *("network", "depth", "base_channels", "device"),
)
"""What ``train --help`` shows; ``train --help-all`` shows all settings."""


_PACKAGE = {name: field.description for name, field in PackageConfig.model_fields.items()}
PackageAuthor = Annotated[str | None, typer.Option(help=_PACKAGE["author"])]
PackageLicense = Annotated[str | None, typer.Option(help=_PACKAGE["license"])]
PackageTitle = Annotated[str | None, typer.Option(help=_PACKAGE["title"])]


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
