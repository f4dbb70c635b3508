from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from napari_coordgate import __version__
from napari_coordgate.config import (
    DeblurSettings,
    DemoConfig,
    NetworkConfig,
    PSFFieldConfig,
    TrainingConfig,
    TrainingSettings,
)

if TYPE_CHECKING:
    from tests.cli.conftest import Run


COMMANDS = (
    *("psf", "blur", "train", "deblur", "wiener", "richardson-lucy", "gates", "info"),
    *("compare", "paper", "demo"),
)
HEAVY = {"lightning_fabric", "matplotlib", "numpy", "scipy", "skimage", "tifffile", "torch"}
HELP = "\n".join(
    [
        "import sys",
        "from napari_coordgate.cli import main",
        "sys.argv = ['napari-coordgate', *sys.argv[1:]]",
        "status = main()",
        "print(*sys.modules, file=sys.stderr)",
        "sys.exit(status)",
    ]
)


@pytest.mark.parametrize("arguments", [("--help",), ("train", "--help"), ("deblur", "--help")])
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    command = [sys.executable, "-c", HELP, *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not {name.partition(".")[0] for name in finished.stderr.split()} & HEAVY
    assert "--help" in finished.stdout


def test_help_is_there_within_a_blink() -> None:
    def seconds(*command: str) -> float:
        before = os.times()
        subprocess.run([sys.executable, "-c", *command], capture_output=True, check=True)
        after = os.times()
        # Processor time: how busy the machine is does not count.
        return sum(after[2:4]) - sum(before[2:4])

    assert min(seconds(HELP, "--help") for _ in range(3)) - seconds("pass") < 0.6


def test_every_command_is_listed_and_has_help(run: Run) -> None:
    listed = run("--help").stdout
    for command in COMMANDS:
        assert re.search(rf"\b{command}\b", listed)
        told = run(command, "--help")
        assert told.returncode == 0
        assert told.stderr == ""


def test_no_command_at_all_is_wrong_use_and_shows_the_help(run: Run) -> None:
    finished = run()
    assert finished.returncode == 2
    assert "train" in finished.stdout


def test_the_version_is_told(run: Run) -> None:
    assert run("--version").stdout.strip() == __version__


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("psf", PSFFieldConfig.model_fields),
        ("deblur", DeblurSettings.model_fields),
        ("demo", DemoConfig.model_fields),
        ("train", TrainingSettings.model_fields.keys() - {"camera", "scaling"}),
        ("train", NetworkConfig.model_fields.keys() - {"architecture"}),
        ("train", ["photons", "read_noise", "low_percentile", "high_percentile"]),
        ("blur", ["photons", "read_noise", "seed", "border", "low_percentile"]),
    ],
)
def test_every_setting_has_a_flag(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: str, names: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    told = run(command, "--help").stdout
    for name in names:
        assert f"--{name.replace('_', '-')} " in told


def test_help_shows_what_a_setting_means_and_its_default(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    told = run("train", "--help").stdout
    fields = TrainingConfig.model_fields
    for name in ("steps", "learning_rate", "schedule"):
        (line,) = (line for line in told.splitlines() if f"--{name.replace('_', '-')} " in line)
        assert str(fields[name].description) in line
        assert f"[default: {fields[name].default}]" in line
