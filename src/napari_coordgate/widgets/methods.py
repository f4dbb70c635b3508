"""Choice of the method of deblurring: for any lens with its PSF field, or a model for one lens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QSignalBlocker, Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_coordgate.config import (
    BatchSettings,
    Camera,
    DeblurConfig,
    DeblurSettings,
    RichardsonLucyConfig,
    Settings,
    UniversalConfig,
    WienerConfig,
)
from napari_coordgate.errors import SettingsError
from napari_coordgate.widgets.choices import (
    model_choice,
    psf_field_choice,
    universal_choice,
)
from napari_coordgate.widgets.forms import ComboBox, SettingsForm, collapsible, problems_of
from napari_coordgate.widgets.jobs import Job, JobEnd, weak_connect
from napari_coordgate.widgets.panel import CHOICE_WIDTH

if TYPE_CHECKING:
    from napari_coordgate.model import Model
    from napari_coordgate.optics import PSFField
    from napari_coordgate.universal_model import UniversalModel
    from napari_coordgate.widgets.panel import Panel

UNIVERSAL, MODEL = "Universal network", "Model"
RICHARDSON_LUCY, WIENER = "Richardson-Lucy", "Wiener"
DECONVOLUTION: Mapping[str, Settings] = {
    UNIVERSAL: UniversalConfig(),
    RICHARDSON_LUCY: RichardsonLucyConfig(),
    WIENER: WienerConfig(),
}
"""Default settings of the methods that need a PSF field, by their names in the window."""
HIDDEN = {"method", "weights"}
FOLDED = {"psf", "accelerate", "lens_uncertainty"}
CLASSICAL_SETTINGS = {"deconvolution", "camera"}
NETWORK_SETTINGS = {"precision", "tile", "memory_gb"}
METHOD_SETTINGS = CLASSICAL_SETTINGS | NETWORK_SETTINGS
"""Settings that apply to deconvolution, to models, and to either of them alone."""
NO_MODEL = "Choose a model: load one, or train one."
METHOD_TOOLTIP = (
    "The universal network, Richardson-Lucy and Wiener need the lens and no training. A model was "
    "trained for one lens and camera frame."
)
UNIVERSAL_TOOLTIP = "The universal model that is shipped, or one that was adapted to your lens."
NO_PSF_FIELD = "Choose a lens: load its PSF field, or describe or measure it in Lens PSF."
LENS_TOOLTIP = "How the lens blurs each pixel (its PSF field), made with Lens PSF."


class MethodChoice(QObject):
    """Rows of a panel: the method of deblurring, its model or PSF field, and its settings."""

    changed = Signal()

    def __init__(self, panel: Panel, settings: DeblurSettings | BatchSettings) -> None:
        super().__init__(panel)
        self._panel = panel
        self.box = ComboBox()
        self.box.addItems([UNIVERSAL, MODEL, RICHARDSON_LUCY, WIENER])
        self._is_users = False
        self.model = model_choice(panel.session)
        self.universal = universal_choice(panel.session)
        self.psf_field = psf_field_choice(panel.session)
        panel.add_row("Method", self.box, METHOD_TOOLTIP)
        self.box.setMinimumWidth(CHOICE_WIDTH)
        panel.add_choice("Model", self.model, "A model trained for this lens and camera frame.")
        panel.add_choice("Model", self.universal, UNIVERSAL_TOOLTIP)
        panel.add_choice("Lens", self.psf_field, LENS_TOOLTIP)
        self.network = SettingsForm(settings, NETWORK_SETTINGS)
        self.forms = {name: _form(defaults) for name, defaults in DECONVOLUTION.items()}
        self.camera = SettingsForm(panel.session.camera or Camera())
        self.section = QWidget()
        """The settings of the method, to be added to the panel's body."""
        layout = QVBoxLayout(self.section)
        layout.setContentsMargins(0, 0, 0, 0)
        self._camera_section = collapsible("Camera noise", self.camera)
        for part in (*self.forms.values(), self._camera_section):
            layout.addWidget(part)
        self.box.currentTextChanged.connect(self._note_choice)
        for choice in (self.model, self.universal, self.psf_field):
            choice.changed.connect(self.changed)
        for choice in (self.model, self.universal):
            choice.loading.connect(self._choose_loaded)
        for form in (self.network, self.camera, *self.forms.values()):
            form.changed.connect(self.changed)
        weak_connect(panel.session.changed, self._suggest)
        self._suggest()

    @property
    def is_model(self) -> bool:
        """Whether a model deblurs."""
        return self.box.currentText() == MODEL

    @property
    def is_universal(self) -> bool:
        """Whether the universal network deblurs."""
        return self.box.currentText() == UNIVERSAL

    @property
    def weights(self) -> Path | None:
        """File of the chosen universal model; None for the one that is shipped."""
        model: UniversalModel | None = self.universal.value
        return None if model is None else self._panel.session.files[model]

    @property
    def is_network(self) -> bool:
        """Whether a network deblurs: a model, or that for all lenses."""
        return self.box.currentText() in (UNIVERSAL, MODEL)

    @property
    def value(self) -> Model | PSFField | None:
        """Chosen model or PSF field; None where there is none."""
        found: Model | PSFField | None = (self.model if self.is_model else self.psf_field).value
        return found

    @property
    def name(self) -> str:
        """Name of the chosen model or PSF field."""
        return (self.model if self.is_model else self.psf_field).name

    def choose(self, method: str, value: Any) -> None:
        """Choose a method by its name in the window, and its model or PSF field."""
        self._is_users = True
        self.box.setCurrentText(method)
        (self.model if self.is_model else self.psf_field).set_value(value)

    def choose_universal(self, weights: Path | None) -> None:
        """Choose the universal model in a file, or the shipped one; load it if it is not yet."""
        session = self._panel.session
        known = (m for m in session.universal_models.values() if session.files[m] == weights)
        model = None if weights is None else next(known, None)
        self.universal.set_value(model)
        if weights is not None and model is None:
            self._choose_loaded(session.load_model(weights))

    def _choose_loaded(self, job: Job) -> None:
        """Choose the model that a job reads, once it has."""
        weak_connect(job.finished, self._choose_result)

    def _choose_result(self, end: JobEnd) -> None:
        from napari_coordgate.model import Model  # the job has imported torch

        if isinstance(end.result, Model):
            self.choose(MODEL, end.result)
        elif end.result is not None:
            self._is_users = True
            self.box.setCurrentText(UNIVERSAL)
            self.universal.set_value(end.result)

    def take_camera(self) -> None:
        """Show the camera that was measured in this session."""
        if self._panel.session.camera is not None:
            self.camera.set_settings(self._panel.session.camera)
            self.changed.emit()

    def require(self) -> Model | PSFField:
        """Chosen model or PSF field; raises SettingsError if there is none, or a setting is bad."""
        if self.value is None:
            raise SettingsError(NO_MODEL if self.is_model else NO_PSF_FIELD)
        used = [] if self.is_model else [self.forms[self.box.currentText()]]
        if self.is_network:
            used.append(self.network)
        if self._uses_camera:
            used.append(self.camera)
        if problems := problems_of(*used):
            raise SettingsError(problems)
        if self._uses_camera:
            used[0].settings.check_camera(self.camera.settings)
        return self.value

    def settings(self) -> dict[str, Any]:
        """Values of `METHOD_SETTINGS`; call `require` first."""
        values = {name: self.network.editors[name].value() for name in NETWORK_SETTINGS}
        if self.is_model:
            return values | {
                name: DeblurConfig.model_fields[name].default for name in CLASSICAL_SETTINGS
            }
        camera = self.camera.settings if self._uses_camera else Camera()
        deconvolution = self.forms[self.box.currentText()].settings
        if self.is_universal:
            deconvolution = deconvolution.replace(weights=self.weights)
        return values | {"deconvolution": deconvolution, "camera": camera}

    def set_settings(self, settings: DeblurSettings | BatchSettings) -> None:
        """Show the settings of a job, and its method."""
        self.network.set_settings(settings)
        self.camera.set_settings(settings.camera)
        names = {type(defaults): name for name, defaults in DECONVOLUTION.items()}
        method = MODEL
        if settings.deconvolution is not None:
            method = names[type(settings.deconvolution)]
            self.forms[method].set_settings(settings.deconvolution)
        if isinstance(settings.deconvolution, UniversalConfig):
            self.choose_universal(settings.deconvolution.weights)
        self._is_users = True
        with QSignalBlocker(self.box):
            self.box.setCurrentText(method)
        self._show_method()

    def _note_choice(self, _: str) -> None:
        """Keep the user's method, whatever is added later."""
        self._is_users = True
        self._show_method()

    def _suggest(self) -> None:
        """Choose the method by what there is, until the user chooses one."""
        session = self._panel.session
        if not self._is_users:
            only_models = bool(session.models) and not session.psf_fields
            with QSignalBlocker(self.box):
                self.box.setCurrentText(MODEL if only_models else UNIVERSAL)
            self._show_method()

    @property
    def _uses_camera(self) -> bool:
        return self.box.currentText() == RICHARDSON_LUCY

    def _show_method(self, *_: object) -> None:
        rows = self._panel.rows
        rows.setRowVisible(self.model, self.is_model)
        rows.setRowVisible(self.universal, self.is_universal)
        rows.setRowVisible(self.psf_field, not self.is_model)
        for name, form in self.forms.items():
            form.setVisible(name == self.box.currentText())
        self._camera_section.setVisible(self._uses_camera)
        self.network.setVisible(self.is_network)
        for part in (self.network.labels["precision"], self.network.editors["precision"]):
            part.setVisible(self.is_model)
        self.section.setVisible(not self.is_model)
        self.changed.emit()


def _form(defaults: Settings) -> SettingsForm:
    """Form of a method's settings; those that few need are folded."""
    folded = FOLDED & type(defaults).model_fields.keys()
    return SettingsForm(defaults, hidden=HIDDEN, folded=folded)
