"""Common look of the tables below the forms."""

from psygnal import Signal
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView

ROW_HEIGHT = 22
STYLE = "QHeaderView::section, QTableView::item { padding: 0 2px; }"


class Resized:
    """Part of a table that says when it has another width."""

    resized = Signal()

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802 - Qt's name
        """Say so."""
        super().resizeEvent(event)  # type: ignore[misc]
        self.resized.emit()


def set_up_table(table: QTableView) -> QHeaderView:
    """Make a table compact, read-only, with single rows to select; returns its column header."""
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    table.setWordWrap(False)
    table.setStyleSheet(STYLE)
    rows, columns = table.verticalHeader(), table.horizontalHeader()
    assert rows is not None and columns is not None
    rows.hide()
    # Fixed, because Qt would otherwise measure each of thousands of rows.
    rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
    rows.setMinimumSectionSize(ROW_HEIGHT)
    rows.setDefaultSectionSize(ROW_HEIGHT)
    return columns
