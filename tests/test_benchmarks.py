import math
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from napari_coordgate.config import NetworkConfig, TrainingConfig

ROOT = Path(__file__).parents[1]
SMALL = TrainingConfig(network=NetworkConfig(base_channels=2), batch_size=2, window_size=16)
TINY: dict[str, dict[str, Any]] = {
    "batch": {"images": 2, "size": 32, "rounds": 1, "turns": 1},
    "blur": {"size": 128, "exact_size": 80, "rounds": 1},
    "classical": {"size": 128, "rounds": 1},
    "distributed": {"rounds": 1, "config": SMALL},
    "inference": {"size": 32, "rounds": 1},
    "precision": {"sizes": (32,), "rounds": 1},
    "starting": {"rounds": 1},
    "tiled": {"size": 96, "small_size": 32, "rounds": 1},
    "training": {"rounds": 1, "config": SMALL},
    "window": {"seconds": 0.5},
}


@pytest.fixture(autouse=True)
def _benchmarks_are_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.mark.parametrize("name", TINY)
def test_a_benchmark_runs_and_yields_figures(name: str) -> None:
    figures = import_module(f"benchmarks.{name}").measure(**TINY[name])
    assert figures
    assert all(math.isfinite(figure.value) for figure in figures)


def test_every_benchmark_is_run_by_default_and_tried_here() -> None:
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
def test_a_figure_is_judged_by_its_target(
    value: float, bounds: dict[str, float], verdict: str
) -> None:
    assert import_module("benchmarks.figures").Figure("x", value, **bounds).verdict == verdict


def test_the_table_holds_every_figure_and_lines_up() -> None:
    figures = import_module("benchmarks.figures")
    table = figures.as_table([figures.Figure("a", 1.0, "s", at_most=2), figures.Figure("bcd", 0.5)])
    lines = table.splitlines()
    assert [line.split(" | ")[1].strip() for line in lines[2:]] == ["1 s", "0.5"]
    assert len({len(line) for line in lines}) == 1
