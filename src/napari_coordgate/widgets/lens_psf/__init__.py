"""Describe or load a lens, see how it blurs, and use it for training."""

from napari_coordgate.widgets.lens_psf.widget import LensPSFWidget

__all__ = ["LensPSFWidget"]
