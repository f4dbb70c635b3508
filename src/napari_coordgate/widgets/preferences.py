"""Preferences that a user set once for all widgets, in napari's preferences."""

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
        settings = get_plugin_settings(PLUGIN)
    except KeyError:
        return Preferences()
    computing, models = settings.computing, settings.models
    folder = Path(models.folder or "~").expanduser()
    return Preferences(computing.device, computing.memory_gb, folder)
