"""Deblur images with a trained network: whole, or tile by tile."""

from napari_coordgate.deblurring.deblurrer import Deblurrer, output_dtype
from napari_coordgate.deblurring.gates import gating_maps
from napari_coordgate.deblurring.job import deblur, deblur_events

__all__ = ["Deblurrer", "deblur", "deblur_events", "gating_maps", "output_dtype"]
