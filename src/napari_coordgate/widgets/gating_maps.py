"""The Gating maps widget: what a model learned, over the frame and at one pixel."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image as ImageLayer
from napari.utils.notifications import show_info
from napari.viewer import Viewer
from numpy.typing import NDArray
from qtpy.QtCore import QSignalBlocker
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QPushButton,
)

from napari_coordgate.io.files import atomic_write
from napari_coordgate.widgets.choices import (
    any_model_choice,
    ask_where_to_save,
    image_choice,
    image_layers,
    psf_field_choice,
)
from napari_coordgate.widgets.forms import YX, ComboBox, NumberEditor
from napari_coordgate.widgets.gates import Gates, GatesRequest, most_variable
from napari_coordgate.widgets.jobs import DebouncedJob, Job, JobEnd, weak_connect
from napari_coordgate.widgets.layers import (
    gate_layers,
    is_visualization,
    map_pitch_px,
    overlay_transform,
    pixels_of,
    plane_on_view,
)
from napari_coordgate.widgets.panel import Panel
from napari_coordgate.widgets.plots import MAX_CURVES, Pictures, Plot

if TYPE_CHECKING:
    from napari_coordgate.model import Model
    from napari_coordgate.optics import PSFField

OPACITY = 0.7
"""Opacity of maps over an image, so that both are visible."""
LENS_TOOLTIP = "The lens that the universal model is used for."
NO_GATES = "This model has no gates."
OVER_NOISE = (
    "The gates of this model depend on the noise and on how uncertain the lens is; they are the "
    "same at all pixels. The channels that vary most are plotted; the overview has all of them."
)
ORDERS = ("those that vary most over the image first", "as in the network")
LEGEND_SPACE = 0.5
"""Space for the legend, relative to that of the curves below it."""
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
        self.gates: Gates | None = None
        self.model = any_model_choice(self.session)
        self.psf_field = psf_field_choice(self.session)
        self.image = image_choice(viewer, lambda: [*image_layers(viewer), ("no image", None)])
        self.order, self.gate = ComboBox(), ComboBox()
        self.order.addItems(ORDERS)
        self.follows = QCheckBox("Follow the cursor")
        self.follows.setChecked(True)
        self.pixel = NumberEditor(int, (0, 0), prefixes=YX)
        self.add_choice("Model", self.model, "The model whose gates are shown.")
        self.add_choice("Lens", self.psf_field, LENS_TOOLTIP)
        self.add_choice(
            "Over image",
            self.image,
            "Image to show the maps over, and to see what the model does with it.",
        )
        self.add_row("Channels", self.order, "Order of the maps in each layer.")
        self.add_row("Pixel", self.pixel, "Pixel of the camera frame to inspect.")
        self.add_row("", self.follows, "Inspect the image pixel under the cursor.")
        self.add_row("Gate", self.gate, "The gate whose values are plotted.")
        self.bars = Plot(viewer, "channel", "gate value")
        self.curves = Plot(viewer, "photons of a bright pixel", "gate value", log_x=True, columns=2)
        self.kernels = KernelView()
        for part in (self.bars, self.curves, self.kernels):
            self.body.addWidget(part)
        self.note = self.add_note()
        self.body.addStretch(1)
        self.show_maps, self.sheet = QPushButton("Show as layers"), QPushButton("Save overview…")
        buttons = QHBoxLayout()
        buttons.addWidget(self.show_maps)
        buttons.addWidget(self.sheet)
        self.foot.addLayout(buttons)
        self.all_gates = DebouncedJob(self.session.start, self)
        self.inspection = DebouncedJob(self.session.start, self)
        self._connect()
        self._take_model()

    def _connect(self) -> None:
        self.model.changed.connect(self._take_model)
        self.model.loading.connect(self._choose_loaded)
        self.psf_field.changed.connect(self._take_lens)
        self.image.changed.connect(self._inspect)
        self.gate.currentTextChanged.connect(self._draw)
        self.order.currentTextChanged.connect(self._draw)
        self.pixel.changed.connect(self._inspect_typed)
        self.sheet.clicked.connect(self._ask_where_to_save)
        self.show_maps.clicked.connect(self.show_layers)
        self.all_gates.finished.connect(self._take_gates)
        self.inspection.finished.connect(self._show_inspection)
        self.viewer.cursor.events.position.connect(self._follow_cursor)
        self.viewer.dims.events.point.connect(self._inspect)

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 - Qt's name
        """Inspect the pixel once the widget is visible."""
        super().showEvent(event)
        self._inspect()

    @property
    def maps(self) -> dict[str, NDArray[np.float32]]:
        """Gating maps over the frame; empty where there are none."""
        has_maps = self.gates is not None and self.gates.frame is not None
        return self.gates.values if self.gates is not None and has_maps else {}

    @property
    def _position_model(self) -> "Model | None":
        """Chosen model for one lens; None for a universal one."""
        model = self.model.value
        return model if model in self.session.models.values() else None

    def _choose_loaded(self, job: Job) -> None:
        weak_connect(job.finished, self._choose_result)

    def _choose_result(self, end: JobEnd) -> None:
        if end.result is not None:
            self.model.set_value(end.result)

    def _take_lens(self) -> None:
        if self._position_model is None:
            self._take_model()

    def _take_model(self) -> None:
        """Compute the gates of the chosen model."""
        self.gates, model = None, self._position_model
        self.gate.clear()
        self._maps_note = ""
        self.note.setText("")
        self.rows.setRowVisible(self.psf_field, model is None)
        self._show_parts()
        request = GatesRequest(self.model.value, self.psf_field.value)
        title = "Compute gating maps"
        self.all_gates.request(Job.from_function(title, request.compute, request, is_quiet=True))
        if model is not None:
            self._limit_pixel(model.frame_shape)
        self._inspect()

    def _limit_pixel(self, frame_shape: tuple[int, int]) -> None:
        """Let the pixel be one of a frame, at first its middle."""
        with QSignalBlocker(self.pixel):
            for box, length in zip(self.pixel.boxes, frame_shape, strict=True):
                box.setMaximum(length - 1)
                box.setValue(length // 2)

    def _take_gates(self, end: JobEnd[Gates]) -> None:
        self.gates = end.result
        if self.gates is not None and self._position_model is None and self.gates.frame is not None:
            self._limit_pixel(self.gates.frame.frame_shape)
        with QSignalBlocker(self.gate):
            self.gate.addItems([] if self.gates is None else list(self.gates.values))
        self._maps_note = end.message if end.reason == "failed" else self._describe()
        self.note.setText(self._maps_note)
        self._show_parts()
        self._draw()

    def _describe(self) -> str:
        """What is to be said about the gates."""
        if self.gates is None or not self.gates.values:
            return NO_GATES
        return "" if self.gates.frame is not None else OVER_NOISE

    def _show_parts(self) -> None:
        """Show what applies to gates over the frame or over the noise, and allow the buttons."""
        has_gates = self.gates is not None and bool(self.gates.values)
        over_noise = self._frame is None
        for row in (self.image, self.order, self.pixel, self.follows):
            self.rows.setRowVisible(row, not over_noise)
        for part in (self.bars, self.show_maps):
            part.setVisible(not over_noise)
        self.curves.setVisible(over_noise)
        self.kernels.setVisible(self._position_model is not None)
        for button in (self.show_maps, self.sheet):
            button.setEnabled(has_gates)
            button.setToolTip("" if has_gates else "Choose a model with gates first.")

    def show_layers(self) -> None:
        """Add the maps of each gate as an image layer over the frame."""
        gates = self.gates
        assert gates is not None and gates.frame is not None
        maps = {name: self._ordered(gate) for name, gate in self.maps.items()}
        psf_field = None if self._position_model is not None else self.psf_field.value
        layers = gate_layers(gates.model, maps, self.model.name, psf_field=psf_field)
        over: ImageLayer | None = self.image.value
        for pixels, options, _ in layers:
            if over is not None:
                pixels, options = over_image(over, pixels, options, gates.frame)
            existing = self._maps_layer(options["name"])
            if existing is None:
                self.viewer.add_image(pixels, **options)
            else:
                existing.data = pixels
        self.viewer.layers.selection.active = self._maps_layer(layers[0][1]["name"])

    def _ordered(self, gate: NDArray[np.float32]) -> NDArray[np.float32]:
        """Maps (n_c, h, w) of a gate in the chosen order, which is that of layers and bars."""
        if self.order.currentText() != ORDERS[0]:
            return gate
        from napari_coordgate.inference import by_variance  # the model has imported torch

        return gate[by_variance(gate)]

    def _maps_layer(self, name: str) -> ImageLayer | None:
        """Layer of maps with this name, if there is one."""
        found = (layer for layer in self.viewer.layers if layer.name == name)
        return next((layer for layer in found if is_visualization(layer.metadata)), None)

    @property
    def _frame(self) -> "Model | PSFField | None":
        """What has the shape of the frame; None where gates depend on the noise alone."""
        return self._position_model or (None if self.gates is None else self.gates.frame)

    def _follow_cursor(self, _: object) -> None:
        """Inspect the frame pixel under the cursor."""
        frame, over = self._frame, self.image.value
        follows = self.isVisible() and self.follows.isChecked()
        if frame is None or over is None or not follows:
            return
        position = np.array(over.world_to_data(self.viewer.cursor.position)[-2:]) + 0.5
        pixel = position / pixels_of(over).shape[-2:] * frame.frame_shape
        if np.all((pixel >= 0) & (pixel < frame.frame_shape)):
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
        self._draw()
        model, layer = self._position_model, self.image.value
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

    def _draw(self, *_: object) -> None:
        """Plot the chosen gate: its values at the pixel, or over the noise."""
        name, gates = self.gate.currentText(), self.gates
        if gates is None or name not in gates.values:
            self.bars.clear_curves()
            self.curves.clear_curves()
        elif gates.frame is None:
            self.curves.clear_curves()
            channels = most_variable(gates.values[name], MAX_CURVES)
            values = gates.values[name][:, channels]
            for channel, curve in zip(channels, values.T, strict=True):
                self.curves.draw(f"channel {channel}", gates.photons, curve)
            low, high = float(values.min()), float(values.max())
            self.curves.axes.setYRange(low, high + LEGEND_SPACE * (high - low))
        else:
            pitch = map_pitch_px(name, gates.values, gates.frame.frame_shape)
            gate = self._ordered(gates.values[name])
            values = gate_values(gate, pitch, *self.pixel.value())
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
        gates = self.gates
        assert gates is not None

        def save(_: object) -> None:
            with atomic_write(path, overwrite) as temporary:
                gates.overview().savefig(temporary, dpi=120)

        job = Job.from_function(
            "Save the overview", save, done_message=lambda _: f"Saved {path.name}."
        )
        job.finished.connect(lambda end: end.error or show_info(end.message))
        self.session.start(job)


def over_image(
    layer: ImageLayer,
    maps: NDArray[np.float32],
    options: dict[str, Any],
    frame: "Model | PSFField",
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Maps (n_c, h, w) and options of their layer, over an image of the frame.

    The maps have the other axes of the image, so that these keep a slider of their own.
    """
    between = pixels_of(layer).shape[: layer.ndim - 2]
    shape = (len(maps), *between, *maps.shape[1:])
    maps = np.broadcast_to(maps.reshape(len(maps), *(1,) * len(between), *maps.shape[1:]), shape)
    options = overlay_transform(layer, options, frame) | {"opacity": OPACITY}
    leading = slice(layer.ndim - 2)
    for name in ("scale", "translate", "units", "axis_labels"):
        first, *rest = options[name]
        options[name] = (first, *getattr(layer, name)[leading], *rest)
    affine = np.eye(len(shape) + 1)
    affine[-3:, -3:] = options["affine"][-3:, -3:]
    return maps, options | {"affine": affine}


def gate_values(
    gate: NDArray[np.float32], pitch: tuple[float, float], row: int, column: int
) -> NDArray[np.float32]:
    """Values (n_c,) of a gate's maps (n_c, h, w), of ``pitch`` frame pixels each, at a pixel."""
    return gate[:, int((row + 0.5) / pitch[0]), int((column + 0.5) / pitch[1])]


class KernelView(Pictures):
    """Effective kernel and PSF at one scale; the kernel's negative values are blue."""

    def __init__(self) -> None:
        super().__init__("What the model does here", "Blur of the lens here (PSF)")

    def show_inspection(self, pixel: PixelInspection) -> None:
        """Show kernel and PSF of a pixel."""
        kernel = around_center(pixel.kernel, KERNEL_RADIUS_PX)
        peak = float(np.abs(kernel).max()) or 1.0
        self.show_image(0, kernel, (-peak, peak), "CET-D1A")
        if pixel.psf is None:
            self.clear(1)
        else:
            psf = around_center(pixel.psf, KERNEL_RADIUS_PX)
            self.show_image(1, psf, (0.0, float(psf.max())), "inferno")


def around_center(image: NDArray[np.floating], radius: int) -> NDArray[np.floating]:
    """Middle of a square image of odd side, padded with zeros where it is smaller."""
    missing = radius - image.shape[0] // 2
    if missing >= 0:
        return np.pad(image, missing)
    return image[-missing:missing, -missing:missing]
