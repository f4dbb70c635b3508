"""Measure the lens and the camera from image layers, in the Lens PSF widget."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image as ImageLayer
from napari.viewer import Viewer
from numpy.typing import NDArray
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_coordgate.config import GaussianLens, Lens
from napari_coordgate.errors import CoordGateError, SettingsError
from napari_coordgate.events import Event
from napari_coordgate.io import Image
from napari_coordgate.widgets.beads import BeadPoints
from napari_coordgate.widgets.choices import (
    Checklist,
    Choice,
    Option,
    ask_where_to_save,
    image_layers,
)
from napari_coordgate.widgets.forms import NumberEditor, add_row, form_rows
from napari_coordgate.widgets.jobs import Job, JobEnd, weak_connect
from napari_coordgate.widgets.layers import BLURRED, DEBLURRED, guess_axes, image_of, provenance
from napari_coordgate.widgets.lens_sources import with_file_optics
from napari_coordgate.widgets.panel import JobBar, word_wrapped_label
from napari_coordgate.widgets.plots import Plot
from napari_coordgate.widgets.session import Session

if TYPE_CHECKING:
    from napari_coordgate.calibration import Beads, LensFit, NoiseEstimate

MEASURING, DETECTING, MEASURING_NOISE = "Measure a lens", "Detect beads", "Measure the noise"
BEADS, IMAGES = "Beads", "Images of a specimen"
MAX_UM = 1000.0
NO_LENS = "Choose an objective first: its NA, wavelength and pixel size must be known."
NO_BEADS = "Choose an image of beads; open one first."
NO_IMAGES = "Tick the images to measure the lens from; open some first."
NO_STEP = "Give the distance of the planes in z, or choose an image of a single plane."


@dataclass(frozen=True, eq=False)
class MeasureRequest:
    """Images to measure a lens from, and what is known of the lens.

    ``beads`` are the positions (N, 2) of the beads to use, or None to detect them; ``z_um`` is the
    distance of planes. If ``are_beads`` is not set, the images show a specimen.
    """

    images: tuple[Image, ...]
    lens: Lens
    are_beads: bool
    diameter_um: float = 0.0
    z_um: float | None = None
    beads: NDArray[np.float64] | None = None

    def events(self, job: Job) -> Generator[Event, None, LensFit]:
        """Events of the fit, for the background thread."""
        from napari_coordgate.calibration import (  # imports torch
            calibrate_beads_events,
            calibrate_images_events,
        )

        cancel = job.cancel_requested
        if not self.are_beads:
            return (yield from calibrate_images_events(self.images, self.lens, cancel=cancel))
        return (
            yield from calibrate_beads_events(
                self.images[0],
                self.lens,
                bead_diameter_um=self.diameter_um,
                z_um=self.z_um,
                beads=self.beads,
                cancel=cancel,
            )
        )

    def detect(self, job: Job) -> Beads:
        """Detect beads, in the background thread."""
        from napari_coordgate.calibration import detect_beads

        return detect_beads(
            self.images[0],
            self.lens,
            bead_diameter_um=self.diameter_um,
            cancel=job.cancel_requested,
        )

    def noise_events(self, job: Job) -> Generator[Event, None, NoiseEstimate]:
        """Events of the measurement of the camera noise, for the background thread."""
        from napari_coordgate.calibration import estimate_noise_events

        return estimate_noise_events(self.images, cancel=job.cancel_requested)


class MeasureSection(QWidget):
    """Part of a form that measures the lens from beads or images, and the camera noise."""

    measured = Signal(object)
    """A `LensFit` is complete."""
    deblur_clicked = Signal()

    def __init__(self, viewer: Viewer, session: Session, lens: Callable[[], Any]) -> None:
        super().__init__()
        self.viewer, self.session, self._lens = viewer, session, lens
        self.fit: LensFit | None = None
        self.beads = BeadPoints(viewer)
        self.source = QComboBox()
        self.source.addItems([BEADS, IMAGES])
        self.bead_layer = Choice(self._measurable)
        self.image_layers = Checklist(self._measurable)
        self.diameter = NumberEditor(float, (0, MAX_UM), "µm")
        self.z_step = NumberEditor(float, (0, MAX_UM), "µm", none_text="unknown")
        self.detect, self.toggle = QPushButton("Detect beads"), QPushButton("Tick selected on/off")
        self.bar = JobBar("Fit")
        self.noise, self.noise_note = QPushButton("Measure noise"), word_wrapped_label()
        self.note = word_wrapped_label()
        self.plot = Plot(viewer, "width by the lens, px", "bead width, px")
        self.plot.legend.setOffset((5, 5))  # the points rise to the right
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
            ("From", self.source, "Beads measure everything; own images the focus alone."),
            (
                "Bead image",
                self.bead_layer,
                "Sparse beads over the whole frame, one plane or a few.",
            ),
            ("Images", self.image_layers, "Images of the whole frame with detail all over it."),
            ("Bead diameter", self.diameter, "Diameter of the beads; 0 for points."),
            ("Distance in z", self.z_step, "Distance of the planes of the stack."),
        ):
            add_row(self._rows, label, editor, tooltip)
        layout.addLayout(self._rows)
        layout.addLayout(_row(self.detect, self.toggle))
        for part in (self.bar, self.note, self.plot):
            layout.addWidget(part)
        layout.addLayout(_row(self.save, self.report, self.deblur))
        layout.addLayout(_row(QLabel("Camera"), self.noise))
        layout.addWidget(self.noise_note)
        self.toggle.setToolTip(
            "Leave the selected points out of the fit, or take them in again. Points can also be "
            "deleted or added."
        )
        self.deblur.setToolTip("Deblur by Richardson-Lucy with the PSF field of this lens.")

    def _connect(self) -> None:
        self.source.currentTextChanged.connect(self._show_source)
        self.bead_layer.changed.connect(self._take_layer)
        for part in (self.image_layers, self.diameter, self.z_step):
            part.changed.connect(self.check)
        self.detect.clicked.connect(self._detect)
        self.toggle.clicked.connect(self._toggle_beads)
        self.bar.run_clicked.connect(self._measure)
        self.noise.clicked.connect(self._measure_noise)
        self.save.clicked.connect(self._save)
        self.report.clicked.connect(self._report)
        self.deblur.clicked.connect(self.deblur_clicked)

    def _measurable(self) -> list[Option]:
        """Image layers that a camera may have recorded."""
        made = (BLURRED, DEBLURRED)
        layers = image_layers(self.viewer)
        return [
            (n, layer) for n, layer in layers if provenance(layer.metadata).get("kind") not in made
        ]

    def refresh(self) -> None:
        """Offer the layers that exist now."""
        self.bead_layer.refresh()
        self.image_layers.refresh()

    @property
    def are_beads(self) -> bool:
        """Whether the lens is measured from beads."""
        return self.source.currentText() == BEADS

    def _show_source(self, *_: object) -> None:
        self._rows.setRowVisible(self.bead_layer, self.are_beads)
        self._rows.setRowVisible(self.diameter, self.are_beads)
        self._rows.setRowVisible(self.image_layers, not self.are_beads)
        for button in (self.detect, self.toggle):
            button.setVisible(self.are_beads)
        self._take_layer()

    def _take_layer(self) -> None:
        """Show the distance of planes for a stack, as the layer states it."""
        layer: ImageLayer | None = self.bead_layer.value
        is_stack = self.are_beads and layer is not None and layer.ndim > 2
        self._rows.setRowVisible(self.z_step, is_stack)
        if is_stack and layer is not None:
            self.z_step.set_value(_z_step_um(layer))
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
        if not self.are_beads:
            return list(self.image_layers.values)
        return [] if self.bead_layer.value is None else [self.bead_layer.value]

    def request(self) -> MeasureRequest:
        """Snapshot of the form; raises a CoordGateError if something is missing or wrong."""
        layers, lens = self._layers(), self._lens()
        if not layers:
            raise SettingsError(NO_BEADS if self.are_beads else NO_IMAGES)
        if lens is None or isinstance(lens, GaussianLens):
            raise SettingsError(NO_LENS)
        if not self.are_beads:
            return MeasureRequest(tuple(map(_separate_images, layers)), lens, are_beads=False)
        (layer,) = layers
        z_um = self.z_step.value() if layer.ndim > 2 else None
        if layer.ndim > 2 and z_um is None:
            raise SettingsError(NO_STEP)
        return MeasureRequest(
            (image_of(layer),),
            lens,
            are_beads=True,
            diameter_um=self.diameter.value(),
            z_um=z_um,
            beads=self.beads.positions(layer),
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

    def _measure(self) -> None:
        """Fit the lens in the background."""
        request, layers = self.request(), self._layers()
        images = tuple(map(with_file_optics, request.images, layers))
        request = replace(request, images=images)
        job = Job(MEASURING, request.events, layers[0], done_message=_summary)
        self.session.last_jobs[MEASURING] = job
        self._follow(job)
        self.session.start(job)

    def _follow(self, job: Job[LensFit]) -> None:
        weak_connect(job.finished, self._end)
        self.bar.follow(job)
        if job.end is not None:
            self._show_fit(job.end.result)

    def _end(self, end: JobEnd[LensFit]) -> None:
        if end.result is None:
            return
        self._show_fit(end.result)
        self.measured.emit(end.result)

    def _show_fit(self, fit: LensFit | None) -> None:
        """Show what was measured: notes, each bead against the lens, and what to do with it."""
        self.fit = fit
        beads: Beads | None = getattr(fit, "beads", None)
        job = self.session.last_jobs[MEASURING]
        if beads is not None and job.context in self.viewer.layers:
            self.beads.show(beads, job.context)
        if beads is not None:
            widest = np.nanmax([*beads.width_px, *beads.model_width_px, 1.0])
            self.plot.draw("beads", beads.model_width_px, beads.width_px, line=False, points=True)
            self.plot.draw("lens", [0, widest], [0, widest])
        self.plot.setVisible(beads is not None)
        self._show_result()

    def _show_result(self) -> None:
        notes = () if self.fit is None else self.fit.notes
        self.note.setText("\n".join(notes))
        self.note.setVisible(bool(notes))
        if self.fit is None:
            self.plot.hide()
        for button in (self.save, self.report, self.deblur):
            button.setVisible(self.fit is not None)
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
        images = tuple(map(_separate_images, self._layers()))
        request = MeasureRequest(images, self._lens(), are_beads=False)
        job = Job(
            MEASURING_NOISE, request.noise_events, done_message=lambda _: "Measured the noise."
        )
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


def image_to_deblur(viewer: Viewer, frame_shape: tuple[int, int], beads: object) -> object:
    """Topmost recorded image of this frame that is not the image of beads, or else that one."""
    for _, layer in image_layers(viewer, color=True):
        is_of_frame = image_of(layer).frame_shape == frame_shape
        if is_of_frame and layer is not beads and is_recorded(layer):
            return layer
    return beads


def is_recorded(layer: ImageLayer) -> bool:
    """Whether a camera may have recorded an image: it is not a result or preview of ours."""
    return provenance(layer.metadata).get("kind") not in (BLURRED, DEBLURRED)


def _separate_images(layer: ImageLayer) -> Image:
    """Layer as one image, or as a series of separate ones."""
    image = image_of(layer)
    labels = {str(label).lower() for label in layer.axis_labels}
    if guess_axes(layer) == "ZYX" and not labels & {"z", "depth"}:
        return replace(image, axes="TYX")
    return image


def _z_step_um(layer: ImageLayer) -> float | None:
    """Distance of the planes of a stack, where the layer states it."""
    unit = layer.units[-3]
    if "[length]" not in unit.dimensionality:
        return None
    return float((layer.scale[-3] * unit).to("micrometer").magnitude)


def _summary(fit: LensFit) -> str:
    """Sentence on a measured lens."""
    error = fit.standard_errors.get("field_curvature_um")
    beads: Beads | None = getattr(fit, "beads", None)
    known = "" if error is None else f" ± {error:.2g}"
    text = f"Field curvature {fit.lens.field_curvature_um:.3g}{known} µm"
    return f"{text}; {beads.summary()}." if beads is not None else f"{text}."


def _summary_of_beads(beads: Beads) -> str:
    return f"{beads.summary()}."


def _summary_of_noise(_: NoiseEstimate) -> str:
    return "Measured the camera noise."


def _row(*parts: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    for part in parts:
        row.addWidget(part)
    return row
