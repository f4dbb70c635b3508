"""The public names: documented, with examples that run."""

import doctest
import inspect
import re
import shutil
from pathlib import Path
from typing import Any, get_args

import pytest

import napari_coordgate
from napari_coordgate.errors import CoordGateError
from napari_coordgate.events import Event
from napari_coordgate.io.files import sample_data_folder

PUBLIC = [name for name in dir(napari_coordgate) if name != "__version__"]
OBJECTS = {name: getattr(napari_coordgate, name) for name in PUBLIC}
FUNCTIONS = [name for name, item in OBJECTS.items() if inspect.isfunction(item)]
CLASSES = [name for name, item in OBJECTS.items() if inspect.isclass(item)]
ERRORS = [name for name in CLASSES if issubclass(OBJECTS[name], (CoordGateError, Warning))]
TWINS = [name for name in FUNCTIONS if name.endswith("_events")]
EVENTS = [item.__name__ for item in get_args(Event)]
WITH_EXAMPLE = [n for n in (*FUNCTIONS, *CLASSES) if n not in (*ERRORS, *TWINS, *EVENTS)]


def doc(item: Any) -> str:
    return inspect.getdoc(item) or ""


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_in_the_topics_of_the_package(name: str) -> None:
    topics = napari_coordgate.__doc__ or ""
    assert f"`{name}`" in topics or name in ERRORS


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in TWINS])
def test_every_parameter_and_the_result_are_documented(name: str) -> None:
    function = OBJECTS[name]
    text = doc(function)
    for parameter in inspect.signature(function).parameters:
        assert re.search(rf"^[\w, ]*\b{parameter}\b[\w, ]*( :|$)", text, re.MULTILINE), parameter
    assert "None" in str(function.__annotations__["return"]) or re.search(
        r"^Returns\n-+$", text, re.M
    )


@pytest.mark.parametrize("name", TWINS)
def test_a_generator_twin_refers_to_its_function_and_names_its_events(name: str) -> None:
    text = doc(OBJECTS[name])
    assert f"`{name.removesuffix('_events')}`" in text
    assert re.search(r"^Yields\n-+$", text, re.MULTILINE)


@pytest.mark.parametrize("name", WITH_EXAMPLE)
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(sample_data_folder(), tmp_path / "sample_data")
    monkeypatch.chdir(tmp_path)
    item = OBJECTS[name]
    module = inspect.getmodule(item)
    assert module is not None
    found = doctest.DocTestFinder(exclude_empty=True).find(
        item, name, module=False, globs=dict(vars(module))
    )
    assert any(test.examples for test in found), f"{name} has no example"
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for test in found:
        runner.run(test)
    assert runner.failures == 0
