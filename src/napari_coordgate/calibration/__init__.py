"""The lens and the camera, measured from images: beads, own images, noise, and their check."""

from napari_coordgate.calibration.lens_fit import LensFit

__all__ = ["LensFit"]
