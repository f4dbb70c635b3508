"""Compare default settings after a given number of training steps.

Each variant differs from the base as its name says. All use the same images, split, lens, noise and
number of steps. Metrics are measured on validation images of the same folder, not on test images.

Run: ``python -m benchmarks.choices FOLDER OUTPUT.json [--seeds N] [--only NAME ...]``
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from napari_coordgate.config import Camera, CGUNetConfig, Lens, TrainingConfig, network_config
from napari_coordgate.optics import PSFField
from napari_coordgate.training import train

FRAME = (128, 128)
LENS = Lens(na=0.5, wavelength_nm=520, pixel_size_um=0.325, field_curvature_um=8)
NETWORK = CGUNetConfig(base_channels=16)
BASE = TrainingConfig(
    network=NETWORK,
    camera=Camera(photons=5000, read_noise=3),
    steps=1500,
    batch_size=8,
    window_size=64,
    learning_rate=1e-3,
    ema_decay=0.999,
    precision="float32",
    sampling="window",
    validate_every=1500,
)
VARIANTS: dict[str, dict[str, Any]] = {
    "base": {},
    "no gates (U-Net)": {"network": {"architecture": "unet"}},
    "gate g": {"network": {"gate_output": "identity"}},
    "gate ReLU(g)": {"network": {"gate_output": "relu"}},
    "encoder of 1 layer": {"network": {"encoder_layers": 1}},
    "encoder of 3 layers": {"network": {"encoder_layers": 3}},
    "no residual output": {"network": {"residual": False}},
    "no residual output, no gates": {"network": {"residual": False, "architecture": "unet"}},
    "whole frames": {"sampling": "frame", "batch_size": 2},
    "learning rate 2e-3": {"learning_rate": 2e-3},
    "learning rate 4e-3": {"learning_rate": 4e-3},
    "no averaging": {"ema_decay": 0.0},
    "constant learning rate": {"schedule": "plateau"},
    "constant learning rate, no averaging": {"schedule": "plateau", "ema_decay": 0.0},
    "bfloat16": {"precision": "bfloat16"},
    "no brightness variation": {"gain": 1.0},
    "window 32": {"window_size": 32, "batch_size": 32},
}


def variant(name: str, seed: int) -> TrainingConfig:
    """Return the training settings of a variant."""
    changes = dict(VARIANTS[name])
    network = network_config(**NETWORK.model_dump() | changes.pop("network", {}))
    return BASE.model_copy(update={**changes, "network": network, "seed": seed})


def measure(name: str, seed: int, folder: Path, field: PSFField) -> dict[str, Any]:
    """Train a variant; return the metrics of its last validation and its time."""
    start = time.perf_counter()
    model = train(folder, field, config=variant(name, seed))
    figures = model.history[-1]
    return {"variant": name, "seed": seed, "seconds": time.perf_counter() - start, **figures}


def table(rows: list[dict[str, Any]]) -> str:
    """Return a Markdown table with the metrics of the first seed and the gain of each seed.

    The seed also selects the validation images, so only rows of one seed can be compared.
    """
    columns = ("psnr", "psnr_center", "psnr_middle", "psnr_edge")
    base = {row["seed"]: row["psnr"] for row in rows if row["variant"] == "base"}
    lines = ["| variant | PSNR, dB | center | middle | edge | SSIM | gain over base per seed |"]
    lines.append("|---" * 7 + "|")
    for name in dict.fromkeys(row["variant"] for row in rows):
        own = [row for row in rows if row["variant"] == name]
        figures = " | ".join(f"{own[0][column]:.2f}" for column in columns)
        gains = ", ".join(f"{row['psnr'] - base[row['seed']]:+.2f}" for row in own)
        lines.append(f"| {name} | {figures} | {own[0]['ssim']:.3f} | {gains} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure the variants missing in the output; write each row when it is done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    options = parser.parse_args()
    rows = json.loads(options.output.read_text()) if options.output.exists() else []
    done = {(row["variant"], row["seed"]) for row in rows}
    field = PSFField.from_lens(LENS, FRAME)
    for seed in range(options.seeds):
        for name in options.only:
            if (name, seed) not in done:
                rows.append(measure(name, seed, options.folder, field))
                options.output.write_text(json.dumps(rows, indent=1) + "\n")
                options.output.with_suffix(".md").write_text(table(rows))


if __name__ == "__main__":
    main()
