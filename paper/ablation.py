"""Supplement: which parts of the CG U-Net matter; each is changed alone."""

import threading
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from napari_coordgate.comparison import compare_events
from napari_coordgate.config import Camera, ComparisonConfig
from napari_coordgate.data import Images
from napari_coordgate.events import Event
from paper.lens import SCALES, Scale, flat_rows, lens_psf_field, network
from paper.results import COLORS, provenance, write_results

BASE, PLAIN = "CG U-Net(3)", "U-Net(3)"

NETWORKS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        BASE: {},
        PLAIN: {"architecture": "unet"},
        "encoder 8 wide": {"encoder_width": 8},
        "encoder 128 wide": {"encoder_width": 128},
        "encoder of 1 layer": {"encoder_layers": 1},
        "encoder of 3 layers": {"encoder_layers": 3},
        "GELU": {"activation": "gelu"},
        "gate g": {"gate_output": "identity"},
        "gate ReLU(g)": {"gate_output": "relu"},
        "gates down only": {"gate_points": "down"},
        "gates up only": {"gate_points": "up"},
        "no residual output": {"residual": False},
        "as in the paper: gate g, no residual": {"gate_output": "identity", "residual": False},
        "U-Net(3), no residual": {"architecture": "unet", "residual": False},
    }
)
"""Networks by name, as differences from the base; all are trained on whole frames."""

TRAININGS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "whole frames": {},
        "windows of the frame": {"sampling": "window", "batch_size": 16, "window_size": 32},
        "no noise": {"camera": Camera()},
        "noise of 200 photons": {"camera": Camera(photons=200, read_noise=3)},
    }
)
"""Trainings by name, as differences from the base; windows have as many pixels per step."""


def run_events(
    output: Path,
    scale: str = "small",
    cancel: threading.Event | None = None,
    *,
    images: Images,
    test: Images | None = None,
    seeds: int | None = None,
    size: Scale | None = None,
) -> Generator[Event, None, list[dict[str, Any]]]:
    """Train and compare all variants, write the figure and return the rows of its table."""
    size = size or SCALES[scale]
    psf_field = lens_psf_field(size.frame_shape, output, cancel)
    basis = {"depth": 3, "base_channels": size.base_channels}
    rows: list[dict[str, Any]] = []
    for name, changes in TRAININGS.items():
        config = ComparisonConfig(
            training=size.training.model_copy(update={**size.ablation, **changes}),
            seeds=seeds or size.ablation_seeds,
        )
        variants = NETWORKS if not changes else (BASE, PLAIN)
        methods = [network(variant, **basis, **NETWORKS[variant]) for variant in variants]
        folder = output / name.replace(" ", "-")
        comparison = yield from compare_events(
            methods, images, psf_field, config=config, test=test, output=folder, cancel=cancel
        )
        rows += [{"training": name, **row} for row in flat_rows(comparison)]
    data = {
        "scale": scale,
        "base": BASE,
        "rows": rows,
        "settings": comparison.config.model_dump(mode="json"),
        **comparison.model_dump(mode="json", include={"methods"}),
        **provenance(),
    }
    write_results(output, "ablation", data, draw(rows))
    return rows


def gains_over(base: str, rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], list[float]]:
    """Return by (training, method) the PSNR gains over the base of the same training and seed."""
    trained = [row for row in rows if row["seed"] is not None]
    bases = {(r["training"], r["seed"]): r["psnr"] for r in trained if r["method"] == base}
    gains: dict[tuple[str, str], list[float]] = {}
    for row in trained:
        gain = row["psnr"] - bases[row["training"], row["seed"]]
        gains.setdefault((row["training"], row["method"]), []).append(gain)
    return gains


def draw(rows: Sequence[Mapping[str, Any]], base: str = BASE) -> Figure:
    """Draw the gain of each variant over the base of its training."""
    gains = {key: values for key, values in gains_over(base, rows).items() if key[1] != base}
    figure = Figure(figsize=(8, 0.32 * len(gains) + 1.2), layout="constrained")
    axes = figure.subplots()
    for y, values in enumerate(gains.values()):
        mean = float(np.mean(values))
        axes.barh(y, mean, color=COLORS["blue" if mean >= 0 else "red"], height=0.7)
        axes.plot(values, [y] * len(values), "k|", ms=9)
    axes.set_yticks(range(len(gains)), [f"{method}  ({training})" for training, method in gains])
    axes.invert_yaxis()
    axes.axvline(0, color="black", lw=0.8)
    axes.set_xlabel(f"PSNR over {base}, dB (one mark per seed)")
    return figure
