"""Wiener and Richardson-Lucy deconvolution with a PSF field; they need no training."""

from napari_coordgate.deconvolution.deconvolving import (
    DeconvolutionConfig,
    Deconvolver,
    deconvolve,
    deconvolve_events,
    deconvolve_scaled,
    richardson_lucy,
    wiener,
)
from napari_coordgate.deconvolution.richardson_lucy import IterationEnd, describe_ends

__all__ = [
    "DeconvolutionConfig",
    "Deconvolver",
    "IterationEnd",
    "deconvolve",
    "deconvolve_events",
    "deconvolve_scaled",
    "describe_ends",
    "richardson_lucy",
    "wiener",
]
