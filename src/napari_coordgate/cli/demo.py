"""The demonstration, with its table on the terminal."""

from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from napari_coordgate.cli.job import cancel_on_signal, follow
from napari_coordgate.config import DemoConfig
from napari_coordgate.demo import run_demo

__all__ = ["show_demo"]

CAPTION = "centre, middle, edge: thirds of the field radius"


def show_demo(folder: Path, config: DemoConfig) -> None:
    """Run the demonstration and print what came of it."""
    with cancel_on_signal() as cancel:
        end = follow(run_demo(folder, config, cancel))
    rows: list[tuple[str, dict[str, float]]] = end.result or []
    if rows:
        columns = sorted(rows[0][1], key="ssim".__eq__)  # SSIM stands last
        table = Table("", *map(_heading, columns), title="PSNR (dB), SSIM", caption=CAPTION)
        for name, figures in rows:
            table.add_row(name, *(_in_digits(column, figures[column]) for column in columns))
        Console().print(table)
    typer.echo(end.message)


def _heading(name: str) -> str:
    """Heading of a column of figures."""
    return {"psnr": "all", "ssim": "SSIM"}.get(name, name.removeprefix("psnr_"))


def _in_digits(name: str, value: float) -> str:
    return f"{value:.2f}" if name.startswith("psnr") else f"{value:.3f}"
