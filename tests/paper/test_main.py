"""The command line ``python -m paper``."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from napari_coordgate.errors import OutputError, SettingsError
from napari_coordgate.io.locks import lock_folder
from paper.__main__ import app


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_help_lists_every_figure() -> None:
    text = run("--help").output
    for name in ("padding", "line", "lens", "ablation", "page"):
        assert name in text


def test_a_figure_is_written_to_the_output_folder(tmp_path: Path) -> None:
    result = run("padding", "-o", tmp_path / "padding")
    assert result.exit_code == 0
    assert (tmp_path / "padding" / "padding.png").exists()
    assert "padding.png" in result.output


def test_two_processes_do_not_write_one_figure(tmp_path: Path) -> None:
    with lock_folder(tmp_path / "out", "taken"):
        error = run("padding", "-o", tmp_path / "out").exception
    assert isinstance(error, OutputError)
    assert "Another process writes to" in str(error)
    (tmp_path / "file").touch()
    error = run("padding", "-o", tmp_path / "file" / "out").exception
    assert isinstance(error, OutputError)


def test_an_unknown_figure_and_test_images_alone_are_usage_errors() -> None:
    unknown = run("nonesuch")
    assert unknown.exit_code == 2
    assert "padding" in unknown.output
    with pytest.raises(SettingsError, match="--images"):
        raise run("lens", "--test", "somewhere").exception or AssertionError
