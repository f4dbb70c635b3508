"""A page that shows a widget of the viewer, as long as that has no dock of its own."""

from __future__ import annotations

from functools import partial
from typing import Any

from napari.viewer import Viewer
from qtpy.compat import isalive
from qtpy.QtCore import QChildEvent, Qt, QTimer, Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QDockWidget, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_coordgate.widgets.menu import PLUGIN, open_widget
from napari_coordgate.widgets.panel import DockWidget, word_wrapped_label


class Host(QWidget):
    """Shows one widget of the viewer, which may leave for a dock and come back."""

    reveal = Signal()
    """The widget is to be shown where it is."""
    arrived = Signal()
    """The widget is here for the first time."""

    def __init__(self, viewer: Viewer, name: str, path: str) -> None:
        super().__init__()
        self.viewer, self._name, self._path = viewer, name, path
        self._seen: DockWidget | None = None
        self.note: QLabel = word_wrapped_label(f"{name} is open in a dock of its own.")
        self.bring = QPushButton("Show it here")
        self.bring.clicked.connect(self._bring)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.note)
        layout.addWidget(self.bring, 1, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        self._show_here(False)

    @property
    def is_made(self) -> bool:
        """Whether the widget was asked for."""
        return self._seen is not None

    @property
    def widget(self) -> DockWidget:
        """The widget; it is made, and taken here if it is nowhere else."""
        widget = self._seen
        if widget is None or not isalive(widget):
            self._seen = widget = open_widget(self.viewer, self._path)
            self.arrived.emit()
        if not isinstance(widget.parentWidget(), Host | QDockWidget):
            self._take(widget)
        return widget

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 - Qt's name
        """Take the widget if it is nowhere else."""
        super().showEvent(event)
        self._show_here(self.widget.parentWidget() is self)

    def childEvent(self, event: QChildEvent | None) -> None:  # noqa: N802 - Qt's name
        """Say where the widget is once it has left."""
        super().childEvent(event)
        if event is not None and event.removed() and event.child() is self._seen:
            QTimer.singleShot(0, partial(self._show_here, False))

    def _take(self, widget: DockWidget) -> None:
        layout = self.layout()
        assert isinstance(layout, QVBoxLayout)
        layout.insertWidget(0, widget, 1)
        widget.show()
        self._show_here(True)

    def _show_here(self, is_here: bool) -> None:
        for part in (self.note, self.bring):
            part.setVisible(not is_here)

    def _bring(self) -> None:
        """Close the widget's own dock, and show it here."""
        widget, dock = self.widget, self.widget.parentWidget()
        if isinstance(dock, QDockWidget):
            self.viewer.window.remove_dock_widget(dock)
        self._take(widget)


def deblur_with(viewer: Viewer, method: str, value: object) -> None:
    """Show Deblur with this method, by its name in the window, and its model or PSF field."""
    deblur: Any = show_widget(viewer, "Deblur", "deblur:DeblurWidget")
    deblur.method.choose(method, value)


def show_lens(viewer: Viewer) -> Any:
    """Show Lens PSF, where a lens is described."""
    return show_widget(viewer, "Lens PSF", "lens_psf:LensPSFWidget")


def measure_lens(viewer: Viewer) -> None:
    """Show Lens PSF, and there what a lens is measured with."""
    show_lens(viewer).show_measuring()


def estimate_lens(viewer: Viewer, layer: object, psf_field: object) -> None:
    """Show Lens PSF, and estimate there the focus of the lens of a PSF field from an image."""
    show_lens(viewer).estimate_from(layer, psf_field)


def batch_with(viewer: Viewer, settings: object, method: object) -> None:
    """Show Batch deblur with the settings of a deblurring, and its model or PSF field."""
    batch: Any = show_widget(viewer, "Batch deblur", "batch:BatchWidget")
    batch.take(settings, method)


def show_widget(viewer: Viewer, name: str, path: str) -> DockWidget:
    """Show a widget of the viewer where it is, or else in a dock of its own."""
    widget = open_widget(viewer, path)
    if isinstance(host := widget.parentWidget(), Host):
        host.reveal.emit()
        return widget
    if not isinstance(widget.parentWidget(), QDockWidget):
        viewer.window.add_plugin_dock_widget(PLUGIN, name, tabify=True)
    if isinstance(dock := widget.parentWidget(), QDockWidget):
        dock.show()
        dock.raise_()
    return widget
