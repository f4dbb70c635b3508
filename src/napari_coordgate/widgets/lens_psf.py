"""The Lens PSF widget: describe or load a lens, see how it blurs, and use it for training."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from napari.layers import Image as ImageLayer
from napari.utils.notifications import show_error
from napari.viewer import Viewer
from qtpy.QtCore import QSignalBlocker, QTimer
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QStackedWidget,
)

from napari_coordgate.config import (
    LENS_PRESETS,
    GaussianLens,
    Lens,
    PSFFieldConfig,
    load_lens,
    measured_frame,
)
from napari_coordgate.errors import CoordGateError, SettingsError
from napari_coordgate.geometry import format_shape
from napari_coordgate.io import keep_lens, save_lens
from napari_coordgate.widgets.choices import ask_where_to_save, image_choice, image_layers
from napari_coordgate.widgets.docs import help_on
from napari_coordgate.widgets.flat_field import FlatFieldSection
from napari_coordgate.widgets.forms import (
    YX,
    NumberEditor,
    SettingsForm,
    collapsible,
    in_words,
    problems_of,
)
from napari_coordgate.widgets.hosting import show_widget
from napari_coordgate.widgets.jobs import DebouncedJob, Job, JobEnd, weak_connect
from napari_coordgate.widgets.kept import keep_folder, last_folder
from napari_coordgate.widgets.layers import (
    file_image,
    frame_of,
    pixel_size_um,
    pixels_of,
    plane_on_view,
)
from napari_coordgate.widgets.lens_preview import (
    AnyLens,
    BlurPreview,
    LensLayers,
    PreviewRequest,
    PSFPreview,
)
from napari_coordgate.widgets.lens_sources import (
    SAME_PIXEL_SIZE,
    LensChoice,
    LensOption,
    calibrated_option,
    lens_note,
    part_note,
    pixel_note,
    show_standard_errors,
    stated_note,
    stated_values,
    with_pixel_size,
)
from napari_coordgate.widgets.measure import MeasureSection, image_to_deblur
from napari_coordgate.widgets.measure_request import BEADS, FlatField
from napari_coordgate.widgets.methods import UNIVERSAL
from napari_coordgate.widgets.panel import COLORS, JobWidget
from napari_coordgate.widgets.plots import Plot
from napari_coordgate.widgets.session import store_file, store_result

if TYPE_CHECKING:
    from napari_coordgate.calibration import ImagesFit, LensFit
    from napari_coordgate.calibration.beads_residual import Residual
    from napari_coordgate.optics import PSFField
    from napari_coordgate.widgets.deblur import DeblurWidget

COMPUTING = "Compute a PSF field"
FIRST_PRESET = "20x 0.5 air"
_FIRST_LENS = LENS_PRESETS[FIRST_PRESET]
_MORE = {
    name
    for name in Lens.model_fields
    if name.endswith("_waves") or name in ("defocus_um", "tilt_um", "axis")
}
"""Settings in a folded section: aberrations, which few users know for their lens."""
FRAME_SHAPE = (512, 512)
MAX_FRAME_SIDE = 100_000
SCROLL_MS = 50
"""Time in which an unfolded section is laid out."""
ESTIMATE_TOOLTIP = (
    "Estimate the focus of the lens over the frame from the chosen image, and use it. NA, "
    "wavelength and pixel size must be right; beads measure the lens better."
)
INCONCLUSIVE = (
    "This image has too little detail to tell the focus of the lens, which stays as it was. "
    "Measure the lens with beads, or with more images."
)
WITH_BEADS = "Measure with beads"
OTHER_FRAME = (
    "The lens was measured on a frame of {} pixels. Set the camera frame to that, and say in "
    'Deblur which part of it an image shows ("Part of the frame"); or measure the lens for this '
    "frame."
)
FILES = "Lenses and PSF fields (*.yaml *.yml *.tif *.tiff)"
SAVED_FILES = "Blur for this camera frame, PSF field (*.psf.tif);;Lens (*.yaml)"
LENS_ENDINGS = (".yaml", ".yml")


@dataclass(frozen=True, eq=False)
class PSFFieldRequest:
    """A PSF field to compute under a name, and a file to save it in, if any."""

    lens: AnyLens
    frame_shape: tuple[int, int]
    accuracy: PSFFieldConfig
    name: str
    path: Path | None = None
    overwrite: bool = False
    flat_field: FlatField | None = None
    residual: "Residual | None" = None
    """What the lens does not describe of the beads it was measured with."""

    def compute(self, job: Job) -> "PSFField":
        """Compute and save the PSF field, for the background thread."""
        from napari_coordgate.optics import PSFField  # imports torch

        psf_field = PSFField.from_lens(
            self.lens,
            self.frame_shape,
            self.accuracy.tolerance,
            self.accuracy.enclosed_energy,
            cancel=job.cancel_requested,
        )
        if self.residual is not None:
            psf_field = self.residual.added_to(psf_field)
        if self.flat_field is not None:
            psf_field = psf_field.with_flat_field(self.flat_field.gain())
        if self.path is not None:
            psf_field.save(self.path, overwrite=self.overwrite)
        return psf_field

    def done_message(self, _: object) -> str:
        """What to do with the result."""
        saved = f", saved as {self.path.name}" if self.path else ""
        return f"{self.name} can be chosen in Train and Deblur{saved}."


class LensPSFWidget(JobWidget):
    """Describe a lens, see how it blurs, and compute its PSF field."""

    page = "plugin/#lens-psf"

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer, "Use this lens")
        self.image = image_choice(viewer, lambda: [*image_layers(viewer), ("no image", None)])
        self.preset = LensChoice()
        self.preset.setCurrentText(FIRST_PRESET)
        self.frame = NumberEditor(int, (2, MAX_FRAME_SIDE), prefixes=YX)
        self.frame.set_value(FRAME_SHAPE)
        self.name = QLineEdit("lens")
        self.add_choice("Image", self.image, "Sets the camera frame and the pixel size.")
        self.add_row(
            "Objective",
            self.preset,
            "A common objective, or a calibrated lens that was kept. Fills in the values below, "
            "which you can change.",
        )
        self.add_row(
            "Camera frame", self.frame, "Height and width of the whole camera image, pixels."
        )
        self.estimate = QPushButton("Estimate from image")
        self.add_row("", self.estimate, ESTIMATE_TOOLTIP)
        self.image_note, self.source = self.add_note(), self.add_note()
        self.image_note.setStyleSheet(f"color: {COLORS['canceled']};")
        self.forms = {
            "pupil": SettingsForm(_FIRST_LENS, folded=_MORE),
            "gaussian": SettingsForm(GaussianLens()),
        }
        self.pages = QStackedWidget()
        for form in self.forms.values():
            self.pages.addWidget(form)
        self.body.addWidget(self.pages)
        self._shown: AnyLens | None = None
        self._measured: LensFit | None = None
        self.flat_field = FlatFieldSection(viewer, self.session)
        self.measure = MeasureSection(
            viewer, self.session, lambda: self.lens, self.flat_field.value
        )
        self.measure.measured.connect(self._take_measured)
        self.measuring = collapsible("Measure", self.measure)
        self.measure.deblur_clicked.connect(self._deblur)
        for clicked in (self.measure.detect.clicked, self.measure.bar.run_clicked):
            clicked.connect(self._hide_blurred)  # these images are blurred already
        self.body.addWidget(self.measuring)
        self.body.addWidget(collapsible("Flat field", self.flat_field))
        self.accuracy = SettingsForm(PSFFieldConfig())
        self.body.addWidget(collapsible("Accuracy", self.accuracy))
        self.plot = Plot(viewer, "distance from center (corner: 1)", "width of the blur, px")
        self.body.addWidget(self.plot)
        self.note = self.add_note()
        self.body.addStretch(1)
        self._add_foot()
        self.layers = LensLayers(viewer)
        self.preview = DebouncedJob(self.session.start, self)
        self._origin, self._has_size_of_image = "", False
        self._preset, self._is_from_images = FIRST_PRESET, False
        self._made: dict[str, tuple[object, ...]] = {}
        self._take_preset()
        self._take_image()
        self._connect()
        self._update_preview()

    def _add_foot(self) -> None:
        self.show_psfs, self.show_blurred = QCheckBox("Show PSFs"), QCheckBox("Show image blurred")
        self.load, self.save = QPushButton("Load…"), QPushButton("Save…")
        self.keep = QPushButton("Keep")
        self.keep.setToolTip("Offer this calibrated lens again, for images of its objective.")
        shown, files = QHBoxLayout(), QHBoxLayout()
        self.show_psfs.setChecked(True)
        for box in (self.show_psfs, self.show_blurred):
            shown.addWidget(box)
        for part in (QLabel("Name"), self.name, self.load, self.save, self.keep):
            files.addWidget(part)
        self.foot.addLayout(shown)
        self.foot.addLayout(files)
        self.foot.addWidget(self.bar)

    def _connect(self) -> None:
        self.image.changed.connect(self._take_image)
        self.preset.currentIndexChanged.connect(self._take_preset)
        self.frame.changed.connect(self._update_preview)
        for form in (*self.forms.values(), self.accuracy):
            form.changed.connect(self._note_change)
            form.changed.connect(self._update_preview)
        self.show_psfs.toggled.connect(self._toggle_psfs)
        self.show_blurred.toggled.connect(self._toggle_blurred)
        self.flat_field.changed.connect(self._check_start)
        self.name.textEdited.connect(self.layers.rename_psfs)
        self.load.clicked.connect(self._ask_what_to_load)
        self.save.clicked.connect(self._ask_where_to_save)
        self.keep.clicked.connect(self._keep)
        self.estimate.clicked.connect(self._estimate)
        self.preview.happened.connect(self._show_preview)
        self.preview.finished.connect(self._end_preview)
        self.viewer.dims.events.point.connect(self._show_another_plane)

    @property
    def frame_shape(self) -> tuple[int, int]:
        """(height, width) of the frame, in pixels."""
        height, width = self.frame.value()
        return height, width

    @property
    def form(self) -> SettingsForm:
        """Form of the chosen kind of lens."""
        return self.forms["pupil" if self.pages.currentIndex() == 0 else "gaussian"]

    @property
    def lens(self) -> AnyLens | None:
        """Lens in the form; None while one of its values is invalid."""
        lens: AnyLens | None = self.form.settings
        if isinstance(lens, Lens) and lens != self._shown:  # no longer as it was measured
            return lens.model_copy(update={"calibration": None})
        return lens

    def set_lens(self, lens: AnyLens) -> None:
        """Show a lens in the form, with its error bars if it was measured."""
        form = self.forms[lens.kind]
        form.set_settings(lens)
        show_standard_errors(form, lens)
        self._shown, self._measured = form.settings, None
        self.pages.setCurrentWidget(form)
        # A stack is as high as its highest page: make it as high as the visible one.
        for page in self.forms.values():
            page.setVisible(page is form)
        self._update_preview()

    def _take_preset(self, _: object = None) -> None:
        if option := self.preset.option:
            if not option.kept:
                self._preset = self.preset.currentText()
            self._take_option(option)
            self._take_pixel_size()

    def _take_option(self, option: LensOption) -> None:
        """Show a preset or kept lens, and what it rests on."""
        self._origin, self._is_from_images = option.note, False
        self.source.setText(option.note)
        self.set_lens(option.lens)
        if option.kept:
            self.preset.show_kept(option.kept)
            self.name.setText(option.kept)
            self.flat_field.choose_kept(option.kept)

    def _note_change(self) -> None:
        """Say that a lens whose values were changed is no longer the chosen or measured one."""
        shown = self._shown
        if self.lens == shown:
            return
        self.bar.mark_stale()
        self.preset.show_index(-1)
        if isinstance(shown, Lens) and shown.calibration is not None:
            self.source.setText("Changed by hand: no longer as it was measured.")
            show_standard_errors(self.form, GaussianLens())

    def _keep(self) -> None:
        """Keep the calibrated lens under its name."""
        lens, name = self.lens, self.name.text()
        if not isinstance(lens, Lens):
            return
        try:
            flat_field = self.flat_field.value(self.frame_shape)
            keep_lens(lens, name, flat_field=None if flat_field is None else flat_field.gain())
        except CoordGateError as error:
            show_error(str(error))
            return
        self.preset.refresh()
        self.preset.show_kept(name)
        self.source.setText(lens_note(name, lens))

    def _take_image(self) -> None:
        """Take frame and pixel size from another image, where they are known."""
        layer: ImageLayer | None = self.image.value
        if layer is not None:
            self._leave_measured(layer)
            self._take_optics(layer)
            if self.layers.psfs.is_removed:  # with another image
                self.layers.psfs.remove()
        self._take_pixel_size()
        self.bar.mark_stale()
        self.layers.blurred.remove()
        self._update_preview()

    def _leave_measured(self, layer: ImageLayer) -> None:
        """Go back to the preset for an image of another frame than the lens was measured on here.

        A lens that was chosen or loaded stays: the image may be a part of its frame.
        """
        lens, size = self.lens, pixel_size_um(layer)
        if not self._is_from_images or not isinstance(lens, Lens):
            return
        shape = measured_frame(lens if size is None else with_pixel_size(lens, size[0]))
        if shape not in (None, frame_of(layer)):
            self.preset.show_index(self.preset.findText(self._preset))
            if option := self.preset.option:
                self._take_option(option)

    def _take_optics(self, layer: ImageLayer) -> None:
        """Take the lens calibrated for the objective of an image, or what its file states."""
        image = file_image(layer)
        if image is None:
            return
        image = replace(image, pixel_size_um=pixel_size_um(layer))
        self.preset.refresh()
        if option := calibrated_option(layer, image):
            self._take_option(option)
            return
        stated, lens = stated_values(layer, image), self.lens
        if isinstance(lens, Lens) and stated.keys() - {"pixel_size_um"}:
            values = {name: item.value for name, item in stated.items()}
            self.set_lens(lens.model_copy(update={**values, "calibration": None}))
            option = self.preset.option
            is_preset = option is not None and not option.kept
            others = (
                "guesses of the preset" if is_preset else f"as before ({self._origin.rstrip('.')})"
            )
            self.source.setText(stated_note(stated, others))

    def _take_pixel_size(self) -> None:
        """Take the pixel size of the image, and the frame that goes with the lens."""
        layer, lens = self.image.value, self.lens
        size = None if layer is None else pixel_size_um(layer)
        if size is None or lens is None:
            self._forget_pixel_size()
        else:
            self._has_size_of_image = True
            if isinstance(lens, Lens) and lens.calibration is not None:
                if abs(size[0] / lens.pixel_size_um - 1) > SAME_PIXEL_SIZE:
                    self.source.setText(f"{self._origin} The pixel size is that of the image.")
                    self.set_lens(with_pixel_size(lens, size[0]))
            else:
                self.set_lens(lens.model_copy(update={"pixel_size_um": size[0]}))
        self._take_frame()

    def _take_frame(self) -> None:
        """Take the frame that the lens was measured on, or else that of the image."""
        layer: ImageLayer | None = self.image.value
        shape = measured_frame(self.lens)
        if shape is None and layer is not None:
            shape = frame_of(layer)
        if shape is not None and shape != self.frame_shape:
            with QSignalBlocker(self.frame):
                self.frame.set_value(shape)
            self._update_preview()

    def _forget_pixel_size(self) -> None:
        """Take that of the objective again instead of that of another image."""
        option, lens = self.preset.option, self.lens
        if self._has_size_of_image and option is not None and lens is not None:
            size = option.lens.pixel_size_um
            self.set_lens(lens.model_copy(update={"pixel_size_um": size}))
        self._has_size_of_image = False

    def _show_image_note(self) -> None:
        """Say what may be wrong with the pixels of the image."""
        layer, lens = self.image.value, self.lens
        note = "" if layer is not None else " ".join(self.image.refusals[:1])
        if layer is not None and lens is not None:
            note = pixel_note(layer.name, pixel_size_um(layer), lens)
            note = note or part_note(layer.name, frame_of(layer), measured_frame(lens))
        self.image_note.setText(note)
        self.image_note.setVisible(bool(note))

    def _show_another_plane(self, _: object) -> None:
        layer = self.image.value
        if layer is not None and layer.ndim > 2 and self.show_blurred.isChecked():
            self._update_preview()

    def reset_choices(self, *_: object) -> None:
        """Offer what exists now; napari calls this when layers are added or removed."""
        super().reset_choices()
        self.measure.refresh()
        self.flat_field.refresh()
        self._show_image_note()

    def _take_measured(self, fit: "LensFit") -> None:
        """Show a lens that was measured, on the frame of its images."""
        self._hide_blurred()
        with QSignalBlocker(self.frame):
            self.frame.set_value(fit.frame_shape)
        self._show_lens(fit.lens, self.name.text())
        self._measured, self._is_from_images = fit, True

    def _show_lens(self, lens: AnyLens, name: str) -> None:
        """Show a lens that is none of the choices, and how it was measured."""
        self.set_lens(lens)
        self.preset.show_index(-1)
        self._origin = lens_note(name, lens)
        self.source.setText(self._origin)

    def others_to_keep(self) -> dict[str, Any]:
        """Kind and name of the lens, whose values are those of a form."""
        return {"kind": self.form.settings.kind, "name": self.name.text()}

    def restore(self) -> None:
        """Show the first preset, with the pixel size of the image."""
        super().restore()
        self.preset.show_index(self.preset.findText(FIRST_PRESET))
        self._take_preset()

    def recall(self, kept: Mapping[str, Any]) -> None:
        """Show the lens that was described last, with the pixel size of the image."""
        lens = self.forms["gaussian" if kept.get("kind") == "gaussian" else "pupil"].settings
        if kept and lens is not None:
            name = str(kept.get("name", self.name.text()))
            self.name.setText(name)
            self._show_lens(lens, f"{name}, as you left it")
            self._is_from_images = True
            self._take_image()
        super().recall(kept)

    def estimate_from(self, layer: ImageLayer, psf_field: "PSFField | None") -> None:
        """Estimate the focus of a lens from an image; all else is as in a PSF field."""
        self.image.set_value(layer)
        values = {} if psf_field is None else psf_field.source.get("lens") or {}
        if values.get("kind") == "pupil":
            self._show_lens(Lens(**{**values, "calibration": None}), "The lens chosen in Deblur")
            self._take_pixel_size()
        self._estimate()

    def _estimate(self) -> None:
        """Estimate the focus of the lens from the chosen image, and use the lens if it is clear."""
        try:
            job = self.measure.measure_images([self.image.value])
        except CoordGateError as error:
            self.bar.show_error(str(error))
            return
        self.bar.follow(job)
        self._check_start()
        weak_connect(job.finished, self._use_estimate)  # after the form has taken the lens

    def _use_estimate(self, end: JobEnd["ImagesFit"]) -> None:
        self._check_start()
        if end.result is not None and end.result.is_conclusive:
            self.run()
            return
        if end.result is not None:
            self.bar.show_message(INCONCLUSIVE, COLORS["canceled"])
        self.bar.next.offer({WITH_BEADS: self._show_beads, **help_on("calibration/")})

    def _show_beads(self) -> None:
        """Show how to measure the lens with beads."""
        self.measure.source.setCurrentText(BEADS)
        self.show_measuring()

    def show_measuring(self) -> None:
        """Unfold and show what a lens is measured with."""
        self.measuring.expand(animate=False)
        QTimer.singleShot(SCROLL_MS, self._scroll_to_measuring)

    def _scroll_to_measuring(self) -> None:
        bar = self.area.verticalScrollBar()
        if bar is not None:
            bar.setValue(self.measuring.y())

    def _deblur(self) -> None:
        """Compute the PSF field of the lens, and choose it in Deblur."""
        self.run()
        job = self.bar.job
        if job is not None and job.is_running:
            sample, shape = self.measure.sample, self.frame_shape
            job.finished.connect(partial(_open_deblur, self.viewer, shape, sample))

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 - Qt's name
        """Compute the preview once the widget is visible."""
        super().showEvent(event)
        self.preset.refresh()
        self._update_preview()

    def _update_preview(self, *_: object) -> None:
        lens = self.lens
        self._check_start()
        self._show_image_note()
        self.keep.setVisible(isinstance(lens, Lens) and lens.calibration is not None)
        if lens is None:  # what is shown is not of these values
            self.plot.clear_curves()
            self.note.setText("")
        if lens is None or not self.isVisible():
            self.preview.cancel()
            return
        request = PreviewRequest(lens, self.frame_shape)
        layer = self.image.value if self.show_blurred.isChecked() else None
        if layer is not None:
            plane = plane_on_view(self.viewer, layer)
            request = PreviewRequest(
                lens, self.frame_shape, pixels_of(layer), plane, image_name=layer.name
            )
        self.preview.request(Job("Preview a lens", request.events, request, is_quiet=True))

    def _check_start(self) -> None:
        """Allow what can be computed or saved."""
        self.check()
        self.estimate.setEnabled(self.image.value is not None and self.bar.run.isEnabled())
        self.measure.check()
        self.save.setEnabled(self.bar.run.isEnabled())

    def _show_preview(self, event: PSFPreview | BlurPreview) -> None:
        if isinstance(event, PSFPreview):
            grid = event.grid
            self.plot.draw("PSFs", grid.field_radius, grid.fwhm_px, line=False, points=True)
            self.note.setText(
                f"Blur of {grid.fwhm_px.min():.1f} to {grid.fwhm_px.max():.1f} px "
                f"(full width at half maximum)."
                + (f" The PSFs are shown {event.zoom} times as large." if event.zoom > 1 else "")
            )
            if self.show_psfs.isChecked():
                self.layers.show_psfs(event, self.name.text(), self.image.value)
        else:
            layer, lens = self.image.value, self.lens
            if layer is not None and lens is not None and self.show_blurred.isChecked():
                self.layers.show_blurred(event, layer, lens)

    def _end_preview(self, end: JobEnd[str]) -> None:
        if problem := end.result or end.message:
            self.note.setText(in_words(problem))
            self.layers.blurred.remove()

    def _hide_blurred(self) -> None:
        self.show_blurred.setChecked(False)

    def _toggle_psfs(self, shown: bool) -> None:
        self.layers.psfs.remove()
        if shown:
            self._update_preview()

    def _toggle_blurred(self, shown: bool) -> None:
        self.layers.blurred.remove()
        if shown:
            self._update_preview()

    def request(self) -> PSFFieldRequest:
        """Snapshot of the lens, its frame and accuracy."""
        if problems := problems_of(self.form, self.accuracy):
            raise SettingsError(problems)
        lens = self.lens
        assert lens is not None
        if measured_frame(lens) not in (None, self.frame_shape):
            raise SettingsError(OTHER_FRAME.format(format_shape(measured_frame(lens) or ())))
        accuracy, name = self.accuracy.settings, self.name.text() or "lens"
        flat_field = self.flat_field.value(self.frame_shape)
        fit = self._measured if lens == self._shown else None
        return PSFFieldRequest(
            lens,
            self.frame_shape,
            accuracy,
            name,
            flat_field=flat_field,
            residual=getattr(fit, "residual", None),
        )

    def start(self, request: PSFFieldRequest) -> None:
        """Compute the PSF field in the background, and offer it in the other widgets."""
        request, layers = replace(request, name=self._name_for(request)), self.layers
        job = Job.from_function(
            COMPUTING, request.compute, request, done_message=request.done_message
        )
        if request.path is None:
            store_result(job, self.session.psf_fields, request.name)
        else:
            store_file(job, self.session, self.session.psf_fields, request.name, request.path)
        job.finished.connect(lambda end: layers.attach_psf_field(end.result, request.lens))
        self.start_job(job)

    def next_steps(self, end: JobEnd["PSFField"]) -> Mapping[str, Callable[[], object]]:
        """Deblur with the lens."""
        if end.result is None:
            return {}
        sample, shape = self.measure.sample, self.frame_shape
        return {"Deblur with it": partial(_open_deblur, self.viewer, shape, sample, end)}

    def _name_for(self, request: PSFFieldRequest) -> str:
        """Name that replaces no PSF field of another lens."""
        made = (request.lens, request.frame_shape, request.accuracy, request.flat_field)
        name, number = request.name, 1
        while name in self.session.psf_fields and self._made.get(name) != made:
            number += 1
            name = f"{request.name}-{number}"
        self._made[name] = made
        return name

    def _ask_where_to_save(self) -> None:
        name, endings = f"{self.name.text()}.psf.tif", (".psf.tif", ".tif", ".tiff", *LENS_ENDINGS)
        chosen = ask_where_to_save(self, "Save the lens or its blur", name, SAVED_FILES, endings)
        if chosen is None:
            return
        (path, overwrite), request = chosen, self.request()
        if path.suffix.lower() not in LENS_ENDINGS:
            self.start(replace(request, path=path, overwrite=overwrite))
            return
        try:
            save_lens(request.lens, path, overwrite=overwrite)
        except CoordGateError as error:
            self.bar.show_error(str(error))
        else:
            self.bar.show_message(f"Saved {path.name}.")

    def _ask_what_to_load(self) -> None:
        name, _ = QFileDialog.getOpenFileName(
            self, "Load a lens or PSF field", last_folder(FILES), FILES
        )
        if name:
            keep_folder(FILES, name)
            self.load_file(Path(name))

    def load_file(self, path: Path) -> None:
        """Load a lens into the form, or a PSF field into the session."""
        if path.suffix.lower() in (".tif", ".tiff"):
            weak_connect(self.session.load_psf_field(path).finished, self._show_loaded)
            return
        try:
            self._show_lens(load_lens(path), path.name)
            self._is_from_images = False
        except SettingsError as error:
            show_error(str(error))
        else:
            self._take_pixel_size()

    def _show_loaded(self, end: JobEnd["PSFField"]) -> None:
        """Say what a file is that cannot be shown in the form, and where it is used."""
        if end.result is not None:
            shape = format_shape(end.result.frame_shape)
            self.bar.show_message(
                f"{end.message} It is the blur of a lens for camera images of {shape} pixels, and "
                "is chosen in Train and Deblur. The form above stays that of another lens."
            )


def _open_deblur(
    viewer: Viewer, frame_shape: tuple[int, int], sample: object, end: JobEnd["PSFField"]
) -> None:
    """Open Deblur with the universal network and this PSF field chosen."""
    if end.result is None:
        return
    deblur = cast("DeblurWidget", show_widget(viewer, "Deblur", "deblur:DeblurWidget"))
    image = image_to_deblur(viewer, frame_shape, sample)
    if image is not None:
        deblur.image.set_value(image)
    deblur.method.choose(UNIVERSAL, end.result)
    deblur.method.take_camera()
