"""The lens and the camera, measured from images: beads, own images, noise, and their check."""

from napari_coordgate.calibration.images import (
    ImagesFit,
    calibrate_images,
    calibrate_images_events,
)
from napari_coordgate.calibration.lens_fit import LensFit
from napari_coordgate.calibration.noise import (
    NoiseEstimate,
    estimate_noise,
    estimate_noise_events,
)

__all__ = [
    "ImagesFit",
    "LensFit",
    "NoiseEstimate",
    "calibrate_images",
    "calibrate_images_events",
    "estimate_noise",
    "estimate_noise_events",
]
