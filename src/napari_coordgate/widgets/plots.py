"""Plots and small images below the forms, made when there is something to draw."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.viewer import Viewer
from numpy.typing import ArrayLike, NDArray
from qtpy.QtWidgets import QGridLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from napari_coordgate.widgets.axes import Axes, SquarePixels

HEIGHT = 156
PICTURE_HEIGHT = 150
MAX_CURVES = 4
"""Curves of which each has a color of its own."""


@lru_cache(maxsize=1)
def _import_soon() -> None:
    """Import what draws in a thread: in the main one, it would hold up the window."""
    name = f"{__package__}.axes"
    threading.Thread(target=import_module, args=(name,), daemon=True).start()


class _Drawn(QWidget):
    """Room of a fixed height for what is drawn later."""

    def __init__(self, height: int) -> None:
        super().__init__()
        _import_soon()
        self.setFixedHeight(height)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)

    def _fill(self, part: QWidget) -> None:
        layout = self.layout()
        assert layout is not None
        layout.addWidget(part)


class Plot(_Drawn):
    """Axes with a few named curves; with ``log`` y, with ``log_x`` x is on a logarithmic scale.

    The legend has a number of ``columns`` and a distance from the left or right, top corner.
    """

    def __init__(
        self,
        viewer: Viewer,
        x_label: str,
        y_label: str,
        *,
        log: bool = False,
        log_x: bool = False,
        columns: int = 1,
        corner: tuple[int, int] = (-5, 5),
    ) -> None:
        super().__init__(HEIGHT)
        self.viewer, self._labels = viewer, (x_label, y_label)
        self._options: dict[str, Any] = {
            "log": log,
            "log_x": log_x,
            "columns": columns,
            "corner": corner,
        }
        self._made: Axes | None = None

    @property
    def axes(self) -> Axes:
        """The axes, made when they are needed first."""
        if self._made is None:
            from napari_coordgate.widgets.axes import Axes

            self._made = Axes(self.viewer, **self._options)
            self._made.set_labels(*self._labels)
            self._fill(self._made)
        return self._made

    def set_labels(self, x_label: str, y_label: str) -> None:
        """Name the quantities of both axes."""
        self._labels = x_label, y_label
        if self._made is not None:
            self._made.set_labels(x_label, y_label)

    def draw(
        self,
        name: str,
        x: ArrayLike,
        y: ArrayLike,
        *,
        line: bool = True,
        points: bool = False,
        dashed: bool = False,
    ) -> None:
        """Draw or redraw a curve through points (N,), as a line, as points, or both."""
        self.axes.draw(name, x, y, line=line, points=points, dashed=dashed)

    def draw_bars(self, heights: Sequence[float]) -> None:
        """Draw bars side by side instead of what was drawn before."""
        self.axes.draw_bars(heights)

    def clear_curves(self) -> None:
        """Remove all curves."""
        if self._made is not None:
            self._made.clear_curves()


class Picture(_Drawn):
    """One small image, its first row on top."""

    def __init__(self) -> None:
        super().__init__(PICTURE_HEIGHT)
        self._made: SquarePixels | None = None

    @property
    def image(self) -> Any:
        """The image (H, W) that is shown; None where there is none."""
        return None if self._made is None else self._made.item.image

    def show_image(
        self, image: NDArray[np.floating], levels: tuple[float, float], colors: str
    ) -> None:
        """Show an image (H, W)."""
        if self._made is None:
            from napari_coordgate.widgets.axes import SquarePixels

            self._made = SquarePixels()
            self._fill(self._made)
        self._made.show_image(image, levels, colors)

    def clear(self) -> None:
        """Show nothing."""
        if self._made is not None:
            self._made.item.clear()


class Pictures(QWidget):
    """Small images side by side, each below its title."""

    def __init__(self, *titles: str) -> None:
        super().__init__()
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.pictures = [Picture() for _ in titles]
        for column, (title, picture) in enumerate(zip(titles, self.pictures, strict=True)):
            label = QLabel(title)
            label.setWordWrap(True)  # so that two fit into a narrow dock
            layout.setColumnStretch(column, 1)
            layout.addWidget(label, 0, column)
            layout.addWidget(picture, 1, column)

    def show_image(
        self, number: int, image: NDArray[np.floating], levels: tuple[float, float], colors: str
    ) -> None:
        """Show an image (H, W) in one of the places."""
        self.pictures[number].show_image(image, levels, colors)

    def clear(self, number: int) -> None:
        """Show nothing in one of the places."""
        self.pictures[number].clear()
