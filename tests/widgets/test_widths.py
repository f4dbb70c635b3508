"""Docks leave half of a window of 1280 pixels to the image, and cut no text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from qtpy.QtWidgets import QAbstractButton, QApplication, QComboBox, QWidget

from napari_coordgate.widgets.dock import MORE_WIDGETS
from napari_coordgate.widgets.gating_maps import KernelView
from napari_coordgate.widgets.menu import PLUGIN
from napari_coordgate.widgets.panel import MIN_WIDTH

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from pytestqt.qtbot import QtBot

ARROW = 24
"""Pixels of a box beside its text."""


def cut_texts(dock: QWidget) -> Iterator[str]:
    """Texts of buttons and boxes that are seen in part."""
    for button in dock.findChildren(QAbstractButton):
        is_seen = button.isVisible() and button.text()
        if is_seen and button.width() < button.minimumSizeHint().width():
            yield button.text()
    for box in dock.findChildren(QComboBox):
        needed = box.fontMetrics().horizontalAdvance(box.currentText()) + ARROW
        if box.isVisible() and box.width() < needed:
            yield box.currentText()


def test_two_pictures_with_long_titles_fit_into_a_narrow_dock(qtbot: QtBot) -> None:
    kernels = KernelView()
    qtbot.addWidget(kernels)
    assert kernels.minimumSizeHint().width() < MIN_WIDTH


def test_the_widgets_under_more_leave_half_of_the_window_to_the_image(
    viewer: Viewer, sharp: NDArray[np.uint8]
) -> None:
    viewer.add_image(sharp, name="cells")
    viewer.window.resize(1280, 800)
    canvas = viewer.window._qt_viewer.canvas.native  # noqa: SLF001 - napari has no other way to it
    for name in MORE_WIDGETS:
        dock, widget = viewer.window.add_plugin_dock_widget(PLUGIN, name, tabify=True)
        for _ in range(3):
            QApplication.processEvents()
        assert canvas.width() >= 1280 / 2, name
        assert list(cut_texts(widget)) == [], name
        viewer.window.remove_dock_widget(dock)
