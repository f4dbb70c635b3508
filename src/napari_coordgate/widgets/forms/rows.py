"""Rows of a form, all with labels of one width, and sections that fold."""

from qtpy.QtWidgets import QFormLayout, QHBoxLayout, QLabel, QWidget
from superqt import QCollapsible

__all__ = ["add_row", "collapsible", "form_rows", "pair_row"]

LABEL_WIDTH = 112
"""Least width of labels, pixels, so that forms below each other align."""
FIELD_WIDTH = 150
"""Least width of fields, pixels; what is longer is cut off rather than the form."""


def form_rows() -> QFormLayout:
    """Layout of rows whose fields take the width there is."""
    rows = QFormLayout()
    rows.setContentsMargins(0, 0, 0, 0)
    rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    return rows


def add_row(rows: QFormLayout, text: str, field: QWidget, tooltip: str = "") -> QLabel:
    """Add a row; returns its label."""
    label = QLabel(text)
    label.setBuddy(field)
    label.setMinimumWidth(LABEL_WIDTH)
    field.setMinimumWidth(FIELD_WIDTH)
    for part in (label, field):
        part.setToolTip(tooltip)
    rows.addRow(label, field)
    return label


def collapsible(title: str, content: QWidget) -> QCollapsible:
    """Section that hides what only experts need, until it is opened."""
    section = QCollapsible(title, expandedIcon="▼", collapsedIcon="▶")
    section.setDuration(0)
    for part, margins in ((section, (0, 0, 0, 0)), (section.content(), (8, 2, 0, 2))):
        layout = part.layout()
        assert layout is not None
        layout.setContentsMargins(*margins)
    section.addWidget(content)
    return section


def pair_row(*boxes: QWidget) -> QWidget:
    """Boxes side by side, for y and x."""
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    for box in boxes:
        layout.addWidget(box)
    return row
