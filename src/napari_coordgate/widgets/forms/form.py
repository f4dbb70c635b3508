"""A form for one model of settings."""

import re
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError
from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QFormLayout, QLabel, QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_coordgate.config import Settings
from napari_coordgate.errors import format_error_detail
from napari_coordgate.widgets.forms.editors import UNITS, Editor, allowed, build_editor
from napari_coordgate.widgets.forms.rows import add_row, collapsible, form_rows

__all__ = ["BAD_COLOR", "SettingsForm"]

ACRONYMS = {"na": "NA", "ema": "EMA", "psf": "PSF"}
BAD_COLOR = "#e5534b"


class SettingsForm(QWidget):
    """Editors for the fields of a model, one below the other.

    Fields that are models themselves become sections, folded.

    Parameters
    ----------
    settings : Settings
        The model's type, and the values to show.
    names : collection of str, optional
        Fields to show; the others keep their values. All of them but ``kind`` when not given.
    folded : collection of str
        Fields that stand in a section of their own, folded.
    """

    changed = Signal()
    """Its user has changed a value, well or badly."""

    def __init__(
        self,
        settings: Settings,
        names: Collection[str] | None = None,
        folded: Collection[str] = (),
    ) -> None:
        super().__init__()
        self._given = settings
        fields = type(settings).model_fields
        shown = [name for name in fields if name != "kind" and (names is None or name in names)]
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        rows, more = form_rows(), form_rows()
        layout.addLayout(rows)
        self.editors: dict[str, Editor] = {}
        self.labels: dict[str, QLabel] = {}
        self.sections: dict[str, SettingsForm] = {}
        for name in shown:
            inner = getattr(settings, name)
            if isinstance(inner, Settings):
                layout.addWidget(self._section(name, inner))
            else:
                self._add_row(name, more if name in folded else rows)
        if folded:
            section = QWidget()
            section.setLayout(more)
            layout.addWidget(collapsible("More", section))
        self.set_settings(settings)

    def _add_row(self, name: str, rows: QFormLayout) -> None:
        field = type(self._given).model_fields[name]
        editor = build_editor(name, field)
        label = add_row(rows, _label(name), editor)
        self.editors[name], self.labels[name] = editor, label
        editor.changed.connect(self._validate)

    def _section(self, name: str, settings: Settings) -> QCollapsible:
        form = SettingsForm(settings)
        form.changed.connect(self._validate)
        self.sections[name] = form
        return collapsible(_label(name), form)

    @property
    def problems(self) -> Mapping[str, str]:
        """What is wrong, by the name of the setting; empty where all is well."""
        own = self._problems()
        return own | {
            f"{name}.{inner}": text
            for name, form in self.sections.items()
            for inner, text in form.problems.items()
        }

    @property
    def settings(self) -> Settings | None:
        """Settings as they stand in the form; None while something is wrong with them."""
        try:
            return type(self._given).model_validate(self.values())
        except ValidationError:
            return None

    def set_settings(self, settings: Settings) -> None:
        """Show other settings of the same model; no change is told."""
        self._given = settings
        for name, editor in self.editors.items():
            with QSignalBlocker(editor):
                editor.set_value(getattr(settings, name))
        for name, form in self.sections.items():
            form.set_settings(getattr(settings, name))
        self._mark()

    def values(self) -> dict[str, Any]:
        """Values as they stand in the form, good or bad, nested like the model."""
        values = dict(self._given)
        values |= {name: editor.value() for name, editor in self.editors.items()}
        return values | {name: form.values() for name, form in self.sections.items()}

    def _problems(self) -> dict[str, str]:
        """What is wrong with the fields of this form alone."""
        try:
            type(self._given).model_validate(self.values() | self._sections_as_given())
        except ValidationError as error:
            return _by_field(error, self.editors)
        return {}

    def _sections_as_given(self) -> dict[str, Any]:
        """Sections tell of their own problems; here they count as good."""
        return {name: getattr(self._given, name) for name in self.sections}

    def _validate(self) -> None:
        self._mark()
        self.changed.emit()

    def _mark(self) -> None:
        """Mark bad fields, with the reason in their tooltips."""
        problems = self._problems()
        for name, editor in self.editors.items():
            field = type(self._given).model_fields[name]
            description = f"{field.description or ''} {allowed(field)}".strip()
            problem = problems.get(name)
            label = self.labels[name]
            label.setText(f"⚠ {_label(name)}" if problem else _label(name))
            label.setStyleSheet(f"color: {BAD_COLOR}; font-weight: bold;" if problem else "")
            for part in (editor, label):
                part.setToolTip(f"{problem}\n{description}" if problem else description)


def _by_field(error: ValidationError, names: Collection[str]) -> dict[str, str]:
    """Problems by the fields they concern; of a rule over several, those that it names."""
    problems: dict[str, str] = {}
    for item in error.errors():
        text = item["msg"].removeprefix("Value error, ")
        concerned = [str(part) for part in item["loc"][:1]]
        if not concerned:
            concerned = [name for name in names if re.search(rf"\b{name}\b", text)] or list(names)
        else:
            text = format_error_detail(item).partition(": ")[2].capitalize()
        problems |= dict.fromkeys(concerned, text)
    return problems


def _label(name: str) -> str:
    """Words of a setting's name, without its unit."""
    words = name.split("_")
    if words[-1] in UNITS and len(words) > 1:
        words = words[:-1]
    text = " ".join(ACRONYMS.get(word, word) for word in words)
    return text[0].upper() + text[1:]
