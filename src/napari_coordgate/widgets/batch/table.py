"""The table of a batch's files: to sort, to filter, to open."""

from collections.abc import Sequence

from qtpy.QtCore import QModelIndex, Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from napari_coordgate.events import FileChanged
from napari_coordgate.widgets.batch.files import FILE, FailedFilter, FileModel
from napari_coordgate.widgets.batch.pair import PairView
from napari_coordgate.widgets.batch.shown import ShownBatch

__all__ = ["FileTable"]

TIGHT = "QHeaderView::section, QTableView::item { padding: 0 2px; }"
ROW_HEIGHT = 22
WIDTHS = (150, 92, 56)
"""Of all columns but the last, which takes what is left, pixels."""
LEAST_ROWS = 5


class FileTable(QWidget):
    """Files of a batch, the pictures of the one done last, and what can be done with them."""

    open_wanted = Signal(object)
    """A file, a `FileChanged`, is to be opened."""

    def __init__(self) -> None:
        super().__init__()
        self.batch: ShownBatch | None = None
        self.counts, self.only_failed = QLabel(), QCheckBox("Only failed")
        self.files = FileModel(self)
        self.shown = FailedFilter(self, self.files)
        self.view, self.pair = QTableView(), PairView()
        self.open, self.retry = QPushButton("Open in napari"), QPushButton("Retry failed")
        self.open.setToolTip("Open the selected file and its result as layers, as a double click.")
        self.retry.setToolTip("Start again; what is done stays.")
        top, buttons, layout = QHBoxLayout(), QHBoxLayout(), QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        top.addWidget(self.counts, 1)
        top.addWidget(self.only_failed)
        for button in (self.open, self.retry):
            buttons.addWidget(button)
        layout.addLayout(top)
        layout.addWidget(self.view, 1)
        layout.addLayout(buttons)
        layout.addWidget(self.pair)
        self._set_up_view()
        self.only_failed.toggled.connect(self.shown.set_only_failed)
        self.open.clicked.connect(self._open_selected)
        self.view.doubleClicked.connect(self._open)
        selection = self.view.selectionModel()
        assert selection is not None
        selection.selectionChanged.connect(self._allow)
        self._allow()
        self.hide()

    def _set_up_view(self) -> None:
        view = self.view
        view.setModel(self.shown)
        view.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        view.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        view.setWordWrap(False)
        view.setItemDelegateForColumn(FILE, _FileNames(view))
        view.setStyleSheet(TIGHT)
        rows, columns = view.verticalHeader(), view.horizontalHeader()
        assert rows is not None and columns is not None
        rows.hide()
        # Fixed, for Qt would otherwise measure each of thousands of rows.
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        rows.setMinimumSectionSize(ROW_HEIGHT)
        rows.setDefaultSectionSize(ROW_HEIGHT)
        columns.setStretchLastSection(True)
        for column, width in enumerate(WIDTHS):
            view.setColumnWidth(column, width)
        columns.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        view.setSortingEnabled(True)
        view.setMinimumHeight(columns.sizeHint().height() + LEAST_ROWS * ROW_HEIGHT)

    def show_batch(self, batch: ShownBatch) -> None:
        """Show a batch as it is by now, in place of what was shown."""
        self.batch = batch
        self.only_failed.setChecked(False)
        self.files.show_batch(batch)
        self._show_rest()
        self.show()

    def take(self, changed: Sequence[FileChanged]) -> None:
        """Show what has changed, or is new, in the batch that is shown."""
        self.files.take(changed)
        self._show_rest()

    def _show_rest(self) -> None:
        """What there is beside the rows."""
        assert self.batch is not None
        self.counts.setText(str(self.batch))
        self.pair.show_file(self.batch.latest)
        self._allow()

    @property
    def selected(self) -> FileChanged | None:
        """File of the selected row."""
        selection = self.view.selectionModel()
        rows = [] if selection is None else selection.selectedRows()
        return self._file(rows[0]) if rows else None

    def _file(self, index: QModelIndex) -> FileChanged:
        return self.files.file(self.shown.mapToSource(index).row())

    def _open(self, index: QModelIndex) -> None:
        self.open_wanted.emit(self._file(index))

    def _open_selected(self) -> None:
        if self.selected is not None:
            self.open_wanted.emit(self.selected)

    def _allow(self, *_: object) -> None:
        self.open.setEnabled(self.selected is not None)


class _FileNames(QStyledItemDelegate):
    """Names that are cut short in the middle: their ends tell them apart."""

    def initStyleOption(  # noqa: N802 - Qt's name
        self, option: QStyleOptionViewItem | None, index: QModelIndex
    ) -> None:
        super().initStyleOption(option, index)
        if option is not None:
            option.textElideMode = Qt.TextElideMode.ElideMiddle
