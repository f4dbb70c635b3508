"""The files of a batch as rows of a table, for Qt; thousands of them take no time."""

from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, QSortFilterProxyModel, Qt
from qtpy.QtGui import QColor

from napari_coordgate.events import FileChanged, FileStatus
from napari_coordgate.widgets.batch.shown import STATES, ShownBatch
from napari_coordgate.widgets.panel import COLORS

__all__ = ["FILE", "STATE", "TIME", "WHY", "FailedFilter", "FileModel"]

COLUMNS = {
    "file": "Path within the folder.",
    "state": "What has become of it.",
    "time": "Time that it took.",
    "why": "What went wrong, or what to know.",
}
"""Headings, and what they mean."""
FILE, STATE, TIME, WHY = range(len(COLUMNS))
MARKS: dict[FileStatus, str] = {
    "failed": "✗",
    "running": "▶",
    "waiting": "○",
    "done": "✓",
    "up_to_date": "✓",
    "skipped": "\N{EN DASH}",
}
COLOR_OF: dict[FileStatus, QColor] = {
    "failed": QColor(COLORS["failed"]),
    "running": QColor(COLORS["canceled"]),
    "done": QColor(COLORS["completed"]),
    "up_to_date": QColor(COLORS["completed"]),
}
"""Other states are in the theme's own color."""
RANKS = {state: rank for rank, state in enumerate(STATES)}
TOOLTIP_WIDTH = 80
"""Of a line, characters."""
ROOT = QModelIndex()


class FileModel(QAbstractTableModel):
    """Files of one batch.

    Parameters
    ----------
    parent : QObject
        Who shows them.
    """

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._folder = Path()
        self._files: list[FileChanged] = []
        self._rows: dict[Path, int] = {}
        self._numbers: dict[Path, int] = {}
        self._sorted_by, self._falling = FILE, False

    def show_batch(self, batch: ShownBatch) -> None:
        """Show the files of a batch as they are by now, in place of what was shown."""
        self.beginResetModel()
        self._folder = batch.request.folder.resolve()
        self._files = list(batch.files.values())
        self._numbers = {file.source: number for number, file in enumerate(self._files)}
        self._arrange()
        self.endResetModel()

    def take(self, changed: Sequence[FileChanged]) -> None:
        """Show what has changed, each file once; new ones make new rows, all at once."""
        new = [file for file in changed if file.source not in self._rows]
        for file in changed:
            row = self._rows.get(file.source)
            if row is not None:
                self._files[row] = file
                self.dataChanged.emit(self.index(row, 0), self.index(row, len(COLUMNS) - 1))
        if new:
            first = len(self._files)
            self.beginInsertRows(ROOT, first, first + len(new) - 1)
            self._files += new
            places = {file.source: first + number for number, file in enumerate(new)}
            self._rows |= places
            self._numbers |= places
            self.endInsertRows()
        if self._sorted_by != FILE or self._falling:
            self._sort()

    def file(self, row: int) -> FileChanged:
        """File of a row."""
        return self._files[row]

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column, now and as files change; by none: in the order of the batch."""
        self._sorted_by, self._falling = max(column, FILE), order == Qt.SortOrder.DescendingOrder
        self._sort()

    def _sort(self) -> None:
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        sources = [self._files[index.row()].source for index in before]
        self._arrange()
        after = [
            self.index(self._rows[source], index.column())
            for source, index in zip(sources, before, strict=True)
        ]
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

    def _arrange(self) -> None:
        keys: dict[int, Callable[[FileChanged], Any]] = {
            FILE: lambda file: self._numbers[file.source],
            STATE: lambda file: RANKS[file.status],
            TIME: lambda file: file.seconds,
            WHY: lambda file: file.message,
        }
        self._files.sort(key=keys[self._sorted_by], reverse=self._falling)
        self._rows = {file.source: row for row, file in enumerate(self._files)}

    def rowCount(self, parent: QModelIndex = ROOT) -> int:  # noqa: N802 - Qt's name
        """Number of files."""
        return 0 if parent.isValid() else len(self._files)

    def columnCount(self, parent: QModelIndex = ROOT) -> int:  # noqa: N802 - Qt's name
        """Number of columns."""
        return 0 if parent.isValid() else len(COLUMNS)

    def headerData(  # noqa: N802 - Qt's name
        self,
        section: int,
        orientation: Qt.Orientation,
        role: int = Qt.ItemDataRole.DisplayRole,
    ) -> Any:
        """Headings, and what they mean."""
        if orientation == Qt.Orientation.Horizontal:
            if role == Qt.ItemDataRole.DisplayRole:
                return list(COLUMNS)[section]
            if role == Qt.ItemDataRole.ToolTipRole:
                return list(COLUMNS.values())[section]
        return None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Text, color and tooltip of a cell."""
        file, column = self._files[index.row()], index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(file, column)
        if role == Qt.ItemDataRole.ToolTipRole:
            return f"{file.source}\n{fill(file.message, TOOLTIP_WIDTH)}".strip()
        if role == Qt.ItemDataRole.ForegroundRole and column == STATE:
            return COLOR_OF.get(file.status)
        if role == Qt.ItemDataRole.TextAlignmentRole and column == TIME:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None

    def _text(self, file: FileChanged, column: int) -> str:
        if column == FILE:
            return file.source.relative_to(self._folder).as_posix()
        if column == STATE:
            return f"{MARKS[file.status]} {STATES[file.status]}"
        if column == TIME:
            return f"{file.seconds:.1f} s" if file.seconds else ""
        return file.message.removeprefix(str(file.source)).lstrip(": ")  # the row names it already


class FailedFilter(QSortFilterProxyModel):
    """All rows, or those of files that have failed.

    Parameters
    ----------
    parent : QObject
        Who shows them.
    files : FileModel
        The rows; it sorts them itself, for it knows their keys: Qt would ask for each pair.
    """

    def __init__(self, parent: QObject, files: FileModel) -> None:
        super().__init__(parent)
        self.files = files
        self._only_failed = False
        self.setSourceModel(files)

    def set_only_failed(self, only_failed: bool) -> None:
        """Show what has failed, or all."""
        self._only_failed = only_failed
        self.invalidateFilter()

    def filterAcceptsRow(self, row: int, _: QModelIndex) -> bool:  # noqa: N802 - Qt's name
        """Whether a row is shown."""
        return not self._only_failed or self.files.file(row).status == "failed"

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column."""
        self.files.sort(column, order)
