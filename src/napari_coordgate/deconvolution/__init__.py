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

__all__ = [
    "DeconvolutionConfig",
    "Deconvolver",
    "deconvolve",
    "deconvolve_events",
    "deconvolve_scaled",
    "richardson_lucy",
    "wiener",
]
