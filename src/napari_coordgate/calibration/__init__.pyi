from .beads import (
    BeadFit,
    calibrate_beads,
    calibrate_beads_events,
    detect_beads,
)
from .beads_detection import Beads
from .beads_simulation import simulate_beads
from .checking import Check, Finding, check
from .flat_field import (
    estimate_flat_field,
    estimate_flat_field_events,
)
from .focus import (
    FocusSeriesFit,
    calibrate_focus,
    calibrate_focus_events,
)
from .images import (
    ImagesFit,
    calibrate_images,
    calibrate_images_events,
)
from .lens_fit import LensFit
from .noise import (
    NoiseEstimate,
    estimate_noise,
    estimate_noise_events,
)
from .shifted import (
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
