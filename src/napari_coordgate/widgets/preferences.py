"""Preferences that a user set once for all widgets, in napari's preferences."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from napari_coordgate.config import DeblurRuntime, DeblurSettings, Device

PLUGIN = "napari-coordgate"
DEFAULTS = DeblurRuntime()


@dataclass(frozen=True)
class Preferences:
    """Settings of the computer, and the folder in which new models are saved."""

    device: Device = DEFAULTS.device
    memory_gb: float = DEFAULTS.memory_gb
    model_folder: Path = field(default_factory=Path.home)

    def deblur_settings(self) -> DeblurSettings:
        """Settings of a deblurring on this computer."""
        return DeblurSettings(device=self.device, memory_gb=self.memory_gb)


def load_preferences() -> Preferences:
    """Read the current preferences; the defaults where napari does not know this plugin."""
    from napari.settings import get_plugin_settings

    try:
        with _known_plugins():
            settings = get_plugin_settings(PLUGIN)
    except KeyError:
        return Preferences()
    computing, models = settings.computing, settings.models
    folder = Path(models.folder or "~").expanduser()
    return Preferences(computing.device, computing.memory_gb, folder)


@contextmanager
def _known_plugins() -> Iterator[None]:
    """Keep napari from reading the manifests of all plugins again if it knows this one."""
    from npe2 import PluginManager

    manager = PluginManager.instance()
    if PLUGIN not in manager:
        yield
        return
    manager.discover = _find_no_more  # type: ignore[method-assign]
    try:
        yield
    finally:
        del manager.discover  # on the instance: that of its class is back


def _find_no_more(*_: object, **__: object) -> int:
    return 0
