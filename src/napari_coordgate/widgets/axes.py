"""The parts of plots and pictures that pyqtgraph draws; it takes a while to import."""

from collections.abc import Sequence

import numpy as np
import pyqtgraph
from napari.utils.theme import get_theme
from napari.viewer import Viewer
from numpy.typing import ArrayLike, NDArray
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QSizePolicy

COLORS = ("#4f9dde", "#e59f3c", "#53b87a", "#c678dd")
"""Colors of the curves, also distinct for color-blind users."""


class _Decades(pyqtgraph.AxisItem):  # type: ignore[misc]
    """Logarithmic axis with labels at powers of ten, and at 2 and 5 times these if it is short."""

    def tickValues(  # noqa: N802 - pyqtgraph's name
        self, low: float, high: float, _: float
    ) -> list[tuple[None, list[float]]]:
        decades = range(int(np.floor(low)), int(np.ceil(high)) + 1)
        digits = (1,) if self.orientation == "bottom" and high - low > 2 else (1, 2, 5)
        ticks = [decade + np.log10(digit) for decade in decades for digit in digits]
        return [(None, [float(tick) for tick in ticks if low <= tick <= high])]

    def tickStrings(  # noqa: N802 - pyqtgraph's name
        self, values: list[float], *_: object
    ) -> list[str]:
        return [f"{float(f'{10**value:.1g}'):g}" for value in values]


class Axes(pyqtgraph.PlotWidget):  # type: ignore[misc]
    """Axes with a few named curves, in the colors of napari's theme."""

    def __init__(
        self, viewer: Viewer, *, log: bool, log_x: bool, columns: int, corner: tuple[int, int]
    ) -> None:
        sides = [*["left"] * log, *["bottom"] * log_x]
        super().__init__(axisItems={side: _Decades(side) for side in sides})
        self.viewer = viewer
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # no key does anything here
        self.getPlotItem().layout.setContentsMargins(1, 1, 1, 6)  # else labels are cut below
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
        self.setLogMode(x=log_x, y=log)
        self.getAxis("left").enableAutoSIPrefix(False)
        self.getAxis("bottom").enableAutoSIPrefix(False)
        self.setMenuEnabled(False)
        self.hideButtons()
        self.legend = self.addLegend(offset=corner, colCount=columns)
        self._items: dict[str, pyqtgraph.PlotDataItem] = {}
        self._follow_theme()
        viewer.events.theme.connect(self._follow_theme)  # napari holds it weakly

    def set_labels(self, x_label: str, y_label: str) -> None:
        """Name the quantities of both axes."""
        for side, label in (("bottom", x_label), ("left", y_label)):
            self.setLabel(side, label, color=get_theme(self.viewer.theme).text.as_hex())

    def draw(
        self, name: str, x: ArrayLike, y: ArrayLike, *, line: bool, points: bool, dashed: bool
    ) -> None:
        """Draw or redraw a curve through points (N,), as a line, as points, or both."""
        if name not in self._items:
            color = COLORS[len(self._items) % len(COLORS)]
            dash = Qt.PenStyle.DashLine if dashed else Qt.PenStyle.SolidLine
            style = {"pen": pyqtgraph.mkPen(color, width=2, style=dash) if line else None}
            if points:
                style |= {"symbol": "o", "symbolSize": 5, "symbolPen": None}
                style["symbolBrush"] = color
            self._items[name] = self.plot(name=name, **style)
            self.legend.setVisible(len(self._items) > 1)
        self._items[name].setData(np.asarray(x, float), np.asarray(y, float))

    def draw_bars(self, heights: Sequence[float]) -> None:
        """Draw bars side by side instead of what was drawn before."""
        self.clear_curves()
        x = np.arange(len(heights))
        self.addItem(pyqtgraph.BarGraphItem(x=x, height=heights, width=0.8, brush=COLORS[0]))

    def clear_curves(self) -> None:
        """Remove all curves."""
        self.clear()
        self.legend.clear()
        self._items.clear()

    def _follow_theme(self, *_: object) -> None:
        theme = get_theme(self.viewer.theme)
        self.setBackground(theme.background.as_hex())
        for side in ("left", "bottom"):
            axis = self.getAxis(side)
            axis.setPen(theme.secondary.as_hex())
            axis.setTextPen(theme.text.as_hex())
            axis.setLabel(axis.labelText, color=theme.text.as_hex())
        self.legend.setLabelTextColor(theme.text.as_hex())


class SquarePixels(pyqtgraph.GraphicsLayoutWidget):  # type: ignore[misc]
    """One small image, its first row on top."""

    def __init__(self) -> None:
        super().__init__()
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
        box = self.addViewBox(lockAspect=True, invertY=True, enableMenu=False)
        box.setMouseEnabled(False, False)
        self.item = pyqtgraph.ImageItem(axisOrder="row-major")
        box.addItem(self.item)

    def show_image(
        self, image: NDArray[np.floating], levels: tuple[float, float], colors: str
    ) -> None:
        """Show an image (H, W)."""
        self.item.setColorMap(pyqtgraph.colormap.get(colors))
        self.item.setImage(image, levels=levels)
