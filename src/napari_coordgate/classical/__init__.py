"""Classical deconvolution over a PSF field, which needs no training: Wiener, Richardson-Lucy."""

from napari_coordgate.classical.job import AnyClassical, deconvolve, deconvolve_events
from napari_coordgate.classical.richardson_lucy import richardson_lucy
from napari_coordgate.classical.wiener import wiener

__all__ = ["AnyClassical", "deconvolve", "deconvolve_events", "richardson_lucy", "wiener"]
