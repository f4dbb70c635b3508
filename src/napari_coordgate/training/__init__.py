"""One training loop: sharp images and a PSF field, or measured pairs, to a checkpoint."""

from napari_coordgate.training.files import TAKEN
from napari_coordgate.training.job import train
from napari_coordgate.training.ranks import own_rank
from napari_coordgate.training.rehearsal import Estimate, rehearse

__all__ = ["TAKEN", "Estimate", "own_rank", "rehearse", "train"]
