# What `import napari_coordgate` offers, and where each name is defined: read by lazy_loader
# at run time and by type checkers.
from .batch import (
    BatchSummary as BatchSummary,
)
from .batch import (
    deblur_folder as deblur_folder,
)
from .batch import (
    deblur_folder_events as deblur_folder_events,
)
from .comparison import (
    Comparison as Comparison,
)
from .comparison import (
    compare as compare,
)
from .comparison import (
    compare_events as compare_events,
)
from .config import (
    BatchConfig as BatchConfig,
)
from .config import (
    BatchRuntime as BatchRuntime,
)
from .config import (
    Camera as Camera,
)
from .config import (
    CGMultiWienerConfig as CGMultiWienerConfig,
)
from .config import (
    CGUNetConfig as CGUNetConfig,
)
from .config import (
    ComparisonConfig as ComparisonConfig,
)
from .config import (
    CoordConvUNetConfig as CoordConvUNetConfig,
)
from .config import (
    DeblurConfig as DeblurConfig,
)
from .config import (
    DeblurRuntime as DeblurRuntime,
)
from .config import (
    GaussianLens as GaussianLens,
)
from .config import (
    Lens as Lens,
)
from .config import (
    Method as Method,
)
from .config import (
    ModelMethod as ModelMethod,
)
from .config import (
    MultiWienerConfig as MultiWienerConfig,
)
from .config import (
    NetworkConfig as NetworkConfig,
)
from .config import (
    NetworkMethod as NetworkMethod,
)
from .config import (
    RichardsonLucyConfig as RichardsonLucyConfig,
)
from .config import (
    RichardsonLucyMethod as RichardsonLucyMethod,
)
from .config import (
    RuntimeConfig as RuntimeConfig,
)
from .config import (
    Scaling as Scaling,
)
from .config import (
    Selection as Selection,
)
from .config import (
    TrainingConfig as TrainingConfig,
)
from .config import (
    UNetConfig as UNetConfig,
)
from .config import (
    WeightedWienerConfig as WeightedWienerConfig,
)
from .config import (
    WienerConfig as WienerConfig,
)
from .config import (
    WienerMethod as WienerMethod,
)
from .config import (
    load_lens as load_lens,
)
from .data import (
    SimulatedPairs as SimulatedPairs,
)
from .deconvolution import (
    deconvolve as deconvolve,
)
from .deconvolution import (
    deconvolve_events as deconvolve_events,
)
from .deconvolution import (
    richardson_lucy as richardson_lucy,
)
from .deconvolution import (
    wiener as wiener,
)
from .errors import (
    CanceledError as CanceledError,
)
from .errors import (
    CoordGateError as CoordGateError,
)
from .errors import (
    DeviceMemoryError as DeviceMemoryError,
)
from .errors import (
    FrameMismatchError as FrameMismatchError,
)
from .errors import (
    FrameMismatchWarning as FrameMismatchWarning,
)
from .errors import (
    ImageError as ImageError,
)
from .errors import (
    ModelError as ModelError,
)
from .errors import (
    OutputError as OutputError,
)
from .errors import (
    PSFError as PSFError,
)
from .errors import (
    SettingsError as SettingsError,
)
from .errors import (
    ToleranceWarning as ToleranceWarning,
)
from .errors import (
    TrainingError as TrainingError,
)
from .events import (
    FileChanged as FileChanged,
)
from .events import (
    PlaneDone as PlaneDone,
)
from .events import (
    Preview as Preview,
)
from .events import (
    Progress as Progress,
)
from .geometry import (
    Window as Window,
)
from .inference import (
    deblur as deblur,
)
from .inference import (
    deblur_events as deblur_events,
)
from .inference import (
    effective_kernel as effective_kernel,
)
from .inference import (
    gating_maps as gating_maps,
)
from .io import (
    Image as Image,
)
from .io import (
    read_image as read_image,
)
from .io import (
    write_image as write_image,
)
from .metrics import (
    psnr as psnr,
)
from .metrics import (
    quality as quality,
)
from .metrics import (
    ssim as ssim,
)
from .metrics import (
    zone_psnr as zone_psnr,
)
from .model import (
    Model as Model,
)
from .networks import (
    CoordGate as CoordGate,
)
from .networks import (
    UNet as UNet,
)
from .networks import (
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
)
from .training import (
    estimate_resources as estimate_resources,
)
from .training import (
    estimate_resources_events as estimate_resources_events,
)
from .training import (
    train as train,
)
from .training import (
    train_events as train_events,
)
from .version import __version__ as __version__

__all__ = [
    "BatchConfig",
    "BatchRuntime",
    "BatchSummary",
    "CGMultiWienerConfig",
    "CGUNetConfig",
    "Camera",
    "CanceledError",
    "Comparison",
    "ComparisonConfig",
    "CoordConvUNetConfig",
    "CoordGate",
    "CoordGateError",
    "DeblurConfig",
    "DeblurRuntime",
    "DeviceMemoryError",
    "FileChanged",
    "FrameMismatchError",
    "FrameMismatchWarning",
    "GaussianLens",
    "Image",
    "ImageError",
    "Lens",
    "Method",
    "Model",
    "ModelError",
    "ModelMethod",
    "MultiWienerConfig",
    "NetworkConfig",
    "NetworkMethod",
    "OutputError",
    "PSFError",
    "PSFField",
    "PlaneDone",
    "Preview",
    "Progress",
    "ResourceEstimate",
    "RichardsonLucyConfig",
    "RichardsonLucyMethod",
    "RuntimeConfig",
    "Scaling",
    "Selection",
    "SettingsError",
    "SimulatedPairs",
    "ToleranceWarning",
    "TrainingConfig",
    "TrainingError",
    "UNet",
    "UNetConfig",
    "WeightedWienerConfig",
    "WienerConfig",
    "WienerMethod",
    "Window",
    "build_network",
    "compare",
    "compare_events",
    "deblur",
    "deblur_events",
    "deblur_folder",
    "deblur_folder_events",
    "deconvolve",
    "deconvolve_events",
    "effective_kernel",
    "estimate_resources",
    "estimate_resources_events",
    "gating_maps",
    "load_lens",
    "psnr",
    "quality",
    "read_image",
    "richardson_lucy",
    "simulate",
    "ssim",
    "train",
    "train_events",
    "wiener",
    "write_image",
    "zone_psnr",
]
