"""Files of settings."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from napari_coordgate.config.base import Settings
from napari_coordgate.config.lenses import AnyLens, GaussianLens, Lens
from napari_coordgate.errors import SettingsError, format_validation_error
from napari_coordgate.opening import regular

S = TypeVar("S", bound=Settings)
T = TypeVar("T")

MAX_CHARACTERS = 1_000_000
MAX_VALUES = 10_000
MAX_DEPTH = 50
MAX_NUMBER_CHARACTERS = 100
"""Limits of settings files, against malicious ones."""


def load_settings(model: type[S], source: str | Path) -> S:
    """Read settings from a YAML file; raises SettingsError that names each invalid one."""
    return _validated(TypeAdapter(model), source, model)


def load_lens(source: str | Path) -> Lens | GaussianLens:
    """Read a YAML file that describes a lens.

    Parameters
    ----------
    source : str or Path
        The file; keys that begin with ``sigma_`` mean a Gaussian lens.

    Returns
    -------
    Lens or GaussianLens
        The lens.

    Raises
    ------
    SettingsError
        If the file cannot be read, is not a YAML mapping, or contains an invalid key or value.

    Examples
    --------
    >>> from napari_coordgate import load_lens
    >>> load_lens("sample_data/lens.yaml").na
    0.5
    """
    adapter = TypeAdapter[Lens | GaussianLens](AnyLens)
    lens = _validated(adapter, source, Lens, GaussianLens)
    if isinstance(lens, GaussianLens):
        widths = ("sigma_center_px", "sigma_edge_px")
        if missing := [name for name in widths if name not in lens.model_fields_set]:
            raise SettingsError(
                f"{source}: a lens with a part of the blur's widths: give {' and '.join(missing)}."
            )
    return lens


def load_mapping(source: str | Path) -> dict[Any, Any]:
    """Read a YAML file of plain values; raises SettingsError if it is no mapping or too large."""
    try:
        with open(source, encoding="utf-8", opener=regular) as file:
            text = file.read(MAX_CHARACTERS + 1)
        if len(text) > MAX_CHARACTERS:
            raise SettingsError(f"{source}: too large for a settings file; check the name.")
        mapping = yaml.load(text, _SettingsLoader)
    except SettingsError:
        raise
    except FileNotFoundError:
        raise SettingsError(f"{source}: no such file; check the name.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{source}: cannot be read ({error}); check the file.") from None
    except Exception as error:  # a value that is none of its type can fail in any way
        reason = " ".join(str(error).split())
        raise SettingsError(f"{source}: not valid YAML ({reason}); correct the file.") from None
    if not isinstance(mapping, dict):
        raise SettingsError(f"{source}: contains no settings; write one 'name: value' per line.")
    return mapping


class _SettingsLoader(yaml.SafeLoader):
    """Loader of plain values, limited in number and depth.

    An alias counts as all the values it expands to: nested aliases can expand to billions.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._values = 0
        self._depth = 0
        self._values_of: dict[str, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose the node of the next events, and count its values."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        before = self._values
        is_alias = isinstance(event, yaml.AliasEvent)
        self._values += self._values_of.get(event.anchor, 1) if is_alias else 1
        self._depth += 1
        if self._values > MAX_VALUES or self._depth > MAX_DEPTH:
            problem = "too many or too deeply nested values"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if not is_alias and event.anchor is not None:
            self._values_of[event.anchor] = self._values - before
        return node

    def construct_scalar(self, node: Any) -> Any:
        """Text of a node; base-60 numbers take the square of their length in time."""
        if node.tag.endswith((":int", ":float")) and len(node.value) > MAX_NUMBER_CHARACTERS:
            problem = "a number of too many digits"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        return super().construct_scalar(node)


def _validated(adapter: TypeAdapter[T], source: str | Path, *models: type[Settings]) -> T:
    """Content of a YAML file; ``models`` define the names that it may use."""
    try:
        return adapter.validate_python(load_mapping(source))
    except ValidationError as error:
        raise SettingsError(f"{source}: {format_validation_error(error, *models)}") from None
