"""What a user has set once for all widgets, in napari's preferences."""

from dataclasses import dataclass, field
from pathlib import Path

from napari_coordgate.config import DeblurRuntime, Device

__all__ = ["Preferences", "load_preferences"]

PLUGIN = "napari-coordgate"
DEFAULTS = DeblurRuntime()


@dataclass(frozen=True)
class Preferences:
    """Settings of the machine rather than of a job.

    Attributes
    ----------
    device : {"auto", "cpu", "cuda", "mps"}
        Where to compute.
    memory_gb : float
        Memory for a tile's features, GB.
    model_folder : Path
        Where new checkpoints are offered to be saved; the home folder where none is set.
    """

    device: Device = DEFAULTS.device
    memory_gb: float = DEFAULTS.memory_gb
    model_folder: Path = field(default_factory=Path.home)


def load_preferences() -> Preferences:
    """Read the preferences as they are now.

    Returns
    -------
    Preferences
        The defaults where napari knows nothing of this plugin, as in a test.
    """
    from napari.settings import get_plugin_settings

    try:
        settings = get_plugin_settings(PLUGIN)
    except KeyError:
        return Preferences()
    computing, models = settings.computing, settings.models
    folder = Path(models.folder or "~").expanduser()
    return Preferences(computing.device, computing.memory_gb, folder)
