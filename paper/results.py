"""Files of the figures: a picture and its data, with the command and the machine behind them."""

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.measuring import describe_machine
from napari_coordgate.io.files import atomic_write

COLORS = {
    "blue": "#0072b2",
    "red": "#d55e00",
    "pink": "#cc79a7",
    "green": "#009e73",
    "orange": "#e69f00",
    "light blue": "#56b4e9",
}
"""Colors that can be told apart with any color vision (Okabe and Ito)."""


def provenance() -> dict[str, Any]:
    """Return the command line of this process, and the software and hardware it runs on."""
    command = " ".join(shlex.join(["python", "-m", "paper", *sys.argv[1:]]).splitlines())
    return {"command": command, "machine": describe_machine()}


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write data as JSON; an existing file is replaced."""
    with atomic_write(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def write_results(folder: Path, name: str, data: Mapping[str, Any], figure: Figure) -> None:
    """Write ``name.json`` and ``name.png``; existing files are replaced."""
    write_json(folder / f"{name}.json", data)
    with atomic_write(folder / f"{name}.png", overwrite=True) as temporary:
        figure.savefig(temporary, dpi=150)
