"""The demo: in a napari window, or as a table in the terminal."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from napari_coordgate.cli.job import cancel_on_signal, follow
from napari_coordgate.cli.messages import say
from napari_coordgate.comparison import as_table
from napari_coordgate.config import DemoConfig
from napari_coordgate.demo import run_demo_events

WINDOW = "napari_coordgate.widgets.demo"
QT_BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")
SCREENS = ("DISPLAY", "WAYLAND_DISPLAY")


def can_open_a_window() -> bool:
    """Whether napari is installed and there is a screen."""
    has_napari = find_spec("napari") is not None and any(map(find_spec, QT_BINDINGS))
    has_screen = sys.platform != "linux" or any(os.environ.get(name) for name in SCREENS)
    return has_napari and has_screen


def open_demo() -> int:
    """Open the demo in napari as a separate process, and return its exit status."""
    say("Opening napari; 'napari-coordgate demo --headless' stays in the terminal.")
    return subprocess.run([sys.executable, "-m", WINDOW], check=False).returncode


def show_demo(folder: Path, config: DemoConfig) -> None:
    """Run the demo and print its table."""
    with cancel_on_signal() as cancel:
        rows = follow(run_demo_events(folder, config, cancel))
    say(as_table(rows))
    reached = ", ".join(f"{row.method} {row.quality['psnr']:.1f} dB" for row in rows)
    say(f"{reached[0].upper()}{reached[1:]}; images, table.json and figures are in {folder}.")
