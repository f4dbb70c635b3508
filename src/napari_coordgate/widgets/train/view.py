"""A training as it goes by: curves in the widget, and a preview as a layer."""

import numpy as np
from napari.layers import Image as ImageLayer
from napari.viewer import Viewer
from numpy.typing import NDArray
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_coordgate.events import Preview, Progress
from napari_coordgate.widgets.layers.live import LiveLayer
from napari_coordgate.widgets.layers.places import on_frame, place_of
from napari_coordgate.widgets.layers.provenance import PREVIEW, metadata
from napari_coordgate.widgets.plots import Plot

__all__ = ["TrainingCurves", "TrainingPreview", "side_by_side"]

GAP_PX = 4
KEPT_POINTS = 2000


class TrainingCurves(QWidget):
    """Training and validation loss, and the validation's PSNR, against the step."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.loss = Plot(viewer, "step", "loss", log=True)
        self.psnr = Plot(viewer, "step", "PSNR, dB")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.loss)
        layout.addWidget(self.psnr)
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self._series: dict[str, list[tuple[float, float]]] = {}
        for plot in (self.loss, self.psnr):
            plot.clear_curves()

    def add(self, event: Progress) -> None:
        """Draw the figures of a step of the training."""
        curves = (
            ("loss", "training", self.loss),
            ("validation_loss", "validation", self.loss),
            ("psnr", "validation", self.psnr),
        )
        for metric, name, plot in curves:
            if metric in event.metrics:
                series = self._series.setdefault(metric, [])
                series.append((event.metrics["step"], event.metrics[metric]))
                if len(series) > KEPT_POINTS:  # a long run keeps its shape, not each point
                    del series[1:-1:2]
                plot.draw(name, *np.transpose(series), points=metric != "loss")


class TrainingPreview:
    """A validation image as the network deblurs it by now, as a layer beside what is there.

    Parameters
    ----------
    viewer : Viewer
        Where the layer is added.
    name : str
        The layer's name.
    pixel_size_um : float or None
        Side of a pixel.
    like : Image layer, optional
        A layer in whose units the preview is placed.
    """

    def __init__(
        self,
        viewer: Viewer,
        name: str,
        pixel_size_um: float | None,
        like: ImageLayer | None = None,
    ) -> None:
        self.viewer = viewer
        self.layer = LiveLayer(viewer)
        self._view = self._camera()
        place = on_frame((), pixel_size_um) if like is None else place_of(like, 2)
        self.options = place | {"name": name, "contrast_limits": (0, 1)}
        if len(viewer.layers):
            right = viewer.layers.extent.world[1][-1]
            self.options["translate"] = (0, right + GAP_PX * self.options["scale"][1])

    def show(self, preview: Preview) -> None:
        """Show a preview: blurred, deblurred and sharp, side by side."""
        picture = side_by_side(preview.blurred, preview.deblurred, preview.sharp)
        made = metadata(PREVIEW, columns="blurred, deblurred, sharp", step=preview.step)
        is_new = self.layer.show(picture, metadata=made, **self.options)
        if is_new and self._camera() == self._view:  # else its user looks at something
            self.viewer.reset_view()

    def _camera(self) -> tuple[object, ...]:
        camera = self.viewer.scene.camera
        return (*camera.center, camera.zoom)


def side_by_side(*images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Images (H, W) in a row, with a gap between them."""
    gap = np.zeros((images[0].shape[0], GAP_PX), np.float32)
    parts = [part for image in images for part in (image, gap)]
    return np.concatenate(parts[:-1], axis=1)
