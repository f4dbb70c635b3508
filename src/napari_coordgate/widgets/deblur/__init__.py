"""Deblur an image layer with a trained network."""

from napari_coordgate.widgets.deblur.widget import DeblurWidget

__all__ = ["DeblurWidget"]
