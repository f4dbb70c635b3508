"""Measure the error of the camera noise that is estimated from simulated images.

Nuclei, filaments, and sparse scenes of few beads or thin lines are blurred by random lenses and
recorded by random cameras. Images alone give electrons per count and the noise at each
brightness; with two dark frames, offset and read noise as well. Given a folder of recorded images,
their noise is listed, too.

Run: ``python -m benchmarks.noise [--runs N] [--folder FOLDER] [--kinds KIND ...]``
"""

import argparse
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from napari_coordgate import Lens, PSFField, estimate_noise, read_image
from napari_coordgate.errors import ImageError
from napari_coordgate.io import find_images
from napari_coordgate.io.files import sample_data_folder

OUTPUT = Path(__file__).parents[1] / "docs" / "measurements" / "noise.json"
FRAME = (256, 256)
PHOTONS = (50, 200, 1000, 5000, 20_000)
NUMBERS = (1, 4)
LENSES = 8
OFFSET = 100.0
Z_90 = 1.645

Pixels = NDArray[np.floating[Any]]


def nuclei(rng: np.random.Generator) -> Pixels:
    """Return the light of an image of the samples, flipped and shifted at random."""
    paths = find_images(sample_data_folder() / "train")
    image = read_image(paths[int(rng.integers(len(paths)))]).pixels.astype(float)
    image = np.roll(image[:: rng.choice((-1, 1)), :: rng.choice((-1, 1))], rng.integers(64), 0)
    low, high = np.percentile(image, (1, 99.8))
    image = (image - low).clip(0) / (high - low)
    return np.pad(image, 64, "reflect")[: FRAME[0], : FRAME[1]]


def filaments(rng: np.random.Generator) -> Pixels:
    """Return the light of random curved lines on a dim background."""
    image = np.zeros(FRAME)
    for _ in range(40):
        angle = np.cumsum(rng.normal(0, 0.05, 600)) + rng.uniform(0, 2 * np.pi)
        start = rng.uniform(0, FRAME[0], (2, 1))
        points = start + np.cumsum(0.5 * np.stack([np.sin(angle), np.cos(angle)]), axis=1)
        rows, columns = points.astype(int) % FRAME[0]
        np.add.at(image, (rows, columns), rng.uniform(0.3, 1))
    image = gaussian_filter(image, 0.5) + 0.05 * gaussian_filter(rng.random(FRAME), 40)
    return image / np.percentile(image, 99.8)


def beads(rng: np.random.Generator) -> Pixels:
    """Return the light of 25 to 80 points on a dark background."""
    number = int(rng.integers(25, 80))
    image = np.zeros(FRAME)
    image[tuple(rng.integers(0, FRAME[0], (2, number)))] = rng.uniform(0.3, 1, number)
    blurred = gaussian_filter(image, 0.6)
    scaled: Pixels = blurred / blurred.max() + 0.01
    return scaled


def lines(rng: np.random.Generator) -> Pixels:
    """Return the light of eight straight lines, as thin as a pixel, on a dim background."""
    image = np.zeros(FRAME)
    for _ in range(8):
        start, angle = rng.uniform(0, FRAME[0], (2, 1)), rng.uniform(0, np.pi)
        points = start + np.arange(0, 200, 0.5) * np.array([[np.sin(angle)], [np.cos(angle)]])
        rows, columns = points.astype(int) % FRAME[0]
        np.add.at(image, (rows, columns), rng.uniform(0.3, 1))
    image = gaussian_filter(image, 0.5)
    return image / np.percentile(image, 99.8) + 0.03


CONTENTS = {"nuclei": nuclei, "filaments": filaments, "beads": beads, "lines": lines}


def blurred(content: str, count: int) -> list[Pixels]:
    """Return scenes blurred by random lenses."""
    rng = np.random.default_rng(0)
    found: list[Pixels] = []
    for _ in range(LENSES):
        lens = Lens(
            na=0.5,
            wavelength_nm=520,
            pixel_size_um=0.325,
            field_curvature_um=rng.uniform(2, 12),
            axis=tuple(rng.uniform(-0.15, 0.15, 2)),
            tilt_um=tuple(rng.uniform(-2, 2, 2)),
        )
        psf_field = PSFField.from_lens(lens, FRAME)
        scenes = [CONTENTS[content](rng) for _ in range(-(-count // LENSES))]
        found += [psf_field.blur(scene).clip(0) for scene in scenes]
    return found


def runs(content: str, count: int) -> Iterator[dict[str, Any]]:
    """Yield the errors of each simulated measurement."""
    scenes = blurred(content, max(count, max(NUMBERS)))
    for photons in PHOTONS:
        for number in NUMBERS:
            for run in range(count):
                rng = np.random.default_rng([run, number, photons])
                per_count = float(np.exp(rng.uniform(*np.log((max(0.2, photons / 3e4), 4)))))
                read_noise = float(rng.uniform(1, 3))

                def record(
                    light: Pixels, rng: Any = rng, k: float = per_count, s: float = read_noise
                ) -> Pixels:
                    electrons = rng.poisson(light) + s * rng.normal(size=light.shape)
                    counts: Pixels = np.rint(OFFSET + electrons / k).clip(0, 65535)
                    return counts

                images = [record(photons * scenes[(run + n) % len(scenes)]) for n in range(number)]
                dark = record(np.zeros((2, *FRAME)))
                yield {
                    "content": content,
                    "photons": photons,
                    "images": number,
                    **errors(images, dark, photons, per_count, read_noise),
                }


def errors(
    images: list[Pixels], dark: Pixels, photons: float, per_count: float, read_noise: float
) -> dict[str, Any]:
    """Return the relative errors of one measurement; None where nothing is stated."""
    alone, with_dark = estimate_noise(images), estimate_noise(images, dark=dark)
    bright = OFFSET + photons / per_count
    truth = (photons + read_noise**2) / per_count**2 + 1 / 12
    row: dict[str, Any] = {"variance": float(alone.variance(bright)) / truth - 1}
    for name, estimate in (("alone", alone), ("dark", with_dark)):
        value = estimate.electrons_per_count
        row[name] = None if value is None else value / per_count - 1
        if value is not None:
            error = estimate.standard_errors["electrons_per_count"]
            row[f"{name}_covered"] = bool(abs(value - per_count) <= Z_90 * error)
    if with_dark.read_noise is not None:
        row["read_noise"] = with_dark.read_noise / read_noise - 1
    return row


def recorded(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the noise of the images of each size in a folder, alone and together."""
    by_shape: dict[tuple[int, int], list[Path]] = {}
    for path in find_images(folder):
        by_shape.setdefault(read_image(path).frame_shape, []).append(path)
    for shape, paths in by_shape.items():
        together, values, notes = estimate_noise(paths), [], 0
        for path in paths:
            try:
                estimate = estimate_noise(path)
            except ImageError:
                continue
            notes += any("vary together" in note or "gaps" in note for note in estimate.notes)
            if estimate.electrons_per_count is not None:
                values.append(estimate.electrons_per_count)
        quartiles = np.percentile(values, (25, 50, 75)).tolist() if values else []
        yield {
            "shape": list(shape),
            "images": len(paths),
            "together": together.electrons_per_count,
            "measured": len(values),
            "quartiles": quartiles,
            "processed": notes,
        }


def table(rows: list[dict[str, Any]]) -> str:
    """Return a Markdown table of the errors by content, photons and number of images."""
    lines = [
        "| content | photons | images | stated | electrons per count: median error | worst of 95 % "
        "| within 15 % | with dark frames | 90 % intervals cover | noise of a bright pixel "
        "| read noise |",
        "|---" * 11 + "|",
    ]
    for key in dict.fromkeys((row["content"], row["photons"], row["images"]) for row in rows):
        own = [row for row in rows if (row["content"], row["photons"], row["images"]) == key]
        alone, dark = (
            np.array([abs(row[name]) for row in own if row[name] is not None])
            for name in ("alone", "dark")
        )
        covered = [row["alone_covered"] for row in own if "alone_covered" in row]
        read = [abs(row["read_noise"]) for row in own if "read_noise" in row]
        cells = [
            f"{key[0]} | {key[1]:,} | {key[2]} | {len(alone) / len(own):.0%}",
            f"{np.median(alone):.1%} | {np.percentile(alone, 95):.0%}" if len(alone) else "- | -",
            f"{np.mean(alone <= 0.15):.0%}" if len(alone) else "-",
            f"{np.mean(dark <= 0.15):.0%}" if len(dark) else "-",
            f"{np.mean(covered):.0%}" if covered else "-",
            f"{np.median([abs(row['variance']) for row in own]) / 2:.1%}",
            f"{np.median(read):.1%}" if read else "-",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def recorded_table(rows: list[dict[str, Any]]) -> str:
    """Return a Markdown table of recorded images."""
    lines = [
        "| size | images | electrons per count, together | single images: quartiles | measured | "
        "noted as processed |",
        "|---" * 6 + "|",
    ]
    for row in rows:
        together = "-" if row["together"] is None else f"{row['together']:.3g}"
        quartiles = ", ".join(f"{value:.3g}" for value in row["quartiles"])
        lines.append(
            f"| {row['shape'][0]} x {row['shape'][1]} | {row['images']} | {together} | "
            f"{quartiles} | {row['measured']} | {row['processed']} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the figures as JSON and as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=16)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--kinds", nargs="*", default=list(CONTENTS), choices=list(CONTENTS))
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    rows = [row for content in options.kinds for row in runs(content, options.runs)]
    real = [] if options.folder is None else list(recorded(options.folder))
    options.output.write_text(json.dumps({"simulated": rows, "recorded": real}, indent=1) + "\n")
    text = (
        "# Camera noise measured from images\n\n"
        f"Written by `python -m benchmarks.noise --runs {options.runs}` on "
        f"{date.today().isoformat()}: images of 256 x 256 pixels behind random lenses (field\n"
        "curvature 2 to 12 um, tilt, off-center axis), random cameras (0.2 to 4 electrons per\n"
        "count, 1 to 3 electrons of read noise, rounded to whole counts). Photons are those of a\n"
        "bright pixel. Target: within 15 %, of the runs in which a value is stated. The noise of\n"
        "a bright pixel (standard deviation, images alone) and the read noise (with dark frames)\n"
        "are median errors. Of beads and lines, all that is bright is as fine as a pixel: often,\n"
        "single frames cannot tell, and say so. A time series of a still scene can.\n\n"
        + table(rows)
    )
    if real:
        text += (
            "\n## Recorded images\n\n"
            "Images of BBBC038v1, 8 bits, of many unknown microscopes: no truth is known, and many "
            "were rescaled or compressed.\n\n" + recorded_table(real)
        )
    options.output.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
