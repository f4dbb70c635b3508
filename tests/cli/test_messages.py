"""A terminal obeys no name of a file or channel."""

import pytest

from napari_coordgate.cli.messages import say


def test_names_are_printed_without_what_a_terminal_obeys(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say("a\x1b[2Jb\udcff\u202e\x85 µm\n\tend", err=True)
    assert capsys.readouterr().err == "a\\x1b[2Jb\\udcff\\u202e\\x85 µm\n\tend\n"
