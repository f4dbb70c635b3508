"""Editors of single settings: one for each kind of field that the models have."""

import types
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo
from qtpy.QtCore import QEvent, QLocale, QObject, Qt, Signal
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLineEdit,
    QSizePolicy,
    QSpinBox,
    QWidget,
)

__all__ = ["UNITS", "Editor", "allowed", "build_editor"]

UNITS = {"um": "µm", "nm": "nm", "px": "px", "waves": "waves", "gb": "GB"}
"""How the endings of settings' names are written as units."""

NARROWEST = 64
"""Least width of a part, pixels."""
MOST = 2**31 - 1
"""Farthest from 0 that Qt's boxes for whole numbers reach."""
DECIMALS = 9


class Editor(QWidget):
    """What edits one setting; `changed` is emitted when its user has changed the value."""

    changed = Signal()

    def hold(self, *parts: QWidget) -> None:
        """Lay the parts out in a row, and leave the mouse's wheel to the form's scrolling."""
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in parts:
            layout.addWidget(part)
            # Qt asks for the width of the longest number that there can be.
            part.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            part.setMinimumWidth(NARROWEST)
            part.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            part.installEventFilter(self)
        self.setFocusProxy(parts[0])

    def eventFilter(self, part: QObject | None, event: QEvent | None) -> bool:  # noqa: N802 - Qt's
        """Ignore the wheel over a part that has no focus: it would change a value by accident."""
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


class _Floats(QDoubleSpinBox):
    """Number that is shown with the digits it has: 0.001 stays 0.001, 520.0 is 520.

    A decimal comma is read as a point, whatever the language of the machine.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setLocale(QLocale.c())
        self.setDecimals(DECIMALS)
        self.setStepType(QAbstractSpinBox.StepType.AdaptiveDecimalStepType)

    def textFromValue(self, value: float) -> str:  # noqa: N802 - Qt's name
        return f"{value:.6g}"

    def valueFromText(self, text: str | None) -> float:  # noqa: N802 - Qt's name
        return super().valueFromText((text or "").replace(",", "."))

    def validate(self, text: str | None, place: int) -> Any:
        return super().validate((text or "").replace(",", "."), place)


class _Number(Editor):
    """A number within bounds; where there may be none, it stands below all that is allowed."""

    def __init__(self, box: QSpinBox | QDoubleSpinBox, field: FieldInfo, unit: str) -> None:
        super().__init__()
        self.box = box
        low, high = _bounds(field)
        self.is_optional = _is_optional(field)
        whole = isinstance(box, QSpinBox)
        if self.is_optional:
            low = 0
            box.setSpecialValueText("none" if field.default is None else "")
        box.setRange(*(int(bound) if whole else bound for bound in (low, high)))  # type: ignore[arg-type]
        if unit:
            box.setSuffix(f" {unit}")
        box.setKeyboardTracking(False)
        self.hold(box)
        box.valueChanged.connect(self.changed)

    def value(self) -> float | int | None:
        if self.is_optional and self.box.value() == self.box.minimum():
            return None
        return self.box.value()

    def set_value(self, value: float | int | None) -> None:
        self.box.setValue(self.box.minimum() if value is None else value)  # type: ignore[arg-type]


class _Pair(Editor):
    """Two numbers, for y and x."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.boxes = (_Floats(), _Floats())
        for box, axis in zip(self.boxes, ("y", "x"), strict=True):
            box.setRange(-MOST, MOST)
            box.setPrefix(f"{axis} ")
            box.setKeyboardTracking(False)
            if unit:
                box.setSuffix(f" {unit}")
            box.valueChanged.connect(self.changed)
        self.hold(*self.boxes)

    def value(self) -> tuple[float, float]:
        return self.boxes[0].value(), self.boxes[1].value()

    def set_value(self, value: tuple[float, float]) -> None:
        for box, number in zip(self.boxes, value, strict=True):
            box.setValue(number)


class _Choice(Editor):
    """One of a few words."""

    def __init__(self, choices: tuple[str, ...]) -> None:
        super().__init__()
        self.box = QComboBox()
        self.box.addItems(choices)
        self.hold(self.box)
        self.box.currentTextChanged.connect(self.changed)

    def value(self) -> str:
        return str(self.box.currentText())

    def set_value(self, value: str) -> None:
        self.box.setCurrentText(value)


class _Switch(Editor):
    """Yes or no."""

    def __init__(self) -> None:
        super().__init__()
        self.box = QCheckBox()
        self.hold(self.box)
        self.box.toggled.connect(self.changed)

    def value(self) -> bool:
        return bool(self.box.isChecked())

    def set_value(self, value: bool) -> None:
        self.box.setChecked(value)


class _Text(Editor):
    """A line of text; an empty one, where it may be none, says what that means."""

    def __init__(self, field: FieldInfo) -> None:
        super().__init__()
        self.line = QLineEdit()
        self.is_optional = _is_optional(field)
        _, _, meant = (field.description or "").partition("none: ")
        self.line.setPlaceholderText(meant.rstrip("."))
        self.hold(self.line)
        self.line.textChanged.connect(self.changed)

    def value(self) -> str | None:
        text = self.line.text().strip()
        return None if self.is_optional and not text else text

    def set_value(self, value: str | None) -> None:
        self.line.setText(value or "")


def build_editor(name: str, field: FieldInfo) -> Editor:
    """Build the editor of a field.

    Parameters
    ----------
    name : str
        The field's name, whose ending tells the unit.
    field : FieldInfo
        The field.

    Returns
    -------
    Editor
        Shows the smallest value until it is given one.

    Raises
    ------
    TypeError
        If no editor is known for the field's type.
    """
    unit = UNITS.get(name.rpartition("_")[2], "")
    kind = _without_none(field.annotation)
    builders: dict[Any, Callable[[], Editor]] = {
        bool: _Switch,
        int: lambda: _Number(QSpinBox(), field, unit),
        float: lambda: _Number(_Floats(), field, unit),
        str: lambda: _Text(field),
        tuple: lambda: _Pair(unit),
        Literal: lambda: _Choice(get_args(kind)),
    }
    builder = builders.get(get_origin(kind) or kind)
    if builder is None:
        raise TypeError(f"No editor for {name}: {field.annotation}.")
    return builder()


def _is_optional(field: FieldInfo) -> bool:
    return type(None) in get_args(field.annotation)


def _without_none(annotation: Any) -> Any:
    """Type of a setting that may be none."""
    if get_origin(annotation) in (Union, types.UnionType):
        (kind,) = (kind for kind in get_args(annotation) if kind is not type(None))
        return kind
    return annotation


def _bounds(field: FieldInfo) -> tuple[float, float]:
    """Smallest and largest value to be entered; a bound that is itself excluded is marked later."""
    low, high = float(-MOST), float(MOST)
    for rule in field.metadata:
        match rule:
            case Ge(bound) | Gt(bound):
                low = max(float(bound), low)  # type: ignore[arg-type]
            case Le(bound) | Lt(bound):
                high = min(float(bound), high)  # type: ignore[arg-type]
    return low, high


def allowed(field: FieldInfo) -> str:
    """What numbers a field takes, in words; empty where it takes any."""
    bounds = []
    for rule in field.metadata:
        match rule:
            case Ge(bound):
                bounds.append(f"at least {bound:g}")
            case Gt(bound):
                bounds.append(f"above {bound:g}")
            case Le(bound):
                bounds.append(f"at most {bound:g}")
            case Lt(bound):
                bounds.append(f"below {bound:g}")
    return f"Allowed: {' and '.join(bounds)}." if bounds else ""
