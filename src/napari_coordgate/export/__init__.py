"""Models in formats that other programs read."""

from napari_coordgate.export.exporting import export_model

__all__ = ["export_model"]
