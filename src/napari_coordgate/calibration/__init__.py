"""The lens and the camera, measured from images: beads, own images, noise, and their check."""

from napari_coordgate.calibration.beads import (
    BeadFit,
    calibrate_beads,
    calibrate_beads_events,
    detect_beads,
)
from napari_coordgate.calibration.beads_detection import Beads
from napari_coordgate.calibration.beads_simulation import simulate_beads
from napari_coordgate.calibration.checking import Check, Finding, check
from napari_coordgate.calibration.flat_field import (
    estimate_flat_field,
    estimate_flat_field_events,
)
from napari_coordgate.calibration.focus import (
    FocusSeriesFit,
    calibrate_focus,
    calibrate_focus_events,
)
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
from napari_coordgate.calibration.shifted import (
    ShiftedFit,
    calibrate_shifted,
    calibrate_shifted_events,
)

__all__ = [
    "BeadFit",
    "Beads",
    "Check",
    "Finding",
    "FocusSeriesFit",
    "ImagesFit",
    "LensFit",
    "NoiseEstimate",
    "ShiftedFit",
    "calibrate_beads",
    "calibrate_beads_events",
    "calibrate_focus",
    "calibrate_focus_events",
    "calibrate_images",
    "calibrate_images_events",
    "calibrate_shifted",
    "calibrate_shifted_events",
    "check",
    "detect_beads",
    "estimate_flat_field",
    "estimate_flat_field_events",
    "estimate_noise",
    "estimate_noise_events",
    "simulate_beads",
]
