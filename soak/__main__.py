"""Try the promises for a long time: ``python -m soak batch|training [--times 100]``.

Figures go to the terminal and, with ``--keep``, to ``docs/measurements/soak.json``.
"""

import argparse
import json
import platform
import sys
import time
from datetime import date
from importlib import import_module
from pathlib import Path

NAMES = ("batch", "training")
KEPT = Path(__file__).parents[1] / "docs" / "measurements" / "soak.json"


def main() -> int:
    """Run what the command line names; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--times", type=int, default=100, help="kills of each, 100")
    parser.add_argument("--seed", type=int, default=0, help="of the moments, 0")
    parser.add_argument("--keep", action="store_true", help="write the figures to docs")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"nothing here is called {', '.join(sorted(unknown))}")
    broken = False
    for name in options.names or NAMES:
        start = time.perf_counter()
        figures = import_module(f"soak.{name}").soak(options.times, options.seed)
        figures |= {"seed": options.seed, "seconds": round(time.perf_counter() - start)}
        sys.stdout.write(f"{name}: {json.dumps(figures)}\n")
        broken |= any(figures.get(wrong) for wrong in ("damaged", "strays_left", "mismatches"))
        if options.keep:
            _keep(name, figures)
    return int(broken)


def _keep(name: str, figures: dict[str, object]) -> None:
    """Write figures beside those of the others."""
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    machine = {"date": date.today().isoformat(), "system": f"{platform.system()}"}
    kept[name] = {**figures, **machine, "command": f"python -m soak {name}"}
    KEPT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
