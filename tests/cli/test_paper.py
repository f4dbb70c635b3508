"""Laws of the command that makes the paper's figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cli.conftest import Run


def test_a_figure_is_made_where_it_is_wanted(run: Run, tmp_path: Path) -> None:
    finished = run("paper", "padding", "-o", tmp_path / "padding")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert (tmp_path / "padding" / "padding.png").exists()
    assert "padding.png" in finished.stdout


def test_what_cannot_be_is_told(run: Run) -> None:
    unknown = run("paper", "nonesuch")
    assert unknown.returncode == 2
    assert "padding" in unknown.stderr
    alone = run("paper", "lens", "--test", "somewhere")
    assert alone.returncode == 2
    assert "--images" in alone.stderr
