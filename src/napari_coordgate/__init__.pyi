# What `import napari_coordgate` offers, and where each name is defined: read by lazy_loader
# at run time and by type checkers.
from .batch import (
    BatchSummary as BatchSummary,
    deblur_folder as deblur_folder,
    deblur_folder_events as deblur_folder_events,
)
from .calibration import (
    BeadFit as BeadFit,
    Beads as Beads,
    Check as Check,
    LensFit as LensFit,
    NoiseEstimate as NoiseEstimate,
    calibrate_beads as calibrate_beads,
    calibrate_beads_events as calibrate_beads_events,
    calibrate_focus as calibrate_focus,
    calibrate_focus_events as calibrate_focus_events,
    calibrate_images as calibrate_images,
    calibrate_images_events as calibrate_images_events,
    calibrate_shifted as calibrate_shifted,
    calibrate_shifted_events as calibrate_shifted_events,
    check as check,
    detect_beads as detect_beads,
    estimate_flat_field as estimate_flat_field,
    estimate_flat_field_events as estimate_flat_field_events,
    estimate_noise as estimate_noise,
    estimate_noise_events as estimate_noise_events,
)
from .comparison import (
    Comparison as Comparison,
    compare as compare,
    compare_events as compare_events,
)
from .config import (
    AdaptConfig as AdaptConfig,
    BatchConfig as BatchConfig,
    BatchRuntime as BatchRuntime,
    BeadsConfig as BeadsConfig,
    Camera as Camera,
    CGMultiWienerConfig as CGMultiWienerConfig,
    CGUNetConfig as CGUNetConfig,
    ComparisonConfig as ComparisonConfig,
    CoordConvUNetConfig as CoordConvUNetConfig,
    DeblurConfig as DeblurConfig,
    DeblurRuntime as DeblurRuntime,
    GaussianLens as GaussianLens,
    Lens as Lens,
    LensCalibration as LensCalibration,
    Method as Method,
    ModelMethod as ModelMethod,
    MultiWienerConfig as MultiWienerConfig,
    NetworkConfig as NetworkConfig,
    NetworkMethod as NetworkMethod,
    PackageConfig as PackageConfig,
    RichardsonLucyConfig as RichardsonLucyConfig,
    RichardsonLucyMethod as RichardsonLucyMethod,
    RuntimeConfig as RuntimeConfig,
    Scaling as Scaling,
    Selection as Selection,
    TrainingConfig as TrainingConfig,
    UNetConfig as UNetConfig,
    UniversalConfig as UniversalConfig,
    UniversalMethod as UniversalMethod,
    UnrolledMethod as UnrolledMethod,
    WeightedWienerConfig as WeightedWienerConfig,
    WienerConfig as WienerConfig,
    WienerMethod as WienerMethod,
    load_lens as load_lens,
)
from .data import (
    SimulatedPairs as SimulatedPairs,
)
from .deconvolution import (
    deconvolve as deconvolve,
    deconvolve_events as deconvolve_events,
    richardson_lucy as richardson_lucy,
    wiener as wiener,
)
from .errors import (
    CanceledError as CanceledError,
    CoordGateError as CoordGateError,
    DeviceMemoryError as DeviceMemoryError,
    FrameMismatchError as FrameMismatchError,
    FrameMismatchWarning as FrameMismatchWarning,
    ImageError as ImageError,
    LensMismatchError as LensMismatchError,
    LensMismatchWarning as LensMismatchWarning,
    MeasuredPSFWarning as MeasuredPSFWarning,
    ModelError as ModelError,
    OutputError as OutputError,
    PSFError as PSFError,
    ResultRangeWarning as ResultRangeWarning,
    SettingsError as SettingsError,
    ToleranceWarning as ToleranceWarning,
    TrainingError as TrainingError,
    TrainingImagesWarning as TrainingImagesWarning,
)
from .events import (
    FileChanged as FileChanged,
    Note as Note,
    PlaneDone as PlaneDone,
    Preview as Preview,
    Progress as Progress,
)
from .export import (
    export_model as export_model,
)
from .geometry import (
    Window as Window,
)
from .inference import (
    DeblurResult as DeblurResult,
    assess as assess,
    assess_events as assess_events,
    deblur as deblur,
    deblur_events as deblur_events,
    effective_kernel as effective_kernel,
    gating_maps as gating_maps,
)
from .io import (
    Image as Image,
    lens_from_metadata as lens_from_metadata,
    read_image as read_image,
    read_images as read_images,
    save_lens as save_lens,
    write_image as write_image,
)
from .metrics import (
    psnr as psnr,
    quality as quality,
    ssim as ssim,
    zone_psnr as zone_psnr,
)
from .model import (
    Model as Model,
)
from .networks import (
    CoordGate as CoordGate,
    UNet as UNet,
    build_network as build_network,
)
from .optics import (
    PSFField as PSFField,
)
from .simulation import (
    simulate as simulate,
)
from .training import (
    ResourceEstimate as ResourceEstimate,
    adapt as adapt,
    adapt_events as adapt_events,
    estimate_resources as estimate_resources,
    estimate_resources_events as estimate_resources_events,
    train as train,
    train_events as train_events,
)
from .trust import (
    TrustCalibration as TrustCalibration,
    TrustFinding as TrustFinding,
    TrustVerdict as TrustVerdict,
)
from .universal_model import (
    UniversalModel as UniversalModel,
)
from .validation import (
    ShiftedValidation as ShiftedValidation,
    validate_shifted as validate_shifted,
    validate_shifted_events as validate_shifted_events,
)
from .version import __version__ as __version__

__all__: list[str]
