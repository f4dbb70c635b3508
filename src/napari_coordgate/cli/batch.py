"""Deblur a folder of images."""

from collections.abc import Sequence
from pathlib import Path

import typer

from napari_coordgate.batch import Summary, deblur_folder_events
from napari_coordgate.cli.job import cancel_on_signal, follow
from napari_coordgate.config import BatchConfig, BatchRuntime, BatchSettings
from napari_coordgate.events import FileChanged

__all__ = ["deblur_images"]

NAMED = 10
"""Most failures, and most warnings, that the end names; the report has all."""


def deblur_images(
    folder: Path, model: Path, output: Path, settings: BatchSettings, overwrite: bool
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
                folder,
                output,
                model,
                config=settings.select(BatchConfig),
                runtime=settings.select(BatchRuntime),
                overwrite=overwrite,
                cancel=cancel,
            )
        )
    summary: Summary = end.result
    _name("warning", [file for file in summary.done if file.why])
    _name("failed", summary.failed)
    typer.echo(f"{output}: {end.message}")
    return 1 if summary.failed else 0


def _name(what: str, files: Sequence[FileChanged]) -> None:
    """Say of some files what is the matter with them; the messages name most of them."""
    for file in files[:NAMED]:
        named = file.why if str(file.source) in file.why else f"{file.source}: {file.why}"
        typer.echo(f"{what}: {named}", err=True)
    if len(files) > NAMED:
        typer.echo(f"... and {len(files) - NAMED} more, see the report.", err=True)
