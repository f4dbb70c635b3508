"""The floors of the package: who may import whom, and what an import may bring in.

A new module needs a place in ``FLOORS``. The rules are told in docs/architecture.md.
"""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
from packaging.version import Version

import napari_coordgate

PACKAGE = "napari_coordgate"
ROOT = Path(napari_coordgate.__file__).parent
FLOORS = (
    {
        "errors",
        "complaints",
        "config",
        "progress",
        "coordinates",
        "intensities",
        "files",
        "locks",
        "lazy",
        "memory",
        "metadata",
        "pixels",
        "tiff",
        "images",
        "version",
    },
    {"devices", "optics", "networks", "metrics"},
    {"pairs", "checkpoint", "simulation", "classical"},
    {"training", "deblurring"},
    {"batch", "comparing", "demo"},
    {"paper"},
    {"cli", "widgets"},
)
GROUND = FLOORS[0]
QT = {"qtpy", "PyQt5", "PyQt6", "PySide2", "PySide6"}
GUI = QT | {"napari", "magicgui", "superqt", "pyqtgraph"}


def floor_of(home: str) -> int | None:
    return next((floor for floor, homes in enumerate(FLOORS) if home in homes), None)


def modules(root: Path) -> dict[str, Path]:
    """Files of a package by the dotted name of their module."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = (PACKAGE, *path.relative_to(root).with_suffix("").parts)
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imports(path: Path) -> Iterator[str]:
    """Dotted name of everything that a file imports, wherever in the file it does."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                yield from (f"{'.' * level}{module or ''}.{alias.name}" for alias in names)


def refusal(home: str, target: str) -> str | None:
    """Why a module at ``home`` may not import ``target``; None if it may."""
    top, _, rest = target.partition(".")
    name = rest.partition(".")[0]
    if not top:
        return "write absolute imports"
    if top in GUI and home != "widgets":
        return "only widgets may import napari and Qt"
    if top != PACKAGE or name == home:
        return None
    here, there = floor_of(home), floor_of(name)
    if there is None:
        return "has no floor; import a name from the module that defines it"
    if here is None or there > here:
        return "reaches up to a higher floor"
    if there == here and home not in GROUND:
        return "reaches across its own floor"
    return None


def violations(root: Path) -> list[str]:
    """Every breach of the floors, one line each; the lazy front door may name all floors."""
    breaches = []
    for module, path in modules(root).items():
        home = module.removeprefix(PACKAGE).lstrip(".").partition(".")[0]
        if home and floor_of(home) is None:
            breaches.append(f"{module}: has no place in FLOORS")
        elif home:
            reasons = ((target, refusal(home, target)) for target in imports(path))
            breaches += [f"{module}: {target}: {why}" for target, why in reasons if why]
    return breaches


def import_graph(root: Path) -> dict[str, set[str]]:
    """Modules of a package, each with those that it imports; without the lazy front door."""
    known = modules(root)
    graph: dict[str, set[str]] = {module: set() for module in known if module != PACKAGE}
    for module in graph:
        for target in imports(known[module]):
            owner = target if target in known else target.rpartition(".")[0]
            if owner in graph:
                graph[module].add(owner)
    return graph


def brought_in_by(*names: str) -> set[str]:
    """Top-level packages that a fresh interpreter has loaded after importing modules."""
    lines = [*(f"import {name}" for name in names), "import sys", "print(*sys.modules)"]
    command = [sys.executable, "-c", "\n".join(lines)]
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return {name.partition(".")[0] for name in finished.stdout.split()}


@pytest.fixture
def fake_package(tmp_path: Path) -> Path:
    root = tmp_path / PACKAGE
    lawful = {
        "__init__.py": "from napari_coordgate.training import train",
        "config.py": "from napari_coordgate.errors import SettingsError",
        "errors.py": "",
        "optics/__init__.py": "from napari_coordgate.optics.pupil import psf",
        "optics/pupil.py": "import numpy\nfrom napari_coordgate.errors import PSFError",
        "training.py": "from napari_coordgate import config\nimport napari_coordgate.optics.pupil",
        "widgets/train.py": "import napari\nfrom napari_coordgate.training import train",
    }
    for name, source in lawful.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(source)
    return root


def test_modules_import_lower_floors_only() -> None:
    breaches = violations(ROOT)
    assert not breaches, "\n".join(breaches)


def test_no_module_imports_itself_by_a_detour() -> None:
    graphlib.TopologicalSorter(import_graph(ROOT)).prepare()


def test_a_lawful_package_passes(fake_package: Path) -> None:
    assert violations(fake_package) == []
    graphlib.TopologicalSorter(import_graph(fake_package)).prepare()


@pytest.mark.parametrize(
    ("name", "source", "reason"),
    [
        ("files.py", "from napari_coordgate.optics import PSFField", "higher floor"),
        ("files.py", "from napari_coordgate import optics", "higher floor"),
        ("files.py", "import napari_coordgate.training", "higher floor"),
        ("metrics.py", "from napari_coordgate.optics.pupil import psf", "own floor"),
        ("cli/main.py", "from napari_coordgate.widgets import form", "own floor"),
        ("widgets/form.py", "from napari_coordgate.cli import main", "own floor"),
        ("deblurring.py", "from napari_coordgate import Lens", "module that defines it"),
        ("checkpoint.py", "from napari_coordgate import __version__", "module that defines it"),
        ("deblurring.py", "from . import pairs", "absolute"),
        ("deblurring.py", "from ..optics import PSFField", "absolute"),
        ("deblurring.py", "import napari.layers", "napari and Qt"),
        ("cli/main.py", "from qtpy.QtCore import Qt", "napari and Qt"),
        ("deblurring.py", "def show():\n    from magicgui import widgets", "napari and Qt"),
        ("attic.py", "", "no place in FLOORS"),
    ],
)
def test_an_unlawful_import_is_caught(
    fake_package: Path, name: str, source: str, reason: str
) -> None:
    (fake_package / name).parent.mkdir(exist_ok=True)
    (fake_package / name).write_text(source)
    (breach,) = violations(fake_package)
    assert reason in breach


def test_a_circle_of_imports_is_caught(fake_package: Path) -> None:
    (fake_package / "errors.py").write_text("from napari_coordgate.config import Lens")
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(import_graph(fake_package)).prepare()


def test_importing_the_package_brings_in_nothing_heavy() -> None:
    assert not brought_in_by(PACKAGE) & {"numpy", "pydantic", "scipy", "torch"}


def test_the_ground_floor_needs_no_torch() -> None:
    assert "torch" not in brought_in_by(*(f"{PACKAGE}.{name}" for name in sorted(GROUND)))


def test_the_core_needs_neither_napari_nor_qt() -> None:
    core = [name for name in modules(ROOT) if not name.startswith(f"{PACKAGE}.widgets")]
    assert not brought_in_by(*core) & GUI


def test_every_public_name_resolves() -> None:
    for name in napari_coordgate.__all__:
        assert getattr(napari_coordgate, name).__name__ == name


def test_type_checkers_see_the_names_that_are_served() -> None:
    named = {target.rpartition(".")[2] for target in imports(ROOT / "__init__.py")}
    assert named >= set(napari_coordgate.__all__)
    assert dir(napari_coordgate) == sorted(napari_coordgate.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonesuch"):
        _ = napari_coordgate.nonesuch


def test_the_package_is_typed_and_has_a_version() -> None:
    assert resources.files(PACKAGE).joinpath("py.typed").is_file()
    assert str(Version(napari_coordgate.__version__)) == napari_coordgate.__version__
