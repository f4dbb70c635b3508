"""Every setting and its default.

Flags, forms and files of settings derive from these models: a field's
description is its help text and tooltip, its default is written here and
nowhere else. All models are frozen, and an unknown key is an error.
"""

from napari_coordgate.config.base import Device, DeviceConfig, Settings
from napari_coordgate.config.comparison import (
    ComparisonConfig,
    ComparisonFile,
    ComparisonSettings,
    Method,
)
from napari_coordgate.config.deconvolution import (
    PSFMode,
    RichardsonLucyConfig,
    RichardsonLucySettings,
    WienerConfig,
    WienerSettings,
)
from napari_coordgate.config.inference import (
    BatchConfig,
    BatchRuntime,
    BatchSettings,
    DeblurConfig,
    DeblurRuntime,
    DeblurSettings,
    DemoConfig,
    FileConfig,
    OutputFormat,
    Selection,
)
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
from napari_coordgate.config.training import (
    BlurConfig,
    Border,
    Camera,
    RuntimeConfig,
    Scaling,
    SimulationConfig,
    TrainingConfig,
    TrainingLength,
    TrainingSettings,
    check_batch_size,
)

__all__ = [
    "LENS_PRESETS",
    "PRESETS",
    "PRESET_DESCRIPTIONS",
    "Activation",
    "AnyLens",
    "Architecture",
    "BatchConfig",
    "BatchRuntime",
    "BatchSettings",
    "BlurConfig",
    "Border",
    "Camera",
    "ComparisonConfig",
    "ComparisonFile",
    "ComparisonSettings",
    "DeblurConfig",
    "DeblurRuntime",
    "DeblurSettings",
    "DemoConfig",
    "Device",
    "DeviceConfig",
    "FileConfig",
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
    "RichardsonLucySettings",
    "RuntimeConfig",
    "Scaling",
    "Selection",
    "Settings",
    "SimulationConfig",
    "TrainingConfig",
    "TrainingLength",
    "TrainingSettings",
    "WienerConfig",
    "WienerSettings",
    "check_batch_size",
    "load_lens",
    "load_mapping",
    "load_settings",
]
