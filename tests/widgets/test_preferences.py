from pathlib import Path
from typing import Any

import pytest
from npe2 import PluginManager, PluginManifest

import napari_coordgate
from napari_coordgate.config import DeblurRuntime
from napari_coordgate.widgets.preferences import Preferences, load_preferences

MANIFEST = PluginManifest.from_file(Path(napari_coordgate.__file__).parent / "napari.yaml")


@pytest.fixture
def settings(plugin_settings: None, npe2pm: PluginManager) -> Any:
    """Preferences of this plugin, kept in a folder of the test."""
    from napari.settings import get_plugin_settings

    npe2pm.register(MANIFEST)
    return get_plugin_settings("napari-coordgate")


def properties() -> dict[str, Any]:
    configurations = MANIFEST.contributions.configurations
    assert configurations is not None
    return {
        name: entry for group in configurations.values() for name, entry in group.properties.items()
    }


@pytest.mark.parametrize("name", ["device", "memory_gb"])
def test_a_preference_has_the_default_and_description_of_its_setting(name: str) -> None:
    field, entry = DeblurRuntime.model_fields[name], properties()[name]
    assert (entry.default, entry.description) == (field.default, field.description)
    schema = DeblurRuntime.model_json_schema()["properties"][name]
    assert entry.enum == schema.get("enum")
    assert entry.exclusive_minimum == schema.get("exclusiveMinimum")


def test_without_napari_the_preferences_are_the_defaults(
    plugin_settings: None, npe2pm: PluginManager
) -> None:
    assert load_preferences() == Preferences()
    assert Preferences().device == DeblurRuntime().device


def test_untouched_preferences_are_the_defaults(settings: Any) -> None:
    assert load_preferences() == Preferences()


def test_changed_preferences_are_read(settings: Any, tmp_path: Path) -> None:
    settings.computing.device = "cpu"
    settings.computing.memory_gb = 2.5
    settings.models.folder = str(tmp_path)
    assert load_preferences() == Preferences("cpu", 2.5, tmp_path)


def test_the_preferences_dialog_offers_them(make_napari_viewer: Any, settings: Any) -> None:
    from napari._qt.dialogs.preferences_dialog import PreferencesDialog
    from qtpy.QtWidgets import QComboBox, QDoubleSpinBox

    make_napari_viewer()  # the dialog belongs to an application
    dialog = PreferencesDialog()
    (device,) = (box for box in dialog.findChildren(QComboBox) if box.findText("mps") >= 0)
    memory_gb = device.parent().findChild(QDoubleSpinBox)
    assert (device.currentText(), memory_gb.value()) == ("auto", DeblurRuntime().memory_gb)
    device.setCurrentText("cpu")
    memory_gb.setValue(1.25)
    dialog.accept()
    assert load_preferences() == Preferences("cpu", 1.25)
