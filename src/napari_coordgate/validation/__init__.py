"""Proof of a deblurring without ground truth, from two shifted images of one sample."""

from napari_coordgate.validation.agreement import ZoneAgreement
from napari_coordgate.validation.shifted import (
    ShiftedValidation,
    validate_shifted,
    validate_shifted_events,
)

__all__ = [
    "ShiftedValidation",
    "ZoneAgreement",
    "validate_shifted",
    "validate_shifted_events",
]
