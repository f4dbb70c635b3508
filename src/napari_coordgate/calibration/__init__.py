"""The lens and the camera, measured from images: beads, own images, noise, and their check."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
