"""The Batch deblur widget: deblur a folder of images and watch the status of each file."""

from napari_coordgate.widgets.batch.widget import BatchWidget

__all__ = ["BatchWidget"]
