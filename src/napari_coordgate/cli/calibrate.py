"""Commands ``calibrate``: measure the lens and the camera from images."""

from collections.abc import Sequence
from pathlib import Path

import typer

from napari_coordgate.calibration import estimate_noise_events
from napari_coordgate.cli.job import cancel_on_signal, follow
from napari_coordgate.errors import SettingsError
from napari_coordgate.io.files import check_not_exists


def calibrate_noise(
    images: Sequence[Path],
    dark: Sequence[Path],
    offset: float | None,
    output: Path,
    axes: str | None,
    overwrite: bool,
) -> None:
    """Measure the noise of a camera, print it, and write it as settings."""
    if output.suffix.lower() not in (".yaml", ".yml"):
        raise SettingsError(f"{output}: the file name of a camera must end in .yaml.")
    check_not_exists([output], overwrite)
    with cancel_on_signal() as cancel:
        estimate = follow(
            estimate_noise_events(
                list(images) or None,
                dark=list(dark) or None,
                offset=offset,
                axes=axes,
                cancel=cancel,
            )
        )
    estimate.save(output, overwrite=overwrite)
    for line in (*estimate.lines(), *estimate.notes):
        typer.echo(line)
