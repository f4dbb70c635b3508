"""The Gating maps widget."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from napari.layers import Image as ImageLayer
from napari.utils.notifications import show_info
from napari.viewer import Viewer
from numpy.typing import NDArray
from qtpy.QtCore import QSignalBlocker
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSpinBox,
)

from napari_coordgate.events import Event, Finished
from napari_coordgate.io.files import atomic_write
from napari_coordgate.widgets.choices import Choice, ask_where_to_save, image_layers
from napari_coordgate.widgets.forms import pair_row
from napari_coordgate.widgets.gating_maps.at_place import AtPlace, PlaceRequest, gate_values
from napari_coordgate.widgets.gating_maps.pictures import KernelPictures
from napari_coordgate.widgets.jobs import Job
from napari_coordgate.widgets.latest import Latest
from napari_coordgate.widgets.layers.gates import LONGEST_SIDE, gate_layers, pitch_px
from napari_coordgate.widgets.layers.images import pixels_of, plane_on_view
from napari_coordgate.widgets.layers.places import laid_over
from napari_coordgate.widgets.layers.provenance import is_picture
from napari_coordgate.widgets.panel import Panel
from napari_coordgate.widgets.plots import Plot
from napari_coordgate.widgets.shared_files import checkpoint_choice

__all__ = ["GatingMapsWidget"]

OPACITY = 0.7
"""Of maps over an image, so that both are seen."""
NO_NETWORK = "Choose a network: load a checkpoint, or train one."
ORDERS = ("most varying first", "as in the network")


class GatingMapsWidget(Panel):
    """See what a network has learned: its gates over the frame, and at the cursor.

    Parameters
    ----------
    viewer : Viewer
        The viewer.
    """

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer)
        self.maps: dict[str, NDArray[np.float32]] = {}
        self.checkpoint = checkpoint_choice(self.session)
        self.image = Choice(lambda: [*image_layers(viewer), ("no image", None)])
        self.order, self.gate = QComboBox(), QComboBox()
        self.order.addItems(ORDERS)
        self.add_choice("Network", self.checkpoint, "The checkpoint whose gates are shown.")
        self.add_choice("Over image", self.image, "The maps lie over it; the kernel looks at it.")
        self.add_row("Channels", self.order, "Order of the maps in each layer.")
        self.follows = QCheckBox("Follow the cursor")
        self.follows.setChecked(True)
        self.place = (QSpinBox(), QSpinBox())
        for box, axis in zip(self.place, ("y", "x"), strict=True):
            box.setPrefix(f"{axis} ")
        self.add_row("Place", pair_row(*self.place), "Frame pixel to look at.")
        self.add_row("", self.follows, "Look at the pixel of the image under the cursor.")
        self.add_row("Gate", self.gate, "The gate whose values are drawn.")
        self.bars = Plot(viewer, "channel", "gate value")
        self.kernels = KernelPictures()
        self.body.addWidget(self.bars)
        self.body.addWidget(self.kernels)
        self.note = QLabel()
        self.note.setWordWrap(True)
        self.body.addWidget(self.note)
        self.body.addStretch(1)
        self.show_maps, self.sheet = QPushButton("Show as layers"), QPushButton("Contact sheet…")
        buttons = QHBoxLayout()
        buttons.addWidget(self.show_maps)
        buttons.addWidget(self.sheet)
        self.foot.addLayout(buttons)
        self.all_maps, self.at_place = Latest(self.session, self), Latest(self.session, self)
        self._connect()
        self._take_checkpoint()

    def _connect(self) -> None:
        self.checkpoint.changed.connect(self._take_checkpoint)
        self.image.changed.connect(self._look)
        self.gate.currentTextChanged.connect(self._draw_bars)
        for box in self.place:
            box.valueChanged.connect(self._look_at_typed)
        self.sheet.clicked.connect(self._ask_where_to_save)
        self.show_maps.clicked.connect(self.show_layers)
        self.all_maps.happened.connect(self._take_maps)
        self.at_place.happened.connect(self._show_place)
        self.viewer.cursor.events.position.connect(self._follow_cursor)
        self.viewer.dims.events.point.connect(self._look)

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 - Qt's name
        """Look at the place, once there is someone to see it."""
        super().showEvent(event)
        self._look()

    def _take_checkpoint(self) -> None:
        """Compute the maps of the network that is chosen."""
        checkpoint = self.checkpoint.value
        self.maps = {}
        self.gate.clear()
        self._allow()
        self._about_maps = NO_NETWORK if checkpoint is None else ""
        self.note.setText(self._about_maps)
        if checkpoint is None:
            self.all_maps.drop()
            return
        for box, length in zip(self.place, checkpoint.frame_shape, strict=True):
            with QSignalBlocker(box):
                box.setMaximum(length - 1)
                box.setValue(length // 2)

        def work(_: Job) -> Iterator[Event]:
            from napari_coordgate.inference import gating_maps  # brings in torch

            maps = gating_maps(checkpoint, longest_side=LONGEST_SIDE)
            yield Finished("completed", "", result=maps)

        self.all_maps.ask(Job("Compute gating maps", work, checkpoint, is_quiet=True))
        self._look()

    def _take_maps(self, event: Event) -> None:
        if not isinstance(event, Finished):
            return
        self.maps = event.result or {}
        with QSignalBlocker(self.gate):
            self.gate.addItems(list(self.maps))
        no_gates = "" if self.maps else "This network has no gates."
        self._about_maps = event.message if event.reason == "failed" else no_gates
        self.note.setText(self._about_maps)
        self._allow()
        self._draw_bars()

    def _allow(self) -> None:
        for button in (self.show_maps, self.sheet):
            button.setEnabled(bool(self.maps))
            button.setToolTip("" if self.maps else "Choose a network with gates first.")

    def show_layers(self) -> None:
        """Add each gate's maps as an image layer over the frame."""
        from napari_coordgate.inference import by_variance  # torch is here with the checkpoint

        maps = self.maps
        if self.order.currentText() == ORDERS[0]:
            maps = {name: gate[by_variance(gate)] for name, gate in maps.items()}
        layers = gate_layers(self.checkpoint.value, maps, self.checkpoint.name)
        over: ImageLayer | None = self.image.value
        for pixels, options, _ in layers:
            if over is not None:
                options = laid_over(over, options, self.checkpoint.value) | {"opacity": OPACITY}
            shown = self._shown_maps(options["name"])
            if shown is None:
                self.viewer.add_image(pixels, **options)
            else:
                shown.data = pixels
        self.viewer.layers.selection.active = self._shown_maps(layers[0][1]["name"])

    def _shown_maps(self, name: str) -> ImageLayer | None:
        """Layer of maps that is there already."""
        found = (layer for layer in self.viewer.layers if layer.name == name)
        return next((layer for layer in found if is_picture(layer.metadata)), None)

    def _follow_cursor(self, _: object) -> None:
        """Look at the frame pixel under the cursor."""
        checkpoint, over = self.checkpoint.value, self.image.value
        follows = self.isVisible() and self.follows.isChecked()
        if checkpoint is None or over is None or not follows:
            return
        pixel = np.array(over.world_to_data(self.viewer.cursor.position)[-2:]) + 0.5
        place = pixel / pixels_of(over).shape[-2:] * checkpoint.frame_shape
        if np.all((place >= 0) & (place < checkpoint.frame_shape)):
            self.look_at(*place.astype(int).tolist())

    def look_at(self, row: int, column: int) -> None:
        """Look at a frame pixel."""
        for box, pixel in zip(self.place, (row, column), strict=True):
            with QSignalBlocker(box):
                box.setValue(pixel)
        self._look()

    def _look_at_typed(self, _: int) -> None:
        """Look at a place that its user has typed, and stay there."""
        self.follows.setChecked(False)
        self._look()

    def _look(self, *_: object) -> None:
        self._draw_bars()
        checkpoint, layer = self.checkpoint.value, self.image.value
        if checkpoint is None or not self.isVisible():
            self.at_place.drop()
            return
        pixels, plane = None, tuple[int, ...]()
        # A network is linearised around an image of its frame, or else around gray.
        if layer is not None and pixels_of(layer).shape[-2:] == checkpoint.frame_shape:
            pixels = pixels_of(layer)
            plane = plane_on_view(self.viewer, layer)
        request = PlaceRequest(checkpoint, self._row, self._column, pixels, plane)
        self.at_place.ask(Job("Look at a place", request.events, request, is_quiet=True))

    @property
    def _row(self) -> int:
        return int(self.place[0].value())

    @property
    def _column(self) -> int:
        return int(self.place[1].value())

    def _draw_bars(self, *_: object) -> None:
        name, checkpoint = self.gate.currentText(), self.checkpoint.value
        if name not in self.maps or checkpoint is None:
            self.bars.clear_curves()
            return
        pitch = pitch_px(name, self.maps, checkpoint.frame_shape)
        values = gate_values(self.maps[name], pitch, self._row, self._column)
        self.bars.draw_bars(values.tolist())

    def _show_place(self, event: Event | AtPlace) -> None:
        if isinstance(event, AtPlace):
            self.note.setText(self._about_maps)
            self.kernels.show_place(event)
        elif isinstance(event, Finished) and event.reason == "failed":
            self.note.setText(event.message)

    def _ask_where_to_save(self) -> None:
        name = f"{self.checkpoint.name}-gates.png"
        chosen = ask_where_to_save(
            self, "Save the contact sheet", name, "Pictures (*.png)", (".png",)
        )
        if chosen is not None:
            path, overwrite = chosen
            self.save_sheet(path, overwrite=overwrite)

    def save_sheet(self, path: Path, *, overwrite: bool = False) -> None:
        """Write a figure of the maps that vary most, in the background."""
        maps = self.maps

        def work(_: Job) -> Iterator[Event]:
            from napari_coordgate.inference import plot_gating_maps

            with atomic_write(path, overwrite) as temporary:
                plot_gating_maps(maps).savefig(temporary, dpi=120)
            yield Finished("completed", f"Saved {path.name}.")

        job = Job("Contact sheet", work)
        job.finished.connect(lambda end: end.error or show_info(end.message))
        self.session.start(job)
