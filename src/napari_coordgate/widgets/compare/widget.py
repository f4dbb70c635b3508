"""The Compare widget."""

from collections.abc import Callable, Mapping
from typing import cast

from napari.layers import Image as ImageLayer
from napari.viewer import Viewer
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QCheckBox

from napari_coordgate.config import (
    Camera,
    DeblurRuntime,
    PSFMode,
    RichardsonLucyConfig,
    Settings,
    UniversalConfig,
    WienerConfig,
)
from napari_coordgate.errors import SettingsError
from napari_coordgate.widgets.choices import Checklist, image_choice, image_layers, psf_field_choice
from napari_coordgate.widgets.compare.request import CompareRequest, OnePlane
from napari_coordgate.widgets.compare.shown import ShownComparison
from napari_coordgate.widgets.compare.table import ResultsTable
from napari_coordgate.widgets.forms import ComboBox, SettingsForm, collapsible, problems_of
from napari_coordgate.widgets.hosting import deblur_with
from napari_coordgate.widgets.jobs import Job, JobEnd
from napari_coordgate.widgets.layers import image_of, plane_on_view
from napari_coordgate.widgets.methods import DECONVOLUTION, MODEL, UNIVERSAL
from napari_coordgate.widgets.panel import JobWidget
from napari_coordgate.widgets.preferences import load_preferences
from napari_coordgate.widgets.session import Session
from napari_coordgate.widgets.trust import VERDICT_COLORS

COMPARING = "Comparing"
BLURRED, SHARP = "blurred", "sharp (blur it first)"

CLASSICAL: Mapping[str, Settings] = {"Wiener": WienerConfig(), "RL": RichardsonLucyConfig()}
"""Default settings of the deconvolution methods, by their names in tables and of layers."""
PSF_NAMES: Mapping[PSFMode, str] = {"field": "full field", "mean": "mean PSF"}
VARIANTS = {
    f"{method}, {words}": (method, psf) for method in CLASSICAL for psf, words in PSF_NAMES.items()
}
"""Method and PSF of each deconvolution, by the names in the list."""
OF_LENS = (UNIVERSAL, *VARIANTS)
MAX_ROWS = 10
"""Rows visible without scrolling."""


class MethodChecklist(Checklist):
    """Names of the session's models and the methods for any lens, all ticked at first."""

    def __init__(self, session: Session) -> None:
        super().__init__(
            lambda: [(name, name) for name in (*reversed(list(session.models)), *OF_LENS)],
            starts_ticked=True,
            max_rows=MAX_ROWS,
        )
        self.session = session

    def methods(self, settings: Mapping[str, Settings]) -> dict[str, object]:
        """Ticked methods by name: models, or the given settings of `CLASSICAL` with their PSF."""
        found: dict[str, object] = {}
        for name in self.values:
            if name in self.session.models:
                found[name] = self.session.models[name]
            elif name == UNIVERSAL:
                found[name] = UniversalConfig()
            else:
                method, psf = VARIANTS[name]
                found[name] = settings[method].model_copy(update={"psf": psf})
        return found


class CompareWidget(JobWidget):
    """Compare methods on the current plane: images side by side, and a table."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer, "Compare")
        self.image = image_choice(viewer, lambda: image_layers(viewer))
        self.state = ComboBox()
        self.state.addItems([BLURRED, SHARP])
        self.truth = image_choice(viewer, lambda: [("unknown", None), *image_layers(viewer)])
        self.psf_field = psf_field_choice(self.session)
        self.methods = MethodChecklist(self.session)
        self.add_choice(
            "Image", self.image, "Image to compare methods on; its current plane is used."
        )
        self.add_row(
            "The image is",
            self.state,
            "A sharp image is blurred as by the lens first, so that the results can be measured.",
        )
        self.add_choice("Sharp image", self.truth, "Sharp image in the same units, if known.")
        self.add_choice(
            "Lens", self.psf_field, "How it blurs each pixel; all methods but models need it."
        )
        self.add_row("Methods", self.methods, "Models loaded in napari, and methods for any lens.")
        self.camera, self._camera_is_known = SettingsForm(Camera()), False
        self.forms = {
            name: SettingsForm(settings, type(settings).model_fields.keys() - {"psf"})
            for name, settings in CLASSICAL.items()
        }
        sections = ("Camera", "Wiener", "Richardson-Lucy (RL)")
        for title, form in zip(sections, (self.camera, *self.forms.values()), strict=True):
            self.body.addWidget(collapsible(title, form))
        self.body.addStretch(1)
        self.results = ResultsTable()
        self.side_by_side = QCheckBox("Side by side")
        self.side_by_side.setChecked(True)
        self.results.buttons.addWidget(self.side_by_side)
        self.foot.addWidget(self.results)
        self.foot.addWidget(self.bar)
        self._connect()
        self._take_camera()
        self.check()
        for job in self.session.running(COMPARING):
            self.follow(job)

    def _connect(self) -> None:
        self.state.currentTextChanged.connect(self.check)
        for part in (self.image, self.truth, self.psf_field, self.methods, self.camera):
            part.changed.connect(self.check)
        for form in self.forms.values():
            form.changed.connect(self.check)
        self.camera.changed.connect(self._note_camera)
        self.results.picked.connect(self._reveal)
        self.side_by_side.toggled.connect(self._lay_out)
        self.viewer.canvas.grid.events.enabled.connect(self._note_grid)
        self.viewer.dims.events.point.connect(self._mark_stale)

    def reset_choices(self, *_: object) -> None:
        """Update the choices; napari calls this when layers are added or removed."""
        super().reset_choices()
        self._take_camera()
        self.methods.refresh()

    def _take_camera(self) -> None:
        """Set the camera of the newest model, unless the user has changed the camera."""
        models = list(self.session.models.values())
        if models and not self._camera_is_known:
            camera = models[-1].camera
            self.camera.set_settings(camera)
            self._camera_is_known = True

    def _note_camera(self) -> None:
        self._camera_is_known = True

    @property
    def is_sharp(self) -> bool:
        """Whether the image is sharp and is blurred first."""
        return bool(self.state.currentText() == SHARP)

    def check(self, *_: object) -> None:
        """Enable the Compare button if nothing is missing."""
        self.rows.setRowVisible(self.truth, not self.is_sharp)
        super().check()

    def request(self) -> CompareRequest:
        """Read the form; raises `CoordGateError` if something is missing or wrong."""
        if self.image.value is None:
            raise SettingsError("Choose an image; open one first.")
        if problems := problems_of(self.camera, *self.forms.values()):
            raise SettingsError(problems)
        truth = None if self.is_sharp else self.truth.value
        preferences = load_preferences()
        settings = {name: cast(Settings, form.settings) for name, form in self.forms.items()}
        request = CompareRequest(
            plane=self._plane(self.image.value),
            is_sharp=self.is_sharp,
            truth=None if truth is None else self._plane(truth),
            psf_field=self.psf_field.value,
            camera=cast(Camera, self.camera.settings),
            methods=self.methods.methods(settings),
            runtime=DeblurRuntime(device=preferences.device, memory_gb=preferences.memory_gb),
        )
        request.check()
        return request

    def chosen(self) -> tuple[object, ...]:
        """Plane, lens, methods and settings."""
        layer: ImageLayer | None = self.image.value
        plane = None if layer is None else plane_on_view(self.viewer, layer)
        forms = (self.camera, *self.forms.values())
        return (
            *(layer, plane, self.is_sharp, None if self.is_sharp else self.truth.value),
            *(self.psf_field.value, self.methods.values, [form.settings for form in forms]),
        )

    def _plane(self, layer: ImageLayer) -> OnePlane:
        return OnePlane(image_of(layer), plane_on_view(self.viewer, layer))

    def start(self, request: CompareRequest) -> None:
        """Run the methods in the background one after the other."""
        psf_field = self.psf_field.name if request.psf_field is not None else ""
        before = self.results.shown
        shown = ShownComparison(self.viewer, self.image.value, request, psf_field, before)
        job = Job(COMPARING, request.events, shown, done_message=request.done_message)
        job.happened.connect(shown.show)
        self.started = self.chosen()
        self.start_job(job)
        self._lay_out(self.side_by_side.isChecked())

    def follow(self, job: Job) -> None:
        """Show the results of a job."""
        self.results.show_results(job.context)
        super().follow(job)

    def on_event(self, _: object) -> None:
        """Show new rows of the table."""
        shown = self.bar.job.context if self.bar.job is not None else None
        if isinstance(shown, ShownComparison) and len(shown.rows) != self.results.table.rowCount():
            self.results.show_results(shown)

    def show_end(self, end: JobEnd) -> None:
        """Color the end of a comparison in which no result is better or can be trusted."""
        shown = self.results.shown
        if end.reason == "completed" and shown is not None:
            self.bar.show_message(self.bar.message.text(), VERDICT_COLORS[shown.verdict])

    def next_steps(self, end: JobEnd) -> Mapping[str, Callable[[], object]]:
        """Deblur with the best method."""
        shown = self.results.shown
        best = None if shown is None or end.reason != "completed" else shown.best
        if shown is None or best is None or best.kind == "blurred":
            return {}
        method = shown.request.methods[best.method]
        name = next((n for n, kind in DECONVOLUTION.items() if type(kind) is type(method)), MODEL)
        if getattr(method, "psf", "field") == "mean":  # Deblur uses the blur of each pixel
            return {}
        value = method if name == MODEL else shown.request.psf_field
        return {f"Deblur with {best.method}": lambda: deblur_with(self.viewer, name, value)}

    def _reveal(self, number: int) -> None:
        if self.results.shown is not None:
            self.results.shown.reveal(number)

    def _lay_out(self, side_by_side: bool) -> None:
        """Show the results side by side, or on top of each other."""
        shown, grid = self.results.shown, self.viewer.canvas.grid
        if shown is None or grid.enabled == side_by_side:
            return
        grid.enabled = side_by_side
        if side_by_side:
            shown.set_visible(True)
            shown.fit_view(force=True)
        else:
            shown.reveal_one()
            self.viewer.reset_view()

    def _note_grid(self, _: object) -> None:
        with QSignalBlocker(self.side_by_side):
            self.side_by_side.setChecked(self.viewer.canvas.grid.enabled)
        if self.results.shown is not None:
            self.results.shown.show_names()
