"""Command line of benchmarks whose tables are made of single runs, kept in a file."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

Run = dict[str, Any]
Runs = Callable[[Path, Path | None], Iterator[tuple[Run, Callable[[], Run]]]]
"""Keys and measurements of a table, of a folder of images and the weights of a universal model."""


def measure_tables(
    prog: str,
    description: str | None,
    tables: Mapping[str, Runs],
    as_tables: Callable[[list[Run]], str],
    page: Path,
) -> None:
    """Measure the runs missing in the file; write each when it is done."""
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--tables", nargs="*", default=list(tables), choices=list(tables))
    parser.add_argument("--limit", type=int, help="measure at most so many runs of each table")
    parser.add_argument("--write", action="store_true", help="write the page of measurements")
    options = parser.parse_args()
    runs: list[Run] = []
    if options.output.exists():
        runs = [json.loads(line) for line in options.output.read_text().splitlines()]
    for name in options.tables:
        for number, (key, job) in enumerate(tables[name](options.folder, options.weights)):
            if options.limit is not None and number >= options.limit:
                break
            if any(key.items() <= run.items() for run in runs):
                continue
            runs.append(key | job())
            with options.output.open("a", encoding="utf-8") as file:
                file.write(json.dumps(runs[-1]) + "\n")
    sys.stdout.write(as_tables(runs))
    if options.write:
        head, _, _ = page.read_text(encoding="utf-8").partition("\n## Tables\n")
        page.write_text(f"{head}\n## Tables\n{as_tables(runs)}", encoding="utf-8")
        page.with_suffix(".json").write_text(json.dumps(runs, indent=0) + "\n", encoding="utf-8")
