"""The preview of a training at the place of its validation image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.events import Preview
from napari_coordgate.normalization import Normalizer
from napari_coordgate.widgets.choices import image_layers
from napari_coordgate.widgets.training_preview import PreviewLayer

if TYPE_CHECKING:
    from napari.viewer import Viewer

RANGE = Normalizer(10, 250)


def preview_of(
    source: NDArray[np.uint8], sharp: NDArray[np.uint8], plane: int, y: int, x: int
) -> Preview:
    """Perfect preview of a window of 20 x 30 pixels."""
    index = (plane, slice(y, y + 20), slice(x, x + 30))
    pixels = RANGE.normalize(sharp[index])
    return Preview(1, pixels, pixels, pixels, source, index, RANGE)


def test_a_preview_lies_over_its_image_and_stays_out_of_the_way(
    viewer: Viewer, sharp: NDArray[np.uint8]
) -> None:
    scale, translate = (1, 0.5, 0.4), (2, 3, 4)
    place = {"scale": scale, "translate": translate, "rotate": (0, 0, 30)}
    image = viewer.add_image(sharp, name="cells", units=("pixel", "um", "um"), **place)
    other = viewer.add_image(sharp[0], name="other")
    camera = viewer.scene.camera
    camera.zoom, preview = 7, PreviewLayer(viewer)
    for plane, y, x in ((3, 8, 10), (1, 20, 0)):
        preview.show(preview_of(sharp, sharp, plane, y, x))
        layer = viewer.layers["cells, training preview"]
        np.testing.assert_allclose(layer.data[0], sharp[plane, y : y + 20, x : x + 30], rtol=1e-5)
        for corner in ((0, 0, 0), (0, 19, 29)):
            there = np.add(corner, (plane, y, x))
            np.testing.assert_allclose(layer.data_to_world(corner), image.data_to_world(there))
        assert layer.units == image.units and layer.contrast_limits == image.contrast_limits
    assert len(viewer.layers) == 3 and viewer.layers.selection.active is other
    assert camera.zoom == 7
    assert [name for name, _ in image_layers(viewer)] == ["other", "cells"]
    preview.show(preview_of(sharp.copy(), sharp, 0, 0, 0))  # of no layer
    assert list(viewer.layers) == [image, other]
    preview.show(preview_of(sharp, sharp, 0, 0, 0))
    preview.remove()
    assert list(viewer.layers) == [image, other]
