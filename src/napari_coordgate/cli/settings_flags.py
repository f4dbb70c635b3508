"""Flags that derive from the models of settings: name, type, default and help text.

A setting is written once, in `napari_coordgate.config`. Here its field becomes
a flag; settings of a nested model get flags of their own.
"""

import copy
import functools
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar, get_args

import typer
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from napari_coordgate.config import Camera, Settings, load_settings
from napari_coordgate.config.base import RENAMED, nested_fields
from napari_coordgate.errors import SettingsError, format_validation_error

S = TypeVar("S", bound=Settings)

_ADVANCED = "advanced"

_NAMES = {
    "network.architecture": "network",
    "psf": "which_psf",
    "deconvolution.psf": "which_psf",
}
"""Flags whose name differs from that of their setting."""


@dataclass(frozen=True)
class CliSettings(Generic[S]):
    """Settings of a command: from its flags, and from its YAML file, nested like the model."""

    model: type[S]
    names: tuple[str, ...]
    """Settings of the model for which the command has flags."""
    flags: dict[str, Any]
    file: dict[str, Any]

    def settings(self, *defaults: Mapping[str, Any]) -> S:
        """Merge the model's defaults, ``defaults``, the file and the flags; later ones win."""
        try:
            return self.model.model_validate(_merged(*defaults, self.file, self.flags))
        except ValidationError as error:
            wrong = format_validation_error(error, self.model).rstrip(".")
            raise SettingsError(f"{wrong}; see the command's --help.") from None

    def to_yaml(self, settings: S) -> str:
        """Text of a file from which ``--config`` takes these settings."""
        return settings.to_yaml(set(self.names))


def settings_flags(
    model: type[Settings], *names: str, main: Collection[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the flags of a settings class and ``--config`` to a command that takes ``given``.

    If the settings have a camera, its file can be given as ``--camera``.

    ``names`` selects settings, all by default. If ``main`` names flags, ``--help`` shows only
    these, and ``--help-all`` shows all.
    """
    names = names or tuple(model.model_fields)
    chosen = {name: model.model_fields[name] for name in names}
    flags = list(_flags(chosen))
    if main:
        flags = [flag if flag.parameter.name in main else flag.advanced() for flag in flags]
        assert set(main) <= {flag.parameter.name for flag in flags}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def with_flags(context: typer.Context, config: Path | None, **values: Any) -> None:
            values.pop("help_all", None)
            camera = values.pop("camera", None)
            given: dict[str, Any] = {}
            for flag in flags:
                value = values.pop(flag.parameter.name)
                if _is_given(context, flag.parameter.name):
                    given = _merged(given, flag.nested(value))
            file = Settings() if config is None else load_settings(model, config)
            named = file.model_dump(exclude_unset=True)
            if camera is not None:
                named["camera"] = load_settings(Camera, camera).model_dump(exclude_unset=True)
            command(**values, given=CliSettings(model, names, given, named))

        own = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in inspect.signature(command).parameters.values()
            if parameter.name != "given"
        ]
        files = [_CONFIG, _CAMERA] if "camera" in names else [_CONFIG]
        parameters = [_CONTEXT, *own, *files, *(flag.parameter for flag in flags)]
        if main:
            parameters.append(_help_all())
        # Typer reads the signature; mypy does not know that a function can have this attribute.
        with_flags.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_flags.__annotations__ = {p.name: p.annotation for p in parameters}
        return with_flags

    return decorate


_CONTEXT = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
_CONFIG = inspect.Parameter(
    "config",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        Path | None,
        typer.Option(
            help="YAML file of settings, as saved beside each result; flags take precedence.",
        ),
    ],
)


_CAMERA = inspect.Parameter(
    "camera",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        Path | None,
        typer.Option(
            help="YAML file of the camera, made by 'napari-coordgate calibrate noise'; replaces "
            "that of --config, and flags take precedence."
        ),
    ],
)


@dataclass(frozen=True)
class _Flag:
    """A flag, and the path of its setting in the model."""

    parameter: inspect.Parameter
    path: tuple[str, ...]

    def advanced(self) -> "_Flag":
        """The same flag, listed by ``--help-all`` only."""
        annotation, option = get_args(self.parameter.annotation)
        if option.hidden:
            return self
        option = copy.copy(option)
        option.hidden, option.rich_help_panel = True, _ADVANCED
        return replace(
            self, parameter=self.parameter.replace(annotation=Annotated[annotation, option])
        )

    def nested(self, value: Any) -> Any:
        """Value in a mapping nested like the model."""
        return functools.reduce(lambda inner, name: {name: inner}, reversed(self.path), value)


def _flags(fields: Mapping[str, FieldInfo], path: tuple[str, ...] = ()) -> Iterator[_Flag]:
    """Flags of fields, and of the models nested in them."""
    for name, field in fields.items():
        setting = (*path, name)
        if nested := nested_fields(field.annotation):
            yield from _flags(nested, setting)
        else:
            yield _Flag(_parameter(field, setting), setting)
            for old in (old for old, new in RENAMED.items() if new == name):
                yield _Flag(_alias(old, field), setting)


def _parameter(field: FieldInfo, path: tuple[str, ...]) -> inspect.Parameter:
    """Parameter that typer turns into the flag of a setting."""
    option = typer.Option(help=field.description)
    return inspect.Parameter(
        _parameter_name(path),
        inspect.Parameter.KEYWORD_ONLY,
        default=field.default,
        annotation=Annotated[field.annotation, option],
    )


def _parameter_name(path: tuple[str, ...]) -> str:
    return _NAMES.get(".".join(path), path[-1])


def flag_of(flags: Mapping[str, Any], name: str) -> str:
    """Name of the first flag that gave this setting, or one nested in it."""
    path: tuple[str, ...] = (name,)
    value = flags[name]
    while isinstance(value, Mapping):
        inner, value = next(iter(value.items()))
        path = (*path, inner)
    return f"--{_parameter_name(path).replace('_', '-')}"


def _alias(name: str, field: FieldInfo) -> inspect.Parameter:
    """Hidden flag with an earlier name of a setting."""
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=field.default,
        annotation=Annotated[field.annotation, typer.Option(hidden=True)],
    )


def _help_all() -> inspect.Parameter:
    """Flag ``--help-all`` of a command whose ``--help`` shows the main settings only."""

    def show(context: typer.Context, value: bool) -> None:
        if not value:
            return
        for parameter in context.command.params:
            if getattr(parameter, "rich_help_panel", None) == _ADVANCED:
                vars(parameter)["hidden"] = False
        typer.echo(context.get_help())
        raise typer.Exit

    option = typer.Option(
        "--help-all", is_eager=True, callback=show, help="Show all settings and exit."
    )
    return inspect.Parameter(
        "help_all",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[bool, option],
    )


def _is_given(context: typer.Context, name: str) -> bool:
    """Whether a flag is on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Merge nested mappings; the last value wins."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            below = merged.get(name)
            if isinstance(below, Mapping) and isinstance(value, Mapping):
                value = _merged(below, value)
            merged[name] = value
    return merged
