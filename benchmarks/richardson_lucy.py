"""Quality of Richardson-Lucy over its settings and the noise: the reasons for its defaults.

Run: ``python -m benchmarks.richardson_lucy FOLDER RUNS.jsonl [--lenses 12] [--kinds nuclei cells]``

FOLDER has sharp images of nuclei; every eighth of them, 50 at most, is used. Each run draws a
lens and a scene, and deblurs a window of 96 x 96 pixels at each number of photons with each
weight of the total variation. Finished runs are kept in RUNS.jsonl; ``--write`` writes the table to
``docs/measurements``.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.scenes import Float32, draw_lens, scenes
from napari_coordgate import Camera, PSFField, RichardsonLucyConfig, psnr
from napari_coordgate.config import Scaling
from napari_coordgate.deconvolution.richardson_lucy import richardson_lucy_iterations
from napari_coordgate.geometry import Window
from napari_coordgate.io import find_images, read_image
from napari_coordgate.normalization import fit_normalizer
from napari_coordgate.optics import BlurOperator
from napari_coordgate.simulation import add_camera_noise

SIDE, MARGIN = 96, 48
PHOTONS = (100, 200, 500, 1000, 2000, 5000, 20000)
READ_NOISE = 3.0
WEIGHTS = (0.0, 0.002, 0.004, 0.006, 0.01, 0.015, 0.02, 0.03, 0.045)
ITERATIONS = (10, 20, 40, 80)
STOPPED_WEIGHTS = (0.0, 0.01, 0.03)
"""Weights of the total variation with the stop by discrepancy."""
SCENES = 1
"""Scenes per lens."""
HELD_OUT = 50
PAGE = Path(__file__).parents[1] / "docs" / "measurements" / "richardson_lucy.md"
HEAD = """\
# Settings of Richardson-Lucy

Written by `python -m benchmarks.richardson_lucy FOLDER RUNS.jsonl --write`. Random lenses (field
curvature 2 to 12 um, axis within 0.15, tilt within 2 um; NA 0.5, 520 nm, pixels of 0.325 um),
windows of 96 x 96 pixels, 3 electrons of read noise. Nuclei are from 50 training images of
BBBC038v1, every eighth. PSNR in dB, means over the lenses. The default is 40 iterations with a
total variation of weight 0.4 s, from 0.002 to 0.04, where s is the standard deviation of the noise
of a bright pixel, relative to its brightness. *Best weight* is the best of {weights} for these
images at 40 iterations. *Noise measured* is the default without a camera.

"""
COLUMNS = (
    "images",
    "photons",
    "lenses",
    "blurred",
    "10 iterations, no total variation",
    "best weight",
    "best, 20 iterations",
    "best, 40",
    "best, 80",
    "best, stopped by discrepancy",
    "default",
    "default, noise measured",
)
Run = dict[str, Any]


def held_out(folder: Path) -> list[Path]:
    """Return the images to tune on: every eighth of a folder."""
    return find_images(folder)[::8][:HELD_OUT]


def draw_scenes(kind: str, folder: Path, rng: np.random.Generator) -> list[Float32]:
    """Return scenes (192, 192), scaled to 0 to 1, around the windows to deblur."""
    length = SIDE + 2 * MARGIN
    if kind != "nuclei":
        made = scenes(kind, folder, SCENES, SIDE, rng)
        return [_scaled(scene)[:length, :length] for scene in made]
    paths, found = held_out(folder), list[Float32]()
    while len(found) < SCENES:
        pixels = read_image(paths[rng.integers(len(paths))]).pixels
        if min(pixels.shape) >= length:
            y, x = (int(rng.integers(n - length + 1)) for n in pixels.shape)
            found.append(_scaled(pixels)[y : y + length, x : x + length])
    return found


def _scaled(pixels: Any) -> Float32:
    return fit_normalizer(pixels, Scaling()).normalize(pixels)


def measure(kind: str, folder: Path, seed: int) -> Iterator[Run]:
    """Yield the PSNR of each setting, for each scene and number of photons behind one lens."""
    rng = np.random.default_rng([seed, 15])
    lens = draw_lens(rng)
    field = PSFField.from_lens(lens, (SIDE, SIDE), tolerance=1e-2, enclosed_energy=0.98)
    window = Window.whole((SIDE, SIDE))
    blur = field.operator(window, scene_window=field.input_window(window))
    for number, scene in enumerate(draw_scenes(kind, folder, rng)):
        sharp = scene[MARGIN:-MARGIN, MARGIN:-MARGIN]
        clean = field.blur(torch.from_numpy(scene.copy()), origin=(-MARGIN, -MARGIN))
        for photons in PHOTONS:
            camera = Camera(photons=photons, read_noise=READ_NOISE)
            noisy = add_camera_noise(clean, camera, int(rng.integers(2**31))).numpy()
            yield {
                "kind": kind,
                "seed": seed,
                "scene": number,
                "photons": photons,
                "curvature_um": lens.field_curvature_um,
                "blurred": psnr(sharp, noisy),
                "free": [_decibels(sharp, noisy, blur, camera, w, False) for w in WEIGHTS],
                "stopped": [
                    _decibels(sharp, noisy, blur, camera, w, True) for w in STOPPED_WEIGHTS
                ],
                "default": [_default(sharp, noisy, blur, known) for known in (camera, None)],
            }


def _decibels(
    sharp: Float32, noisy: Float32, blur: BlurOperator, camera: Camera, weight: float, stop: bool
) -> list[float]:
    """Return the PSNR after each of `ITERATIONS`."""
    config = RichardsonLucyConfig(
        num_iter=max(ITERATIONS), total_variation=weight, discrepancy=stop
    )
    values, latest = [], torch.empty(0)
    for done, latest in enumerate(richardson_lucy_iterations(noisy, blur, config, camera), 1):
        if done in ITERATIONS:
            values.append(psnr(sharp, latest.numpy()))
    stopped = psnr(sharp, latest.numpy())
    return values + [stopped] * (len(ITERATIONS) - len(values))


def _default(sharp: Float32, noisy: Float32, blur: BlurOperator, camera: Camera | None) -> float:
    """Return the PSNR with the default settings."""
    *_, last = richardson_lucy_iterations(noisy, blur, RichardsonLucyConfig(), camera)
    return psnr(sharp, last.numpy())


def summarize(runs: list[Run]) -> Run:
    """Return the figures of runs of one kind with the same photons."""
    free = np.mean([run["free"] for run in runs], axis=0)
    best = int(free[:, ITERATIONS.index(40)].argmax())
    known, measured = np.mean([run["default"] for run in runs], axis=0)
    return {
        "kind": runs[0]["kind"],
        "photons": runs[0]["photons"],
        "lenses": len(runs),
        "blurred": float(np.mean([run["blurred"] for run in runs])),
        "ten_without": float(free[0, 0]),
        "best_weight": WEIGHTS[best],
        "best": dict(zip(map(str, ITERATIONS), free[best].tolist(), strict=True)),
        "stopped": float(np.mean([run["stopped"] for run in runs], axis=0)[:, -1].max()),
        "default": float(known),
        "default_noise_measured": float(measured),
    }


def as_page(rows: list[Run]) -> str:
    """Return the Markdown page."""
    lines = [
        f"| {row['kind']} | {row['photons']:,} | {row['lenses']} | {row['blurred']:.2f} | "
        f"{row['ten_without']:.2f} | {row['best_weight']:g} | {row['best']['20']:.2f} | "
        f"{row['best']['40']:.2f} | {row['best']['80']:.2f} | {row['stopped']:.2f} | "
        f"{row['default']:.2f} | {row['default_noise_measured']:.2f} |"
        for row in rows
    ]
    head = HEAD.format(weights=", ".join(f"{weight:g}" for weight in WEIGHTS))
    table = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|", *lines]
    return head + "\n".join(table) + "\n"


def write(runs: list[Run]) -> None:
    """Write the page and its data."""
    groups: dict[tuple[str, int], list[Run]] = defaultdict(list)
    for run in runs:
        groups[run["kind"], run["photons"]].append(run)
    rows = [summarize(group) for group in groups.values()]
    PAGE.write_text(as_page(rows), encoding="utf-8")
    PAGE.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--lenses", type=int, default=12)
    parser.add_argument("--kinds", nargs="+", default=["nuclei"])
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    lines = options.runs.read_text().splitlines() if options.runs.exists() else []
    done = {(run["kind"], run["seed"]) for run in map(json.loads, lines)}
    for seed in range(options.lenses):
        for kind in options.kinds:
            if (kind, seed) not in done:
                found = [json.dumps(run) for run in measure(kind, options.folder, seed)]
                with options.runs.open("a") as file:
                    file.write("\n".join(found) + "\n")
    if options.write:
        write([json.loads(line) for line in options.runs.read_text().splitlines()])


if __name__ == "__main__":
    main()
