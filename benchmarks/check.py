"""False and true alarms of the check before deblurring, and the time it takes.

Run: ``python -m benchmarks.check FOLDER RUNS.jsonl [--runs 40] [--kinds nuclei filaments cells]``

FOLDER has sharp images of nuclei. Each run records ten planes through a random lens, or through
the assumed one, and checks ten planes and single ones against the starter model, or against
the PSF field of a random lens. Two planes are deblurred, to see whether that makes them worse.
Finished runs are kept in RUNS.jsonl. ``--write`` writes the table to ``docs/measurements``.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scenes import CAMERA, OPTICS, central, draw_lens, draw_photons, record, scenes
from napari_coordgate import (
    Camera,
    Check,
    DeblurRuntime,
    Model,
    PSFField,
    check,
    deblur,
    psnr,
    richardson_lucy,
)
from napari_coordgate.io.files import sample_data_folder

PAGE = Path(__file__).parents[1] / "docs" / "measurements" / "check.md"
PLANES, DEBLURRED, SIDE = 10, 2, 256
Run = dict[str, Any]


def measure(kind: str, folder: Path, seed: int, starter: Model) -> Run:
    """Return verdicts and gains of one run; a third of the runs are of images that fit."""
    rng = np.random.default_rng([seed, 7])
    fits, is_starter = seed % 3 == 0, seed % 2 == 0
    assumed = OPTICS.replace(field_curvature_um=8.0) if is_starter else draw_lens(rng)
    true = assumed if fits else draw_lens(rng)
    photons = draw_photons(rng)
    if fits and is_starter:
        photons = float(rng.uniform(3500, 7000))
    sharp = scenes(kind, folder, PLANES, SIDE, rng)
    blurred = record(sharp, true, photons, SIDE, rng)
    field = PSFField.from_lens(assumed, (SIDE, SIDE), tolerance=1e-2)
    reference = starter if is_starter else field
    camera = Camera(photons=photons, **CAMERA)
    runtime = DeblurRuntime(check=False, device="cpu")
    gains = []
    for scene, image in zip(sharp[:DEBLURRED], blurred, strict=False):
        truth = central(scene, SIDE)
        span = float(np.subtract(*np.percentile(truth, [99.8, 1])))
        if is_starter:
            result = deblur(image, starter, runtime=runtime)
        else:
            result = richardson_lucy(image, field, 10, camera=camera)
        gains.append(psnr(truth, result, span) - psnr(truth, image, span))
    check(blurred[:1], reference)  # the table of the lens is computed once
    start = time.perf_counter()
    singles = [check(image, reference) for image in blurred[:3]]
    seconds = (time.perf_counter() - start) / len(singles)
    return {
        "kind": kind,
        "seed": seed,
        "fits": fits,
        "method": "starter" if is_starter else "richardson-lucy",
        "photons": photons,
        "assumed_um": assumed.field_curvature_um,
        "true_um": true.field_curvature_um,
        "gain_db": float(np.mean(gains)),
        "ten": _verdicts(check(blurred, reference)),
        "one": [_verdicts(single) for single in singles],
        "seconds": seconds,
    }


def _verdicts(result: Check) -> dict[str, str]:
    return {"all": result.verdict, **{f.subject: f.verdict for f in result.findings}}


def as_table(runs: list[Run]) -> str:
    """Return a Markdown table, a row for each method and kind of scene."""
    lines = [
        "| images | fit: runs | false red, ten planes | one plane | made worse: runs "
        "| true red, ten planes | one plane | seconds, one plane |",
        "|---" * 8 + "|",
    ]
    keys = [(r["method"], r["kind"]) for r in runs]
    for method, kind in [*dict.fromkeys(keys), ("all", "all")]:
        rows = [r for r in runs if method == "all" or (r["method"], r["kind"]) == (method, kind)]
        cells = [f"{kind}, {method}" if method != "all" else "all"]
        for some in ([r for r in rows if r["fits"]], _spoiled(rows)):
            ten = [r["ten"]["all"] == "red" for r in some]
            one = [single["all"] == "red" for r in some for single in r["one"]]
            cells.append(str(len(some)))
            cells += [f"{np.mean(reds):.0%}" if reds else "-" for reds in (ten, one)]
        cells.append(f"{np.median([r['seconds'] for r in rows]):.2f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _spoiled(runs: list[Run]) -> list[Run]:
    """Return the runs in which deblurring made images worse that do not fit."""
    return [run for run in runs if run["gain_db"] < 0 and not run["fits"]]


def main() -> None:
    """Measure the runs missing in the file; write each when it is done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--kinds", nargs="*", default=["nuclei", "filaments", "cells"])
    parser.add_argument("--write", action="store_true", help="write the page of measurements")
    options = parser.parse_args()
    starter = Model.load(sample_data_folder() / "starter.safetensors")
    lines = options.output.read_text().splitlines() if options.output.exists() else []
    runs: list[Run] = [json.loads(line) for line in lines]
    done = {(r["kind"], r["seed"]) for r in runs}
    for seed in range(options.runs):
        for kind in options.kinds:
            if (kind, seed) not in done:
                runs.append(measure(kind, options.folder, seed, starter))
                with options.output.open("a") as file:
                    file.write(json.dumps(runs[-1]) + "\n")
    if options.write:
        PAGE.with_suffix(".json").write_text(json.dumps(runs, indent=1) + "\n")
        PAGE.write_text(
            "# The check before deblurring\n\nWritten by `python -m benchmarks.check`: planes of "
            "256 x 256 pixels through random lenses (field curvature 2 to 12 um, axis within 0.15, "
            "tilt within 2 um), 200 to 5,000 photons. Targets: at most 2 % red where the images "
            "fit, at least 95 % red where deblurring makes images worse, with ten planes. "
            "Filaments and cells are procedural; nothing was tuned on them.\n\n" + as_table(runs)
        )


if __name__ == "__main__":
    main()
