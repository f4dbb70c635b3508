"""Compare methods on an image layer, side by side and in a table."""

from napari_coordgate.widgets.compare.widget import CompareWidget

__all__ = ["CompareWidget"]
