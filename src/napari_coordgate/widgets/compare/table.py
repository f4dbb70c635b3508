"""Table of a comparison with a line for each method: sortable, clickable, exportable."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QFontMetrics
from qtpy.QtWidgets import (
    QApplication,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_coordgate.errors import OutputError
from napari_coordgate.io.files import atomic_write
from napari_coordgate.widgets.choices import ask_where_to_save
from napari_coordgate.widgets.compare.shown import ShownComparison
from napari_coordgate.widgets.forms import in_words
from napari_coordgate.widgets.tables import ROW_HEIGHT, Resized, set_up_table
from napari_coordgate.widgets.trust import VERDICT_COLORS

if TYPE_CHECKING:
    from napari_coordgate.comparison import Row


UNKNOWN = "\N{EN DASH}"
NO_TRUTH = "The sharp image is unknown: compare the images by eye, and their verdicts."
NUMBER = Qt.ItemDataRole.UserRole
MARGIN = 14
"""Pixels of a column beside its widest text."""
METHOD_WIDTH = 112
"""Width of the names of methods that is left to them by the other columns, pixels."""
MAX_ROWS = 8
"""Rows visible without scrolling."""


class Column(NamedTuple):
    """Column of numbers: how to read a value of a row, and how to write it.

    Those of a low ``rank`` are shown in a narrow table, too.
    """

    heading: str
    tooltip: str
    figure: "Callable[[Row], float | None]"
    text: Callable[[float], str]
    better: int
    """1: more is better, -1: less is better, 0: neither."""
    rank: int


def _quality(heading: str, name: str, tooltip: str, digits: str, rank: int) -> Column:
    def text(value: float) -> str:
        return format(value, digits) if value < float("inf") else "∞"

    return Column(heading, tooltip, lambda row: row.quality.get(name), text, 1, rank)


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


def _count(value: float) -> str:
    if value < 1e4:
        return f"{value:.0f}"
    return f"{value / 1e3:.0f} k" if value < 1e6 else f"{value / 1e6:.1f} M"


VERDICTS = tuple(VERDICT_COLORS)
PSNR = "Likeness to the sharp image: peak signal-to-noise ratio, dB; more is better."
PSNR_IN = "The same (PSNR) in {} of the way from the center to the corners."


def _verdict(row: "Row") -> float | None:
    return VERDICTS.index(row.verdict) if row.verdict else None


COLUMNS = (
    _quality("PSNR", "psnr", PSNR, ".2f", 0),
    _quality("SSIM", "ssim", "Structural similarity to the sharp image, at most 1.", ".3f", 5),
    _quality("center", "psnr_center", PSNR_IN.format("the inner third"), ".1f", 2),
    _quality("middle", "psnr_middle", PSNR_IN.format("the middle third"), ".1f", 4),
    _quality("edge", "psnr_edge", PSNR_IN.format("the outer third"), ".1f", 1),
    Column(
        "time",
        "Time for this image, including preparation.",
        lambda row: row.inference_seconds,
        _seconds,
        -1,
        3,
    ),
    Column(
        "size", "Number of learned parameters.", lambda row: row.parameters or None, _count, 0, 6
    ),
    Column(
        "trust",
        "Verdict on the result, where the sharp image is unknown.",
        _verdict,
        lambda value: VERDICTS[int(value)],
        1,
        0,
    ),
    Column(
        "denied",
        "Pixels at which the image contradicts the result.",
        lambda row: row.contradicted,
        lambda value: f"{100 * value:.1f} %",
        -1,
        1,
    ),
    Column(
        "error",
        "Mean of the expected error (90 % bound), in units of the image.",
        lambda row: row.expected_error,
        lambda value: f"{value:.3g}",
        -1,
        2,
    ),
)


TRUSTS = frozenset(column.heading for column in COLUMNS[-3:])
QUALITIES = frozenset(column.heading for column in COLUMNS[:5])
"""Columns that need an unknown, and a known sharp image."""


class _Table(Resized, QTableWidget):
    """Rows of methods."""


class ResultsTable(QWidget):
    """Results so far, notes on them, and buttons to copy and save the table."""

    picked = Signal(int)
    """Index of the row that was clicked."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: ShownComparison | None = None
        self._widths: dict[int, int] = {}
        self.table, self.note = _Table(0, 1 + len(COLUMNS)), QLabel()
        self.copy, self.save = QPushButton("Copy"), QPushButton("Save…")
        self.copy.setToolTip("Copy the table, to paste into a spreadsheet.")
        self.save.setToolTip("Save the table as CSV.")
        self.note.setWordWrap(True)
        self.buttons = QHBoxLayout()
        for button in (self.copy, self.save):
            self.buttons.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.table)
        layout.addWidget(self.note)
        layout.addLayout(self.buttons)
        self._set_up_table()
        self.table.cellClicked.connect(self._pick)
        self.table.resized.connect(self._show_columns)
        self.copy.clicked.connect(self._copy)
        self.save.clicked.connect(self._ask_where_to_save)
        self.hide()

    def _set_up_table(self) -> None:
        table = self.table
        table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        columns = set_up_table(table)
        columns.setMinimumSectionSize(MARGIN)
        columns.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        columns.setSortIndicator(-1, Qt.SortOrder.DescendingOrder)
        table.setHorizontalHeaderLabels(["method", *(column.heading for column in COLUMNS)])
        for number, column in enumerate(COLUMNS, start=1):
            heading = table.horizontalHeaderItem(number)
            assert heading is not None
            heading.setToolTip(column.tooltip)
        table.setSortingEnabled(True)

    @property
    def rows(self) -> "Sequence[Row]":
        """Rows in their original order."""
        return () if self.shown is None else self.shown.rows

    def show_results(self, shown: ShownComparison) -> None:
        """Show the rows of a comparison so far."""
        self.shown = shown
        self.table.setSortingEnabled(False)
        self.table.setRowCount(len(self.rows))
        best = [_best(column, self.rows) for column in COLUMNS]
        for line, row in enumerate(self.rows):
            name = f"⚠ {row.method}" if self.shown.layers[line] is None else row.method
            self._put(line, 0, _Cell(name, row.method.lower(), line), _describe(row))
            for number, column in enumerate(COLUMNS, start=1):
                value = column.figure(row)
                cell = _Cell(UNKNOWN if value is None else column.text(value), value, line)
                cell.embolden(value is not None and value == best[number - 1])
                self._put(line, number, cell, column.tooltip)
        self.table.setSortingEnabled(True)
        self._show_notes([*([] if shown.has_metrics else [NO_TRUTH]), *_notes(self.rows)])
        self._fit()
        self._show_columns()
        for button in (self.copy, self.save):
            button.setEnabled(bool(self.rows))
        self.show()

    def _put(self, line: int, number: int, cell: "_Cell", tooltip: str) -> None:
        cell.setToolTip(tooltip)
        side = Qt.AlignmentFlag.AlignRight if number else Qt.AlignmentFlag.AlignLeft
        cell.setTextAlignment(side | Qt.AlignmentFlag.AlignVCenter)
        self.table.setItem(line, number, cell)

    def _fit(self) -> None:
        """Fit the columns to their texts, and the height to the final number of rows."""
        header = self.table.horizontalHeader()
        assert header is not None and self.shown is not None
        font = self.table.font()
        font.setBold(True)
        bold = QFontMetrics(font)
        for number, column in enumerate(COLUMNS, start=1):
            items = [self.table.item(line, number) for line in range(len(self.rows))]
            texts = [column.heading, *(item.text() for item in items if item is not None)]
            width = max(map(bold.horizontalAdvance, texts))
            self._widths[number] = width + MARGIN
        height = header.sizeHint().height() + min(self.shown.num_rows, MAX_ROWS) * ROW_HEIGHT
        self.table.setFixedHeight(height + 2 * self.table.frameWidth())

    def _show_columns(self) -> None:
        """Show the columns that apply and fit, by their rank; the others in a wider dock."""
        if self.shown is None:
            return
        hidden = TRUSTS if self.shown.has_metrics else QUALITIES
        viewport = self.table.viewport()
        assert viewport is not None
        left = viewport.width() - METHOD_WIDTH
        for number, column in sorted(enumerate(COLUMNS, 1), key=lambda item: item[1].rank):
            fits = column.heading not in hidden and self._widths[number] <= left
            left = left - self._widths[number] if fits else left
            self.table.setColumnHidden(number, not fits)
            if fits:
                self.table.setColumnWidth(number, self._widths[number])

    def _show_notes(self, sentences: Sequence[str]) -> None:
        self.note.setText(in_words("\n".join(sentences)))
        self.note.setVisible(bool(sentences))

    def _pick(self, line: int, _: int) -> None:
        item = self.table.item(line, 0)
        assert item is not None
        self.picked.emit(item.data(NUMBER))

    def _text(self, delimiter: str) -> str:
        from napari_coordgate.comparison.table import as_csv  # imports torch, as the rows did

        return as_csv(self.rows, delimiter)

    def _copy(self) -> None:
        clipboard = QApplication.clipboard()
        assert clipboard is not None
        clipboard.setText(self._text("\t"))

    def _ask_where_to_save(self) -> None:
        assert self.shown is not None
        name = f"{self.shown.name} compared.csv"
        chosen = ask_where_to_save(self, "Save the table", name, "Tables (*.csv)", (".csv",))
        if chosen is not None:
            self.save_table(*chosen)

    def save_table(self, path: Path, overwrite: bool = False) -> None:
        """Write the table as CSV, and show the outcome below it."""
        try:
            with atomic_write(path, overwrite) as temporary:
                temporary.write_text(self._text(","), encoding="utf-8")
        except OutputError as error:
            self._show_notes([str(error)])
        else:
            self._show_notes([f"Saved {path.name}."])


class _Cell(QTableWidgetItem):
    """Cell that sorts by its value; unknown values are last in either order."""

    def __init__(self, text: str, value: float | str | None, number: int) -> None:
        super().__init__(text)
        self.value = value
        self.setData(NUMBER, number)

    def embolden(self, is_bold: bool) -> None:
        font = self.font()
        font.setBold(is_bold)
        self.setFont(font)

    def __lt__(self, other: QTableWidgetItem) -> bool:
        assert isinstance(other, _Cell)
        if self.value is None or other.value is None:
            header = self.tableWidget().horizontalHeader()  # type: ignore[union-attr]
            is_rising = header.sortIndicatorOrder() == Qt.SortOrder.AscendingOrder  # type: ignore[union-attr]
            return (other if is_rising else self).value is None and self.value != other.value
        return self.value < other.value  # type: ignore[operator]


def _describe(row: "Row") -> str:
    """All that is known of a row, for its tooltip."""
    figures = ((column.heading, column.figure(row), column.text) for column in COLUMNS)
    known = [f"{heading}: {text(value)}" for heading, value, text in figures if value is not None]
    return "\n".join([row.method, *known, *filter(None, [row.note])])


def _notes(rows: "Sequence[Row]") -> list[str]:
    """Notes on rows; methods with the same note share a line."""
    names: dict[str, list[str]] = {}
    for row in rows:
        if row.note:
            names.setdefault(row.note, []).append(row.method)
    return [f"{'; '.join(concerned)}: {note}" for note, concerned in names.items()]


def _best(column: Column, rows: "Sequence[Row]") -> float | None:
    """Best value of a column, if there are at least two."""
    known = [value for row in rows if (value := column.figure(row)) is not None]
    if not column.better or len(known) < 2:
        return None
    return max(known, key=lambda value: column.better * value)
