"""What a person does in a window: click, choose, wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QWidget
from superqt import QCollapsible

if TYPE_CHECKING:
    from qtpy.QtWidgets import QAbstractButton, QComboBox

    from napari_coordgate.widgets.jobs import JobEnd
    from napari_coordgate.widgets.panel import JobBar

WAIT_MS = 120_000


def click(button: QAbstractButton) -> None:
    """Click a button that can be clicked."""
    QApplication.processEvents()  # what was opened just now comes into sight
    assert button.isVisible()
    assert button.isEnabled(), button.toolTip()
    QtBot.mouseClick(button, Qt.MouseButton.LeftButton)


def choose(box: QComboBox, text: str) -> None:
    """Choose an item of a box with the keys."""
    assert box.isVisible()
    box.setFocus()
    for _ in range(box.count()):
        QtBot.keyClick(box, Qt.Key.Key_Up)
    while box.currentText() != text:
        before = box.currentIndex()
        QtBot.keyClick(box, Qt.Key.Key_Down)
        assert box.currentIndex() > before, f"{text} is not offered"


def unfold(qtbot: QtBot, part: QWidget) -> None:
    """Unfold the section that shows a part of a form, and wait until it is laid out."""
    section: Any = part
    while not isinstance(section, QCollapsible):
        section = section.parentWidget()
    section.expand(animate=False)
    content = section.content()

    def is_laid_out() -> bool:
        """A widget that was never laid out is 640 x 480 pixels."""
        width = part.width()
        return bool(width <= content.width() and content.height() >= content.sizeHint().height())

    qtbot.waitUntil(is_laid_out, timeout=WAIT_MS)


def wait_for_end(qtbot: QtBot, bar: JobBar) -> JobEnd:
    """Wait until the job of a bar has ended."""
    job = bar.job
    assert job is not None
    qtbot.waitUntil(lambda: job.end is not None, timeout=WAIT_MS)
    assert job.end is not None
    return job.end
