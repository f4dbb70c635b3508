"""Every setting and its default.

Flags, forms and files of settings derive from these models: a field's
description is its help text and tooltip, its default is written here and
nowhere else. All models are frozen, and an unknown key is an error.
"""

from napari_coordgate.config.base import (
    Device as Device,
    DeviceConfig as DeviceConfig,
    Settings as Settings,
    as_settings as as_settings,
    check_device as check_device,
)
from napari_coordgate.config.calibration import BeadsConfig as BeadsConfig
from napari_coordgate.config.comparison import (
    ComparisonConfig as ComparisonConfig,
    ComparisonFile as ComparisonFile,
    ComparisonSettings as ComparisonSettings,
    Method as Method,
    ModelMethod as ModelMethod,
    NetworkMethod as NetworkMethod,
    RichardsonLucyMethod as RichardsonLucyMethod,
    UniversalMethod as UniversalMethod,
    UnrolledMethod as UnrolledMethod,
    WienerMethod as WienerMethod,
)
from napari_coordgate.config.deconvolution import (
    Deconvolution as Deconvolution,
    PSFMode as PSFMode,
    RichardsonLucyConfig as RichardsonLucyConfig,
    RichardsonLucySettings as RichardsonLucySettings,
    UniversalConfig as UniversalConfig,
    WienerConfig as WienerConfig,
    WienerSettings as WienerSettings,
    as_deconvolution as as_deconvolution,
)
from napari_coordgate.config.export import PackageConfig as PackageConfig
from napari_coordgate.config.inference import (
    BatchConfig as BatchConfig,
    BatchRuntime as BatchRuntime,
    BatchSettings as BatchSettings,
    Compression as Compression,
    DeblurConfig as DeblurConfig,
    DeblurRuntime as DeblurRuntime,
    DeblurSettings as DeblurSettings,
    DemoConfig as DemoConfig,
    FileConfig as FileConfig,
    OutputFormat as OutputFormat,
    Selection as Selection,
)
from napari_coordgate.config.lenses import (
    AnyLens as AnyLens,
    GaussianLens as GaussianLens,
    Lens as Lens,
    LensCalibration as LensCalibration,
    PSFFieldConfig as PSFFieldConfig,
    describe_calibration as describe_calibration,
    measured_frame as measured_frame,
)
from napari_coordgate.config.loading import (
    load_lens as load_lens,
    load_mapping as load_mapping,
    load_settings as load_settings,
)
from napari_coordgate.config.networks import (
    Activation as Activation,
    Architecture as Architecture,
    CGMultiWienerConfig as CGMultiWienerConfig,
    CGUNetConfig as CGUNetConfig,
    CoordConvUNetConfig as CoordConvUNetConfig,
    GateOutput as GateOutput,
    GatePoints as GatePoints,
    GateSettings as GateSettings,
    MultiWienerConfig as MultiWienerConfig,
    NetworkConfig as NetworkConfig,
    UNetConfig as UNetConfig,
    UNetSettings as UNetSettings,
    UnrolledConfig as UnrolledConfig,
    WeightedWienerConfig as WeightedWienerConfig,
    WienerBankSettings as WienerBankSettings,
    as_network_config as as_network_config,
    check_choice as check_choice,
    check_counts as check_counts,
    check_kernel_size as check_kernel_size,
    network_config as network_config,
)
from napari_coordgate.config.presets import (
    LENS_PRESET_NOTE as LENS_PRESET_NOTE,
    LENS_PRESETS as LENS_PRESETS,
    PRESET_DESCRIPTIONS as PRESET_DESCRIPTIONS,
    PRESETS as PRESETS,
    PresetName as PresetName,
)
from napari_coordgate.config.training import (
    BlurConfig as BlurConfig,
    Border as Border,
    Camera as Camera,
    RuntimeConfig as RuntimeConfig,
    Scaling as Scaling,
    SimulationConfig as SimulationConfig,
    TrainingConfig as TrainingConfig,
    TrainingLength as TrainingLength,
    TrainingSettings as TrainingSettings,
    check_batch_size as check_batch_size,
)
from napari_coordgate.config.universal import (
    AdaptConfig as AdaptConfig,
    LensLibraryConfig as LensLibraryConfig,
    UniversalTrainingConfig as UniversalTrainingConfig,
)
