"""Each benchmark runs at a small size and returns finite figures."""

import math
from importlib import import_module
from typing import Any

import pytest

from napari_coordgate.config import CGUNetConfig, Lens, TrainingConfig

LENS = Lens(na=0.5, wavelength_nm=520, pixel_size_um=0.65, field_curvature_um=2)
SMALL = TrainingConfig(network=CGUNetConfig(base_channels=2), batch_size=2, window_size=16)
TINY: dict[str, dict[str, Any]] = {
    "batch": {"images": 2, "size": 32, "rounds": 1, "turns": 1},
    "blur": {"size": 64, "exact_size": 48, "rounds": 1, "lens": LENS},
    "classical": {"size": 128, "rounds": 1},
    "distributed": {"rounds": 1, "config": SMALL},
    "inference": {"size": 32, "rounds": 1},
    "precision": {"sizes": (32,), "rounds": 1, "images": 1},
    "starting": {"rounds": 1},
    "tiled": {"size": 96, "small_size": 32, "rounds": 1},
    "training": {"rounds": 1, "config": SMALL},
    "window": {"seconds": 0.2, "idle_seconds": 0.2},
}


@pytest.mark.parametrize("name", TINY)
def test_a_benchmark_returns_finite_figures(name: str) -> None:
    figures = import_module(f"benchmarks.{name}").measure(**TINY[name])
    assert figures
    assert all(math.isfinite(figure.value) for figure in figures)


def test_every_default_benchmark_is_tested_here() -> None:
    assert set(import_module("benchmarks.__main__").NAMES) == set(TINY)


@pytest.mark.parametrize(
    ("value", "bounds", "verdict"),
    [
        (1.0, {"at_most": 1.1}, "met"),
        (1.2, {"at_most": 1.1}, "missed"),
        (0.9, {"at_least": 0.8}, "met"),
        (0.7, {"at_least": 0.8}, "missed"),
        (float("nan"), {"at_most": 1.5}, "missed"),
        (0.7, {}, ""),
    ],
)
def test_a_figure_is_compared_with_its_target(
    value: float, bounds: dict[str, float], verdict: str
) -> None:
    assert import_module("benchmarks.figures").Figure("x", value, **bounds).verdict == verdict


def test_the_table_contains_every_figure_and_is_aligned() -> None:
    figures = import_module("benchmarks.figures")
    table = figures.as_table([figures.Figure("a", 1.0, "s", at_most=2), figures.Figure("bcd", 0.5)])
    lines = table.splitlines()
    assert [line.split(" | ")[1].strip() for line in lines[2:]] == ["1 s", "0.5"]
    assert len({len(line) for line in lines}) == 1
