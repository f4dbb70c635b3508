"""Deblur images with a model or by deconvolution, and inspect what the model learned."""

from napari_coordgate.inference.alignment import FrameAlignment, align_to_frame
from napari_coordgate.inference.assessment import DeblurResult, assess, assess_events
from napari_coordgate.inference.channels import AnyDeblurrer, find_mismatches
from napari_coordgate.inference.deblurrers import Deblurrer, build_deblurrer
from napari_coordgate.inference.deblurring import deblur, deblur_events, deblur_planes, output_dtype
from napari_coordgate.inference.effective_kernel import effective_kernel
from napari_coordgate.inference.gating_maps import by_variance, gating_maps, plot_gating_maps
from napari_coordgate.inference.intensity import IntensityRanges
from napari_coordgate.inference.methods import AnyBlur, AnyMethod, DeblurMethod, selected_methods
from napari_coordgate.inference.mismatch import Mismatch, find_mismatch
from napari_coordgate.inference.noise_gates import (
    PHOTONS,
    needs_lens,
    noise_gates,
    plot_noise_gates,
    universal_gating_maps,
)
from napari_coordgate.inference.predictor import Predictor
from napari_coordgate.inference.universal import UniversalDeblurrer

__all__ = [
    "PHOTONS",
    "AnyBlur",
    "AnyDeblurrer",
    "AnyMethod",
    "DeblurMethod",
    "DeblurResult",
    "Deblurrer",
    "FrameAlignment",
    "IntensityRanges",
    "Mismatch",
    "Predictor",
    "UniversalDeblurrer",
    "align_to_frame",
    "assess",
    "assess_events",
    "build_deblurrer",
    "by_variance",
    "deblur",
    "deblur_events",
    "deblur_planes",
    "effective_kernel",
    "find_mismatch",
    "find_mismatches",
    "gating_maps",
    "needs_lens",
    "noise_gates",
    "output_dtype",
    "plot_gating_maps",
    "plot_noise_gates",
    "selected_methods",
    "universal_gating_maps",
]
