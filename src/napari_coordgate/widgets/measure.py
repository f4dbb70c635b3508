"""Measure the lens and the camera from image layers, in the Lens PSF widget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image as ImageLayer
from napari.viewer import Viewer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_coordgate.config import GaussianLens
from napari_coordgate.errors import CoordGateError, SettingsError
from napari_coordgate.widgets.beads import BeadPoints
from napari_coordgate.widgets.choices import (
    Checklist,
    Option,
    Refused,
    ask_where_to_save,
    image_choice,
    recorded_layers,
)
from napari_coordgate.widgets.forms import ComboBox, NumberEditor, add_row, form_rows
from napari_coordgate.widgets.jobs import Job, JobEnd, weak_connect
from napari_coordgate.widgets.layers import guess_axes, image_of
from napari_coordgate.widgets.lens_sources import with_file_optics
from napari_coordgate.widgets.measure_request import (
    BEADS,
    FOCUS,
    IMAGES,
    FlatField,
    MeasureRequest,
    NoiseRequest,
    separate_images,
    z_step_um,
)
from napari_coordgate.widgets.panel import CHOICE_WIDTH, COLORS, JobBar, word_wrapped_label
from napari_coordgate.widgets.plots import Plot
from napari_coordgate.widgets.session import Session

if TYPE_CHECKING:
    from napari_coordgate.calibration import Beads, LensFit, NoiseEstimate

MEASURING, DETECTING, MEASURING_NOISE = "Measure a lens", "Detect beads", "Measure the noise"
MAX_UM = 1000.0
NO_LENS = "Choose an objective first: its NA, wavelength and pixel size must be known."
NOTHING = {
    BEADS: "Choose an image of beads; open one first.",
    IMAGES: "Tick the images to measure the lens from; open some first.",
    FOCUS: "Choose a stack of planes through the focus; open one first.",
}
"""What is missing where no layer is chosen."""
NO_STEP = "Give the distance of the planes in z."
OR_ONE_PLANE = "Give the distance of the planes in z, or choose an image of a single plane."


class MeasureSection(QWidget):
    """Part of a form that measures the lens from beads or images, and the camera noise."""

    measured = Signal(object)
    """A `LensFit` is complete, and can be used."""
    deblur_clicked = Signal()

    def __init__(
        self,
        viewer: Viewer,
        session: Session,
        lens: Callable[[], Any],
        flat_field: Callable[[tuple[int, int]], FlatField | None],
    ) -> None:
        super().__init__()
        self.viewer, self.session, self._lens = viewer, session, lens
        self._flat_field = flat_field
        self.fit: LensFit | None = None
        self.beads = BeadPoints(viewer)
        self.source = ComboBox()
        self.source.addItems([BEADS, IMAGES, FOCUS])
        self.bead_layer = image_choice(viewer, lambda: recorded_layers(viewer))
        self.stack_layer = image_choice(viewer, self._stacks)
        self.image_layers = Checklist(lambda: recorded_layers(viewer))
        self.diameter = NumberEditor(float, (0, MAX_UM), "µm")
        self.z_step = NumberEditor(float, (0, MAX_UM), "µm", none_text="unknown")
        self.detect, self.toggle = QPushButton("Detect beads"), QPushButton("Tick on/off")
        self.bar = JobBar("Fit")
        self.noise, self.noise_note = QPushButton("Measure noise"), word_wrapped_label()
        self.note = word_wrapped_label()
        self.plot = Plot(viewer, "", "", corner=(5, 5))  # the points rise to the right
        self.save, self.report = QPushButton("Save lens…"), QPushButton("Report…")
        self.deblur = QPushButton("Deblur with it")
        self._lay_out()
        self._connect()
        self._show_source()
        self._show_result()
        if MEASURING in session.last_jobs:
            self._follow(session.last_jobs[MEASURING])

    def _lay_out(self) -> None:
        layout, self._rows = QVBoxLayout(self), form_rows()
        layout.setContentsMargins(0, 0, 0, 0)
        for label, editor, tooltip in (
            (
                "From",
                self.source,
                "Beads measure everything; images and a focus series the focus alone.",
            ),
            (
                "Bead image",
                self.bead_layer,
                "Sparse beads over the whole frame, one plane or a few.",
            ),
            ("Images", self.image_layers, "Images of the whole frame with detail all over it."),
            (
                "Focus series",
                self.stack_layer,
                "Stack of a thin, flat sample through the focus of center and corners.",
            ),
            ("Bead diameter", self.diameter, "Diameter of the beads; 0 for points."),
            ("Distance in z", self.z_step, "Distance of the planes of the stack."),
        ):
            add_row(self._rows, label, editor, tooltip)
        for choice in (self.bead_layer, self.stack_layer):
            choice.setMinimumWidth(CHOICE_WIDTH)
        layout.addLayout(self._rows)
        layout.addLayout(_row(self.detect, self.toggle))
        for part in (self.bar, self.note, self.plot):
            layout.addWidget(part)
        layout.addLayout(_row(self.save, self.report))
        layout.addWidget(self.deblur)
        layout.addLayout(_row(QLabel("Camera"), self.noise))
        layout.addWidget(self.noise_note)
        self.toggle.setToolTip(
            "Leave the selected points out of the fit, or take them in again. Points can also be "
            "deleted or added."
        )
        self.deblur.setToolTip("Deblur by Richardson-Lucy with the PSF field of this lens.")

    def _connect(self) -> None:
        self.source.currentTextChanged.connect(self._show_source)
        for choice in (self.bead_layer, self.stack_layer):
            choice.changed.connect(self._take_layer)
        for part in (self.image_layers, self.diameter, self.z_step):
            part.changed.connect(self.check)
        self.detect.clicked.connect(self._detect)
        self.toggle.clicked.connect(self._toggle_beads)
        self.bar.run_clicked.connect(self._measure)
        self.noise.clicked.connect(self._measure_noise)
        self.save.clicked.connect(self._save)
        self.report.clicked.connect(self._report)
        self.deblur.clicked.connect(self.deblur_clicked)

    def _stacks(self) -> list[Option]:
        """Layers with planes at several z."""
        return [
            (name, layer)
            for name, layer in recorded_layers(self.viewer)
            if isinstance(layer, Refused) or has_planes(layer)
        ]

    def refresh(self) -> None:
        """Offer the layers that exist now."""
        for choice in (self.bead_layer, self.stack_layer, self.image_layers):
            choice.refresh()

    @property
    def sample(self) -> ImageLayer | None:
        """Image of beads, or focus series; None if the lens is measured from images."""
        choices = {BEADS: self.bead_layer, FOCUS: self.stack_layer}
        choice = choices.get(self.source.currentText())
        return None if choice is None else choice.value

    def _show_source(self, *_: object) -> None:
        """Show the rows and buttons of the chosen source alone."""
        source = self.source.currentText()
        for part, of in (
            (self.bead_layer, BEADS),
            (self.diameter, BEADS),
            (self.stack_layer, FOCUS),
            (self.image_layers, IMAGES),
        ):
            self._rows.setRowVisible(part, source == of)
        for button in (self.detect, self.toggle):
            button.setVisible(source == BEADS)
        self._take_layer()

    def _take_layer(self) -> None:
        """Show the distance of planes for a stack, as the layer states it."""
        layer = self.sample
        is_stack = layer is not None and layer.ndim > 2
        self._rows.setRowVisible(self.z_step, is_stack)
        if is_stack and layer is not None:
            self.z_step.set_value(z_step_um(layer))
        self.check()

    def check(self, *_: object) -> None:
        """Allow what can be started."""
        try:
            self.request()
            problem = ""
        except CoordGateError as error:
            problem = str(error)
        self.bar.set_problem(problem)
        self.detect.setEnabled(not problem)
        self.toggle.setEnabled(self.beads.is_shown)
        self.noise.setEnabled(bool(self._layers()))

    def _layers(self) -> list[ImageLayer]:
        """Layers to measure."""
        if self.source.currentText() == IMAGES:
            return list(self.image_layers.values)
        return [] if self.sample is None else [self.sample]

    def request(self) -> MeasureRequest:
        """Snapshot of the form; raises a CoordGateError if something is missing or wrong."""
        source, layers, lens = self.source.currentText(), self._layers(), self._lens()
        if not layers:
            raise SettingsError(NOTHING[source])
        if lens is None or isinstance(lens, GaussianLens):
            raise SettingsError(NO_LENS)
        if source == IMAGES:
            camera = self.session.camera
            known = camera if camera is not None and camera.has_noise else None
            images = tuple(map(separate_images, layers))
            return MeasureRequest(source, images, lens, camera=known)
        (layer,) = layers
        z_um = self.z_step.value() if layer.ndim > 2 else None
        if layer.ndim > 2 and z_um is None:
            raise SettingsError(OR_ONE_PLANE if source == BEADS else NO_STEP)
        request = MeasureRequest(source, (image_of(layer),), lens, z_um=z_um)
        if source == FOCUS:
            return request
        return replace(
            request,
            diameter_um=self.diameter.value(),
            beads=self.beads.positions(layer),
            flat_field=self._flat_field(request.images[0].frame_shape),
        )

    def _detect(self) -> None:
        """Show the beads of the image as points."""
        request, layer = self.request(), self.bead_layer.value
        job = Job.from_function(
            DETECTING, request.detect, done_message=lambda beads: beads.summary()
        )

        def show(end: JobEnd[Beads]) -> None:
            if end.result is not None:
                self.beads.show(end.result, layer)

        job.finished.connect(show)
        weak_connect(job.finished, self.check)
        self.bar.follow(job)
        self.session.start(job)

    def _toggle_beads(self) -> None:
        self.beads.toggle_selected()

    def measure_images(self, layers: list[ImageLayer]) -> Job[LensFit]:
        """Measure the lens from these images; raises a CoordGateError if that is not possible."""
        self.source.setCurrentText(IMAGES)
        self.image_layers.tick(*layers)
        return self._measure()

    def _measure(self, *_: object) -> Job[LensFit]:
        """Fit the lens in the background."""
        request, layers = self.request(), self._layers()
        images = tuple(map(with_file_optics, request.images, layers))
        request = replace(request, images=images)
        job = Job(MEASURING, request.events, layers[0], done_message=_summary)
        self.session.last_jobs[MEASURING] = job
        self._follow(job)
        self.session.start(job)
        return job

    def _follow(self, job: Job[LensFit]) -> None:
        self.bar.follow(job)
        weak_connect(job.finished, self._end)  # after the bar, whose message it colors
        if job.end is not None:
            self._show_fit(job.end.result)

    def _end(self, end: JobEnd[LensFit]) -> None:
        if end.result is None:
            return
        self._show_fit(end.result)
        if is_conclusive(end.result):
            self.measured.emit(end.result)
        else:
            self.bar.show_message(end.message, COLORS["canceled"])

    def _show_fit(self, fit: LensFit | None) -> None:
        """Show what was measured: notes, measured against lens, and what to do with it."""
        self.fit = fit
        beads: Beads | None = getattr(fit, "beads", None)
        job = self.session.last_jobs[MEASURING]
        if beads is not None and job.context in self.viewer.layers:
            self.beads.show(beads, job.context)
        self.plot.setVisible(self._draw(fit))
        self._show_result()

    def _draw(self, fit: LensFit | None) -> bool:
        """Draw what was measured against the lens; returns whether there is something to draw."""
        from napari_coordgate.calibration import BeadFit, FocusSeriesFit  # imports torch

        match fit:
            case BeadFit(beads=beads):
                self.plot.set_labels("width by the lens, px", "bead width, px")
                name, x, y = "beads", beads.model_width_px, beads.width_px
                ends = [0.0, np.nanmax([*x, *y, 1.0])]
            case FocusSeriesFit():
                self.plot.set_labels("best focus by the lens, µm", "best focus, µm")
                name, x, y = "parts of the frame", fit.expected_um, fit.best_focus_um
                ends = [x.min(), x.max()]
            case _:
                return False
        self.plot.clear_curves()
        self.plot.draw(name, x, y, line=False, points=True)
        self.plot.draw("lens", ends, ends)
        return True

    def _show_result(self) -> None:
        notes = () if self.fit is None else self.fit.notes
        self.note.setText("\n".join(notes))
        self.note.setVisible(bool(notes))
        if self.fit is None:
            self.plot.hide()
        self.report.setVisible(self.fit is not None)
        for button in (self.save, self.deblur):
            button.setVisible(self.fit is not None and is_conclusive(self.fit))
        self.noise_note.setVisible(bool(self.noise_note.text()))
        self.check()

    def _save(self) -> None:
        """Ask where to save the measured lens, and save it."""
        chosen = ask_where_to_save(
            self, "Save the lens", "lens.yaml", "Lenses (*.yaml *.yml)", (".yaml", ".yml")
        )
        if chosen is not None and self.fit is not None:
            path, overwrite = chosen
            self._write(f"Save {path.name}", lambda fit: fit.save(path, overwrite=overwrite))

    def _report(self) -> None:
        """Ask where to write the report, and write it."""
        chosen = ask_where_to_save(
            self, "Write a report", "lens.html", "Reports (*.html)", (".html", ".htm")
        )
        if chosen is not None and self.fit is not None:
            path, overwrite = chosen
            self._write(f"Write {path.name}", lambda fit: fit.report(path, overwrite=overwrite))

    def _write(self, title: str, write: Callable[[LensFit], None]) -> None:
        fit = self.fit
        assert fit is not None
        job = Job.from_function(title, lambda _: write(fit), done_message=lambda _: f"{title}.")
        self.bar.follow(job)
        self.session.start(job)

    def _measure_noise(self) -> None:
        """Measure the camera noise in the background; other widgets then use it."""
        request = NoiseRequest(tuple(map(separate_images, self._layers())))
        job = Job(MEASURING_NOISE, request.events, done_message=lambda _: "Measured the noise.")
        session = self.session

        def store(end: JobEnd[NoiseEstimate]) -> None:
            if end.result is not None:
                session.camera = end.result.camera

        job.finished.connect(store)
        weak_connect(job.finished, self._show_noise)
        self.bar.follow(job)
        self.session.start(job)

    def _show_noise(self, end: JobEnd[NoiseEstimate]) -> None:
        if end.result is not None:
            lines = (line.replace("_", " ") for line in end.result.lines())
            self.noise_note.setText("\n".join([*lines, *end.result.notes]))
            self._show_result()


def image_to_deblur(viewer: Viewer, frame_shape: tuple[int, int], sample: object) -> object:
    """Topmost recorded image of this frame that is not the sample, or else that one."""
    for _, layer in recorded_layers(viewer, color=True):
        if isinstance(layer, Refused) or layer is sample:
            continue
        if image_of(layer).frame_shape == frame_shape:
            return layer
    return sample


def has_planes(layer: ImageLayer) -> bool:
    """Whether a layer has planes at several z, as far as its axes tell."""
    return 2 < layer.ndim <= 5 and "Z" in guess_axes(layer)


def is_conclusive(fit: LensFit) -> bool:
    """Whether the images were enough to measure the lens."""
    return bool(getattr(fit, "is_conclusive", True))


def _summary(fit: LensFit) -> str:
    """Sentence on a measured lens."""
    if not is_conclusive(fit):
        return "Not conclusive, so the lens stays as it was: take beads, or more images."
    error = fit.standard_errors.get("field_curvature_um")
    beads: Beads | None = getattr(fit, "beads", None)
    known = "" if error is None else f" ± {error:.2g}"
    text = f"Field curvature {fit.lens.field_curvature_um:.3g}{known} µm"
    return f"{text}; {beads.summary()}." if beads is not None else f"{text}."


def _row(*parts: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    for part in parts:
        row.addWidget(part)
    return row
