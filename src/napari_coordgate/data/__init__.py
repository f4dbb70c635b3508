"""From sharp images and a PSF field, or measured pairs, to training pairs.

Pairs come from blurring, not from flipping: a *sharp* image is flipped, turned
and shifted, and then blurred at a window of the frame. A finished pair, flipped,
would show blur where the lens does not put it.

Every sample is a function of the seed and its number alone. So a run repeats
exactly, whatever reads the images beside it, and goes on exactly where it stopped.
"""

from napari_coordgate.data.measured import MeasuredPairs
from napari_coordgate.data.planes import Images, Plane, find_planes
from napari_coordgate.data.preparation import Pairs, prepare_pairs
from napari_coordgate.data.sampling import Batch, Sample, coverage_weights, window_origins
from napari_coordgate.data.simulated import SimulatedPairs

__all__ = [
    "Batch",
    "Images",
    "MeasuredPairs",
    "Pairs",
    "Plane",
    "Sample",
    "SimulatedPairs",
    "coverage_weights",
    "find_planes",
    "prepare_pairs",
    "window_origins",
]
