"""Every setting and its default.

Flags, forms and files of settings derive from these models: a field's
description is its help text and tooltip, its default is written here and
nowhere else. All models are frozen, and an unknown key is an error.
"""

from napari_coordgate.config.base import Device, Settings
from napari_coordgate.config.classical import (
    PSFMode,
    RichardsonLucyConfig,
    RichardsonLucyRun,
    WienerConfig,
    WienerRun,
)
from napari_coordgate.config.comparison import ComparisonConfig, ComparisonFile, Method
from napari_coordgate.config.lenses import AnyLens, GaussianLens, Lens, PSFFieldConfig
from napari_coordgate.config.loading import load_lens, load_mapping, load_settings
from napari_coordgate.config.networks import (
    Activation,
    Architecture,
    GateOutput,
    GatePoints,
    NetworkConfig,
)
from napari_coordgate.config.presets import (
    LENS_PRESETS,
    PRESET_DESCRIPTIONS,
    PRESETS,
    PresetName,
)
from napari_coordgate.config.running import (
    BatchConfig,
    DeblurConfig,
    DemoConfig,
    OutputFormat,
    Selection,
)
from napari_coordgate.config.training import Border, Camera, Scaling, TrainingConfig

__all__ = [
    "LENS_PRESETS",
    "PRESETS",
    "PRESET_DESCRIPTIONS",
    "Activation",
    "AnyLens",
    "Architecture",
    "BatchConfig",
    "Border",
    "Camera",
    "ComparisonConfig",
    "ComparisonFile",
    "DeblurConfig",
    "DemoConfig",
    "Device",
    "GateOutput",
    "GatePoints",
    "GaussianLens",
    "Lens",
    "Method",
    "NetworkConfig",
    "OutputFormat",
    "PSFFieldConfig",
    "PSFMode",
    "PresetName",
    "RichardsonLucyConfig",
    "RichardsonLucyRun",
    "Scaling",
    "Selection",
    "Settings",
    "TrainingConfig",
    "WienerConfig",
    "WienerRun",
    "load_lens",
    "load_mapping",
    "load_settings",
]
