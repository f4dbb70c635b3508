"""Corrupt files and read them, thousands of times, and write the counts.

Run: ``python -m tests.fuzz``. Inputs that are neither read nor refused are kept in a folder.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from tests.fuzz.readers import READERS
from tests.fuzz.trial import GOOD, Failure, Trial, Workers

FIGURES = Path(__file__).parents[2] / "docs" / "measurements" / "fuzz.json"


def main() -> None:
    """Test the readers named on the command line, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"any of {', '.join(READERS)}")
    parser.add_argument("--inputs", type=int, default=20_000, help="number of inputs in total")
    parser.add_argument("--seed", type=int, default=1, help="seed of the inputs")
    parser.add_argument("--keep", type=Path, default=Path("corrupted"), help="folder for failures")
    options = parser.parse_args()
    if unknown := set(options.readers) - READERS.keys():
        parser.error(f"unknown reader: {', '.join(sorted(unknown))}")
    names = options.readers or list(READERS)
    share = -(-options.inputs // len(names))
    trials = dict(_trials(names, share, options.seed))
    failures = [failure for trial in trials.values() for failure in trial.failures]
    for failure in failures:
        keep(failure, options.keep)
        sys.stderr.write(f"{failure}\n")
    if not options.readers:
        FIGURES.write_text(json.dumps(_figures(trials, options.seed), indent=1) + "\n")
    sys.exit(1 if failures else 0)


def keep(failure: Failure, folder: Path) -> None:
    """Write the input of a failure to its own folder."""
    for name, content in failure.files.items():
        path = folder / f"{failure.reader} {failure.seed} {failure.number}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _trials(names: list[str], inputs: int, seed: int) -> Iterator[tuple[str, Trial]]:
    for name in names:
        with tempfile.TemporaryDirectory() as folder, Workers(Path(folder)) as workers:
            trial = workers.run(name, inputs, seed)
        counts = ", ".join(f"{count} {kind}" for kind, count in trial.kinds.items())
        sys.stderr.write(
            f"{name}: {counts}; slowest {trial.slowest_seconds:.1f} s; {trial.grown_mb:.0f} MB\n"
        )
        yield name, trial


def _figures(trials: dict[str, Trial], seed: int) -> dict[str, Any]:
    rows = {
        name: {
            "inputs": trial.kinds.total(),
            **{kind: trial.kinds[kind] for kind in GOOD},
            "failures": len(trial.failures),
            "slowest_seconds": round(trial.slowest_seconds, 2),
            "memory_mb": round(trial.grown_mb),
        }
        for name, trial in trials.items()
    }
    inputs = sum(trial.kinds.total() for trial in trials.values())
    failures = sum(len(trial.failures) for trial in trials.values())
    return {
        "date": date.today().isoformat(),
        "seed": seed,
        "inputs": inputs,
        "failures": failures,
        "readers": rows,
    }


if __name__ == "__main__":
    main()
