"""Deblur images with a trained network: whole, or tile by tile; and see what it learned."""

from napari_coordgate.inference.predictor import Deblurrer, output_dtype
from napari_coordgate.inference.gating_maps import draw_gates, gating_maps, liveliest
from napari_coordgate.inference.deblurring import deblur, deblur_events
from napari_coordgate.inference.effective_kernel import effective_kernel
from napari_coordgate.inference.alignment import Placement, placement

__all__ = [
    "Deblurrer",
    "Placement",
    "deblur",
    "deblur_events",
    "draw_gates",
    "effective_kernel",
    "gating_maps",
    "liveliest",
    "output_dtype",
    "placement",
]
