"""A part of an image layer to try something on: a rectangle of a Shapes layer, in one plane."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from napari.layers import Image as ImageLayer, Shapes
from napari.viewer import Viewer

from napari_coordgate.config import Selection
from napari_coordgate.errors import SettingsError
from napari_coordgate.geometry import Window, format_shape
from napari_coordgate.io import Image
from napari_coordgate.widgets.layers import copy_transform, pixels_of, plane_on_view

LEAST_SIDE = 32
"""Least side of a rectangle, pixels."""
FIRST_SIDE = 256
"""Largest side of the rectangle that is drawn where there is none."""
NAME = "try here"


@dataclass(frozen=True, eq=False)
class Part:
    """All of a layer, or one plane (an index over the axes before height and width) of a window."""

    layer: ImageLayer
    plane: tuple[int, ...] | None = None
    window: Window | None = None

    def of(self, pixels: Any) -> Any:
        """Pixels of the part, of those of the layer or of an image of it; axes are kept."""
        if self.plane is None or self.window is None:
            return pixels
        starts, lengths = (*self.plane, *self.window.origin), self.window.shape
        counts = (*(1 for _ in self.plane), *lengths)
        return pixels[tuple(slice(n, n + count) for n, count in zip(starts, counts, strict=True))]

    def image(self, image: Image) -> Image:
        """Image of the part, of that of the layer."""
        if self.plane is None:
            return image
        chosen = dict(zip(image.axes, map(str, self.plane), strict=False))
        elements = Selection(
            channels=chosen.get("C"), times=chosen.get("T"), planes=chosen.get("Z")
        )
        return replace(image.select(elements), data=self.of(image.data))

    def window_in(self, frame_window: Window) -> Window:
        """Window of the frame that the part shows, of that of the layer."""
        if self.window is None:
            return frame_window
        (y0, x0), (y, x) = frame_window.origin, self.window.origin
        return Window(y0 + y, x0 + x, *self.window.shape)

    def plane_on_view(self, viewer: Viewer) -> tuple[int, ...]:
        """Index of the visible plane in the part."""
        index = plane_on_view(viewer, self.layer)
        return index if self.plane is None else (0,) * len(index)

    def transform(self) -> dict[str, Any]:
        """Layer options that put the part where it is in the layer."""
        options = copy_transform(self.layer)
        if self.plane is None or self.window is None:
            return options
        first = np.array([*self.plane, *self.window.origin], float)
        ends = (np.asarray(self.layer.data_to_world(point)) for point in (0 * first, first))
        start, end = ends
        own = np.linalg.solve(np.asarray(self.layer.affine.linear_matrix), end - start)
        return options | {"translate": np.asarray(options["translate"]) + own}


def rectangle_part(viewer: Viewer, layer: ImageLayer) -> Part | None:
    """Visible plane of a layer in the rectangle drawn last; None: one is drawn, to be moved."""
    drawn = [item for item in viewer.layers if isinstance(item, Shapes) and len(item.data)]
    height, width = pixels_of(layer).shape[layer.ndim - 2 : layer.ndim]
    if not drawn:
        _draw_rectangle(viewer, layer, (height, width))
        return None
    shapes = drawn[-1]
    chosen = max(shapes.selected_data, default=len(shapes.data) - 1)
    corners = np.array([_pixel(viewer, layer, shapes, point) for point in shapes.data[chosen]])
    low = np.clip(np.round(corners.min(axis=0) + 0.5), 0, (height, width)).astype(int)
    high = np.clip(np.round(corners.max(axis=0) + 0.5), 0, (height, width)).astype(int)
    window = Window(*map(int, (*low, *(high - low))))
    if min(window.shape) < min(LEAST_SIDE, height, width):
        raise SettingsError(
            f"The rectangle has {format_shape(window.shape)} pixels of {layer.name}; draw one of "
            f"at least {LEAST_SIDE} x {LEAST_SIDE} in it."
        )
    return Part(layer, plane_on_view(viewer, layer), window)


def _pixel(viewer: Viewer, layer: ImageLayer, shapes: Shapes, point: Any) -> Any:
    """Pixel (y, x) of a layer at a point of a Shapes layer, which may have fewer axes."""
    world = np.array(viewer.dims.point, float)
    world[-2:] = np.asarray(shapes.data_to_world(point))[-2:]
    return np.asarray(layer.world_to_data(world))[-2:]


def _draw_rectangle(viewer: Viewer, layer: ImageLayer, shape: tuple[int, int]) -> None:
    """Draw a rectangle in the middle of a layer, selected so that it can be moved."""
    plane = plane_on_view(viewer, layer)
    height, width = (min(FIRST_SIDE, max(n // 2, min(n, LEAST_SIDE))) for n in shape)
    y0, x0 = (shape[0] - height) // 2, (shape[1] - width) // 2
    corners = [(y0, x0), (y0, x0 + width), (y0 + height, x0 + width), (y0 + height, x0)]
    shapes = viewer.add_shapes(
        [np.array([(*plane, y - 0.5, x - 0.5) for y, x in corners])],
        name=NAME,
        shape_type="rectangle",
        face_color="transparent",
        edge_color="#e59f3c",
        edge_width=max(1, round(max(shape) / 200)),
        **copy_transform(layer),
    )
    shapes.selected_data = {0}
    shapes.mode = "select"
