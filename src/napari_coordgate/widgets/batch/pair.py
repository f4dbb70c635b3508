"""Small pictures of an image, blurred and deblurred."""

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_coordgate.events import FileChanged

__all__ = ["PairView", "to_gray"]

HEIGHT = 120
"""Largest height of a picture, pixels."""
BRIGHTEST = 99.8
"""Percentile of the pixels that is white; a few hot ones would darken all others."""


class PairView(QWidget):
    """The file done last: its name, and blurred and deblurred beside each other."""

    def __init__(self) -> None:
        super().__init__()
        self.name, self.pictures = QLabel(), (QLabel(), QLabel())
        layout, row = QVBoxLayout(self), QHBoxLayout()
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.name)
        layout.addLayout(row)
        # The name does not widen the dock; its tooltip has all of it.
        self.name.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        sides = (Qt.AlignmentFlag.AlignRight, Qt.AlignmentFlag.AlignLeft)
        for picture, side in zip(self.pictures, sides, strict=True):
            picture.setAlignment(side)
            row.addWidget(picture)
        self.hide()

    def show_file(self, file: FileChanged | None) -> None:
        """Show a file with its pictures; nothing where there is none."""
        self.setVisible(file is not None)
        if file is None or file.thumbnails is None:
            return
        self.name.setText(f"{file.source.name}: blurred | deblurred")
        self.name.setToolTip(str(file.source))
        for label, gray in zip(self.pictures, to_gray(*file.thumbnails), strict=True):
            label.setPixmap(_pixmap(gray))


def to_gray(*pictures: NDArray[np.float32]) -> list[NDArray[np.uint8]]:
    """Pictures in one scale of gray, so that they can be compared.

    Parameters
    ----------
    *pictures : ndarray, shape (h, w)
        In the same units.

    Returns
    -------
    list of ndarray of uint8, shape (h, w)
        Black is the darkest pixel of all; white the brightest, but for a few.
    """
    low: float = min(float(picture.min()) for picture in pictures)
    high: float = max(float(np.percentile(picture, BRIGHTEST)) for picture in pictures)
    span = (high - low) or 1.0
    return [(255 * np.clip((picture - low) / span, 0, 1)).astype(np.uint8) for picture in pictures]


def _pixmap(gray: NDArray[np.uint8]) -> QPixmap:
    height, width = gray.shape
    pixels = gray.tobytes()  # lent to the image; the pixmap has its own
    image = QImage(pixels, width, height, width, QImage.Format.Format_Grayscale8)
    pixmap = QPixmap.fromImage(image)
    if height <= HEIGHT:
        return pixmap
    return pixmap.scaledToHeight(HEIGHT, Qt.TransformationMode.SmoothTransformation)
