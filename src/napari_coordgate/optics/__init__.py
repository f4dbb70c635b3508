"""From a lens to its blur: lens, pupil, PSF, PSF field, camera."""

from napari_coordgate.optics.camera import expose
from napari_coordgate.optics.psf_field import PSFField

__all__ = ["PSFField", "expose"]
