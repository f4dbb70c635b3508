"""Measure speed and memory, and print one table.

Run: ``python -m benchmarks [NAME ...]``. Each benchmark has a process to itself.
When all have run, the figures are also kept in ``docs/measurements``. The window's needs
napari and a screen: on a server, ``xvfb-run -a -s "-screen 0 1280x800x24" python -m benchmarks``.
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
    """Run the benchmarks that the command line names, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--size", type=int, help="side of the image of 'tiled', 8192 pixels")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}")
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
    """Write the figures for programs and for readers."""
    today = date.today().isoformat()
    rows = [{**asdict(figure), "verdict": figure.verdict} for figure in figures]
    report = {"date": today, "machine": machine, "figures": rows}
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "speed.json").write_text(json.dumps(report, indent=1) + "\n")
    described = ", ".join(f"{name} {value}" for name, value in machine.items())
    (FOLDER / "speed.md").write_text(
        "# Speed and memory\n\n"
        f"Written by `tox -e bench` on {today}: {described}. What takes turns in one run is given "
        "as a ratio: the median over the turns.\n\n" + as_table(figures)
    )


if __name__ == "__main__":
    main()
