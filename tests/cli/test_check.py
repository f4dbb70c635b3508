"""The command ``check``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cli.conftest import Run

SAMPLE = Path("sample_data/blurred/nuclei.tif").absolute()
STARTER = Path("sample_data/starter.safetensors").absolute()


def test_prints_each_finding_and_succeeds_if_all_fits(run: Run) -> None:
    finished = run("check", SAMPLE, "--model", STARTER)
    assert finished.returncode == 0
    assert finished.stdout.count("green: ") == 3


def test_fails_if_something_is_red(run: Run, tmp_path: Path) -> None:
    lens = tmp_path / "lens.yaml"
    lens.write_text("na: 0.5\nwavelength_nm: 520\npixel_size_um: 0.325\nfield_curvature_um: 14\n")
    finished = run("check", SAMPLE, "--lens", lens)
    assert finished.returncode == 1
    assert "red: " in finished.stdout
    assert "14.0" in finished.stdout


def test_needs_one_reference(run: Run) -> None:
    finished = run("check", SAMPLE)
    assert finished.returncode == 2
    assert "--lens" in finished.stderr
