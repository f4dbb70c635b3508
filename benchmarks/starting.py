"""Start-up time of the package and the command, above that of the interpreter."""

import statistics
import subprocess
import sys

from benchmarks.figures import Figure
from benchmarks.measuring import interleaved_seconds

COMMAND = "from napari_coordgate.cli import main; main()"
"""The installed script ``napari-coordgate``."""


def measure(rounds: int = 15) -> list[Figure]:
    """Measure interleaved processes: the import, and the command's help."""
    bare, imported, helped = interleaved_seconds(
        lambda: _interpreter("-c", "pass"),
        lambda: _interpreter("-c", "import napari_coordgate"),
        lambda: _interpreter("-c", COMMAND, "--help"),
        rounds=rounds,
        warm_up=2,
    )
    return [
        Figure("import napari_coordgate", _median_above(imported, bare), "s", at_most=0.1),
        Figure("napari-coordgate --help", _median_above(helped, bare), "s", at_most=0.6),
    ]


def _interpreter(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)


def _median_above(seconds: list[float], bare: list[float]) -> float:
    return statistics.median(a - b for a, b in zip(seconds, bare, strict=True))
