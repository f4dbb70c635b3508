"""Validation by two shifted images, of the sample data, with the true lens and wrong ones.

Run: ``python -m benchmarks.validation [--side 384]``

A scene of the sample images is recorded twice by the lens of the samples, moved by almost half of
the frame. Writes a picture to ``docs/images`` and a table to ``docs/measurements``.
"""

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_coordgate import Lens, PSFField, load_lens, read_image, validate_shifted
from napari_coordgate.io import find_images
from napari_coordgate.io.files import sample_data_folder

DOCS = Path(__file__).parents[1] / "docs"
PICTURE, PAGE = DOCS / "images" / "validate-shifted.png", DOCS / "measurements" / "validation.md"
TIMES = (1.0, 0.0, 0.6, 1.3, 1.8)
PHOTONS = (200.0, 1000.0)
_MARGIN = 64


def sample_scene(side: int) -> NDArray[np.float32]:
    """Return a mosaic of the sample images of nuclei, at several turns."""
    scene = np.zeros((side, side), np.float32)
    folders = (sample_data_folder() / name for name in ("train", "test"))
    paths = [path for folder in folders for path in find_images(folder)]
    for y in range(0, side, 256):
        for x in range(0, side, 256):
            number = (y * 3 + x) // 256
            tile = read_image(paths[number % len(paths)]).pixels.astype(np.float32)
            low, high = np.percentile(tile, [1, 99.8])
            tile = np.rot90((tile[:256, :256] - low) / (high - low), number % 4)
            part = scene[y : y + 256, x : x + 256]
            part[:] = tile[: part.shape[0], : part.shape[1]]
    return scene


def measure(side: int) -> list[dict[str, Any]]:
    """Return the figures of each lens and number of photons; write the picture of the true one."""
    lens, shift = load_lens(sample_data_folder() / "lens.yaml"), side * 15 // 32
    assert isinstance(lens, Lens)
    fields = {
        times: PSFField.from_lens(
            lens.replace(field_curvature_um=times * lens.field_curvature_um), (side, side)
        )
        for times in TIMES
    }
    scene, rng = sample_scene(2 * side + _MARGIN), np.random.default_rng(0)
    origins = [(-_MARGIN, x) for x in (-_MARGIN - shift, -_MARGIN)]
    clean = [np.clip(fields[1.0].blur(scene, origin=origin), 0, None) for origin in origins]
    rows = []
    for photons in PHOTONS:
        images = [rng.poisson(photons * c) + 3 * rng.normal(size=c.shape) for c in clean]
        for times, psf_field in fields.items():
            result = validate_shifted(*images, psf_field=psf_field)
            rows.append({"photons": photons, "curvature": times, **result.figures()})
            if times == 1.0:
                result.draw().savefig(PICTURE, dpi=80)
    return rows


def as_table(rows: list[dict[str, Any]]) -> str:
    """Return a Markdown table, a row for each lens and number of photons."""
    lines = [
        "| photons | field curvature | agreement of edge and middle | 95 % interval of the change "
        "| shared detail | outcome |",
        "|---" * 6 + "|",
    ]
    for row in rows:
        edge = row["zones"][-1]
        low, high = edge["interval"]
        lines.append(
            f"| {row['photons']:.0f} | {row['curvature']:g} x | {edge['before']:.2f} -> "
            f"{edge['after']:.2f} | {low:+.2f} to {high:+.2f} | x {edge['detail']:.1f} | "
            f"{row['outcome']} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the picture and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=384)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # about lenses that are wrong on purpose
    rows = measure(options.side)
    PAGE.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")
    PAGE.write_text(
        "# Validation by two shifted images\n\nWritten by `python -m benchmarks.validation`: two "
        f"simulated images of {options.side} x {options.side} pixels of the sample nuclei through "
        "the lens of the samples, moved by 15/32 of the frame along one side, deblurred by the "
        "universal model with the true lens and with others of so many times its field curvature. "
        "The noise is unknown to the model.\n\n" + as_table(rows)
    )


if __name__ == "__main__":
    main()
