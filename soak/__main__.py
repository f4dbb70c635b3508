"""Kill batches and trainings, and damage inputs: ``python -m soak batch|training|inputs``.

Counts are printed and, with ``--keep``, added to ``docs/measurements/soak.json``: runs of several
seeds make one figure. A run of a seed that was done replaces the earlier one.
"""

import argparse
import json
import platform
import sys
import time
from datetime import date
from importlib import import_module
from pathlib import Path

NAMES = ("batch", "training", "inputs")
BROKEN = (
    *("damaged", "strays_left", "mismatches", "tracebacks", "hangs", "crashes", "outside"),
    "lines",
)
"""Counts that have to be 0."""
LARGEST = ("slowest_ms", "memory_mb")
"""Figures of which the largest counts, not the sum."""
KEPT = Path(__file__).parents[1] / "docs" / "measurements" / "soak.json"
PAGE = KEPT.parents[1] / "promises.md"
BEGIN, END = "<!-- soak -->\n", "<!-- end of soak -->"
"""Marks around the table of the page, which this program writes."""


def main() -> int:
    """Run the tests named on the command line; return 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(NAMES)}")
    parser.add_argument("--times", type=int, default=100, help="kills or inputs (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random times (default: 0)")
    parser.add_argument("--keep", action="store_true", help="add the counts to those in docs")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"unknown test: {', '.join(sorted(unknown))}")
    broken = False
    for name in options.names or NAMES:
        start = time.perf_counter()
        figures = import_module(f"soak.{name}").soak(options.times, options.seed)
        figures |= {"seed": options.seed, "seconds": round(time.perf_counter() - start)}
        sys.stdout.write(f"{name}: {json.dumps(figures)}\n")
        broken |= any(figures.get(name) for name in BROKEN)
        if options.keep:
            _keep(name, figures)
    return int(broken)


def _keep(name: str, figures: dict[str, int]) -> None:
    """Add the counts of one run to the common file, and to the sums of all runs."""
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    machine = {"date": date.today().isoformat(), "system": platform.system()}
    old = kept.get(name, {}).get("runs", [])
    runs = [*(run for run in old if run["seed"] != figures["seed"]), figures | machine]
    counts = [count for count in figures if count != "seed"]
    sums = {
        count: (max if count in LARGEST else sum)(run[count] for run in runs) for count in counts
    }
    kept[name] = {"command": f"python -m soak {name}", **sums, "runs": runs}
    KEPT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    write_table()


def write_table() -> None:
    """Write the counts of the common file to the page of promises."""
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    lines = ["| `python -m soak` | counts |\n", "|---|---|\n"]
    for name, figures in kept.items():
        counts = [
            f"{count.replace('_', ' ')} {number:,}"
            for count, number in figures.items()
            if count not in ("command", "runs")
        ]
        seeds = sorted(run["seed"] for run in figures["runs"])
        lines.append(f"| {name}, seeds {seeds[0]} to {seeds[-1]} | {', '.join(counts)} |\n")
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(f"{before}{BEGIN}{''.join(lines)}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
