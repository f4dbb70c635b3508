"""Thumbnails of an image, blurred and deblurred."""

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_coordgate.events import FileChanged

MAX_HEIGHT = 120
"""Maximum height of a thumbnail, pixels."""
WHITE_PERCENTILE = 99.8
"""Percentile of the pixels that is white; a few hot pixels would darken all others."""


class ThumbnailPair(QWidget):
    """Name and thumbnails, blurred and deblurred, of the latest finished file."""

    def __init__(self) -> None:
        super().__init__()
        self.name, self.images = QLabel(), (QLabel(), QLabel())
        layout, row = QVBoxLayout(self), QHBoxLayout()
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.name)
        layout.addLayout(row)
        # A long name does not widen the dock; the tooltip shows it.
        self.name.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        sides = (Qt.AlignmentFlag.AlignRight, Qt.AlignmentFlag.AlignLeft)
        for label, side in zip(self.images, sides, strict=True):
            label.setAlignment(side)
            row.addWidget(label)
        self.hide()

    def show_file(self, file: FileChanged | None) -> None:
        """Show a file with thumbnails, or nothing."""
        self.setVisible(file is not None)
        if file is None or file.thumbnails is None:
            return
        self.name.setText(f"{file.source.name}: blurred | deblurred")
        self.name.setToolTip(str(file.source))
        for label, gray in zip(self.images, to_gray(*file.thumbnails), strict=True):
            label.setPixmap(_pixmap(gray))


def to_gray(*images: NDArray[np.float32]) -> list[NDArray[np.uint8]]:
    """Images (h, w) in one gray scale, so that they can be compared."""
    low = min(float(image.min()) for image in images)
    high = max(float(np.percentile(image, WHITE_PERCENTILE)) for image in images)
    span = (high - low) or 1.0
    return [(255 * np.clip((image - low) / span, 0, 1)).astype(np.uint8) for image in images]


def _pixmap(gray: NDArray[np.uint8]) -> QPixmap:
    height, width = gray.shape
    pixels = gray.tobytes()  # shared with the image; the pixmap has a copy
    image = QImage(pixels, width, height, width, QImage.Format.Format_Grayscale8)
    pixmap = QPixmap.fromImage(image)
    if height <= MAX_HEIGHT:
        return pixmap
    return pixmap.scaledToHeight(MAX_HEIGHT, Qt.TransformationMode.SmoothTransformation)
