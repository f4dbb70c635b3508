"""One training loop: sharp images and a PSF field, or measured pairs, to a checkpoint."""

from napari_coordgate.training.files import TAKEN, last_checkpoint_path
from napari_coordgate.training.job import train

__all__ = ["TAKEN", "last_checkpoint_path", "train"]
