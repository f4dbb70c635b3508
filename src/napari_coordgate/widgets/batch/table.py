"""The table of the files of a batch: sort, filter and open them; fast for thousands of files."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from qtpy.QtCore import (
    QAbstractTableModel,
    QModelIndex,
    QObject,
    QSortFilterProxyModel,
    Qt,
    Signal,
)
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
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

from napari_coordgate.events import FileChanged, FileStatus
from napari_coordgate.widgets.batch.thumbnails import ThumbnailPair
from napari_coordgate.widgets.panel import COLORS, scrolled, word_wrapped_label
from napari_coordgate.widgets.tables import ROW_HEIGHT, Resized, set_up_table
from napari_coordgate.widgets.trust import VERDICT_COLORS

COLUMNS = {
    "File": "Path within the folder.",
    "Status": "Status of the file.",
    "Time": "Processing time.",
    "Trust": "Whether the result can be trusted, if Trust is set.",
    "Message": "Error or warning.",
}
"""Headings and their tooltips."""
FILE, STATUS, TIME, TRUST, MESSAGE = range(len(COLUMNS))
STATUSES: dict[FileStatus, tuple[str, str]] = {
    "failed": ("✗ failed", COLORS["failed"]),
    "running": ("▶ running", COLORS["canceled"]),
    "waiting": ("○ waiting", ""),
    "done": ("✓ done", COLORS["completed"]),
    "up_to_date": ("✓ up to date", COLORS["completed"]),
    "skipped": ("\N{EN DASH} skipped", ""),
}
"""Text and color of each status, in sorting order; without a color, the theme decides."""
STATUS_ORDER = list(STATUSES)
VERDICT_ORDER = [*VERDICT_COLORS, ""]
TOOLTIP_WIDTH = 80
"""Characters per line."""
COLUMN_WIDTHS = (140, 88, 52, 52)
"""Of all columns but the last, which takes the remaining width, pixels."""
WIDE = 420
"""Width of a table that has room for messages, pixels; names take that of a narrow one."""
MIN_ROWS = 5
MESSAGE_LINES = 2
ROOT = QModelIndex()


def status_text(status: FileStatus) -> str:
    """Status in words."""
    return STATUSES[status][0].partition(" ")[2]


def trust_text(file: FileChanged) -> str:
    """Figures of the trust of a result in words; empty if there are none."""
    parts = []
    if file.contradicted is not None:
        parts.append(f"{100 * file.contradicted:.2g} % of the pixels contradict the image")
    if file.expected_error is not None:
        parts.append(f"expected error {file.expected_error:.3g}")
    return ", ".join(parts)


class FileModel(QAbstractTableModel):
    """Files of one batch, in the order of the batch."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._folder = Path()
        self._files: list[FileChanged] = []
        self._rows: dict[tuple[Path, str | None], int] = {}

    def reset(self, folder: Path, files: Iterable[FileChanged]) -> None:
        """Show the files of another batch."""
        self.beginResetModel()
        self._folder = folder
        self._files = list(files)
        self._rows = {(file.source, file.scene): row for row, file in enumerate(self._files)}
        self.endResetModel()

    def update(self, changed: Sequence[FileChanged]) -> None:
        """Show changed files, each of them once; new files are appended together."""
        new = [file for file in changed if (file.source, file.scene) not in self._rows]
        for file in changed:
            row = self._rows.get((file.source, file.scene))
            if row is not None:
                self._files[row] = file
                self.dataChanged.emit(self.index(row, 0), self.index(row, len(COLUMNS) - 1))
        if new:
            first = len(self._files)
            self.beginInsertRows(ROOT, first, first + len(new) - 1)
            self._files += new
            self._rows |= {
                (file.source, file.scene): first + number for number, file in enumerate(new)
            }
            self.endInsertRows()

    @property
    def first_failed(self) -> FileChanged | None:
        """First file that failed."""
        return next((file for file in self._files if file.status == "failed"), None)

    def full_message(self, file: FileChanged) -> str:
        """Message of a file with its name; empty without one."""
        message = self._text(file, MESSAGE)
        return f"{self._text(file, FILE)}: {message}" if message else ""

    def file(self, row: int) -> FileChanged:
        """File of a row."""
        return self._files[row]

    def rowCount(self, parent: QModelIndex = ROOT) -> int:  # noqa: N802 - Qt's name
        """Number of files."""
        return 0 if parent.isValid() else len(self._files)

    def columnCount(self, parent: QModelIndex = ROOT) -> int:  # noqa: N802 - Qt's name
        """Number of columns."""
        return 0 if parent.isValid() else len(COLUMNS)

    def headerData(  # noqa: N802 - Qt's name
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Heading of a column, or its tooltip."""
        if orientation == Qt.Orientation.Horizontal:
            if role == Qt.ItemDataRole.DisplayRole:
                return list(COLUMNS)[section]
            if role == Qt.ItemDataRole.ToolTipRole:
                return list(COLUMNS.values())[section]
        return None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Text, color, tooltip or sorting key of a cell."""
        file, column = self._files[index.row()], index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(file, column)
        if role == Qt.ItemDataRole.UserRole:
            status, verdict = STATUS_ORDER.index(file.status), VERDICT_ORDER.index(file.verdict)
            return (index.row(), status, file.seconds, verdict, file.message)[column]
        if role == Qt.ItemDataRole.ToolTipRole:
            lines = (str(file.source), fill(file.message, TOOLTIP_WIDTH), trust_text(file))
            return "\n".join(filter(None, lines))
        if role == Qt.ItemDataRole.ForegroundRole and column == STATUS:
            color = STATUSES[file.status][1]
            return QColor(color) if color else None
        if role == Qt.ItemDataRole.ForegroundRole and column == TRUST and file.verdict:
            return QColor(VERDICT_COLORS[file.verdict])
        if role == Qt.ItemDataRole.TextAlignmentRole and column == TIME:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None

    def _text(self, file: FileChanged, column: int) -> str:
        if column == FILE:
            name = file.source.relative_to(self._folder).as_posix()
            return name if file.scene is None else f"{name}, {file.scene}"
        if column == STATUS:
            return STATUSES[file.status][0]
        if column == TIME:
            return f"{file.seconds:.1f} s" if file.seconds else ""
        if column == TRUST:
            return file.verdict
        return file.message.removeprefix(str(file.source)).lstrip(":, ")  # the row has the name


class FailedFilter(QSortFilterProxyModel):
    """Sorted rows of all files, or of the failed ones."""

    def __init__(self, parent: QObject, files: FileModel) -> None:
        super().__init__(parent)
        self._files = files
        self._only_failed = False
        self.setSortRole(Qt.ItemDataRole.UserRole)
        self.setSourceModel(files)

    def set_only_failed(self, only_failed: bool) -> None:
        """Show only the failed files, or all."""
        self._only_failed = only_failed
        self.invalidateFilter()

    def filterAcceptsRow(self, row: int, _: QModelIndex) -> bool:  # noqa: N802 - Qt's name
        """Whether a row is shown."""
        return not self._only_failed or self._files.file(row).status == "failed"


class _View(Resized, QTableView):
    """Rows of files."""


class FileTable(QWidget):
    """Files of a batch with buttons, a message, and thumbnails of the latest finished file."""

    open_requested = Signal(object)
    """The user wants to open a file, a `FileChanged`."""

    def __init__(self) -> None:
        super().__init__()
        self.counts, self.only_failed = QLabel(), QCheckBox("Only failed")
        self.files = FileModel(self)
        self.rows = FailedFilter(self, self.files)
        self.view, self.thumbnails = _View(), ThumbnailPair()
        self.message = word_wrapped_label()
        self.open, self.retry = QPushButton("Open in napari"), QPushButton("Retry failed")
        self.open.setToolTip("Open the selected file and its result as layers (double click).")
        self.retry.setToolTip("Start the batch again; finished files are kept.")
        buttons, layout = QHBoxLayout(), QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        buttons.addWidget(self.open)
        buttons.addWidget(self.retry)
        layout.addWidget(self.counts)
        layout.addWidget(self.only_failed, 0, Qt.AlignmentFlag.AlignRight)
        layout.addWidget(self.view, 1)
        layout.addWidget(scrolled(MESSAGE_LINES, self.message))
        layout.addLayout(buttons)
        layout.addWidget(self.thumbnails)
        self._set_up_view()
        self.only_failed.toggled.connect(self.rows.set_only_failed)
        self.open.clicked.connect(self._open_selected)
        self.view.doubleClicked.connect(self._open)
        selection = self.view.selectionModel()
        assert selection is not None
        selection.selectionChanged.connect(self._update_buttons)
        selection.selectionChanged.connect(self._show_message)
        self.view.resized.connect(self._show_columns)
        self._update_buttons()
        self.hide()

    def _set_up_view(self) -> None:
        view = self.view
        view.setModel(self.rows)
        view.setItemDelegateForColumn(FILE, _FileNameDelegate(view))
        columns = set_up_table(view)
        columns.setStretchLastSection(True)
        for column, width in enumerate(COLUMN_WIDTHS):
            view.setColumnWidth(column, width)
        columns.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        view.setSortingEnabled(True)
        view.setMinimumHeight(columns.sizeHint().height() + MIN_ROWS * ROW_HEIGHT)

    def reset(self, folder: Path, files: Iterable[FileChanged], *, has_trust: bool = False) -> None:
        """Show the files of another batch."""
        self.only_failed.setChecked(False)
        self.files.reset(folder, files)
        self.view.setColumnHidden(TRUST, not has_trust)
        self._update_buttons()
        self._show_message()
        self.show()

    def update_files(self, changed: Sequence[FileChanged]) -> None:
        """Show changed files, each of them once."""
        self.files.update(changed)
        self._show_message()

    def _show_columns(self) -> None:
        """Show messages in a wide table; in a narrow one, names take the width."""
        viewport, columns = self.view.viewport(), self.view.horizontalHeader()
        assert viewport is not None and columns is not None
        is_wide, modes = viewport.width() >= WIDE, QHeaderView.ResizeMode
        if is_wide == self.view.isColumnHidden(MESSAGE):
            self.view.setColumnHidden(MESSAGE, not is_wide)
            columns.setStretchLastSection(is_wide)
            columns.setSectionResizeMode(FILE, modes.Interactive if is_wide else modes.Stretch)
            self.view.setColumnWidth(FILE, COLUMN_WIDTHS[FILE])

    def _show_message(self, *_: object) -> None:
        """Show the whole message of the selected file, else of the first failed one."""
        file = self.selected or self.files.first_failed
        self.message.setText("" if file is None else self.files.full_message(file))

    @property
    def selected(self) -> FileChanged | None:
        """File of the selected row."""
        selection = self.view.selectionModel()
        rows = [] if selection is None else selection.selectedRows()
        return self._file(rows[0]) if rows else None

    def _file(self, index: QModelIndex) -> FileChanged:
        return self.files.file(self.rows.mapToSource(index).row())

    def _open(self, index: QModelIndex) -> None:
        self.open_requested.emit(self._file(index))

    def _open_selected(self) -> None:
        if self.selected is not None:
            self.open_requested.emit(self.selected)

    def _update_buttons(self, *_: object) -> None:
        self.open.setEnabled(self.selected is not None)


class _FileNameDelegate(QStyledItemDelegate):
    """Shortens names in the middle, because their ends differ."""

    def initStyleOption(  # noqa: N802 - Qt's name
        self, option: QStyleOptionViewItem | None, index: QModelIndex
    ) -> None:
        super().initStyleOption(option, index)
        if option is not None:
            option.textElideMode = Qt.TextElideMode.ElideMiddle
