"""Classical deconvolution over a PSF field, which needs no training: Wiener, Richardson-Lucy."""

from napari_coordgate.deconvolution.job import AnyClassical, deconvolve, deconvolve_events
from napari_coordgate.deconvolution.richardson_lucy import richardson_lucy
from napari_coordgate.deconvolution.wiener import wiener

__all__ = ["AnyClassical", "deconvolve", "deconvolve_events", "richardson_lucy", "wiener"]
