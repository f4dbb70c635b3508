"""The Lens PSF widget."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

from napari.layers import Image as ImageLayer
from napari.utils.notifications import show_error
from napari.viewer import Viewer
from qtpy.QtCore import QSignalBlocker
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QStackedWidget,
)

from napari_coordgate.config import LENS_PRESETS, GaussianLens, Lens, PSFFieldConfig, load_lens
from napari_coordgate.errors import SettingsError
from napari_coordgate.events import Event, Finished
from napari_coordgate.widgets.choices import Choice, ask_where_to_save, image_layers
from napari_coordgate.widgets.forms import SettingsForm, collapsible, pair_row
from napari_coordgate.widgets.jobs import Job
from napari_coordgate.widgets.latest import Latest
from napari_coordgate.widgets.layers.images import pixel_size_um, pixels_of, plane_on_view
from napari_coordgate.widgets.lens_psf.portrait import (
    AnyLens,
    BlurredImage,
    Portrait,
    PortraitRequest,
)
from napari_coordgate.widgets.lens_psf.shown import ShownLens
from napari_coordgate.widgets.panel import JobBar, Panel
from napari_coordgate.widgets.plots import Plot
from napari_coordgate.widgets.session import shelve
from napari_coordgate.widgets.shared_files import load_field_file

__all__ = ["LensPSFWidget"]

FIRST = "20x 0.5 air"
LARGEST_FRAME = 100_000
RARELY_KNOWN = (
    "defocus_um",
    "tilt_um",
    "astigmatism_waves",
    "coma_waves",
    "spherical_waves",
    "axis",
)
FILES = "Lenses and PSF fields (*.yaml *.yml *.tif *.tiff)"


class LensPSFWidget(Panel):
    """Describe a lens, see how it blurs, and make its PSF field.

    Parameters
    ----------
    viewer : Viewer
        The viewer.
    """

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer)
        self.image = Choice(lambda: [*image_layers(viewer), ("no image", None)])
        self.preset = QComboBox()
        self.preset.addItems(list(LENS_PRESETS))
        self.frame = (QSpinBox(), QSpinBox())
        self.name = QLineEdit("lens")
        self.add_choice("Image", self.image, "Tells the frame and pixel size; is shown blurred.")
        self.add_row("Objective", self.preset, "Fills in the values below; change them freely.")
        for box in self.frame:
            box.setRange(2, LARGEST_FRAME)
            box.setValue(512)
            box.setKeyboardTracking(False)
        self.add_row(
            "Frame", pair_row(*self.frame), "Height and width of the camera frame, pixels."
        )
        self.preset.setCurrentText(FIRST)
        self.forms = {
            "pupil": SettingsForm(Lens(), folded=RARELY_KNOWN),
            "gaussian": SettingsForm(GaussianLens()),
        }
        self.pages = QStackedWidget()
        for form in self.forms.values():
            self.pages.addWidget(form)
        self.body.addWidget(self.pages)
        self.accuracy = SettingsForm(PSFFieldConfig())
        self.body.addWidget(collapsible("Accuracy", self.accuracy))
        self.plot = Plot(viewer, "field radius", "FWHM, px")
        self.body.addWidget(self.plot)
        self.note = QLabel()
        self.note.setWordWrap(True)
        self.body.addWidget(self.note)
        self.body.addStretch(1)
        self._add_foot()
        self.shown = ShownLens(viewer)
        self.latest = Latest(self.session, self)
        self.set_lens(LENS_PRESETS[FIRST])
        self._take_image()
        self._connect()
        self._look()

    def _add_foot(self) -> None:
        self.show_psfs, self.show_blurred = QCheckBox("Show PSFs"), QCheckBox("Show image blurred")
        self.load, self.save = QPushButton("Load…"), QPushButton("Save…")
        shown, files = QHBoxLayout(), QHBoxLayout()
        for box in (self.show_psfs, self.show_blurred):
            box.setChecked(True)
            shown.addWidget(box)
        for part in (QLabel("Name"), self.name, self.load, self.save):
            files.addWidget(part)
        self.bar = JobBar("Use for training")
        self.foot.addLayout(shown)
        self.foot.addLayout(files)
        self.foot.addWidget(self.bar)

    def _connect(self) -> None:
        self.image.changed.connect(self._take_image)
        self.preset.currentTextChanged.connect(self._take_preset)
        for box in self.frame:
            box.valueChanged.connect(self._look)
        for form in (*self.forms.values(), self.accuracy):
            form.changed.connect(self._look)
        self.show_psfs.toggled.connect(self._toggle_psfs)
        self.show_blurred.toggled.connect(self._toggle_blurred)
        self.name.textEdited.connect(self.shown.rename_psfs)
        self.load.clicked.connect(self._ask_what_to_load)
        self.save.clicked.connect(self._ask_where_to_save)
        self.bar.run_clicked.connect(self.make_field)
        self.latest.happened.connect(self._show)
        self.viewer.dims.events.point.connect(self._look_at_another_plane)

    @property
    def frame_shape(self) -> tuple[int, int]:
        """(height, width) of the frame, in pixels."""
        return self.frame[0].value(), self.frame[1].value()

    @property
    def lens(self) -> AnyLens | None:
        """Lens as it stands in the form; None while something is wrong with it."""
        return cast(AnyLens | None, cast(SettingsForm, self.pages.currentWidget()).settings)

    def set_lens(self, lens: AnyLens) -> None:
        """Show a lens in the form."""
        form = self.forms[lens.kind]
        form.set_settings(lens)
        self.pages.setCurrentWidget(form)
        # A stack of pages is as high as its highest: let it be as high as what is shown.
        for page in self.forms.values():
            page.setVisible(page is form)
        self._look()

    def _take_preset(self, name: str) -> None:
        self.set_lens(LENS_PRESETS[name])
        self._take_pixel_size()

    def _take_image(self) -> None:
        """Take frame and pixel size from another image, where it tells them."""
        layer: ImageLayer | None = self.image.value
        if layer is not None:
            for box, length in zip(self.frame, pixels_of(layer).shape[-2:], strict=True):
                with QSignalBlocker(box):
                    box.setValue(length)
        self._take_pixel_size()
        self.shown.blurred.remove()
        self._look()

    def _take_pixel_size(self) -> None:
        layer, lens = self.image.value, self.lens
        size = None if layer is None else pixel_size_um(layer)
        if size is not None and lens is not None:
            self.set_lens(lens.model_copy(update={"pixel_size_um": size[0]}))

    def _look_at_another_plane(self, _: object) -> None:
        layer = self.image.value
        if layer is not None and layer.ndim > 2 and self.show_blurred.isChecked():
            self._look()

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 - Qt's name
        """Compute what is shown, once there is someone to see it."""
        super().showEvent(event)
        self._look()

    def _look(self, *_: object) -> None:
        """Compute anew what is shown of the lens."""
        lens, problems = self.lens, self._problems()
        self.bar.set_problem(problems)
        self.save.setEnabled(not problems)
        if lens is None or not self.isVisible():
            self.latest.drop()
            return
        layer = self.image.value if self.show_blurred.isChecked() else None
        plane: tuple[int, ...] = ()
        if layer is not None:
            plane = plane_on_view(self.viewer, layer)
        request = PortraitRequest(
            lens,
            self.frame_shape,
            None if layer is None else pixels_of(layer),
            plane,
            "" if layer is None else layer.name,
        )
        self.latest.ask(Job("Look at a lens", request.events, request, is_quiet=True))

    def _problems(self) -> str:
        forms = (cast(SettingsForm, self.pages.currentWidget()), self.accuracy)
        return "; ".join(text for form in forms for text in form.problems.values())

    def _show(self, event: Event | Portrait | BlurredImage) -> None:
        if isinstance(event, Portrait):
            grid = event.grid
            self.plot.draw(
                "PSFs over the frame", grid.field_radius, grid.fwhm_px, line=False, points=True
            )
            self.note.setText(
                f"Blur of {grid.fwhm_px.min():.1f} to {grid.fwhm_px.max():.1f} px "
                f"(full width at half maximum)."
            )
            if self.show_psfs.isChecked():
                self.shown.show_psfs(event, self.name.text(), self.image.value)
        elif isinstance(event, BlurredImage):
            layer, lens = self.image.value, self.lens
            if layer is not None and lens is not None and self.show_blurred.isChecked():
                self.shown.show_blurred(event, layer, lens)
        elif isinstance(event, Finished) and event.message:
            self.note.setText(event.message)
            self.shown.blurred.remove()

    def _toggle_psfs(self, shown: bool) -> None:
        self.shown.psfs.remove()
        if shown:
            self._look()

    def _toggle_blurred(self, shown: bool) -> None:
        self.shown.blurred.remove()
        if shown:
            self._look()

    def make_field(self) -> None:
        """Make the lens's PSF field in the background, and offer it in the other widgets."""
        self._make_field()

    def _make_field(self, path: Path | None = None, overwrite: bool = False) -> None:
        """Make the field, and write it if there is a path."""
        lens, shape, name = self.lens, self.frame_shape, self.name.text() or "lens"
        accuracy = cast(PSFFieldConfig, self.accuracy.settings)
        assert lens is not None

        def work(job: Job) -> Iterator[Event]:
            from napari_coordgate.optics import PSFField  # brings in torch

            field = PSFField.from_lens(
                lens,
                shape,
                accuracy.tolerance,
                accuracy.enclosed_energy,
                cancel=job.cancel_requested,
            )
            if path is not None:
                field.save(path, overwrite=overwrite)
            made = f"{name}: {field.rank} kernels of {field.size}x{field.size} pixels"
            yield Finished(
                "completed", made + (f", saved as {path.name}." if path else "."), result=field
            )

        job, shown = Job("Make a PSF field", work, name), self.shown
        shelve(job, self.session.psf_fields, name)
        job.finished.connect(lambda end: shown.carry(end.result, lens))
        self.bar.follow(job)
        self.session.start(job)

    def _ask_where_to_save(self) -> None:
        name, endings = f"{self.name.text()}.psf.tif", (".psf.tif", ".tif", ".tiff")
        chosen = ask_where_to_save(self, "Save the PSF field", name, "PSF fields (*.tif)", endings)
        if chosen is not None:
            self._make_field(*chosen)

    def _ask_what_to_load(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Load a lens or PSF field", "", FILES)
        if name:
            self.load_file(Path(name))

    def load_file(self, path: Path) -> None:
        """Load the description of a lens into the form, or a PSF field into the session."""
        if path.suffix.lower() in (".tif", ".tiff"):
            load_field_file(self.session, path)
            return
        try:
            self.set_lens(load_lens(path))
            with QSignalBlocker(self.preset):
                self.preset.setCurrentIndex(-1)
        except SettingsError as error:
            show_error(str(error))
