"""What all widgets share: the bar of a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from napari_coordgate.events import Progress
from napari_coordgate.widgets.panel import JobBar

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot


def test_a_progress_bar_counts_more_bytes_than_a_32_bit_integer(qtbot: QtBot) -> None:
    bar = JobBar("Deblur")
    qtbot.addWidget(bar)
    bar._show(Progress("deblurring", 2 * 10**12, 8 * 10**12, 60.0, {"files": 1, "of": 4}))  # noqa: SLF001
    assert bar.bar.value() / bar.bar.maximum() == pytest.approx(0.25)
    assert bar.bar.text() == "1/4 files, 2.0 TB of 8.0 TB, 0:03:00 left"
