"""See what a network has learned of each place in the frame."""

from napari_coordgate.widgets.gating_maps.widget import GatingMapsWidget

__all__ = ["GatingMapsWidget"]
