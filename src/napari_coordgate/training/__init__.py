"""One training loop: sharp images and a PSF field, or measured pairs, to a checkpoint."""

from napari_coordgate.training.files import OUTPUT_EXISTS_HINT
from napari_coordgate.training.job import train
from napari_coordgate.training.ranks import process_rank
from napari_coordgate.training.rehearsal import ResourceEstimate, estimate_resources

__all__ = ["OUTPUT_EXISTS_HINT", "ResourceEstimate", "estimate_resources", "process_rank", "train"]
