"""What importing the package may load; ``lint-imports`` checks who imports whom."""

import pkgutil
import subprocess
import sys
from importlib import resources
from typing import Annotated, get_origin

import pytest
from packaging.version import Version

import napari_coordgate

PACKAGE = "napari_coordgate"
TORCH_FREE = (
    "arrays",
    "cli.info",
    "config",
    "devices",
    "errors",
    "events",
    "geometry",
    "io",
    "memory",
    "normalization",
)
GUI = {"qtpy", "PyQt5", "PyQt6", "PySide2", "PySide6", "napari", "magicgui", "superqt", "pyqtgraph"}


def loaded_by_importing(*names: str) -> set[str]:
    """Top-level packages that a fresh interpreter has loaded after importing modules."""
    lines = [*(f"import {name}" for name in names), "import sys", "print(*sys.modules)"]
    command = [sys.executable, "-c", "\n".join(lines)]
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return {name.partition(".")[0] for name in finished.stdout.split()}


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not loaded_by_importing(PACKAGE) & {"numpy", "pydantic", "scipy", "torch"}


def test_the_lowest_layer_and_descriptions_of_images_need_no_torch() -> None:
    assert "torch" not in loaded_by_importing(*(f"{PACKAGE}.{name}" for name in TORCH_FREE))


def test_the_core_needs_neither_napari_nor_qt() -> None:
    names = [module.name for module in pkgutil.walk_packages(napari_coordgate.__path__)]
    core = [f"{PACKAGE}.{name}" for name in names if not name.startswith("widgets")]
    assert f"{PACKAGE}.training" in core
    assert not loaded_by_importing(*core) & GUI


def test_every_public_name_resolves() -> None:
    for name in set(dir(napari_coordgate)) - {"__version__"}:
        item = getattr(napari_coordgate, name)
        # The unions of settings classes are the only aliases.
        assert get_origin(item) is Annotated or item.__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonesuch"):
        getattr(napari_coordgate, "nonesuch")  # noqa: B009 - mypy knows that it is missing


def test_the_package_is_typed_and_has_a_version() -> None:
    assert resources.files(PACKAGE).joinpath("py.typed").is_file()
    assert str(Version(napari_coordgate.__version__)) == napari_coordgate.__version__
