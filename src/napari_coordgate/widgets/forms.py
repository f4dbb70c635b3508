"""Forms built from settings classes: label, editor, bounds, unit and tooltip of each setting."""

import math
import re
import types
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from magicgui.widgets import create_widget
from magicgui.widgets.bases import ValueWidget
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from qtpy.QtCore import QEvent, QLocale, QObject, QSignalBlocker, Qt, Signal
from qtpy.QtGui import QPaintEvent, QShowEvent, QWheelEvent
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QBoxLayout,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QSizePolicy,
    QSpinBox,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from napari_coordgate import config
from napari_coordgate.config import Settings
from napari_coordgate.errors import format_error_detail

UNITS = {"um": "µm", "nm": "nm", "px": "px", "waves": "λ", "gb": "GB"}
"""Units by the endings of settings' names."""
WORDS = {
    "na": "NA",
    "ema": "EMA",
    "psf": "PSF",
    "num": "",
    "iter": "iterations",
    "dtype": "data type",
}
"""Words of labels by those of settings' names, where they differ."""
LABELS = {"wavelength_nm": "Emission wavelength", "origin": "Top left pixel"}
"""Labels by settings' names, where they are not made of their words."""
BAD_COLOR = "#e23f36"
LABEL_WIDTH = 84
"""Minimum width of labels, pixels, so that forms below each other align."""
EDITOR_WIDTH = 140
"""Minimum width of a row's editor, pixels."""
MIN_PART_WIDTH = 64
MAX_NUMBER = 2**31 - 1
"""Largest absolute value of Qt's spin boxes for whole numbers."""
MAX_ORIGIN = 1_000_000
MAX_HEIGHT = 2**24 - 1
"""Height of a widget that has no limit, as Qt defines it."""
DECIMALS = 9
YX = ("y ", "x ")
"""Prefixes of the two numbers of a pixel or shape."""


class ComboBox(QComboBox):
    """Choice that the wheel, which scrolls the form around it, does not change."""

    def wheelEvent(self, event: QWheelEvent | None) -> None:  # noqa: N802 - Qt's name
        """Leave the wheel to the form."""
        if event is not None:
            event.ignore()

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Shorten a long name in its middle: names often differ at their ends."""
        painter, option, style = QStylePainter(self), QStyleOptionComboBox(), self.style()
        self.initStyleOption(option)
        if self.currentIndex() < 0:
            option.currentText = self.placeholderText()
        if style is not None:
            kinds = QStyle.ComplexControl.CC_ComboBox, QStyle.SubControl.SC_ComboBoxEditField
            width = style.subControlRect(kinds[0], option, kinds[1], self).width()
            middle = Qt.TextElideMode.ElideMiddle
            option.currentText = self.fontMetrics().elidedText(option.currentText, middle, width)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)


class Editor(QWidget):
    """Edits one setting; `changed` is emitted when the user changed the value."""

    changed = Signal()

    def __init__(self, *parts: QWidget) -> None:
        super().__init__()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in parts:
            layout.addWidget(part)
            # Qt asks for the width of the longest possible number.
            part.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            part.setMinimumWidth(MIN_PART_WIDTH)
            part.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            part.installEventFilter(self)
        self.setFocusProxy(parts[0])

    def eventFilter(self, part: QObject | None, event: QEvent | None) -> bool:  # noqa: N802 - Qt's
        """Ignore the wheel over a part without focus: scrolling must not change values."""
        match event, part:
            case QEvent(), QWidget() if event.type() == QEvent.Type.Wheel and not part.hasFocus():
                event.ignore()
                return True
        return super().eventFilter(part, event)

    @abstractmethod
    def value(self) -> Any:
        """Value of the setting."""

    @abstractmethod
    def set_value(self, value: Any) -> None:
        """Show another value."""


class _MagicEditor(Editor):
    """A choice, switch or line of text, by magicgui; an empty line may be None."""

    def __init__(self, kind: Any, *, is_optional: bool, placeholder: str) -> None:
        widget = create_widget(annotation=kind)
        assert isinstance(widget, ValueWidget)
        self.widget, self.is_optional = widget, is_optional
        super().__init__(widget.native)
        if isinstance(widget.native, QLineEdit):
            widget.native.setPlaceholderText(placeholder)
        widget.changed.connect(self._emit_changed)

    def _emit_changed(self, _: object) -> None:
        self.changed.emit()

    def value(self) -> Any:
        value = self.widget.value
        value = value.strip() if isinstance(value, str) else value
        return None if self.is_optional and not value else value

    def set_value(self, value: Any) -> None:
        self.widget.value = "" if value is None else value


class _FloatBox(QDoubleSpinBox):
    """Number shown with the digits it has (0.001, 520), or that its standard error leaves.

    Accepts a decimal comma in any locale.
    """

    def __init__(self) -> None:
        super().__init__()
        self.error: float | None = None
        self.setLocale(QLocale.c())
        self.setDecimals(DECIMALS)
        self.setStepType(QAbstractSpinBox.StepType.AdaptiveDecimalStepType)

    def textFromValue(self, value: float) -> str:  # noqa: N802 - Qt's name
        if self.error:
            return f"{value:.{min(max(1 - math.floor(math.log10(self.error)), 0), DECIMALS)}f}"
        return f"{value:.6g}"

    def valueFromText(self, text: str | None) -> float:  # noqa: N802 - Qt's name
        return super().valueFromText((text or "").replace(",", "."))

    def validate(self, text: str | None, position: int) -> Any:
        return super().validate((text or "").replace(",", "."), position)


class NumberEditor(Editor):
    """One number, or two for y and x; an optional one is None at its minimum, ``none_at``.

    magicgui's spin boxes have no unit, no text for None and no decimal comma, and round small
    numbers; so these are Qt's own.
    """

    def __init__(
        self,
        kind: Any,
        bounds: tuple[float, float],
        unit: str = "",
        *,
        none_text: str | None = None,
        none_at: float = 0,
        prefixes: tuple[str, ...] = ("",),
    ) -> None:
        self.boxes: list[Any] = [QSpinBox() if kind is int else _FloatBox() for _ in prefixes]
        super().__init__(*self.boxes)
        self.unit = unit
        self.is_optional = none_text is not None
        low, high = bounds
        for box, prefix in zip(self.boxes, prefixes, strict=True):
            box.setRange(kind(none_at if self.is_optional else low), kind(high))
            box.setPrefix(prefix)
            box.setSuffix(f" {unit}" if unit else "")
            box.setSpecialValueText(none_text or "")
            box.setKeyboardTracking(False)
            if len(prefixes) > 1:  # both would be cut
                box.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
            box.valueChanged.connect(self.changed)

    def value(self) -> Any:
        """The number, both numbers, or None."""
        first = self.boxes[0]
        if self.is_optional and first.value() == first.minimum():
            return None
        values = tuple(box.value() for box in self.boxes)
        return values[0] if len(values) == 1 else values

    def show_errors(self, errors: Sequence[float | None]) -> None:
        """Show "± error" behind each number that was measured; two such are below each other."""
        layout, directions = self.layout(), QBoxLayout.Direction
        assert isinstance(layout, QBoxLayout)
        is_wide = len(errors) > 1 and any(error is not None for error in errors)
        layout.setDirection(directions.TopToBottom if is_wide else directions.LeftToRight)
        for box, error in zip(self.boxes, errors, strict=True):
            text = "" if error is None else f" ± {error:.2g}"
            if isinstance(box, _FloatBox):
                box.error = error
            box.setSuffix(text + (f" {self.unit}" if self.unit else ""))

    def set_value(self, value: Any) -> None:
        """Show other numbers."""
        values = value if isinstance(value, tuple) else (value,)
        for box, number in zip(self.boxes, values, strict=True):
            box.setValue(box.minimum() if number is None else number)


def build_editor(name: str, field: FieldInfo, *, none_text: str | None = None) -> Editor:
    """Build the editor of a setting, from its type and the unit in its name.

    With ``none_text``, a number may be left out; it then is what the lowest one is called.
    """
    unit = unit_of(name)
    kinds = [kind for kind in _alternatives(field.annotation) if kind is not type(None)]
    is_optional = type(None) in _alternatives(field.annotation)
    kind = kinds[0] if len(kinds) == 1 else field.annotation
    if kind in (int, float) and none_text is not None:
        low, high = _bounds(field)
        return NumberEditor(kind, (low, high), unit, none_text=none_text, none_at=low)
    if kind in (int, float):
        none_text = (_default_text(field) if field.default is None else "") if is_optional else None
        none_at = -(10**-DECIMALS) if Ge(0) in field.metadata else 0  # below 0 if 0 is allowed
        return NumberEditor(kind, _bounds(field), unit, none_text=none_text, none_at=none_at)
    if get_origin(kind) is tuple and len(set(get_args(kind))) == 1:
        whole = (-MAX_NUMBER, MAX_NUMBER)
        return NumberEditor(get_args(kind)[0], whole, unit, prefixes=YX)
    if kind in (bool, str) or get_origin(kind) is Literal:
        placeholder = _default_text(field) if is_optional else ""
        return _MagicEditor(kind, is_optional=is_optional, placeholder=placeholder)
    raise TypeError(f"No editor for {name}: {field.annotation}.")


def unit_of(name: str) -> str:
    """Unit that the name of a setting ends with, or an empty text."""
    return UNITS.get(name.rpartition("_")[2], "")


def _default_text(field: FieldInfo) -> str:
    """Meaning of None, from the description of an optional setting ("...; default: all.")."""
    meaning = re.search(r"default: ([^(.]*)", field.description or "")
    return meaning[1].strip() if meaning else "none"


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """Types of a union, without their annotations; the type itself where it is no union."""
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(kind for part in get_args(annotation) for kind in _alternatives(part))
    return (annotation,)


def _bounds(field: FieldInfo) -> tuple[float, float]:
    """Smallest and largest value to enter; an excluded bound is marked after it was entered."""
    low, high = float(-MAX_NUMBER), float(MAX_NUMBER)
    for rule in field.metadata:
        match rule:
            case Ge(bound) | Gt(bound):
                low = max(float(bound), low)  # type: ignore[arg-type]
            case Le(bound) | Lt(bound):
                high = min(float(bound), high)  # type: ignore[arg-type]
    return low, high


def _allowed(field: FieldInfo) -> str:
    """Sentence about the allowed numbers; empty where there are no bounds."""
    bounds = []
    for rule in field.metadata:
        match rule:
            case Ge(bound):
                bounds.append(f"at least {bound:g}")
            case Gt(bound):
                bounds.append(f"above {bound:g}")
            case Le(bound):
                bounds.append(f"at most {bound:g}")
            case Lt(bound) if bound < MAX_NUMBER:
                bounds.append(f"below {bound:g}")
    return f"Allowed: {' and '.join(bounds)}." if bounds else ""


def _is_optional_section(field: FieldInfo) -> bool:
    """Whether a setting is None or settings of its own, which no editor can show."""
    kinds = _alternatives(field.annotation)
    return type(None) in kinds and any(
        isinstance(kind, type) and issubclass(kind, Settings) for kind in kinds
    )


class SettingsForm(QWidget):
    """Editors for the settings of one class, below each other.

    Nested settings become folded sections. Of a union of settings classes, the user chooses the
    type, and the form shows the settings of that type. ``names`` are the settings to show (all by
    default), others keep their values, and so do optional nested ones; those in ``folded`` go
    into a folded section, and those in ``last`` below all others.
    """

    changed = Signal()
    """The user changed a value, valid or not."""

    def __init__(
        self,
        settings: Settings,
        names: Collection[str] | None = None,
        folded: Collection[str] = (),
        *,
        hidden: Collection[str] = (),
        last: Collection[str] = (),
    ) -> None:
        super().__init__()
        self._given = settings
        fields = type(settings).model_fields
        hidden = {"kind", *hidden}
        names = fields if names is None else names
        hidden |= {name for name, field in fields.items() if _is_optional_section(field)}
        shown = [name for name in fields if name in names and name not in hidden]
        shown.sort(key=lambda name: name in last)
        self._shown, self._folded, self._is_built = shown, folded, False
        self._editors: dict[str, Editor] = {}
        self._labels: dict[str, QLabel] = {}
        self._sections: dict[str, SettingsForm | UnionForm] = {}
        self._folds: dict[str, QCollapsible] = {}

    def _build(self) -> None:
        """Make the editors once they are seen or asked for: a window of folded forms opens fast."""
        if self._is_built:
            return
        self._is_built, settings = True, self._given
        fields = type(settings).model_fields
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        rows, more = form_rows(), form_rows()
        layout.addLayout(rows)
        for name in self._shown:
            if isinstance(getattr(settings, name), Settings):
                layout.addWidget(self._add_section(name, fields[name]))
            else:
                self._add_row(name, more if name in self._folded else rows)
        if self._folded:
            section = QWidget()
            section.setLayout(more)
            layout.addWidget(collapsible("More", section))
        self.set_settings(settings)

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 - Qt's name
        """Make the editors."""
        self._build()
        super().showEvent(event)

    @property
    def editors(self) -> dict[str, Editor]:
        """Editors by the names of their settings."""
        self._build()
        return self._editors

    @property
    def labels(self) -> dict[str, QLabel]:
        """Labels of the editors."""
        self._build()
        return self._labels

    @property
    def sections(self) -> dict[str, "SettingsForm | UnionForm"]:
        """Forms of nested settings."""
        self._build()
        return self._sections

    @property
    def folds(self) -> dict[str, QCollapsible]:
        """The folded sections of nested settings."""
        self._build()
        return self._folds

    def _add_row(self, name: str, rows: QFormLayout) -> None:
        editor = build_editor(name, type(self._given).model_fields[name])
        self._editors[name] = editor
        self._labels[name] = add_row(rows, label_of(name), editor)
        editor.changed.connect(self._validate)

    def _add_section(self, name: str, field: FieldInfo) -> QCollapsible:
        settings = getattr(self._given, name)
        kinds = _alternatives(field.annotation)
        form = SettingsForm(settings) if len(kinds) == 1 else UnionForm(settings, kinds)
        form.changed.connect(self._validate)
        self._sections[name] = form
        self._folds[name] = collapsible(label_of(name), form)
        return self._folds[name]

    @property
    def problems(self) -> Mapping[str, str]:
        """What is wrong, by the name of the setting; empty where all is valid."""
        return self._problems() | {
            f"{name}.{inner}": text
            for name, form in self._sections.items()
            for inner, text in form.problems.items()
        }

    @property
    def settings(self) -> Any:
        """Settings in the form, of the class it was made for; None while one of them is invalid."""
        try:
            return type(self._given).model_validate(self.values())
        except ValidationError:
            return None

    def set_settings(self, settings: Settings) -> None:
        """Show other settings of the same class, without emitting `changed`."""
        self._given = settings
        for name, editor in self._editors.items():
            with QSignalBlocker(editor):
                editor.set_value(getattr(settings, name))
        for name, form in self._sections.items():
            form.set_settings(getattr(settings, name))
        self._mark()

    def values(self) -> dict[str, Any]:
        """Values in the form, valid or not, nested like the settings."""
        values = dict(self._given)
        values |= {name: editor.value() for name, editor in self._editors.items()}
        return values | {name: form.values() for name, form in self._sections.items()}

    def _problems(self) -> dict[str, str]:
        """What is wrong with the settings of this form alone."""
        valid_sections = {name: getattr(self._given, name) for name in self._sections}
        try:
            type(self._given).model_validate(self.values() | valid_sections)
        except ValidationError as error:
            return _problems_by_name(error, self._editors)
        return {}

    def _validate(self) -> None:
        self._mark()
        self.changed.emit()

    def _mark(self) -> None:
        """Mark invalid settings, with the reason in their tooltips."""
        problems = self._problems() if self._is_built else {}
        for name, editor in self._editors.items():
            field = type(self._given).model_fields[name]
            description = f"{field.description or ''} {_allowed(field)}".strip()
            problem = problems.get(name)
            problem = in_words(problem) if problem else ""
            label = self._labels[name]
            label.setText(f"⚠ {label_of(name)}" if problem else label_of(name))
            label.setStyleSheet(f"color: {BAD_COLOR}; font-weight: bold;" if problem else "")
            for part in (editor, label):
                part.setToolTip(f"{problem}\n{description}" if problem else description)


class UnionForm(QWidget):
    """A choice among types of settings, and the form of the chosen one.

    The types differ in one setting, a literal such as ``architecture``. Settings that two types
    share keep their values when the user changes the type.
    """

    changed = Signal()

    def __init__(self, settings: Settings, kinds: tuple[type[Settings], ...]) -> None:
        super().__init__()
        self.discriminator = _discriminator(kinds)
        types_ = {kind: _literals(kind, self.discriminator) for kind in kinds}
        self._kinds = {value: kind for kind, values in types_.items() for value in values}
        self.choice = _MagicEditor(Literal[tuple(self._kinds)], is_optional=False, placeholder="")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        rows = form_rows()
        layout.addLayout(rows)
        description = kinds[0].model_fields[self.discriminator].description or ""
        add_row(rows, label_of(self.discriminator), self.choice, description)
        self.forms: dict[type[Settings], SettingsForm] = {}
        for kind in kinds:
            form = SettingsForm(kind(), hidden={self.discriminator})
            form.changed.connect(self.changed)
            layout.addWidget(form)
            self.forms[kind] = form
        self.set_settings(settings)
        self.choice.changed.connect(self._change_type)

    @property
    def form(self) -> SettingsForm:
        """Form of the chosen type."""
        return self.forms[self._kinds[self.choice.value()]]

    @property
    def editors(self) -> dict[str, Editor]:
        """Editors of the chosen type, that of the type among them."""
        return {self.discriminator: self.choice, **self.form.editors}

    @property
    def problems(self) -> Mapping[str, str]:
        """What is wrong, by the name of the setting."""
        return self.form.problems

    @property
    def settings(self) -> Any:
        """Settings in the form; None while one of them is invalid."""
        settings = self.form.settings
        changes = {self.discriminator: self.choice.value()}
        return None if settings is None else settings.model_copy(update=changes)

    def set_settings(self, settings: Settings) -> None:
        """Show other settings of one of the types, without emitting `changed`."""
        with QSignalBlocker(self.choice):
            self.choice.set_value(getattr(settings, self.discriminator))
        self.forms[type(settings)].set_settings(settings)
        self._show_form()

    def values(self) -> dict[str, Any]:
        """Values in the form, valid or not."""
        return self.form.values() | {self.discriminator: self.choice.value()}

    def _change_type(self) -> None:
        shown = next(form for form in self.forms.values() if not form.isHidden())
        values, form = shown.values(), self.form
        if form is not shown:
            for name in values.keys() & form.editors.keys():
                with QSignalBlocker(form.editors[name]):
                    form.editors[name].set_value(values[name])
        self._show_form()
        self.changed.emit()

    def _show_form(self) -> None:
        for form in self.forms.values():
            form.setVisible(form is self.form)


def _discriminator(kinds: tuple[type[Settings], ...]) -> str:
    """Name of the literal setting by which types of settings differ."""
    for name in kinds[0].model_fields:
        literals = [_literals(kind, name) for kind in kinds]
        if all(literals) and len({value for part in literals for value in part}) == sum(
            map(len, literals)
        ):
            return name
    raise TypeError(f"no setting distinguishes {', '.join(kind.__name__ for kind in kinds)}")


def _literals(kind: type[Settings], name: str) -> tuple[Any, ...]:
    """Allowed values of a literal setting; none where it is of another type or missing."""
    field = kind.model_fields.get(name)
    is_literal = field is not None and get_origin(field.annotation) is Literal
    return get_args(field.annotation) if field is not None and is_literal else ()


def _problems_by_name(error: ValidationError, names: Collection[str]) -> dict[str, str]:
    """Problems by setting; a rule over several settings counts for those that it names."""
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


def problems_of(*forms: "SettingsForm | UnionForm") -> str:
    """Line that names each invalid setting of the forms by its label; empty where all are valid."""
    labels: dict[str, str] = {}
    for form in forms:
        for name, text in form.problems.items():
            labels.setdefault(text, label_of(name.rpartition(".")[2]))
    lines = (f"{label}: {text[0].lower()}{text[1:]}" for text, label in labels.items())
    return in_words("; ".join(lines))


def in_words(text: str) -> str:
    """Message in which settings have their labels instead of the names of files and flags."""
    text = text.replace(PART, 'tick "Part of the frame" and say where it begins')
    text = FLAG.sub(lambda found: f'("{label_of(found[1])}")', text)
    text = re.sub(r" \(-[^()]*\)", "", text)  # flags alone
    text = COMMAND.sub('("Measure" in Lens PSF)', text)
    text = re.sub(r"pass --axes (\w+)", r"set the axes to \1", text)
    text = re.sub(r"\b([Tt]he) PSF field\b", r"\1 lens", text)
    text = text.replace("create a PSF field", "describe the lens in Lens PSF")
    text = AXIS.sub(lambda found: f"{_inner_label(found[1])} ({found[2]})", text)
    text = SHAPE.sub(r"\1 x \2", text)
    text = PIXEL.sub(lambda found: " x ".join(dict.fromkeys(found.groups())) + " um", text)
    text = re.sub(r"(?<=\d) um\b", " µm", text)
    return _setting_names().sub(lambda found: _inner_label(found[0]), text)


PART = "give the origin of the window that the image shows (origin, --origin)"
"""Advice of errors that is a tick in the window."""
COMMAND = re.compile(r"(calibrate_\w+ )?\(calibrate( \w+)?\)")
"""Command that measures a lens, as errors name it for Python and the command line."""
AXIS = re.compile(rf"\b({'|'.join(config.Lens.model_fields)})\.([yx])\b")
"""One of the two numbers of a setting of a lens."""
SHAPE = re.compile(r"(?<![\w.])(\d+)x(\d+)(?!\w|\.\w)")
"""Height and width, that are no part of a name."""
PIXEL = re.compile(r"\(([\d.]+), ([\d.]+)\) um\b")
"""Size (y, x) of a pixel; a square one has one side."""
FLAG = re.compile(r"\((\w+), --[\w-]+\)")
"""Name and flag of a setting, as errors name them for Python and the command line."""


@lru_cache
def _setting_names() -> re.Pattern[str]:
    """Names of settings that are no words of their own."""
    kinds = [kind for kind in vars(config).values() if isinstance(kind, type)]
    fields = [kind.model_fields for kind in kinds if issubclass(kind, Settings)]
    names = {name for of_kind in fields for name in of_kind if "_" in name} | {"na"}
    return re.compile(rf"\b({'|'.join(sorted(names, key=len, reverse=True))})\b(?![.=/])")


def _inner_label(name: str) -> str:
    """Label of a setting within a sentence."""
    label = label_of(name)
    return label if label[:2].isupper() else label[0].lower() + label[1:]


def label_of(name: str) -> str:
    """Label of a setting: the words of its name, without the unit."""
    if name in LABELS:
        return LABELS[name]
    words = name.split("_")
    if words[-1] in UNITS and len(words) > 1:
        words = words[:-1]
    text = " ".join(WORDS.get(word, word) for word in words).strip()
    return text[0].upper() + text[1:]


def form_rows() -> QFormLayout:
    """Layout of rows whose editors take the available width."""
    rows = QFormLayout()
    rows.setContentsMargins(0, 0, 0, 0)
    rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    rows.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)  # docks may be narrow
    return rows


def add_row(rows: QFormLayout, text: str, editor: QWidget, tooltip: str = "") -> QLabel:
    """Add a row; returns its label."""
    label = QLabel(text)
    label.setBuddy(editor)
    label.setMinimumWidth(LABEL_WIDTH)
    editor.setMinimumWidth(EDITOR_WIDTH)
    for part in (label, editor):
        part.setToolTip(tooltip)
    rows.addRow(label, editor)
    return label


class _Section(QCollapsible):
    """Section as high as its parts need, whose rows may be of several lines in a narrow dock.

    superqt gives it the height of rows of one line, which cuts the others.
    """

    def __init__(self, title: str) -> None:
        super().__init__(title, expandedIcon="▼", collapsedIcon="▶")
        self.setDuration(0)
        self.content().hide()  # else Tab would go on inside it
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        layout = self.layout()
        assert layout is not None
        layout.setAlignment(Qt.AlignmentFlag(0))
        self.toggled.connect(self._show)

    def _show(self, is_shown: bool) -> None:
        self.content().setVisible(is_shown)
        self.content().setMaximumHeight(MAX_HEIGHT)

    def eventFilter(self, part: QObject | None, event: QEvent | None) -> bool:  # noqa: N802 - Qt's
        """Set no limit when a part has another size, as superqt does."""
        return False


def collapsible(title: str, *contents: QWidget) -> QCollapsible:
    """Section that is folded until the user opens it."""
    section = _Section(title)
    for part, margins in ((section, (0, 0, 0, 0)), (section.content(), (8, 2, 0, 2))):
        layout = part.layout()
        assert layout is not None
        layout.setContentsMargins(*margins)
    for content in contents:
        section.addWidget(content)
    return section


class RoiOrigin(QObject):
    """Rows of a form: whether the image is a part of the camera frame, and where that begins."""

    changed = Signal()

    def __init__(
        self,
        rows: QFormLayout,
        position: Callable[[], tuple[int, int] | None] = lambda: None,
    ) -> None:
        """Rows of a form; ``position`` is where in the frame the image lies, as far as is known."""
        super().__init__(rows)
        self._rows, self._position = rows, position
        self.is_part = QCheckBox("Part of the frame")
        self.corner = NumberEditor(int, (0, MAX_ORIGIN), prefixes=YX)
        self.corner.changed.connect(self.changed)
        add_row(
            rows,
            "",
            self.is_part,
            "Tick if the image is a part of the camera frame, such as a region of interest.",
        )
        tooltip = "Row and column of the image's top left pixel in the full camera frame."
        add_row(rows, "Top left pixel", self.corner, tooltip)
        self.is_part.toggled.connect(self._toggle)
        self._toggle(False)

    @property
    def value(self) -> tuple[int, int] | None:
        """Frame pixel (y, x) at which the image begins; None where it is the whole frame."""
        return self.corner.value() if self.is_part.isChecked() else None

    def set_value(self, value: tuple[int, int] | None) -> None:
        """Show another origin."""
        self.corner.set_value(value or (0, 0))
        self.is_part.setChecked(value is not None)

    def _toggle(self, is_part: bool) -> None:
        position = self._position()
        if is_part and position is not None and self.corner.value() == (0, 0):
            self.corner.set_value(position)
        self._rows.setRowVisible(self.corner, is_part)
        self.changed.emit()
