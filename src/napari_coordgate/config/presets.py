"""Settings to start from: how long to train, and common lenses."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from napari_coordgate.config.lenses import GaussianLens, Lens
from napari_coordgate.config.training import TrainingConfig

PresetName = Literal["quick", "balanced", "thorough", "paper"]

_TRAINING: dict[PresetName, tuple[str, TrainingConfig]] = {
    "quick": (
        "1000 steps for a first look; about 1.5 minutes on two CPU cores.",
        TrainingConfig(steps=1000),
    ),
    "balanced": (
        "5000 steps for most uses; about 8 minutes on two CPU cores.",
        TrainingConfig(),
    ),
    "thorough": (
        "30000 steps for the best quality; about 45 minutes on two CPU cores.",
        TrainingConfig(steps=30000),
    ),
    "paper": (
        "protocol of the CoordGate paper, 600 epochs of whole frames; hours to days without a GPU.",
        TrainingConfig.paper(),
    ),
}

PRESETS: Mapping[str, TrainingConfig] = MappingProxyType(
    {name: config for name, (_, config) in _TRAINING.items()}
)
"""Training settings by name; settings that a preset does not set have their defaults."""

PRESET_DESCRIPTIONS: Mapping[str, str] = MappingProxyType(
    {name: description for name, (description, _) in _TRAINING.items()}
)
"""What each of `PRESETS` is for, and how long it takes, in one line."""

CAMERA_PIXEL_UM = 6.5
PRESET_WAVELENGTH_NM = 520.0


def _objective(
    magnification: float, na: float, field_curvature_um: float, refractive_index: float = 1.0
) -> Lens:
    """Objective in front of a camera of `CAMERA_PIXEL_UM` pixels."""
    return Lens(
        na=na,
        wavelength_nm=PRESET_WAVELENGTH_NM,
        pixel_size_um=round(CAMERA_PIXEL_UM / magnification, 4),
        refractive_index=refractive_index,
        field_curvature_um=field_curvature_um,
    )


LENS_PRESETS: Mapping[str, Lens | GaussianLens] = MappingProxyType(
    {
        "10x 0.3 air": _objective(10, 0.3, 20.0),
        "20x 0.5 air": _objective(20, 0.5, 6.0),
        "20x 0.8 air": _objective(20, 0.8, 2.5),
        "40x 0.95 air": _objective(40, 0.95, 0.6),
        "60x 1.2 water": _objective(60, 1.2, 0.6, refractive_index=1.33),
        "60x 1.4 oil": _objective(60, 1.4, 0.5, refractive_index=1.515),
        "Gaussian, blur width only": GaussianLens(),
    }
)
"""Common lenses by name, on a camera of 6.5 um pixels.

Their field curvature is a plausible start that blurs the corners of the frame by some ten pixels;
to know that of a real lens, measure it with beads or estimate it from images.
"""

LENS_PRESET_NOTE = (
    "Assumed by the preset: a field curvature that is a guess, light of "
    f"{PRESET_WAVELENGTH_NM:g} nm, and camera pixels of {CAMERA_PIXEL_UM:g} µm. "
    "Estimate the lens from the image, measure it, or correct the values."
)
"""What a preset of `LENS_PRESETS` with an aperture assumes."""
