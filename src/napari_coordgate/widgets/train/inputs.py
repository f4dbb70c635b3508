"""What to train on: the part of the Train widget that asks for images and their blur."""

from pathlib import Path
from typing import Any

from magicgui.types import FileDialogMode
from napari.viewer import Viewer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QWidget

from napari_coordgate.io import Image
from napari_coordgate.widgets.choices import (
    Choice,
    LayerChecklist,
    file_edit,
    image_layers,
    path_of,
)
from napari_coordgate.widgets.forms import add_row, form_rows
from napari_coordgate.widgets.layers.images import image_of
from napari_coordgate.widgets.session import Session
from napari_coordgate.widgets.shared_files import field_choice

__all__ = ["TrainingInputs"]

MEASURED = "measured blurred layers"
HELD_BACK = "a part that is held back"


class TrainingInputs(QWidget):
    """Sharp images, what blurs them, and what to validate on.

    Parameters
    ----------
    viewer : Viewer
        Whose layers are offered.
    session : Session
        Whose PSF fields are offered.
    """

    changed = Signal()

    def __init__(self, viewer: Viewer, session: Session) -> None:
        super().__init__()
        self.source = QComboBox()
        self.source.addItems(["Layers", "Folder"])
        self.layers, self.blurred = LayerChecklist(viewer), LayerChecklist(viewer)
        self.folder = file_edit(FileDialogMode.EXISTING_DIRECTORY)
        self.folder.line_edit.value = ""
        self.field = field_choice(session, (MEASURED, MEASURED))
        self.validation = Choice(lambda: [(HELD_BACK, None), *image_layers(viewer)])
        self._rows = form_rows()
        self.setLayout(self._rows)
        for label, widget, tooltip in (
            ("Sharp images", self.source, "Where the sharp images come from."),
            ("", self.layers, "Sharp images, stacks or time series: every plane is trained on."),
            ("", self.folder.native, "All images in this folder are trained on."),
            ("Blurred by", self.field, "The PSF field that blurs them, or measured images."),
            ("", self.blurred, "Blurred images of the same scenes, in the order of the sharp."),
            ("Validate on", self.validation, "Images that tell how good the network is by now."),
        ):
            add_row(self._rows, label, widget, tooltip)
        self.source.currentTextChanged.connect(self._refresh)
        self.folder.changed.connect(self._refresh)
        for part in (self.layers, self.blurred, self.field, self.validation):
            part.changed.connect(self._refresh)
        self._refresh()

    @property
    def sharp(self) -> Path | list[Image]:
        """Folder of sharp images, or those of the layers."""
        if self.source.currentText() == "Folder":
            return path_of(self.folder) or []
        return [image_of(layer) for layer in self.layers.layers]

    @property
    def psf_field(self) -> Any:
        """PSF field that blurs the images, if one does."""
        return None if self.field.value is MEASURED else self.field.value

    @property
    def measured(self) -> list[Image] | None:
        """Measured blurred images, if these take the PSF field's place."""
        if self.field.value is not MEASURED:
            return None
        return [image_of(layer) for layer in self.blurred.layers]

    @property
    def held_out(self) -> list[Image] | None:
        """Images to validate on; None where a part is held back."""
        layer = self.validation.value
        return None if layer is None else [image_of(layer)]

    def renew(self) -> None:
        """Offer what exists by now."""
        for part in (self.layers, self.blurred, self.field, self.validation):
            part.renew()

    def _refresh(self, *_: object) -> None:
        from_layers = self.source.currentText() == "Layers"
        self._show(self.layers, from_layers)
        self._show(self.folder.native, not from_layers)
        self._show(self.blurred, self.field.value is MEASURED)
        self._show(self.validation, self.field.value is not MEASURED)
        self.changed.emit()

    def _show(self, widget: QWidget, shown: bool) -> None:
        self._rows.setRowVisible(widget, shown)
