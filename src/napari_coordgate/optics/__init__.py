"""Lens, pupil, PSF, PSF field and its blur operator."""

from napari_coordgate.optics.operator import BlurOperator
from napari_coordgate.optics.psf_field import PSFField, as_psf_field, fwhm_px
from napari_coordgate.optics.psf_grid import PSFGrid

__all__ = ["BlurOperator", "PSFField", "PSFGrid", "as_psf_field", "fwhm_px"]
