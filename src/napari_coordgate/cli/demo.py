"""The demonstration: in a window of napari's, or with its table on the terminal."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from napari_coordgate.cli.job import cancel_on_signal, follow
from napari_coordgate.config import DemoConfig
from napari_coordgate.demo import run_demo

__all__ = ["can_open_a_window", "open_demo", "show_demo"]

WINDOW = "napari_coordgate.widgets.demo"
QT_BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")
SCREENS = ("DISPLAY", "WAYLAND_DISPLAY")

CAPTION = "center, middle, edge: thirds of the field radius"


def can_open_a_window() -> bool:
    """Whether napari is installed here, and there is a screen to show it on."""
    has_napari = find_spec("napari") is not None and any(map(find_spec, QT_BINDINGS))
    has_screen = sys.platform != "linux" or any(os.environ.get(name) for name in SCREENS)
    return has_napari and has_screen


def open_demo() -> int:
    """Open the demonstration in napari, a process of its own; returns its exit status."""
    typer.echo("Opening napari; 'napari-coordgate demo --headless' stays in the terminal.")
    return subprocess.run([sys.executable, "-m", WINDOW], check=False).returncode


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
