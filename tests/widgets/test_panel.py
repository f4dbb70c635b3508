"""What all widgets share: the bar of a job, and notes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QApplication, QVBoxLayout, QWidget

from napari_coordgate.events import Progress
from napari_coordgate.widgets import docs
from napari_coordgate.widgets.panel import GrowingArea, JobBar, Links, word_wrapped_label

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot


def test_a_progress_bar_counts_more_bytes_than_a_32_bit_integer(qtbot: QtBot) -> None:
    bar = JobBar("Deblur")
    qtbot.addWidget(bar)
    bar._show(Progress("deblurring", 2 * 10**12, 8 * 10**12, 60.0, {"files": 1, "of": 4}))  # noqa: SLF001
    assert bar.bar.value() / bar.bar.maximum() == pytest.approx(0.25)
    assert bar.bar.text() == "1/4 files, 2.0 TB of 8.0 TB, 0:03:00 left"


def test_a_resumed_run_counts_from_its_first_step(qtbot: QtBot) -> None:
    bar = JobBar("Train")
    qtbot.addWidget(bar)
    bar._show(Progress("training", 3, 281, 1.0, {"step": 22}))  # noqa: SLF001
    assert bar.bar.text().startswith("training 22/300")


def test_messages_have_the_words_of_the_window(qtbot: QtBot) -> None:
    bar = JobBar("Train")
    qtbot.addWidget(bar)
    bar.set_problem("enlarge pixel_size_um, or lower enclosed_energy")
    assert bar.message.text() == "enlarge pixel size, or lower enclosed energy"
    bar.set_problem(
        "a has pixels of (0.1, 0.1) um, b of (0.2, 0.1) um; give the origin (origin, --origin)"
    )
    assert '0.1 µm, b of 0.2 x 0.1 µm; give the origin ("Top left pixel")' in bar.message.text()
    bar.set_problem("measure the lens (calibrate), or use calibrate_focus (calibrate focus).")
    place = '("Measure" in Lens PSF)'
    assert bar.message.text() == f"measure the lens {place}, or use {place}."


def test_a_note_is_as_high_as_its_text(qtbot: QtBot) -> None:
    label = word_wrapped_label("one two three " * 30)
    qtbot.addWidget(label)
    label.setFixedWidth(200)
    label.show()
    qtbot.waitUntil(lambda: label.minimumHeight() == label.heightForWidth(200) > 100)
    label.setText("short")
    assert label.minimumHeight() < 40


def test_messages_link_to_the_site_that_the_package_names(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toString()))
    monkeypatch.setattr(docs, "site", lambda: "https://example.org/docs")
    links = Links()
    qtbot.addWidget(links)
    links.offer(docs.help_on("plugin/#deblur"))
    links.linkActivated.emit("0")
    assert opened == ["https://example.org/docs/plugin/#deblur"]
    monkeypatch.setattr(docs, "site", lambda: "")
    assert docs.help_on("plugin/") == {}


def test_long_messages_grow_without_moving_the_buttons(qtbot: QtBot) -> None:
    holder = QWidget()
    qtbot.addWidget(holder)
    layout, bar = QVBoxLayout(holder), JobBar("Deblur")
    layout.addStretch(1)
    layout.addWidget(bar)
    bar.keep_in_place()
    holder.resize(300, 500)
    holder.show()
    place = bar.run.mapTo(holder, bar.run.rect().center())
    area = bar.findChild(GrowingArea)
    for count in (8, 30, 60):  # the last one scrolls
        bar.show_message("<b>one</b> two three " * count)
        bar.next.offer({"Save…": list})
        QApplication.processEvents()
        full = bar.message.heightForWidth(bar.message.width()) + bar.next.height()
        assert area.height() >= min(full, 150)
        assert bar.run.mapTo(holder, bar.run.rect().center()) == place
    assert bar.message.text().startswith("<b>")
    assert bar.message.textFormat() == Qt.TextFormat.PlainText


def test_the_height_of_a_message_settles_where_a_scroll_bar_would_change_it(qtbot: QtBot) -> None:
    label = word_wrapped_label()
    area = GrowingArea(label)
    qtbot.addWidget(area)
    area.show()
    for width in range(150, 190, 3):
        area.resize(width, area.height())
        for count in range(18, 40):
            label.setText("one two three " * count)
            QApplication.processEvents()
            view, bar = area.viewport(), area.verticalScrollBar()
            assert view is not None
            assert bar is not None
            assert bar.isVisible() == (view.width() < width)
            assert bar.isVisible() or label.heightForWidth(width) <= view.height()
