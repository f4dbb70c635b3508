"""Deblur a folder of images."""

from pathlib import Path

import typer

from napari_coordgate.batch import Summary, deblur_folder_events
from napari_coordgate.cli.job import cancel_on_signal, follow
from napari_coordgate.config import BatchConfig

__all__ = ["deblur_images"]

NAMED = 10
"""Most failures that the end names; the report has all."""


def deblur_images(
    folder: Path, model: Path, output: Path, config: BatchConfig, overwrite: bool
) -> int:
    """Deblur a folder; what failed is named.

    Returns
    -------
    int
        1 if a file failed, else 0.
    """
    with cancel_on_signal() as cancel:
        end = follow(
            deblur_folder_events(
                folder, output, model, config=config, overwrite=overwrite, cancel=cancel
            )
        )
    summary: Summary = end.result
    for file in summary.failed[:NAMED]:
        typer.echo(f"failed: {file.source}: {file.why}", err=True)
    if len(summary.failed) > NAMED:
        typer.echo(f"... and {len(summary.failed) - NAMED} more, see the report.", err=True)
    typer.echo(f"{output}: {end.message}")
    return 1 if summary.failed else 0
