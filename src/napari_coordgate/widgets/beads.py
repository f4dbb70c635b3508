"""Detected beads as a layer of points, which can be ticked off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image as ImageLayer, Points
from napari.viewer import Viewer
from numpy.typing import NDArray

from napari_coordgate.widgets.layers import copy_transform, metadata

if TYPE_CHECKING:
    from napari_coordgate.calibration import Beads

Array = NDArray[np.float64]

BEADS = "beads"
"""Kind of our layers of beads."""
USED, LEFT_OUT = "#53b87a", "#e59f3c"
"""Colors of beads that are used, and of the others."""
BY_HAND = "ticked off"
MIN_SIZE_PX, LINE_PX = 9.0, 0.8
"""Smallest diameter of a circle around a bead, and width of its line."""
RADII = 3.0
"""Diameter of a circle, in radii of the bead's blur."""


class BeadPoints:
    """Layer of the beads of an image; its feature ``reason`` says why one is not used."""

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self.layer: Points | None = None
        self._image: ImageLayer | None = None

    @property
    def is_shown(self) -> bool:
        """Whether the layer exists."""
        return self.layer is not None and self.layer in self.viewer.layers

    def show(self, beads: Beads, image: ImageLayer) -> None:
        """Show the beads of an image instead of those shown before, but for those ticked off."""
        off, sizes = self._ticked_off(image, beads)
        missing = np.full(len(off), np.nan)
        features = {
            "reason": np.array([*beads.dropped, *[BY_HAND] * len(off)], object),
            "signal": np.append(beads.signal, missing),
        }
        for name in ("width_px", "model_width_px", "deviance"):
            values = getattr(beads, name)
            if np.isfinite(values).any():
                features[name] = np.append(values, missing)
        if self.layer is not None and self.is_shown:
            self.viewer.layers.remove(self.layer)
        self._image = image
        self.layer = self.viewer.add_points(
            np.concatenate([beads.positions, off]),
            name=f"{image.name} beads",
            features=features,
            size=np.append(np.maximum(RADII * beads.radius_px, MIN_SIZE_PX), sizes),
            face_color="transparent",
            border_width=LINE_PX,
            border_width_is_relative=False,
            text={"string": "{reason}", "size": 8, "color": LEFT_OUT, "anchor": "upper_left"},
            metadata=metadata(BEADS, image=image.name),
            **_place(image),
        )
        self.layer.feature_defaults = {**dict.fromkeys(features, np.nan), "reason": ""}
        self._color()

    def _ticked_off(self, image: ImageLayer, beads: Beads) -> tuple[Array, Array]:
        """Positions (N, 2) and sizes (N,) of points that were ticked off and are not in ``beads``.

        They can be taken in again after a fit, which they were not in.
        """
        if self.layer is None or not self.is_shown or self._image is not image:
            return np.zeros((0, 2)), np.zeros(0)
        points = np.asarray(self.layer.data, np.float64)
        far = [not (np.hypot(*(beads.positions - point).T) < 1).any() for point in points]
        off = np.array([reason == BY_HAND for reason in self._reasons()], bool) & far
        return points[off], np.asarray(self.layer.size, np.float64)[off]

    def positions(self, image: ImageLayer) -> Array | None:
        """Positions (N, 2) of the beads to use; None if the beads of this image are not shown."""
        if self.layer is None or not self.is_shown or self._image is not image:
            return None
        used = np.array([not reason for reason in self._reasons()], bool)
        positions: Array = np.asarray(self.layer.data, np.float64)[used]
        return positions

    def toggle_selected(self) -> None:
        """Leave the selected beads out, or take them in again."""
        if self.layer is None:
            return
        reasons = self._reasons()
        for index in self.layer.selected_data:
            reasons[index] = "" if reasons[index] else BY_HAND
        features = self.layer.features.copy()
        features["reason"] = reasons
        self.layer.features = features
        self._color()

    def _reasons(self) -> list[str]:
        """Why each point is not used; empty for those that are, also if a user added them."""
        assert self.layer is not None
        values = self.layer.features["reason"]
        return [value if isinstance(value, str) else "" for value in values]

    def _color(self) -> None:
        assert self.layer is not None
        self.layer.border_color = [LEFT_OUT if reason else USED for reason in self._reasons()]
        self.layer.current_border_color = USED
        self.layer.refresh_text()


def _place(image: ImageLayer) -> dict[str, Any]:
    """Transform of the image's planes."""
    return copy_transform(image, 2)
