"""Lens, pupil, PSF, PSF field and its blur operator."""

from napari_coordgate.optics.operator import BlurOperator
from napari_coordgate.optics.psf_field import PSFField, fwhm_px
from napari_coordgate.optics.psf_grid import PSFGrid

__all__ = ["BlurOperator", "PSFField", "PSFGrid", "fwhm_px"]
