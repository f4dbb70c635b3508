"""Deblur a folder of images, and watch what becomes of each file."""

from napari_coordgate.widgets.batch.widget import BatchWidget

__all__ = ["BatchWidget"]
