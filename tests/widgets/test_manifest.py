"""The manifest says what is there, where napari looks for it."""

import importlib
import importlib.util
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from npe2 import PluginManager, PluginManifest
from npe2.manifest.contributions import ContributionPoints, MenuCommand

import napari_coordgate

MANIFEST = Path(napari_coordgate.__file__).parent / "napari.yaml"
PLUGIN = "napari-coordgate"


@pytest.fixture
def contributions() -> ContributionPoints:
    manifest: PluginManifest = PluginManifest.from_file(MANIFEST)
    return manifest.contributions


@pytest.fixture
def plugins() -> PluginManager:
    """All plugins of this environment, ours before napari's own: any order must do."""
    manager = PluginManager()
    manager.register(PluginManifest.from_file(MANIFEST))
    manager.discover()
    return manager


def test_npe2_validates_the_manifest() -> None:
    command = [sys.executable, "-m", "npe2", "validate", str(MANIFEST)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout
    assert not finished.stderr


def test_the_entry_point_names_the_manifest() -> None:
    (entry,) = (
        e for e in metadata.distribution(PLUGIN).entry_points if e.group != "console_scripts"
    )
    assert (entry.group, entry.name, entry.value) == (
        "napari.manifest",
        PLUGIN,
        "napari_coordgate:napari.yaml",
    )


def test_every_command_has_a_module(contributions: ContributionPoints) -> None:
    for command in contributions.commands or []:
        module, _, _ = str(command.python_name).partition(":")
        assert importlib.util.find_spec(module), command.python_name


def test_napari_can_open_every_widget_from_its_menu(contributions: ContributionPoints) -> None:
    from napari._qt._qplugins._qnpe2 import _get_widget_viewer_param

    names = {str(command.id): str(command.python_name) for command in contributions.commands or []}
    for widget in contributions.widgets or []:
        module, _, kind = names[widget.command].partition(":")
        entry = getattr(importlib.import_module(module), kind)
        assert _get_widget_viewer_param(entry, widget.display_name) == "viewer"


def test_every_menu_is_one_that_napari_shows(contributions: ContributionPoints) -> None:
    from napari._app_model.constants import MenuId

    contributable = {str(menu) for menu in MenuId.contributables()}
    assert contributions.menus.keys() <= contributable


def test_every_widget_stands_in_a_menu(contributions: ContributionPoints) -> None:
    items = [item for menu in contributions.menus.values() for item in menu]
    listed = {item.command for item in items if isinstance(item, MenuCommand)}
    assert {widget.command for widget in contributions.widgets or []} == listed


@pytest.mark.parametrize("name", ["cells.tif", "cells.tiff", "cells.ome.tif", "psf.tif"])
def test_files_of_a_microscope_open_without_a_question(plugins: PluginManager, name: str) -> None:
    readers = {reader.plugin_name for reader in plugins.iter_compatible_readers([name])}
    assert readers == {"napari"}


@pytest.mark.parametrize("name", ["lens.psf.tif", "lens.PSF.TIFF", "model.safetensors"])
def test_our_own_files_find_our_reader(plugins: PluginManager, name: str) -> None:
    assert PLUGIN in {reader.plugin_name for reader in plugins.iter_compatible_readers([name])}


@pytest.mark.parametrize("name", ["cells.czi", "cells.ND2", "cells.lif"])
def test_files_of_a_microscope_find_our_reader(plugins: PluginManager, name: str) -> None:
    readers = {reader.plugin_name for reader in plugins.iter_compatible_readers([name])}
    assert readers == {PLUGIN}


@pytest.mark.parametrize("name", ["cells", "cells.tif", "cells.ome.tif", "cells.ome.zarr"])
def test_images_are_saved_by_our_writer(plugins: PluginManager, name: str) -> None:
    writer, _ = plugins.get_writer(name, ["image"])
    assert writer is not None and writer.command == "napari-coordgate.write_image"


def test_a_name_of_a_psf_field_finds_our_writer(plugins: PluginManager) -> None:
    writer, _ = plugins.get_writer("lens.psf.tif", ["image"])
    assert writer is not None and writer.plugin_name == PLUGIN
