"""Deblur images that are sharp in the middle and soft at the edge.

A lens blurs each camera pixel with a different point spread function (PSF), the same for
every image. This package describes or measures that blur, trains a small U-Net whose
features are multiplied by gating maps computed from pixel coordinates (CoordGate; Howard,
Norreys and Döpp) to undo it, and applies the trained model to images.

Names are loaded on first use: importing the package is instant and does not load torch.

Lens and blur
    `Lens`, `GaussianLens`, `LensCalibration`, `load_lens`, `save_lens`,
    `lens_from_metadata`, `PSFField`, `Camera`, `simulate`
Measure the lens
    `calibrate_beads`, `calibrate_beads_events`, `detect_beads`, `Beads`, `BeadFit`, `LensFit`,
    `BeadsConfig`
    `calibrate_images`, `calibrate_images_events`, `calibrate_focus`, `calibrate_focus_events`,
    `calibrate_shifted`, `calibrate_shifted_events`
Check images before they are deblurred
    `check`, `Check`
Measure the camera
    `estimate_noise`, `estimate_noise_events`, `NoiseEstimate`, `estimate_flat_field`,
    `estimate_flat_field_events`
Train
    `train`, `train_events`, `TrainingConfig`, `RuntimeConfig`, `estimate_resources`,
    `estimate_resources_events`, `ResourceEstimate`, `Model`
Deblur
    `deblur`, `deblur_events`, `DeblurConfig`, `DeblurRuntime`, `deblur_folder`,
    `deblur_folder_events`, `BatchConfig`, `BatchRuntime`, `BatchSummary`, `Selection`
Say where a result can be trusted
    `assess`, `assess_events`, `DeblurResult`, `TrustVerdict`, `TrustFinding`, `TrustCalibration`
Look inside a model
    `gating_maps`, `effective_kernel`
Use a model in other programs
    `export_model`, `PackageConfig`
Deconvolve without training
    `richardson_lucy`, `wiener`, `deconvolve`, `deconvolve_events`, `RichardsonLucyConfig`,
    `WienerConfig`
Deblur images of any lens without training
    `UniversalModel`, `UniversalConfig`, `adapt`, `adapt_events`, `AdaptConfig`
Compare methods
    `compare`, `compare_events`, `Comparison`, `ComparisonConfig`, `psnr`, `ssim`, `zone_psnr`,
    `quality`
Prove a result without ground truth
    `validate_shifted`, `validate_shifted_events`, `ShiftedValidation`
Methods to compare
    `Method`, one of `NetworkMethod`, `ModelMethod`, `WienerMethod`, `RichardsonLucyMethod`,
    `UniversalMethod`, `UnrolledMethod`
Building blocks for your own networks
    `CoordGate`, `UNet`, `build_network`, `SimulatedPairs`, `Scaling`, `Window`
Networks to train
    `NetworkConfig`, one of `CGUNetConfig`, `UNetConfig`, `CoordConvUNetConfig`,
    `MultiWienerConfig`, `CGMultiWienerConfig`, `WeightedWienerConfig`
Images
    `Image`, `read_image`, `read_images`, `write_image`
Events of long jobs
    `Progress`, `Preview`, `PlaneDone`, `Note`, `FileChanged`
Errors
    `CoordGateError` and its subclasses; every message names what was wrong and what to do
"""

import lazy_loader

from napari_coordgate.version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
