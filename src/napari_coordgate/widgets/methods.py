"""Choice of the method of deblurring: a model, or deconvolution with a PSF field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QVBoxLayout, QWidget

from napari_coordgate.config import (
    BatchSettings,
    Camera,
    DeblurConfig,
    DeblurSettings,
    RichardsonLucyConfig,
    Settings,
    WienerConfig,
)
from napari_coordgate.errors import SettingsError
from napari_coordgate.widgets.choices import model_choice, psf_field_choice
from napari_coordgate.widgets.forms import SettingsForm, collapsible, problems_of

if TYPE_CHECKING:
    from napari_coordgate.model import Model
    from napari_coordgate.optics import PSFField
    from napari_coordgate.widgets.panel import Panel

MODEL, RICHARDSON_LUCY, WIENER = "Model", "Richardson-Lucy", "Wiener"
DECONVOLUTION: Mapping[str, Settings] = {
    RICHARDSON_LUCY: RichardsonLucyConfig(),
    WIENER: WienerConfig(),
}
"""Default settings of the deconvolution methods, by their names in the window."""
CLASSICAL_SETTINGS = {"deconvolution", "camera"}
NETWORK_SETTINGS = {"precision", "tile", "memory_gb"}
METHOD_SETTINGS = CLASSICAL_SETTINGS | NETWORK_SETTINGS
"""Settings that apply to deconvolution, to models, and to either of them alone."""
NO_MODEL = "Choose a model: load one, or train one."
NO_PSF_FIELD = "Choose a PSF field: load one, or create one with Lens PSF."


class MethodChoice(QObject):
    """Rows of a panel: the method of deblurring, its model or PSF field, and its settings."""

    changed = Signal()

    def __init__(self, panel: Panel, settings: DeblurSettings | BatchSettings) -> None:
        super().__init__(panel)
        self._panel = panel
        self.box = QComboBox()
        self.box.addItems([MODEL, *DECONVOLUTION])
        self.model = model_choice(panel.session)
        self.psf_field = psf_field_choice(panel.session)
        panel.add_row(
            "Method",
            self.box,
            "A trained model, or deconvolution, which needs the lens and no training.",
        )
        panel.add_choice("Model", self.model, "A model trained for this lens and camera frame.")
        panel.add_choice("PSF field", self.psf_field, "Blur of the lens, made with Lens PSF.")
        self.network = SettingsForm(settings, NETWORK_SETTINGS)
        self.forms = {
            name: SettingsForm(defaults, hidden={"method"}, folded={"psf", "accelerate"})
            for name, defaults in DECONVOLUTION.items()
        }
        self.camera = SettingsForm(panel.session.camera or Camera())
        self.section = QWidget()
        """The settings of the method, to be added to the panel's body."""
        layout = QVBoxLayout(self.section)
        layout.setContentsMargins(0, 0, 0, 0)
        self._camera_section = collapsible("Camera noise", self.camera)
        for part in (*self.forms.values(), self._camera_section):
            layout.addWidget(part)
        self.box.currentTextChanged.connect(self._show_method)
        for choice in (self.model, self.psf_field):
            choice.changed.connect(self.changed)
        for form in (self.network, self.camera, *self.forms.values()):
            form.changed.connect(self.changed)
        self._show_method()

    @property
    def is_model(self) -> bool:
        """Whether a model deblurs."""
        return self.box.currentText() == MODEL

    @property
    def value(self) -> Model | PSFField | None:
        """Chosen model or PSF field; None where there is none."""
        found: Model | PSFField | None = (self.model if self.is_model else self.psf_field).value
        return found

    @property
    def name(self) -> str:
        """Name of the chosen model or PSF field."""
        return (self.model if self.is_model else self.psf_field).name

    def choose(self, method: str, value: Model | PSFField) -> None:
        """Choose a method by its name in the window, and its model or PSF field."""
        self.box.setCurrentText(method)
        (self.model if self.is_model else self.psf_field).set_value(value)

    def take_camera(self) -> None:
        """Show the camera that was measured in this session."""
        if self._panel.session.camera is not None:
            self.camera.set_settings(self._panel.session.camera)
            self.changed.emit()

    def require(self) -> Model | PSFField:
        """Chosen model or PSF field; raises SettingsError if there is none, or a setting is bad."""
        if self.value is None:
            raise SettingsError(NO_MODEL if self.is_model else NO_PSF_FIELD)
        used = [self.network] if self.is_model else [self.forms[self.box.currentText()]]
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
        return values | {
            "deconvolution": self.forms[self.box.currentText()].settings,
            "camera": camera,
        }

    def set_settings(self, settings: DeblurSettings | BatchSettings) -> None:
        """Show the settings of a job, and its method."""
        self.network.set_settings(settings)
        self.camera.set_settings(settings.camera)
        names = {type(defaults): name for name, defaults in DECONVOLUTION.items()}
        method = MODEL
        if settings.deconvolution is not None:
            method = names[type(settings.deconvolution)]
            self.forms[method].set_settings(settings.deconvolution)
        with QSignalBlocker(self.box):
            self.box.setCurrentText(method)
        self._show_method()

    @property
    def _uses_camera(self) -> bool:
        return self.box.currentText() == RICHARDSON_LUCY

    def _show_method(self, *_: object) -> None:
        rows = self._panel.rows
        rows.setRowVisible(self.model, self.is_model)
        rows.setRowVisible(self.psf_field, not self.is_model)
        for name, form in self.forms.items():
            form.setVisible(name == self.box.currentText())
        self._camera_section.setVisible(self._uses_camera)
        self.network.setVisible(self.is_model)
        self.section.setVisible(not self.is_model)
        self.changed.emit()
