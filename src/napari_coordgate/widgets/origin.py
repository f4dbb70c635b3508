"""Where in the frame an image begins that shows a part of it."""

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QCheckBox, QFormLayout, QSpinBox

from napari_coordgate.widgets.forms import add_row, pair_row

__all__ = ["OriginRows"]

FARTHEST = 1_000_000


class OriginRows(QObject):
    """Rows of a form: whether the image is a part of the frame, and where that begins.

    Parameters
    ----------
    rows : QFormLayout
        The form.
    """

    changed = Signal()

    def __init__(self, rows: QFormLayout) -> None:
        super().__init__(rows)
        self._rows = rows
        self.is_part = QCheckBox("A part of the frame")
        self.boxes = (QSpinBox(), QSpinBox())
        for box, axis in zip(self.boxes, ("y", "x"), strict=True):
            box.setRange(0, FARTHEST)
            box.setPrefix(f"{axis} ")
            box.valueChanged.connect(self.changed)
        self._begins_at = pair_row(*self.boxes)
        add_row(rows, "", self.is_part, "A region of interest of the camera, say.")
        add_row(rows, "It begins at", self._begins_at, "Frame pixel of its first one.")
        self.is_part.toggled.connect(self._toggle)
        self._toggle(False)

    @property
    def value(self) -> tuple[int, int] | None:
        """Frame pixel (y, x) at which the image begins; None where it is the whole frame."""
        if not self.is_part.isChecked():
            return None
        return self.boxes[0].value(), self.boxes[1].value()

    def set_value(self, value: tuple[int, int] | None) -> None:
        """Show another place."""
        for box, number in zip(self.boxes, value or (0, 0), strict=True):
            box.setValue(number)
        self.is_part.setChecked(value is not None)

    def _toggle(self, is_part: bool) -> None:
        self._rows.setRowVisible(self._begins_at, is_part)
        self.changed.emit()
