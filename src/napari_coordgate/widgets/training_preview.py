"""What a network makes of a validation image during its training, at the place of that image."""

from __future__ import annotations

from typing import Any

from napari.layers import Image as ImageLayer
from napari.viewer import Viewer

from napari_coordgate.events import Preview
from napari_coordgate.geometry import Window
from napari_coordgate.normalization import Normalizer
from napari_coordgate.widgets.layers import (
    PREVIEW,
    LiveLayer,
    copy_appearance,
    metadata,
    pixels_of,
)
from napari_coordgate.widgets.parts import Part


class PreviewLayer:
    """Layer over a validation image that is a layer itself, as long as its training runs."""

    def __init__(self, viewer: Viewer) -> None:
        self.viewer, self.live = viewer, LiveLayer(viewer)

    def show(self, preview: Preview) -> None:
        """Show a preview in the units and colors of its image; nothing without a layer of that."""
        layer = self._layer_of(preview.source)
        if layer is None:
            self.remove()
            return
        part = _part_of(layer, preview)
        pixels = Normalizer(*preview.intensities).denormalize(preview.deblurred)
        active = self.viewer.layers.selection.active
        self.live.show(
            pixels.reshape((1,) * (layer.ndim - 2) + pixels.shape),
            name=f"{layer.name}, training preview",
            metadata=metadata(PREVIEW, image=layer.name, step=preview.step),
            **part.transform(),
            **copy_appearance(layer),
        )
        self.viewer.layers.selection.active = active

    def remove(self) -> None:
        """Remove the layer."""
        self.live.remove()

    def _layer_of(self, source: Any) -> ImageLayer | None:
        """Image layer with these pixels."""
        images = (layer for layer in self.viewer.layers if isinstance(layer, ImageLayer))
        return next((layer for layer in images if pixels_of(layer) is source), None)


def _part_of(layer: ImageLayer, preview: Preview) -> Part:
    """Part of a layer that a preview shows."""
    plane = tuple(i for i in preview.index if isinstance(i, int))
    rows, columns = (i for i in preview.index if isinstance(i, slice))
    return Part(layer, plane, Window(rows.start, columns.start, *preview.deblurred.shape))
