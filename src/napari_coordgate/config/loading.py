"""Files of settings."""

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from napari_coordgate.complaints import explain
from napari_coordgate.config.base import Settings
from napari_coordgate.config.lenses import AnyLens, GaussianLens, Lens
from napari_coordgate.errors import SettingsError

__all__ = ["load_lens", "load_settings"]

S = TypeVar("S", bound=Settings)
T = TypeVar("T")


def load_settings(model: type[S], source: str | Path) -> S:
    """Read a YAML file of settings.

    Parameters
    ----------
    model : type of Settings
        What the file describes.
    source : str or Path
        The file.

    Returns
    -------
    Settings
        An instance of ``model``.

    Raises
    ------
    SettingsError
        If the file cannot be read, is no YAML mapping, or names a wrong key or value.
    """
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
        If the file cannot be read, is no YAML mapping, or names a wrong key or value.
    """
    adapter = TypeAdapter[Lens | GaussianLens](AnyLens)
    return _validated(adapter, source, Lens, GaussianLens)


def _validated(adapter: TypeAdapter[T], source: str | Path, *models: type[Settings]) -> T:
    """Content of a YAML file; ``models`` hold the names that it may use."""
    try:
        mapping = yaml.safe_load(Path(source).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{source}: no such file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{source}: cannot be read as text ({error}).") from None
    except (yaml.YAMLError, ValueError) as error:  # a date that is none is a ValueError
        raise SettingsError(f"{source}: is not YAML ({' '.join(str(error).split())}).") from None
    if not isinstance(mapping, dict):
        raise SettingsError(f"{source}: holds no settings; write one 'name: value' a line.")
    try:
        return adapter.validate_python(mapping)
    except ValidationError as error:
        raise SettingsError(f"{source}: {explain(error, *models)}") from None
