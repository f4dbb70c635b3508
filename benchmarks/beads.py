"""How well beads measure a lens: error, error bars, Cramer-Rao bound, time, and cost in deblurring.

Run: ``python -m benchmarks.beads RUNS.jsonl [--runs 100] [--photons 300 1000] [--beads 60]``

Each run draws a lens and the positions and brightness of beads, simulates their image and measures
the lens, with the noise of the camera unknown. Finished runs are kept in RUNS.jsonl, and not
repeated. ``--deblur N`` measures in the first N runs what the error costs Richardson-Lucy.
``--odd N`` adds N runs of each kind of lens that the fit cannot describe, or is told wrongly.
``--write`` writes the tables to ``docs/measurements``.
"""

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_coordgate import PSFField, calibrate_beads, psnr, read_image, richardson_lucy, simulate
from napari_coordgate.calibration import BeadFit, Beads, simulate_beads
from napari_coordgate.calibration.beads_fitting import expected_parameters
from napari_coordgate.calibration.beads_noise import CountNoise
from napari_coordgate.calibration.beads_simulation import beads_light
from napari_coordgate.calibration.beads_solver import BeadProblem, BeadState
from napari_coordgate.calibration.beads_windows import cut_windows
from napari_coordgate.calibration.lens_fit import LensFit
from napari_coordgate.calibration.lens_parameters import (
    PARAMETERS,
    lens_vector,
    wavefront_coefficients,
)
from napari_coordgate.config import Camera, Lens, PSFFieldConfig
from napari_coordgate.errors import ImageError
from napari_coordgate.geometry import pixel_coordinates
from napari_coordgate.io.files import sample_data_folder
from napari_coordgate.optics.differentiable import PupilLight

Array = NDArray[np.float64]
Run = dict[str, Any]

FRAME = (512, 512)
OPTICS = Lens(na=0.5, wavelength_nm=520, pixel_size_um=0.325)
CURVATURE_UM = 8.0
BACKGROUND, READ_NOISE = 2.0, 1.5
WITHIN_90 = 1.645
CURVATURE = PARAMETERS.index("field_curvature_um")
FOLDER = Path(__file__).parents[1] / "docs" / "measurements"
ODD = {
    "as the fit assumes": (0.0, 0.0, 0.5),
    "0.15 waves of trefoil": (0.15, 0.0, 0.5),
    "obstruction of 0.4 of the radius": (0.0, 0.4, 0.5),
    "NA given 10 % too large": (0.0, 0.0, 0.55),
    "NA given 10 % too small": (0.0, 0.0, 0.45),
}
"""Trefoil, obstruction, and the NA that is given."""
ODD_CURVATURE_UM, ODD_PHOTONS, ODD_BEADS = 4.0, 2000.0, 60
SIZE = 65
SHARP_CAMERA = Camera(photons=1000, read_noise=3)


def draw_lens(rng: np.random.Generator) -> Lens:
    """Return a random lens of the field curvature that is to be found."""

    def pair(limit: float) -> tuple[float, float]:
        y, x = rng.uniform(-limit, limit, 2)
        return float(y), float(x)

    return OPTICS.replace(
        field_curvature_um=CURVATURE_UM,
        defocus_um=float(rng.uniform(-2, 2)),
        tilt_um=pair(2),
        axis=pair(0.15),
        astigmatism_waves=float(rng.uniform(-0.5, 0.5)),
        coma_waves=float(rng.uniform(-0.5, 0.5)),
        axial_astigmatism_waves=pair(0.2),
        axial_coma_waves=pair(0.2),
    )


class OddPupil(PupilLight):
    """Pupil with trefoil (waves), and a central obstruction (part of its radius)."""

    def __init__(self, lens: Lens, size: int, trefoil: float = 0.0, hole: float = 0.0) -> None:
        super().__init__(lens, size)
        self.trefoil, self.hole = trefoil, hole

    def _pupils(self, coefficients: Tensor, rule: Any) -> Tensor:
        y, x = rule.shapes[6] / self._pixel, rule.shapes[7] / self._pixel
        waves = self.trefoil * (y**3 - 3 * y * x**2)
        added = torch.polar((torch.hypot(y, x) >= self.hole).to(waves), 2 * torch.pi * waves)
        return super()._pupils(coefficients, rule) * added


def draw_beads(photons: float, beads: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return the positions (N, 2) and the light (N,) of random beads."""
    positions = rng.uniform(2, FRAME[0] - 3, (beads, 2))
    return positions, photons * np.exp(0.3 * rng.normal(size=beads))


def measure(photons: float, beads: int, seed: int, deblur: bool) -> Run:
    """Return errors and error bars of one run; without them if the lens was refused."""
    rng = np.random.default_rng([seed, beads, int(photons)])
    lens = draw_lens(rng)
    positions, light = draw_beads(photons, beads, rng)
    options: dict[str, Any] = {"background": BACKGROUND, "read_noise": READ_NOISE}
    image = simulate_beads(lens, positions, light, FRAME, rng=rng, **options)[0]
    run: Run = {"photons": photons, "beads": beads, "seed": seed, "lens": lens.model_dump()}
    run["bound"] = bound(lens, positions, light).tolist()
    start, used = time.perf_counter(), time.process_time()
    try:
        fit = calibrate_beads(image, OPTICS)
    except ImageError as error:
        return run | {"refused": str(error)}
    run["seconds"] = time.perf_counter() - start
    run["cpu_seconds"] = time.process_time() - used
    run["error"] = (lens_vector(fit.lens) - lens_vector(lens)).tolist()
    run["standard_error"] = list(fit.standard_errors.values())
    run |= {"used": int(fit.beads.kept.sum()), "deviance": fit.reduced_deviance} | findings(fit)
    return run | ({"lost_db": lost_db(lens, fit, seed)} if deblur else {})


def findings(fit: BeadFit) -> Run:
    """Return what the fit says about the lens that was given, and of what it cannot describe."""
    aperture, residual = fit.fitted.aperture, fit.residual
    return {
        "na": aperture.na,
        "na_error": aperture.standard_error,
        "na_is_other": aperture.is_other,
        "rank": len(residual.images),
        "held_out": [residual.without, residual.deviance],
    }


def measure_odd(name: str, seed: int) -> Run:
    """Return what the fit finds of a lens that is not as it is told, and the error of its PSFs."""
    rng = np.random.default_rng(seed)
    lens = draw_lens(rng).replace(field_curvature_um=ODD_CURVATURE_UM)
    trefoil, hole, na = ODD[name]
    pupil = OddPupil(lens, SIZE, trefoil, hole)
    positions, light = draw_beads(ODD_PHOTONS, ODD_BEADS, rng)
    clean = beads_light(pupil, lens, positions, light, FRAME)[0] + BACKGROUND
    image = rng.poisson(clean) + READ_NOISE * rng.standard_normal(FRAME)
    fit = calibrate_beads(image, OPTICS.replace(na=na))
    accuracy = PSFFieldConfig(tolerance=0.01, enclosed_energy=0.95)
    run: Run = {"odd": name, "seed": seed, "used": int(fit.beads.kept.sum())} | findings(fit)
    run["error"] = psf_error(fit.psf_field(config=accuracy), pupil, lens)
    run["lens_error"] = psf_error(LensFit.psf_field(fit, config=accuracy), pupil, lens)
    return run


def psf_error(field: PSFField, pupil: PupilLight, lens: Lens) -> float:
    """Return the relative error (2-norm) of the PSFs of a field, RMS over the frame."""
    pixels = np.random.default_rng(0).uniform(20, FRAME[0] - 21, (32, 2))
    coordinates = torch.from_numpy(pixel_coordinates(pixels, FRAME))
    optical = wavefront_coefficients(torch.from_numpy(lens_vector(lens)), coordinates, FRAME)
    true = pupil(torch.nn.functional.pad(optical, (0, 2))).numpy()
    squares = []
    for pixel, one in zip(pixels, true, strict=True):
        psf = field.psf_at(*pixel)
        margin = (SIZE - len(psf)) // 2
        inner = one[margin : SIZE - margin, margin : SIZE - margin] if margin > 0 else one
        found = psf[-margin : len(psf) + margin, -margin : len(psf) + margin] if margin < 0 else psf
        inner = inner / inner.sum()
        squares.append(np.sum((found - inner) ** 2) / np.sum(inner**2))
    return float(np.sqrt(np.mean(squares)))


def bound(lens: Lens, positions: Array, light: Array) -> Array:
    """Return the Cramer-Rao bound (13,) of standard errors, of all beads and with known noise."""
    image = simulate_beads(lens, positions, light, FRAME, background=BACKGROUND)
    beads = Beads.detected(positions, light, np.full(len(light), 20.0), ("",) * len(light))
    chosen, sizes = beads.kept, np.full((len(light), 1), 65)
    noise = CountNoise(1.0, 0.0, READ_NOISE**2, known=True)
    windows = cut_windows(image, beads, chosen, sizes, noise, np.zeros(1))
    problem = BeadProblem(OPTICS, windows, expected_parameters(OPTICS), fast=True)
    state = BeadState(
        torch.from_numpy(lens_vector(lens)),
        torch.from_numpy(positions - windows.centers.numpy()),
        torch.from_numpy(light),
        torch.full((len(light), 1), BACKGROUND + READ_NOISE**2, dtype=torch.float64),
    )
    bounds: Array = np.sqrt(problem.covariance(problem.evaluate(state)).diagonal())
    return bounds


def lost_db(lens: Lens, fit: BeadFit, seed: int) -> float:
    """Return what Richardson-Lucy loses with the fitted lens, relative to the true one, dB."""
    paths = sorted((sample_data_folder() / "test").glob("*.tif"))
    large = [path for path in paths if min(read_image(path).frame_shape) >= FRAME[0]]
    sharp = read_image(large[seed % len(large)]).pixels[: FRAME[0], : FRAME[1]].astype(np.float32)
    true, fitted = (PSFField.from_lens(one, FRAME, 0.01, 0.95) for one in (lens, fit.lens))
    blurred = simulate(sharp, true, SHARP_CAMERA, rng=seed)
    data_range = float(np.ptp(np.percentile(sharp, (1, 99.8))))
    with_true, with_fitted = (
        psnr(sharp, richardson_lucy(blurred, field, 20, total_variation=0.01), data_range)
        for field in (true, fitted)
    )
    return with_true - with_fitted


def summarize(runs: list[Run]) -> dict[str, Any]:
    """Return the figures of runs with the same photons and number of beads; NaN of none."""
    done = [run for run in runs if "error" in run]
    error, bar, bounds = (
        np.array([run[name] for run in done]) for name in ("error", "standard_error", "bound")
    )
    covered = np.abs(error) < WITHIN_90 * bar
    curvature = error[:, CURVATURE]
    rms = float(np.sqrt(np.mean(curvature**2)))
    lost = [run["lost_db"] for run in done if "lost_db" in run]
    told = [run for run in done if "na" in run]
    return {
        "photons": runs[0]["photons"],
        "beads": runs[0]["beads"],
        "runs": len(runs),
        "refused": len(runs) - len(done),
        "rms_percent": 100 * rms / CURVATURE_UM,
        "median_percent": 100 * float(np.median(np.abs(curvature))) / CURVATURE_UM,
        "bound_ratio": rms / float(np.sqrt(np.mean(bounds[:, CURVATURE] ** 2))),
        "covered_percent": 100 * float(covered[:, CURVATURE].mean()),
        "covered_percent_of_all": 100 * float(covered.mean()),
        "cpu_seconds": float(np.median([run["cpu_seconds"] for run in done])),
        "lost_db": float(np.max(lost)) if lost else None,
        "lost_db_runs": len(lost),
        "told": len(told),
        "na_is_other": sum(run["na_is_other"] for run in told),
        "residuals": sum(run["rank"] > 0 for run in told),
    }


def summarize_odd(runs: list[Run]) -> dict[str, Any]:
    """Return the figures of runs of the same kind of lens."""
    errors = np.median([[run["lens_error"], run["error"]] for run in runs], axis=0)
    return {
        "lens": runs[0]["odd"],
        "runs": len(runs),
        "na": float(np.median([run["na"] for run in runs])),
        "na_is_other": sum(run["na_is_other"] for run in runs),
        "residuals": sum(run["rank"] > 0 for run in runs),
        "lens_error": float(errors[0]),
        "error": float(errors[1]),
    }


def as_page(rows: list[dict[str, Any]], odd: list[dict[str, Any]]) -> str:
    """Return the Markdown page."""
    head = (
        "# A lens from beads\n\n"
        "Written by `python -m benchmarks.beads RUNS.jsonl --write`. Simulated images of 512x512\n"
        f"pixels (NA 0.5, 520 nm, 0.325 um; {BACKGROUND:g} photons of background in a pixel and\n"
        f"{READ_NOISE:g} electrons of read noise, which the fit does not know) of beads at random\n"
        f"places; some overlap. The field curvature is {CURVATURE_UM:g} um; defocus, tilt, axis,\n"
        "astigmatism and coma are drawn at random, and all 13 values are fitted. The bound is\n"
        "that of Cramer and Rao for all beads, those that overlap included, and known noise. A\n"
        "90 % interval is 1.645 standard errors to each side. Seconds are those of one core.\n"
        "Richardson-Lucy (20 iterations, total variation 0.01) deblurs an image of nuclei of\n"
        "1,000 photons with the fitted and the true lens; the largest loss is given. False notes\n"
        "are fits that found another NA than that of the lens, or added a residual.\n\n"
    )
    names = (
        *("photons of a bead", "beads", "runs", "error, RMS, %", "error, median, %"),
        *("error / bound", "in 90 % interval, %", "the same, all values, %", "CPU, s"),
        *("lost by RL, dB (runs)", "false notes: NA, residual (runs)"),
    )
    lines = ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    for row in rows:
        lost = "" if row["lost_db"] is None else f"{row['lost_db']:.2f} ({row['lost_db_runs']})"
        refused = f" ({row['refused']} refused)" if row["refused"] else ""
        cells = [
            *(f"{row['photons']:g}", f"{row['beads']}", f"{row['runs']}{refused}"),
            *(f"{row['rms_percent']:.1f}", f"{row['median_percent']:.1f}"),
            *(f"{row['bound_ratio']:.2f}", f"{row['covered_percent']:.0f}"),
            *(f"{row['covered_percent_of_all']:.0f}", f"{row['cpu_seconds']:.1f}", lost),
            f"{row['na_is_other']}, {row['residuals']} ({row['told']})" if row["told"] else "",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return head + "\n".join(lines) + "\n" + odd_section(odd)


def odd_section(rows: list[dict[str, Any]]) -> str:
    """Return the part of the page on lenses that the fit cannot describe, or is told wrongly."""
    if not rows:
        return ""
    text = (
        "\n## Lenses that are not as the fit assumes\n\n"
        f"Measured with `--odd N`: {ODD_BEADS} beads of {ODD_PHOTONS:g} photons, a field\n"
        f"curvature of {ODD_CURVATURE_UM:g} um, an NA of 0.5, all else as above. The error is\n"
        "that of the PSFs (2-norm, relative, RMS over the frame), median over the runs.\n\n"
        "| lens | runs | note on the NA | NA suggested, median | residual kept | error of the "
        "lens | error with the residual |\n" + "|---" * 7 + "|\n"
    )
    for row in rows:
        cells = (
            *(row["lens"], str(row["runs"]), str(row["na_is_other"]), f"{row['na']:.3f}"),
            *(str(row["residuals"]), f"{row['lens_error']:.3f}", f"{row['error']:.3f}"),
        )
        text += "| " + " | ".join(cells) + " |\n"
    return text


def read_runs(path: Path) -> list[Run]:
    """Return the finished runs."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def write(runs: list[Run]) -> None:
    """Write the tables, and their data."""
    groups: dict[tuple[float, int], list[Run]] = defaultdict(list)
    for run in runs:
        if "odd" not in run:
            groups[run["photons"], run["beads"]].append(run)
    rows = [summarize(group) for _, group in sorted(groups.items())]
    by_name = [[run for run in runs if run.get("odd") == name] for name in ODD]
    odd = [summarize_odd(group) for group in by_name if group]
    (FOLDER / "beads.json").write_text(json.dumps({"lenses": rows, "odd": odd}, indent=1) + "\n")
    (FOLDER / "beads.md").write_text(as_page(rows, odd))


def keep(run: Run, path: Path) -> None:
    """Add a finished run to the file."""
    with path.open("a") as file:
        file.write(json.dumps(run) + "\n")


def main() -> None:
    """Measure what is missing, and write the page if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.beads", description=__doc__)
    parser.add_argument("path", type=Path, metavar="RUNS.jsonl")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--photons", type=float, nargs="+", default=[300.0, 1000.0])
    parser.add_argument("--beads", type=int, nargs="+", default=[60])
    parser.add_argument("--deblur", type=int, default=0, metavar="N")
    parser.add_argument("--odd", type=int, default=0, metavar="N")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    finished = read_runs(options.path)
    done = {(run.get("photons"), run.get("beads"), run["seed"]) for run in finished}
    odd = {(run.get("odd"), run["seed"]) for run in finished}
    for seed in range(options.runs):
        for photons in options.photons:
            for beads in options.beads:
                if (photons, beads, seed) not in done:
                    keep(measure(photons, beads, seed, seed < options.deblur), options.path)
    for seed in range(options.odd):
        for name in ODD:
            if (name, seed) not in odd:
                keep(measure_odd(name, seed), options.path)
    if options.write:
        write(read_runs(options.path))


if __name__ == "__main__":
    main()
