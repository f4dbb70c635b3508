"""A lens from beads, compared with rdmpy on the same images: error of the PSFs over the frame.

Run: ``python -m benchmarks.beads_peer RUNS.jsonl --rdmpy FOLDER [--runs 5] [--write]``

FOLDER is a clone of https://github.com/apsk14/rdmpy (ring deconvolution microscopy). Its fit, of
Seidel coefficients by gradient descent on the whole image, assumes beads at whole pixels, equally
bright, without background; images are simulated with and without these assumptions. It is given
the positions of the beads and the center of the lens, and runs from its own start and from a random
one; that with the smaller loss counts. Lenses are rotationally symmetric, as it assumes. Finished
runs are kept in RUNS.jsonl; ``--write`` writes the table to ``docs/measurements``.
"""

import argparse
import json
import sys
import time
import types
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from benchmarks.beads import OPTICS, Run, read_runs
from napari_coordgate import calibrate_beads
from napari_coordgate.calibration import simulate_beads
from napari_coordgate.config import Lens
from napari_coordgate.geometry import pixel_coordinates
from napari_coordgate.optics.pupil import lens_psfs

Array = NDArray[np.float64]

SIDE, GRID, SPACING = 128, 4, 28
"""Side of the frame; beads are near the points of a grid."""
SIZE = 41
PHOTONS = 3000.0
CENTER = SIDE // 2
AXIS = tuple(pixel_coordinates([[CENTER, CENTER]], (SIDE, SIDE))[0].tolist())
CASES = {"as rdmpy assumes": False, "as in practice": True}
RANDOM_STARTS = 1
FOLDER = Path(__file__).parents[1] / "docs" / "measurements"
METERS = 1e-6


def draw_lens(rng: np.random.Generator) -> Lens:
    """Return a random lens with the aberrations that both methods know."""
    return OPTICS.replace(
        axis=AXIS,
        field_curvature_um=float(rng.uniform(2, 5)),
        defocus_um=float(rng.uniform(-1, 1)),
        astigmatism_waves=float(rng.uniform(-0.5, 0.5)),
        coma_waves=float(rng.uniform(-0.5, 0.5)),
        spherical_waves=float(rng.uniform(-0.1, 0.1)),
    )


def measure(seed: int, case: str, rdmpy: Any) -> Run:
    """Return the errors of both methods on one image."""
    rng = np.random.default_rng(seed)
    lens, practice = draw_lens(rng), CASES[case]
    line = CENTER + SPACING * (np.arange(GRID) - (GRID - 1) / 2)
    positions = np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2).astype(float)
    positions += rng.integers(-4, 5, positions.shape)
    light = np.full(len(positions), PHOTONS)
    options: dict[str, Any] = {}
    if practice:
        positions += rng.uniform(-0.5, 0.5, positions.shape)
        light *= np.exp(0.3 * rng.normal(size=len(light)))
        options = {"background": 2.0, "read_noise": 1.5}
    shape = (SIDE, SIDE)
    image = simulate_beads(lens, positions, light, shape, rng=rng, **options)[0]
    probes = rng.uniform(16, SIDE - 17, (32, 2))
    true = lens_psfs(lens, pixel_coordinates(probes, shape), shape, SIZE)
    run: Run = {"seed": seed, "case": case, "lens": lens.model_dump()}
    start = time.process_time()
    fit = calibrate_beads(image, OPTICS)
    run["our_seconds"] = time.process_time() - start
    ours = lens_psfs(fit.lens, pixel_coordinates(probes, shape), shape, SIZE)
    run["our_error"] = psf_error(ours, true)
    start = time.process_time()
    peer = peer_psfs(rdmpy, image, positions, probes, seed)
    run["peer_seconds"] = time.process_time() - start
    run["peer_error"] = psf_error(peer, true)
    return run


def psf_error(found: Array, true: Array) -> float:
    """Return the relative error (2-norm) of PSFs, each moved to where it fits best."""
    frequency = np.fft.fftfreq(SIZE)
    errors = []
    for one, other in zip(found, true, strict=True):
        spectrum = np.fft.fft2(one / one.sum())
        target = other / other.sum()

        def squared(
            shift: Array, spectrum: NDArray[np.complex128] = spectrum, target: Array = target
        ) -> float:
            phase = frequency[:, None] * shift[0] + frequency * shift[1]
            moved = np.fft.ifft2(spectrum * np.exp(-2j * np.pi * phase)).real
            return float(np.sum((moved - target) ** 2) / np.sum(target**2))

        starts = [np.zeros(2), centroid(target) - centroid(one / one.sum())]
        errors.append(min(minimize(squared, at, method="Nelder-Mead").fun for at in starts))
    return float(np.sqrt(np.mean(errors)))


def centroid(psf: Array) -> Array:
    """Return the mean position (y, x) of the light."""
    offset = np.arange(SIZE) - SIZE // 2
    return np.array([psf.sum(1) @ offset, psf.sum(0) @ offset])


def load_rdmpy(folder: Path) -> Any:
    """Return the modules of rdmpy; its fit does not use kornia, which they import."""
    mpl.use("Agg")
    try:
        import kornia  # type: ignore[import-not-found]  # noqa: F401
    except ImportError:
        for name in ("kornia", "kornia.filters", "kornia.filters.sobel"):
            sys.modules[name] = types.ModuleType(name)
        sys.modules["kornia.filters.sobel"].spatial_gradient = None  # type: ignore[attr-defined]
    sys.path.insert(0, str(folder))
    from rdmpy import _src, calibrate  # type: ignore[import-not-found]
    from rdmpy._src import opt, psf_model  # type: ignore[import-not-found]  # noqa: F401

    return types.SimpleNamespace(source=_src, calibrate=calibrate)


def peer_psfs(rdmpy: Any, image: Array, positions: Array, probes: Array, seed: int) -> Array:
    """Return the PSFs (N, SIZE, SIZE) of the best fit of rdmpy, at frame pixels (N, 2)."""
    system = {
        "samples": SIDE,
        "L": SIDE * OPTICS.pixel_size_um * METERS,
        "lamb": OPTICS.wavelength_nm * 1e-9,
        "NA": float(np.sin(np.arctan(OPTICS.na))),  # of which rdmpy takes the tangent
    }
    prepared = np.maximum(image, 0.0)
    prepared[prepared < np.quantile(prepared, 0.9)] = 0.0  # as its calibration does
    prepared *= len(positions) / prepared.sum()
    beads = to_points(np.round(positions))
    fits = []
    for start in range(1 + RANDOM_STARTS):
        torch.manual_seed(100 * seed + start)
        settings = fit_settings("random" if start else "zeros")
        with torch.enable_grad():
            coefficients = rdmpy.source.opt.estimate_coeffs(
                torch.tensor(prepared), beads, system, settings, show_psfs=True, verbose=False
            )
        fits.append((peer_loss(rdmpy, coefficients, beads, system, prepared), coefficients))
    best = min(fits, key=lambda one: one[0])[1]
    psfs = rdmpy.source.psf_model.compute_rdm_psfs(
        best, to_points(probes), sys_params=system, shift=False
    )
    place = slice(CENTER - SIZE // 2, CENTER + SIZE // 2 + 1)
    return np.stack([psf.numpy()[place, place].astype(np.float64) for psf in psfs])


def fit_settings(init: str) -> dict[str, Any]:
    """Return the settings of the fit of rdmpy: its defaults, but all six coefficients."""
    return {
        "num_seidel": 6,
        "init": init,
        "seidel_init": None,
        "iters": 300,
        "lr": 1e-2,
        "reg": 0,
        "plot_loss": False,
        "get_inter_seidels": False,
    }


def peer_loss(
    rdmpy: Any, coefficients: Any, beads: list[Any], system: dict[str, Any], image: Array
) -> float:
    """Return the loss that rdmpy minimizes."""
    psfs = rdmpy.source.psf_model.compute_rdm_psfs(coefficients, beads, sys_params=system)
    normalize = rdmpy.source.util.normalize
    return float((normalize(sum(psfs)) - normalize(torch.tensor(image))).abs().mean())


def to_points(pixels: Array) -> list[tuple[float, float]]:
    """Return the positions (x, y upward) from the center that rdmpy takes."""
    return [(float(column) - CENTER, CENTER - float(row)) for row, column in pixels]


def as_page(runs: list[Run]) -> str:
    """Return the Markdown page."""
    text = (
        "# A lens from beads, compared with rdmpy\n\n"
        "Written by `python -m benchmarks.beads_peer RUNS.jsonl --rdmpy FOLDER --write`. Images\n"
        f"of {SIDE}x{SIDE} pixels with {GRID * GRID} beads of {PHOTONS:g} photons, of\n"
        "rotationally symmetric lenses (NA 0.5, 520 nm, 0.325 um; field curvature of 2 to 5 um,\n"
        "defocus, astigmatism, coma and spherical aberration at random). As rdmpy assumes: beads\n"
        "at whole pixels, equally bright, no background. As in practice: beads between pixels, of\n"
        "different brightness, 2 photons of background in a pixel and 1.5 electrons of read\n"
        "noise. The error is that of a PSF (2-norm, relative), each moved to where it fits best,\n"
        "root mean square over the frame. rdmpy is given the positions of the beads and the\n"
        "center of the lens, fits all six coefficients from its own start and from a random one,\n"
        "and that with the smaller loss counts. Pixels integrate the light in the images, but\n"
        "not in its model.\n\n"
        "| images | runs | error of calibrate_beads, median (largest) | error of rdmpy | CPU of "
        "calibrate_beads, s | CPU of rdmpy, s |\n|---|---|---|---|---|---|\n"
    )
    for case in CASES:
        chosen = [run for run in runs if run["case"] == case]
        if not chosen:
            continue
        cells = [case, str(len(chosen))]
        for name in ("our_error", "peer_error"):
            values = [run[name] for run in chosen]
            cells.append(f"{np.median(values):.3f} ({max(values):.3f})")
        for name in ("our_seconds", "peer_seconds"):
            cells.append(f"{np.median([run[name] for run in chosen]):.0f}")
        text += "| " + " | ".join(cells) + " |\n"
    return text


def main() -> None:
    """Measure what is missing, and write the page if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.beads_peer", description=__doc__)
    parser.add_argument("path", type=Path, metavar="RUNS.jsonl")
    parser.add_argument("--rdmpy", type=Path, metavar="FOLDER")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    done = {(run["seed"], run["case"]) for run in read_runs(options.path)}
    missing = [
        (seed, case) for seed in range(options.runs) for case in CASES if (seed, case) not in done
    ]
    if missing and options.rdmpy is None:
        parser.error("runs are missing: give --rdmpy FOLDER, a clone of rdmpy")
    rdmpy = load_rdmpy(options.rdmpy) if missing else None
    for seed, case in missing:
        run = measure(seed, case, rdmpy)
        with options.path.open("a") as file:
            file.write(json.dumps(run) + "\n")
    if options.write:
        runs = read_runs(options.path)
        (FOLDER / "beads_peer.json").write_text(json.dumps(runs, indent=1) + "\n")
        (FOLDER / "beads_peer.md").write_text(as_page(runs))


if __name__ == "__main__":
    main()
