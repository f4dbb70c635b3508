"""From a lens to its blur: lens, pupil, PSF, PSF field, camera."""

from napari_coordgate.optics.psf_field import PSFField
from napari_coordgate.optics.psf_grid import PSFGrid
from napari_coordgate.optics.width import fwhm_px

__all__ = ["PSFField", "PSFGrid", "fwhm_px"]
