"""Quality of the starter model on images it was not trained on.

Run: ``python -m benchmarks.starter FOLDER OUTPUT.json``

Each image is blurred by the starter's lens and camera (noise seeded by its index) and deblurred.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from napari_coordgate import Model, deblur
from napari_coordgate.demo import blurred_sample
from napari_coordgate.geometry import field_radius
from napari_coordgate.io import find_images
from napari_coordgate.io.files import sample_data_folder
from napari_coordgate.metrics import quality


def measure(path: Path, seed: int, starter: Model) -> dict[str, dict[str, float]]:
    """Return the metrics of one image, blurred and deblurred."""
    sample = blurred_sample(path, starter, seed)
    images = {"blurred": sample.blurred, "deblurred": deblur(sample.blurred, starter)}
    radius = field_radius(starter.frame_shape)
    return {
        stage: quality(sample.sharp, image, radius, sample.data_range)
        for stage, image in images.items()
    }


def as_table(report: dict[str, Any]) -> str:
    """Return Markdown tables of the means over the images and of the validations."""
    heading = "PSNR, dB | center | middle | edge | SSIM |\n" + "|---" * 6 + "|"
    lines = [f"| {report['images']} images | {heading}"]
    lines += [f"| {stage} | " + _cells(report[stage]) + " |" for stage in ("blurred", "deblurred")]
    lines += ["", f"| validation at step | {heading}"]
    lines += [f"| {row['step']:.0f} | " + _cells(row) + " |" for row in report["history"]]
    return "\n".join(lines) + "\n"


def _cells(figures: dict[str, float]) -> str:
    zones = [f"{figures[name]:.2f}" for name in ("psnr", "psnr_center", "psnr_middle", "psnr_edge")]
    return " | ".join([*zones, f"{figures['ssim']:.3f}"])


def main() -> None:
    """Measure all images; write the means and the training history."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    starter = Model.load(sample_data_folder() / "starter.safetensors")
    rows = [measure(p, n, starter) for n, p in enumerate(find_images(options.folder))]
    report: dict[str, Any] = {"images": len(rows), "history": list(starter.history)}
    for stage in ("blurred", "deblurred"):
        names = rows[0][stage]
        report[stage] = {name: float(np.mean([r[stage][name] for r in rows])) for name in names}
    gains = [row["deblurred"]["psnr"] - row["blurred"]["psnr"] for row in rows]
    report["smallest_gain_db"], report["median_gain_db"] = min(gains), float(np.median(gains))
    options.output.write_text(json.dumps(report, indent=1) + "\n")
    options.output.with_suffix(".md").write_text(as_table(report))


if __name__ == "__main__":
    main()
