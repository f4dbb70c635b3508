"""Deblur one image file."""

import warnings
from pathlib import Path

import typer

from napari_coordgate.cli.job import cancel_on_signal, follow
from napari_coordgate.cli.output import image_output, settings_path, write_settings
from napari_coordgate.cli.settings_flags import Given
from napari_coordgate.config import BatchSettings, DeblurConfig, DeblurRuntime, FileConfig
from napari_coordgate.errors import SettingsError
from napari_coordgate.inference import deblur_events, output_dtype
from napari_coordgate.io import Image, read_image
from napari_coordgate.io.files import check_not_exists
from napari_coordgate.model import Model

__all__ = ["deblur_image"]

FOR_IMAGES = FileConfig.model_fields.keys() | DeblurRuntime.model_fields.keys()


def deblur_image(
    path: Path,
    model: Path,
    output: Path,
    axes: str | None,
    origin: tuple[int, int] | None,
    given: Given[BatchSettings],
    overwrite: bool,
) -> None:
    """Deblur an image; axes and pixel size are kept."""
    settings = given.settings()
    config = settings.select(FileConfig)
    of_folders = given.flags.keys() - FOR_IMAGES
    if of_folders:
        raise SettingsError(f"--{min(of_folders)} is for folders, and {path} is an image.")
    check_not_exists([output, settings_path(output)], overwrite)
    checkpoint = Model.load(model)
    image = read_image(path, axes)
    if axes is None and "S" in image.axes:
        _warn_of_color(image)
    image = image.select(config.selection)
    dtype = output_dtype(image.data, config)
    with (
        cancel_on_signal() as cancel,
        image_output(output, image, image.data.shape, dtype, overwrite) as out,
    ):
        events = deblur_events(
            image,
            checkpoint,
            origin=origin,
            config=settings.select(DeblurConfig),
            runtime=settings.select(DeblurRuntime),
            out=out,
            cancel=cancel,
        )
        end = follow(events)
    write_settings(
        settings_path(output), settings.to_yaml(set(given.names) & FOR_IMAGES), overwrite
    )
    typer.echo(f"{output}: {end.message}")


def _warn_of_color(image: Image) -> None:
    """Say that samples were taken for colors; an undeclared stack can look like them."""
    samples = image.data.shape[image.axes.index("S")]
    stack = image.axes.replace("S", "Z")
    warnings.warn(
        f"{image.name} is taken for color: each of its {samples} samples is deblurred as a plane; "
        f"if it is a stack, say --axes {stack}",
        stacklevel=2,
    )
