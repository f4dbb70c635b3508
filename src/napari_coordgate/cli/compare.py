"""Compare methods as a file of settings tells."""

from pathlib import Path

import typer

from napari_coordgate.cli.job import cancel_on_signal, follow
from napari_coordgate.comparison import Comparison, as_table, compare
from napari_coordgate.config import (
    ComparisonConfig,
    ComparisonFile,
    Device,
    Method,
    RuntimeConfig,
    load_settings,
)
from napari_coordgate.optics import PSFField

__all__ = ["compare_methods"]


def compare_methods(file: Path, output: Path, device: Device | None) -> None:
    """Compare the methods of a file, and print their table."""
    run = load_settings(ComparisonFile, file)
    beside = file.parent
    with cancel_on_signal() as cancel:
        events = compare(
            [_found(method, beside) for method in run.methods],
            beside / run.images,
            PSFField.load(beside / run.psf),
            run.select(ComparisonConfig),
            runtime=run.select(RuntimeConfig).on(device),
            test=None if run.test is None else beside / run.test,
            output=output,
            cancel=cancel,
        )
        end = follow(events)
    assert isinstance(end.result, Comparison)
    typer.echo(as_table(end.result))
    typer.echo(end.message)


def _found(method: Method, folder: Path) -> Method:
    """Method whose checkpoint, if it is one, is found from the file's folder."""
    if method.checkpoint is None:
        return method
    return method.model_copy(update={"checkpoint": folder / method.checkpoint})
