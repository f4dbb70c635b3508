"""A terminal obeys no name of a file or channel."""

from __future__ import annotations

import logging
from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

from napari_coordgate.cli.job import follow
from napari_coordgate.cli.messages import say
from napari_coordgate.cli.verbosity import logging_of_a_run, set_verbosity
from napari_coordgate.events import Event, Note

if TYPE_CHECKING:
    from tests.cli.conftest import Run


def test_names_are_printed_without_what_a_terminal_obeys(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say("a\x1b[2Jb\udcff\u202e\x85 µm\n\tend", err=True)
    assert capsys.readouterr().err == "a\\x1b[2Jb\\udcff\\u202e\\x85 µm\n\tend\n"


def job() -> Generator[Event, None, None]:
    yield Note("a note")
    yield Note("a warning", is_warning=True)


def test_quiet_leaves_results_warnings_and_errors(capsys: pytest.CaptureFixture[str]) -> None:
    for quiet, expected in ((True, "a warning\n"), (False, "a note\na warning\n")):
        with logging_of_a_run():
            set_verbosity(0, quiet=quiet)
            follow(job())
        assert capsys.readouterr().out == expected


def test_verbose_logs_the_traceback_of_an_error_and_ends_with_the_run(run: Run) -> None:
    handlers = list(logging.getLogger().handlers)
    result = run("-v", "info", "missing\x1b.tif")
    assert "Traceback" in result.stderr
    assert "missing\\x1b.tif" in result.stderr
    assert "\x1b" not in result.stderr
    assert logging.getLogger().handlers == handlers
    assert "Traceback" not in run("info", "missing.tif").stderr
    assert run("-v", "-q", "info", "missing.tif").returncode == 2
