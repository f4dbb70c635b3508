"""Base class of all settings."""

import inspect
import textwrap
import types
import warnings
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from napari_coordgate.errors import SettingsError, format_validation_error
from napari_coordgate.representation import html_table

Device = Literal["auto", "cpu", "cuda", "mps"]


def check_device(device: Any) -> None:
    """Raise `SettingsError` unless this is the name of a device."""
    if not isinstance(device, str) or device not in get_args(Device):
        choices = ", ".join(map(repr, get_args(Device)))
        raise SettingsError(f"There is no device {device!r}; choose one of {choices}.")


S = TypeVar("S", bound="Settings")

RENAMED = {
    "checkpoint": "model",
    "iterations": "num_iter",
    "regularisation": "regularization",
}
"""Keys of older settings files, and their current names."""


class Settings(BaseModel):
    """Base of all settings: frozen, finite, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SettingsError(format_validation_error(error, type(self))) from None

    # Without this mark pydantic would call `__init__` for nested settings, too, and their
    # errors would lack the name of the outer setting.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Document the fields in the class's docstring."""
        if text := inspect.cleandoc(cls.__dict__.get("__doc__") or ""):
            head, examples, tail = text.partition("\nExamples\n")
            parts = (_documented(*item) for item in cls.model_fields.items())
            section = ["", "Parameters", "----------", *parts, ""] if cls.model_fields else [""]
            cls.__doc__ = "\n".join([head.rstrip(), *section]) + examples + tail

    @model_validator(mode="before")
    @classmethod
    def _current_names(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        old = {
            name: RENAMED[name]
            for name in values.keys() & RENAMED.keys()
            if name not in cls.model_fields and RENAMED[name] in cls.model_fields
        }
        for name, new in old.items():
            warnings.warn(f"The setting {name!r} is now called {new!r}.", FutureWarning, 2)
        return {old.get(name, name): value for name, value in values.items()}

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            super().__setattr__(name, value)
        except ValidationError:
            raise SettingsError(
                f"Settings cannot be changed; make new ones by replace({name}=...)."
            ) from None

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        """Values that differ from the defaults."""
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if field.is_required() or value != field.default:
                yield name, value

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        """Table of the values that differ from the defaults."""
        return html_table(type(self).__name__, dict(self.__repr_args__()))

    def replace(self, **changes: Any) -> Self:
        """These settings with some values changed."""
        values = {name: getattr(self, name) for name in self.model_fields_set}
        return type(self)(**(values | changes))

    def select(self, kind: type[S]) -> S:
        """Part of these settings that another class defines, e.g. the runtime."""
        names = kind.model_fields
        values = {name: getattr(self, name) for name in names}
        selected = kind.model_construct(self.model_fields_set & names.keys(), **values)
        assert isinstance(selected, kind)
        return selected

    @classmethod
    def combine(cls, *parts: "Settings") -> Self:
        """Merge the values that were set in the parts; later parts win."""
        return cls(**{name: getattr(p, name) for p in parts for name in p.model_fields_set})

    def to_yaml(self, include: set[str] | None = None) -> str:
        """Text of a YAML file that loads as these settings, optionally only the named ones."""
        return yaml.safe_dump(self.model_dump(mode="json", include=include), sort_keys=False)


def as_settings(value: Any, kind: type[S], name: str) -> S:
    """Settings of a class, given as such or as a mapping of their names to values."""
    if isinstance(value, kind):
        return value
    if isinstance(value, dict):
        return kind(**{str(key): item for key, item in value.items()})
    wanted = kind.__name__
    raise SettingsError(
        f"{name} must be a {wanted}, got {_kind_of(value)}; pass {name}={wanted}(...)."
    )


def _kind_of(value: Any) -> str:
    """What a user gave by mistake, for a message."""
    if value is None or isinstance(value, str):
        return repr(value)
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def _documented(name: str, field: FieldInfo) -> str:
    """Entry of a field in a numpydoc section."""
    default = "" if field.is_required() else f", default: {field.default!r}"
    lines = textwrap.wrap(field.description or "", 76)
    return "\n".join(
        [f"{name} : {_type_text(field.annotation)}{default}", *(f"    {x}" for x in lines)]
    )


def _type_text(annotation: Any) -> str:
    """Readable form of a type annotation."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_text(arguments[0])
    if origin is Literal:
        return "{" + ", ".join(map(repr, arguments)) + "}"
    if origin in (Union, types.UnionType):
        return " or ".join(map(_type_text, arguments))
    if annotation is type(None):
        return "None"
    if origin is None and isinstance(annotation, type):
        return annotation.__name__
    return str(annotation).replace("napari_coordgate.config.", "")


def variants(annotation: Any) -> tuple[type[Settings], ...]:
    """Settings classes in a type annotation: of a union all, of any other type none."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return (annotation,)
    arguments = () if get_origin(annotation) is Literal else get_args(annotation)
    return tuple(kind for argument in arguments for kind in variants(argument))


def nested_fields(annotation: Any) -> dict[str, FieldInfo]:
    """Fields of the settings class in an annotation, or of all classes of a union."""
    fields: dict[str, FieldInfo] = {}
    for kind in variants(annotation):
        for name, field in kind.model_fields.items():
            known = fields.setdefault(name, field)
            if known.annotation != field.annotation:  # which distinguishes the classes
                choices = (*get_args(known.annotation), *get_args(field.annotation))
                fields[name] = FieldInfo(
                    annotation=Literal[*dict.fromkeys(choices)],  # type: ignore[arg-type]
                    default=known.default,
                    description=known.description,
                )
    return fields


class DeviceConfig(Settings):
    """Device of a computation."""

    device: Device = Field(
        "auto",
        description="Device to compute on; auto: a GPU if available, else the CPU.",
    )

    def on(self, device: Device | None) -> Self:
        """These settings on another device; the same if it is None."""
        if device is None:
            return self
        check_device(device)
        return self.model_copy(update={"device": device})
