"""Two small pictures side by side: the network's kernel at a place, and the lens's PSF there."""

import numpy as np
import pyqtgraph
from numpy.typing import NDArray
from qtpy.QtWidgets import QGridLayout, QLabel, QSizePolicy, QWidget

from napari_coordgate.widgets.gating_maps.at_place import AtPlace

__all__ = ["KernelPictures"]

SIDE = 150
SHOWN_RADIUS_PX = 12
"""Pixels around the place that are shown of both, so that they compare."""


class KernelPictures(QWidget):
    """Effective kernel and PSF, at one scale of pixels.

    The kernel has both signs: blue takes light away, red adds it.
    """

    def __init__(self) -> None:
        super().__init__()
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.kernel, self.psf = (_Picture() for _ in range(2))
        for column, (title, picture) in enumerate(
            (("Network gathers", self.kernel), ("Lens spreads", self.psf))
        ):
            layout.setColumnStretch(column, 1)
            layout.addWidget(QLabel(title), 0, column)
            layout.addWidget(picture, 1, column)

    def show_place(self, at: AtPlace) -> None:
        """Show a place."""
        kernel = around_center(at.kernel, SHOWN_RADIUS_PX)
        most = float(np.abs(kernel).max()) or 1.0
        self.kernel.show_image(kernel, (-most, most), "CET-D1A")
        if at.psf is None:
            self.psf.item.clear()
        else:
            psf = around_center(at.psf, SHOWN_RADIUS_PX)
            self.psf.show_image(psf, (0.0, float(psf.max())), "inferno")


class _Picture(pyqtgraph.GraphicsLayoutWidget):  # type: ignore[misc]
    """One picture, its rows downwards, its pixels square."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(SIDE)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        box = self.addViewBox(lockAspect=True, invertY=True, enableMenu=False)
        box.setMouseEnabled(False, False)
        self.item = pyqtgraph.ImageItem(axisOrder="row-major")
        box.addItem(self.item)

    def show_image(
        self, image: NDArray[np.floating], levels: tuple[float, float], colors: str
    ) -> None:
        self.item.setColorMap(pyqtgraph.colormap.get(colors))
        self.item.setImage(image, levels=levels)


def around_center(image: NDArray[np.floating], radius: int) -> NDArray[np.floating]:
    """Middle of a square image of odd side, or the image amid zeros where it is smaller."""
    missing = radius - image.shape[0] // 2
    if missing >= 0:
        return np.pad(image, missing)
    return image[-missing:missing, -missing:missing]
