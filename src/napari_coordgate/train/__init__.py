"""One training loop: sharp images and a PSF field, or measured pairs, to a checkpoint."""

from napari_coordgate.train.files import last_checkpoint_path
from napari_coordgate.train.job import train

__all__ = ["last_checkpoint_path", "train"]
