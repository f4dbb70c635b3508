"""Make a figure of the paper anew."""

from pathlib import Path

import typer

from napari_coordgate.cli.job import cancel_on_signal, follow
from paper import Figure, Scale, run_figure

__all__ = ["make_figure"]


def make_figure(
    figure: Figure,
    scale: Scale,
    seeds: int | None,
    images: Path | None,
    test: Path | None,
    output: Path,
) -> None:
    """Make the figure and its data, and name its files."""
    with cancel_on_signal() as cancel:
        events = run_figure(
            figure, scale, output, seeds=seeds, images=images, test=test, cancel=cancel
        )
        end = follow(events)
    typer.echo(end.message)
