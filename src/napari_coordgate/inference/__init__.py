"""Deblur images with a trained network: whole, or tile by tile; and see what it learned."""

from napari_coordgate.inference.alignment import FrameAlignment, align_to_frame
from napari_coordgate.inference.deblurring import deblur, deblur_events
from napari_coordgate.inference.effective_kernel import effective_kernel
from napari_coordgate.inference.gating_maps import by_variance, draw_gates, gating_maps
from napari_coordgate.inference.predictor import Predictor, output_dtype

__all__ = [
    "FrameAlignment",
    "Predictor",
    "align_to_frame",
    "by_variance",
    "deblur",
    "deblur_events",
    "draw_gates",
    "effective_kernel",
    "gating_maps",
    "output_dtype",
]
