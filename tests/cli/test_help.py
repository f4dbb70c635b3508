from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from napari_coordgate import __version__
from napari_coordgate.cli.commands.train import MAIN_TRAINING_SETTINGS
from napari_coordgate.config import (
    DeblurSettings,
    DemoConfig,
    NetworkConfig,
    PSFFieldConfig,
    TrainingConfig,
    TrainingSettings,
)
from napari_coordgate.config.base import nested_fields

if TYPE_CHECKING:
    from tests.cli.conftest import Run


COMMANDS = (
    *("psf", "blur", "train", "deblur", "wiener", "richardson-lucy", "gates", "info"),
    *("compare", "demo", "validate-shifted"),
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


def test_every_command_is_listed_and_has_help(run: Run) -> None:
    listed = run("--help").stdout
    for command in COMMANDS:
        assert re.search(rf"\b{command}\b", listed)
        finished = run(command, "--help")
        assert finished.returncode == 0
        assert finished.stderr == ""


def test_calling_no_command_is_wrong_usage_and_shows_the_help(run: Run) -> None:
    finished = run()
    assert finished.returncode == 2
    assert "train" in finished.stdout


def test_the_version_is_printed(run: Run) -> None:
    assert run("--version").stdout.strip() == __version__


@pytest.mark.parametrize(
    ("command", "names"),
    [
        (("psf", "--help"), PSFFieldConfig.model_fields),
        (("deblur", "--help"), DeblurSettings.model_fields.keys() - {"deconvolution", "camera"}),
        (("deblur", "--help"), ["method", "num_iter", "regularization", "photons", "read_noise"]),
        (("demo", "--help"), DemoConfig.model_fields),
        (("train", "--help-all"), TrainingSettings.model_fields.keys() - {"camera", "scaling"}),
        (("train", "--help-all"), nested_fields(NetworkConfig).keys() - {"architecture"}),
        (("train", "--help-all"), ["photons", "read_noise", "low_percentile", "high_percentile"]),
        (("train", "--help"), MAIN_TRAINING_SETTINGS),
        (("blur", "--help"), ["photons", "read_noise", "seed", "border", "low_percentile"]),
    ],
)
def test_every_setting_has_a_flag(run: Run, command: tuple[str, str], names: list[str]) -> None:
    shown = run(*command).stdout
    for name in names:
        assert f"--{name.replace('_', '-')} " in shown


def test_the_short_help_of_train_fits_two_screens_and_names_the_long_one(run: Run) -> None:
    short, full = (run("train", flag).stdout for flag in ("--help", "--help-all"))
    assert "--help-all" in short
    assert "--warmup-steps" not in short
    assert "--warmup-steps" in full
    assert len(short.splitlines()) < 66  # two screens of 33 lines


@pytest.mark.parametrize("command", COMMANDS)
def test_no_line_of_help_is_cut_or_wider_than_80_columns(run: Run, command: str) -> None:
    shown = run(command, "--help-all" if command == "train" else "--help").stdout
    assert "…" not in shown
    wide = [line for line in shown.splitlines() if len(line) > 80]
    assert all(re.fullmatch(r" +--[\w-]+ <[\w|-]+>", line) for line in wide)  # a list of choices


def test_help_shows_the_meaning_and_the_default_of_a_setting(run: Run) -> None:
    shown = " ".join(run("train", "--help-all").stdout.split())
    fields = TrainingConfig.model_fields
    for name in ("steps", "learning_rate", "schedule"):
        text = f"{fields[name].description} [default: {fields[name].default}]"
        assert text in shown
