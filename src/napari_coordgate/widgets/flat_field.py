"""The flat field in Lens PSF: chosen among layers, or estimated from them."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from napari.layers import Image as ImageLayer, Layer
from napari.viewer import Viewer
from numpy.typing import NDArray
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_coordgate.errors import CoordGateError, SettingsError
from napari_coordgate.events import Event
from napari_coordgate.geometry import format_shape
from napari_coordgate.io import Image, kept_flat_field, read_image
from napari_coordgate.widgets.choices import Checklist, Option, image_choice, recorded_layers
from napari_coordgate.widgets.forms import NumberEditor, add_row, form_rows
from napari_coordgate.widgets.jobs import Job, JobEnd, weak_connect
from napari_coordgate.widgets.layers import (
    FLAT_FIELD,
    copy_transform,
    metadata,
    pixels_of,
    provenance,
)
from napari_coordgate.widgets.measure_request import FlatField, separate_images
from napari_coordgate.widgets.panel import CHOICE_WIDTH, JobBar, word_wrapped_label
from napari_coordgate.widgets.session import Session

ESTIMATE: Final = "estimate from layers"
ESTIMATING = "Estimate a flat field"
LAYER_NAME = "flat field"
MAX_OFFSET = 1_000_000
UNKNOWN = -1
"""Value of the offset's box that means no value."""
GAIN_MEANS = (0.2, 5.0)
"""Range of the mean of an image of gains; counts of a camera are higher."""
NO_OFFSET = "Give the offset of the camera: the mean of a frame without light."
NO_IMAGES = "Tick images of at least 8 different scenes to estimate the flat field from."
NO_ESTIMATE = 'Estimate the flat field first, or choose "none".'


@dataclass(frozen=True, eq=False)
class EstimateRequest:
    """Images to estimate a flat field from, and the counts of the camera without light."""

    images: tuple[Image, ...]
    offset: float

    def events(self, job: Job) -> Generator[Event, None, NDArray[np.float32]]:
        """Events of the estimate, for the background thread."""
        from napari_coordgate.calibration import estimate_flat_field_events  # imports torch

        scenes = [_mean_over_z(image) for image in self.images]
        return estimate_flat_field_events(scenes, offset=self.offset, cancel=job.cancel_requested)


class FlatFieldSection(QWidget):
    """Part of a form that chooses a flat field, or estimates one."""

    changed = Signal()

    def __init__(self, viewer: Viewer, session: Session) -> None:
        super().__init__()
        self.viewer, self.session = viewer, session
        self._kept: Path | None = None
        self._chosen: FlatField | None = None
        self._is_counts, self._problem = False, ""
        self.choice = image_choice(viewer, self._options)
        self.offset = NumberEditor(float, (0, MAX_OFFSET), none_text="unknown")
        self.offset.boxes[0].setRange(UNKNOWN, MAX_OFFSET)  # an offset of 0 is not unknown
        self.images = Checklist(lambda: recorded_layers(viewer))
        self.bar, self.note = JobBar("Estimate"), word_wrapped_label()
        layout, self._rows = QVBoxLayout(self), form_rows()
        layout.setContentsMargins(0, 0, 0, 0)
        for label, editor, tooltip in (
            (
                "Flat field",
                self.choice,
                "Layer with the gain of each pixel, or of a uniform sample such as a fluorescent "
                "slide. It becomes a part of the PSF field.",
            ),
            ("Images", self.images, "At least 8 images of different scenes; 30 are good."),
            (
                "Camera offset",
                self.offset,
                "Counts of the camera without light: the mean of a dark frame.",
            ),
        ):
            add_row(self._rows, label, editor, tooltip)
        self.choice.setMinimumWidth(CHOICE_WIDTH)
        layout.addLayout(self._rows)
        layout.addWidget(self.bar)
        layout.addWidget(self.note)
        self.choice.changed.connect(self._show_choice)
        for part in (self.images, self.offset):
            part.changed.connect(self._note_change)
        self.bar.run_clicked.connect(self._estimate)
        self.offset.set_value(UNKNOWN)
        self._show_choice()

    def _options(self) -> list[Option]:
        kept = [] if self._kept is None else [(self._kept.name, self._kept)]
        estimated = [
            (layer.name, layer) for layer in reversed(self.viewer.layers) if is_flat_field(layer)
        ]
        layers = recorded_layers(self.viewer)
        return [("none", None), *kept, *estimated, (ESTIMATE, ESTIMATE), *layers]

    def refresh(self) -> None:
        """Offer the layers that exist now."""
        self.choice.refresh()
        self.images.refresh()

    def choose_kept(self, name: str) -> None:
        """Choose the flat field that was kept with a lens, if there is one."""
        before, self._kept = self._kept, kept_flat_field(name)
        was_chosen = before is not None and self.choice.value == before
        self.choice.refresh()
        if self._kept is not None:
            self.choice.set_value(self._kept)
        elif was_chosen:
            self.choice.set_value(None)

    def value(self, frame_shape: tuple[int, int]) -> FlatField | None:
        """Flat field of a frame; raises a CoordGateError if something is missing or wrong."""
        if self.choice.value is ESTIMATE:
            raise SettingsError(NO_ESTIMATE)
        if self._problem:
            raise SettingsError(self._problem)
        flat_field = self._chosen
        if flat_field is None:
            return None
        shape = flat_field.pixels.shape[-2:]
        if shape != frame_shape:
            raise SettingsError(
                f"{flat_field.name} is {format_shape(shape)} pixels, but the frame "
                f"{format_shape(frame_shape)}; choose a flat field of the whole frame."
            )
        if not self._is_counts:
            return flat_field
        if self.offset.value() is None:
            raise SettingsError(f"{flat_field.name} shows counts. {NO_OFFSET}")
        return replace(flat_field, offset=self.offset.value())

    def _show_choice(self) -> None:
        """Look at what was chosen, and show the rows that it needs."""
        chosen = self.choice.value
        self._chosen, self._is_counts, self._problem = None, False, ""
        if isinstance(chosen, Path):
            try:
                self._chosen = FlatField(chosen.name, read_image(chosen).pixels)
            except CoordGateError as error:
                self._problem = str(error)
        elif isinstance(chosen, ImageLayer):
            self._chosen = FlatField(chosen.name, pixels_of(chosen))
            self._is_counts = not is_flat_field(chosen) and _shows_counts(chosen)
        self._rows.setRowVisible(self.images, chosen is ESTIMATE)
        self._rows.setRowVisible(self.offset, chosen is ESTIMATE or self._is_counts)
        self.bar.setVisible(chosen is ESTIMATE)
        self.note.setText(self._problem or self._description())
        self.note.setVisible(bool(self.note.text()))
        self._note_change()

    def _description(self) -> str:
        """What the chosen flat field does."""
        if self._chosen is None:
            return ""
        if self._is_counts:
            return "An image of a uniform sample: its smooth gain is used."
        gain = self._chosen.gain()
        low, high = (value / gain.mean() for value in (gain.min(), gain.max()))
        return f"Gain from {low:.2f} to {high:.2f} of its mean."

    def _note_change(self) -> None:
        """Allow the estimate, or show what it needs."""
        problem = "" if self.images.values else NO_IMAGES
        self.bar.set_problem(problem or ("" if self.offset.value() is not None else NO_OFFSET))
        self.changed.emit()

    def _estimate(self) -> None:
        """Estimate the flat field in the background; it becomes a layer."""
        layers, viewer = self.images.values, self.viewer
        request = EstimateRequest(tuple(map(separate_images, layers)), self.offset.value())
        place = copy_transform(layers[0], 2)
        job = Job(ESTIMATING, request.events, done_message=lambda _: "Estimated the flat field.")

        def show(end: JobEnd[NDArray[np.float32]]) -> None:
            if end.result is not None:
                viewer.add_image(
                    end.result,
                    name=LAYER_NAME,
                    colormap="viridis",
                    metadata=metadata(FLAT_FIELD),
                    **place,
                )

        job.finished.connect(show)
        weak_connect(job.finished, self._choose_estimate)
        self.bar.follow(job)
        self.session.start(job)

    def _choose_estimate(self, end: JobEnd[NDArray[np.float32]]) -> None:
        """Choose the flat field that was estimated."""
        if end.result is None:
            return
        self.refresh()
        newest = next(layer for layer in reversed(self.viewer.layers) if is_flat_field(layer))
        self.choice.set_value(newest)


def is_flat_field(layer: Layer) -> bool:
    """Whether a layer is a flat field that was estimated."""
    return provenance(layer.metadata).get("kind") == FLAT_FIELD


def _mean_over_z(image: Image) -> Image:
    """Image whose planes through one sample are one scene."""
    if "Z" not in image.axes:
        return image
    pixels = np.asarray(image.data).mean(axis=image.axes.index("Z"), dtype=np.float64)
    return replace(image, data=pixels, axes=image.axes.replace("Z", ""))


def _shows_counts(layer: ImageLayer) -> bool:
    """Whether a layer shows the counts of a camera rather than gains."""
    pixels = pixels_of(layer)
    plane = np.asarray(pixels[(0,) * (pixels.ndim - 2)])
    low, high = GAIN_MEANS
    return bool(plane.dtype.kind != "f" or not low < plane.mean() < high)
