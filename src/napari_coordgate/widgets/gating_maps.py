"""The Gating maps widget: what a model learned, over the frame and at one pixel."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyqtgraph
from napari.layers import Image as ImageLayer
from napari.utils.notifications import show_info
from napari.viewer import Viewer
from numpy.typing import NDArray
from qtpy.QtCore import QSignalBlocker
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QWidget,
)

from napari_coordgate.io.files import atomic_write
from napari_coordgate.widgets.choices import Choice, ask_where_to_save, image_layers, model_choice
from napari_coordgate.widgets.forms import YX, NumberEditor
from napari_coordgate.widgets.jobs import DebouncedJob, Job, JobEnd
from napari_coordgate.widgets.layers import (
    MAX_MAP_SIDE,
    gate_layers,
    is_visualization,
    map_pitch_px,
    overlay_transform,
    pixels_of,
    plane_on_view,
)
from napari_coordgate.widgets.methods import NO_MODEL
from napari_coordgate.widgets.panel import Panel
from napari_coordgate.widgets.plots import Plot

if TYPE_CHECKING:
    from napari_coordgate.model import Model

OPACITY = 0.7
"""Opacity of maps over an image, so that both are visible."""
ORDERS = ("most variable first", "as in the network")
KERNEL_VIEW_HEIGHT = 150
KERNEL_RADIUS_PX = 12
"""Radius that is shown of kernel and PSF, so that they compare."""


@dataclass(frozen=True, eq=False)
class PixelInspection:
    """A model at one frame pixel: effective kernel (K, K), and PSF (L, L) of the lens if known."""

    kernel: NDArray[np.float32]
    psf: NDArray[np.float64] | None


@dataclass(frozen=True, eq=False)
class InspectionRequest:
    """A frame pixel to inspect, for one plane of a blurred image (..., H, W) of the whole frame."""

    model: "Model"
    row: int
    column: int
    pixels: Any = None
    plane: tuple[int, ...] = ()

    def inspect(self, _: object) -> PixelInspection:
        """Compute kernel and PSF, for the background thread."""
        from napari_coordgate.inference import effective_kernel  # imports torch

        blurred = None if self.pixels is None else np.asarray(self.pixels[self.plane])
        kernel = effective_kernel(self.model, self.row, self.column, blurred)
        psf_field = self.model.psf_field
        psf = None if psf_field is None else psf_field.psf_at(self.row, self.column)
        return PixelInspection(kernel, psf)


class GatingMapsWidget(Panel):
    """Show what a model learned: its gating maps over the frame, and its gates at the cursor."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer)
        self.maps: dict[str, NDArray[np.float32]] = {}
        self.model = model_choice(self.session)
        self.image = Choice(lambda: [*image_layers(viewer), ("no image", None)])
        self.order, self.gate = QComboBox(), QComboBox()
        self.order.addItems(ORDERS)
        self.follows = QCheckBox("Follow the cursor")
        self.follows.setChecked(True)
        self.pixel = NumberEditor(int, (0, 0), prefixes=YX)
        self.add_choice("Model", self.model, "The model whose gating maps are shown.")
        self.add_choice(
            "Over image", self.image, "Image to show the maps over; the kernel is computed for it."
        )
        self.add_row("Channels", self.order, "Order of the maps in each layer.")
        self.add_row("Pixel", self.pixel, "Pixel of the camera frame to inspect.")
        self.add_row("", self.follows, "Inspect the image pixel under the cursor.")
        self.add_row("Gate", self.gate, "The gate whose values are plotted.")
        self.bars = Plot(viewer, "channel", "gate value")
        self.kernels = KernelView()
        self.body.addWidget(self.bars)
        self.body.addWidget(self.kernels)
        self.note = self.add_note()
        self.body.addStretch(1)
        self.show_maps, self.sheet = QPushButton("Show as layers"), QPushButton("Save overview…")
        buttons = QHBoxLayout()
        buttons.addWidget(self.show_maps)
        buttons.addWidget(self.sheet)
        self.foot.addLayout(buttons)
        self.all_maps = DebouncedJob(self.session.start, self)
        self.inspection = DebouncedJob(self.session.start, self)
        self._connect()
        self._take_model()

    def _connect(self) -> None:
        self.model.changed.connect(self._take_model)
        self.image.changed.connect(self._inspect)
        self.gate.currentTextChanged.connect(self._draw_bars)
        self.pixel.changed.connect(self._inspect_typed)
        self.sheet.clicked.connect(self._ask_where_to_save)
        self.show_maps.clicked.connect(self.show_layers)
        self.all_maps.finished.connect(self._take_maps)
        self.inspection.finished.connect(self._show_inspection)
        self.viewer.cursor.events.position.connect(self._follow_cursor)
        self.viewer.dims.events.point.connect(self._inspect)

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 - Qt's name
        """Inspect the pixel once the widget is visible."""
        super().showEvent(event)
        self._inspect()

    def _take_model(self) -> None:
        """Compute the maps of the chosen model."""
        model: Model | None = self.model.value
        self.maps = {}
        self.gate.clear()
        self._enable_buttons()
        self._maps_note = NO_MODEL if model is None else ""
        self.note.setText(self._maps_note)
        if model is None:
            self.all_maps.cancel()
            return
        with QSignalBlocker(self.pixel):
            for box, length in zip(self.pixel.boxes, model.frame_shape, strict=True):
                box.setMaximum(length - 1)
                box.setValue(length // 2)

        def compute(_: object) -> dict[str, NDArray[np.float32]]:
            from napari_coordgate.inference import gating_maps  # imports torch

            return gating_maps(model, longest_side=MAX_MAP_SIDE)

        title = "Compute gating maps"
        self.all_maps.request(Job.from_function(title, compute, model, is_quiet=True))
        self._inspect()

    def _take_maps(self, end: JobEnd[dict[str, NDArray[np.float32]]]) -> None:
        self.maps = end.result or {}
        with QSignalBlocker(self.gate):
            self.gate.addItems(list(self.maps))
        no_gates = "" if self.maps else "This model has no gates."
        self._maps_note = end.message if end.reason == "failed" else no_gates
        self.note.setText(self._maps_note)
        self._enable_buttons()
        self._draw_bars()

    def _enable_buttons(self) -> None:
        for button in (self.show_maps, self.sheet):
            button.setEnabled(bool(self.maps))
            button.setToolTip("" if self.maps else "Choose a model with gates first.")

    def show_layers(self) -> None:
        """Add the maps of each gate as an image layer over the frame."""
        from napari_coordgate.inference import by_variance  # the model has imported torch

        maps = self.maps
        if self.order.currentText() == ORDERS[0]:
            maps = {name: gate[by_variance(gate)] for name, gate in maps.items()}
        layers = gate_layers(self.model.value, maps, self.model.name)
        over: ImageLayer | None = self.image.value
        for pixels, options, _ in layers:
            if over is not None:
                options = overlay_transform(over, options, self.model.value) | {"opacity": OPACITY}
            existing = self._maps_layer(options["name"])
            if existing is None:
                self.viewer.add_image(pixels, **options)
            else:
                existing.data = pixels
        self.viewer.layers.selection.active = self._maps_layer(layers[0][1]["name"])

    def _maps_layer(self, name: str) -> ImageLayer | None:
        """Layer of maps with this name, if there is one."""
        found = (layer for layer in self.viewer.layers if layer.name == name)
        return next((layer for layer in found if is_visualization(layer.metadata)), None)

    def _follow_cursor(self, _: object) -> None:
        """Inspect the frame pixel under the cursor."""
        model, over = self.model.value, self.image.value
        follows = self.isVisible() and self.follows.isChecked()
        if model is None or over is None or not follows:
            return
        position = np.array(over.world_to_data(self.viewer.cursor.position)[-2:]) + 0.5
        pixel = position / pixels_of(over).shape[-2:] * model.frame_shape
        if np.all((pixel >= 0) & (pixel < model.frame_shape)):
            self.inspect(*pixel.astype(int).tolist())

    def inspect(self, row: int, column: int) -> None:
        """Inspect a frame pixel."""
        with QSignalBlocker(self.pixel):
            self.pixel.set_value((row, column))
        self._inspect()

    def _inspect_typed(self) -> None:
        """Inspect a pixel that the user typed, and no longer follow the cursor."""
        self.follows.setChecked(False)
        self._inspect()

    def _inspect(self, *_: object) -> None:
        self._draw_bars()
        model, layer = self.model.value, self.image.value
        if model is None or not self.isVisible():
            self.inspection.cancel()
            return
        pixels, plane = None, tuple[int, ...]()
        # A network is linearized around an image of its frame, or else around gray.
        if layer is not None and pixels_of(layer).shape[-2:] == model.frame_shape:
            pixels = pixels_of(layer)
            plane = plane_on_view(self.viewer, layer)
        row, column = self.pixel.value()
        request = InspectionRequest(model, row, column, pixels, plane)
        title = "Inspect a pixel"
        self.inspection.request(Job.from_function(title, request.inspect, request, is_quiet=True))

    def _draw_bars(self, *_: object) -> None:
        name, model = self.gate.currentText(), self.model.value
        if name not in self.maps or model is None:
            self.bars.clear_curves()
            return
        pitch = map_pitch_px(name, self.maps, model.frame_shape)
        values = gate_values(self.maps[name], pitch, *self.pixel.value())
        self.bars.draw_bars(values.tolist())

    def _show_inspection(self, end: JobEnd[PixelInspection]) -> None:
        if end.result is not None:
            self.note.setText(self._maps_note)
            self.kernels.show_inspection(end.result)
        elif end.reason == "failed":
            self.note.setText(end.message)

    def _ask_where_to_save(self) -> None:
        name = f"{self.model.name}-gates.png"
        chosen = ask_where_to_save(self, "Save the overview", name, "Pictures (*.png)", (".png",))
        if chosen is not None:
            path, overwrite = chosen
            self.save_sheet(path, overwrite=overwrite)

    def save_sheet(self, path: Path, *, overwrite: bool = False) -> None:
        """Save a figure of the maps that vary most, in the background."""
        maps = self.maps

        def save(_: object) -> None:
            from napari_coordgate.inference import plot_gating_maps

            with atomic_write(path, overwrite) as temporary:
                plot_gating_maps(maps).savefig(temporary, dpi=120)

        job = Job.from_function(
            "Save the overview", save, done_message=lambda _: f"Saved {path.name}."
        )
        job.finished.connect(lambda end: end.error or show_info(end.message))
        self.session.start(job)


def gate_values(
    gate: NDArray[np.float32], pitch: tuple[float, float], row: int, column: int
) -> NDArray[np.float32]:
    """Values (n_c,) of a gate's maps (n_c, h, w), of ``pitch`` frame pixels each, at a pixel."""
    return gate[:, int((row + 0.5) / pitch[0]), int((column + 0.5) / pitch[1])]


class KernelView(QWidget):
    """Effective kernel and PSF at one scale; the kernel's negative values are blue."""

    def __init__(self) -> None:
        super().__init__()
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.kernel, self.psf = _SquarePixels(), _SquarePixels()
        titles = (("Kernel of the model", self.kernel), ("PSF of the lens", self.psf))
        for column, (title, view) in enumerate(titles):
            layout.setColumnStretch(column, 1)
            layout.addWidget(QLabel(title), 0, column)
            layout.addWidget(view, 1, column)

    def show_inspection(self, pixel: PixelInspection) -> None:
        """Show kernel and PSF of a pixel."""
        kernel = around_center(pixel.kernel, KERNEL_RADIUS_PX)
        peak = float(np.abs(kernel).max()) or 1.0
        self.kernel.show_image(kernel, (-peak, peak), "CET-D1A")
        if pixel.psf is None:
            self.psf.item.clear()
        else:
            psf = around_center(pixel.psf, KERNEL_RADIUS_PX)
            self.psf.show_image(psf, (0.0, float(psf.max())), "inferno")


class _SquarePixels(pyqtgraph.GraphicsLayoutWidget):  # type: ignore[misc]
    """One small image, its first row on top."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(KERNEL_VIEW_HEIGHT)
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
    """Middle of a square image of odd side, padded with zeros where it is smaller."""
    missing = radius - image.shape[0] // 2
    if missing >= 0:
        return np.pad(image, missing)
    return image[-missing:missing, -missing:missing]
