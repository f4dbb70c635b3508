"""Training pairs from sharp images and a PSF field, or from measured images.

Pairs are made by blurring, not by flipping: a *sharp* image is flipped, rotated and
shifted, and then blurred at a window of the frame. A finished pair, flipped, would show
blur where the lens does not produce it.

Each sample depends on the seed and its index alone. So a training repeats exactly,
whatever the number of processes that load the images, and resumes exactly where it stopped.
"""

from napari_coordgate.data.pairs import MeasuredPairs, Pairs, Samples, SimulatedPairs, prepare_pairs
from napari_coordgate.data.planes import Images, Plane, find_planes
from napari_coordgate.data.sampling import Batch, Sample

__all__ = [
    "Batch",
    "Images",
    "MeasuredPairs",
    "Pairs",
    "Plane",
    "Sample",
    "Samples",
    "SimulatedPairs",
    "find_planes",
    "prepare_pairs",
]
