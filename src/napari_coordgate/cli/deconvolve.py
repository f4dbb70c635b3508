"""Deconvolve one image file by a classical method."""

from pathlib import Path

import numpy as np
import typer

from napari_coordgate.cli.job import cancel_on_signal, follow
from napari_coordgate.cli.output import image_output, settings_path, write_settings
from napari_coordgate.cli.settings_flags import Given
from napari_coordgate.config import Camera, RichardsonLucySettings, WienerSettings
from napari_coordgate.deconvolution import deconvolve_events
from napari_coordgate.io import read_image
from napari_coordgate.io.files import check_not_exists
from napari_coordgate.optics import PSFField

__all__ = ["deconvolve_image"]


def deconvolve_image(
    path: Path,
    psf: Path,
    output: Path,
    axes: str | None,
    origin: tuple[int, int] | None,
    given: Given[WienerSettings] | Given[RichardsonLucySettings],
    overwrite: bool,
) -> None:
    """Deconvolve an image; axes and pixel size are kept."""
    config: WienerSettings | RichardsonLucySettings = given.settings()
    camera: Camera | None = getattr(config, "camera", None)
    check_not_exists([output, settings_path(output)], overwrite)
    field = PSFField.load(psf)
    image = read_image(path, axes)
    shape, dtype = image.data.shape, np.dtype(np.float32)
    with (
        cancel_on_signal() as cancel,
        image_output(output, image, shape, dtype, overwrite) as out,
    ):
        events = deconvolve_events(
            image,
            field,
            config,
            origin=origin,
            camera=camera,
            device=config.device,
            out=out,
            cancel=cancel,
        )
        end = follow(events)
    write_settings(settings_path(output), config.to_yaml(), overwrite)
    typer.echo(f"{output}: {end.message}")
