"""Measure speed and memory, and print a table.

Run: ``python -m benchmarks [NAME ...]``. Each benchmark runs in its own process. A run of all
benchmarks also writes the table to ``docs/measurements``. ``window`` needs napari and a screen: on
a server, ``xvfb-run -a -s "-screen 0 1280x800x24" python -m benchmarks``.
"""

import argparse
import json
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, as_table
from benchmarks.measuring import describe_machine, measure_one

NAMES = (
    "starting",
    "blur",
    "classical",
    "inference",
    "precision",
    "training",
    "distributed",
    "tiled",
    "batch",
    "window",
)
FOLDER = Path(__file__).parents[1] / "docs" / "measurements"


def main() -> None:
    """Run the benchmarks named on the command line, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(NAMES)}")
    parser.add_argument("--size", type=int, help="image side of 'tiled' in pixels (default: 8192)")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"unknown benchmark: {', '.join(sorted(unknown))}")
    sizes = {} if options.size is None else {"tiled": {"size": options.size}}
    figures: list[Figure] = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as processes:
        machine = processes.submit(describe_machine).result()
        for name in options.names or NAMES:
            sys.stderr.write(f"{name} ...\n")
            figures += processes.submit(measure_one, name, sizes.get(name, {})).result()
    sys.stdout.write(as_table(figures))
    if not options.names:
        _keep(figures, machine)


def _keep(figures: list[Figure], machine: dict[str, Any]) -> None:
    """Write the figures as JSON and as Markdown."""
    today = date.today().isoformat()
    rows = [{**asdict(figure), "verdict": figure.verdict} for figure in figures]
    report = {"date": today, "machine": machine, "figures": rows}
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "speed.json").write_text(json.dumps(report, indent=1) + "\n")
    described = ", ".join(f"{name} {value}" for name, value in machine.items())
    (FOLDER / "speed.md").write_text(
        "# Speed and memory\n\n"
        f"Written by `tox -e bench` on {today}: {described}. Ratios are medians over "
        "interleaved rounds of one run.\n\n" + as_table(figures)
    )


if __name__ == "__main__":
    main()
