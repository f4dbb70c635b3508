"""Layers that show where a deblurred image can be trusted, and the verdict in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image as ImageLayer
from napari.utils.colormaps import Colormap
from napari.viewer import Viewer
from numpy.typing import NDArray
from qtpy.QtCore import QTimer

from napari_coordgate.widgets.layers import TRUST, LiveLayer, metadata
from napari_coordgate.widgets.panel import COLORS
from napari_coordgate.widgets.parts import Part

if TYPE_CHECKING:
    from napari_coordgate.trust import TrustVerdict

VERDICT_COLORS = {
    "red": COLORS["failed"],
    "amber": COLORS["canceled"],
    "green": COLORS["completed"],
}
"""Color of each verdict, the worst first."""
VERDICT_WORDS = {
    "green": "Can be trusted",
    "amber": "Trust it with care",
    "red": "Do not trust it",
}
CONTRADICTED = Colormap(
    [[0, 0, 0, 0], [0, 0, 0, 0], [0.95, 0.45, 0.1, 1], [0.75, 0.05, 0.15, 1]],
    name="contradicted",
    controls=[0, 0.5, 0.5, 1],
)
"""Nothing up to the threshold, which is in the middle; above it opaque, and so a mask."""
SAMPLE_SIDE = 256
"""Pixels per side of a plane, at most, from which its contrast limits are taken."""


@dataclass(frozen=True)
class MapStyle:
    """How a map is shown: its layer's name and colors, and contrast limits from its values."""

    name: str
    about: str
    colormap: str | Colormap
    limits: Callable[[NDArray[np.float32]], tuple[float, float]]
    visible: bool = False


def _from_zero(values: NDArray[np.float32]) -> tuple[float, float]:
    return 0.0, float(np.percentile(values, 99.5)) or 1.0


def _whole_range(values: NDArray[np.float32]) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return low, high if high > low else low + max(abs(low), 1.0)


STYLES = {
    "detail_um": MapStyle(
        "finest detail (µm)",
        "Period of the finest detail that is left by blur and noise.",
        "viridis",
        _whole_range,
    ),
    "error_map": MapStyle(
        "expected error",
        "What the error of a pixel is below with 90 % probability, in the units of the image.",
        "magma",
        _from_zero,
    ),
    "contradiction_map": MapStyle(
        "contradicted",
        "Pixels where the result, blurred again, differs from the image by more than its noise.",
        CONTRADICTED,
        lambda _: (0.0, 2.0),
        visible=True,
    ),
}
"""Maps by their names in a `DeblurResult`, from bottom to top."""


class TrustLayers:
    """Layers of the maps of one job, above the layer of its result."""

    def __init__(self, viewer: Viewer, part: Part, maps: dict[str, Any]) -> None:
        self.viewer, self.maps, self._part = viewer, maps, part
        self._is_color, self._name = part.layer.rgb, part.layer.name
        self._index, self._transform = part.plane_on_view(viewer), part.transform()
        self._layers: dict[str, LiveLayer] = {}

    def layer_of(self, kind: str) -> ImageLayer | None:
        """Layer of a map, if it exists."""
        live = self._layers.get(kind)
        return None if live is None or live.is_removed else live.layer

    def remove(self) -> None:
        """Remove the layers."""
        for live in self._layers.values():
            live.remove()

    def show(self) -> None:
        """Show what is done of the maps."""
        for kind, live in self._layers.items():
            if self._is_color:
                live.show(self._pixels(kind))
            elif live.layer is not None:
                live.layer.refresh()
        self._set_limits()
        QTimer.singleShot(0, self._add_next)  # adding a layer takes napari a while

    def _add_next(self) -> None:
        """Add the layer of one map, and leave the next one to another turn of the event loop."""
        missing = [kind for kind in STYLES if kind in self.maps and kind not in self._layers]
        if not missing:
            return
        kind, selected = missing[0], self.viewer.layers.selection.active
        style, self._layers[kind] = STYLES[kind], LiveLayer(self.viewer)
        pixels = self._pixels(kind)
        self._layers[kind].show(
            pixels,
            **self._transform,
            name=f"{self._name} {style.name}",
            colormap=style.colormap,
            contrast_limits=self._limits(kind, pixels) or (0.0, 1.0),
            visible=style.visible,
            interpolation2d="nearest",
            metadata=metadata(TRUST, image=self._name, map=kind),
        )
        self.viewer.layers.selection.active = selected
        QTimer.singleShot(0, self._add_next)

    def _pixels(self, kind: str) -> Any:
        """Array of a map; of a color image, the largest of its samples."""
        return self.maps[kind].max(axis=-1) if self._is_color else self.maps[kind]

    def _set_limits(self) -> None:
        """Fit the contrast to the visible plane where it is done."""
        for kind, live in self._layers.items():
            layer = live.layer
            if layer is not None and not live.is_removed:
                layer.contrast_limits = self._limits(kind, layer.data) or layer.contrast_limits

    def _limits(self, kind: str, pixels: Any) -> tuple[float, float] | None:
        """Contrast limits of a map, from its visible plane; None while that is not done."""
        plane = pixels[self._plane()]
        step = max(1, max(plane.shape) // SAMPLE_SIDE)
        sample = np.asarray(plane[::step, ::step])
        return STYLES[kind].limits(sample) if sample.any() else None

    def _plane(self) -> tuple[int, ...]:
        """Index of the visible plane."""
        if self._part.layer in self.viewer.layers:
            self._index = self._part.plane_on_view(self.viewer)
        return self._index


def verdict_text(verdict: TrustVerdict, *, is_short: bool = False) -> str:
    """Verdict in words: what is doubtful or wrong and what to do, or else what was found.

    The short one has the worst finding alone, or that on the result, which is the last one.
    """
    findings = findings_text(verdict, "\n").splitlines()
    if is_short:
        findings = findings[-1:] if verdict.color == "green" else findings[:1]
    return "\n".join([f"{VERDICT_WORDS[verdict.color]}.", *findings])


def notes_of(verdict: TrustVerdict) -> list[str]:
    """What could not be judged; methods measure noise that was not stated themselves."""
    return [note for note in verdict.notes if not note.startswith("The noise was not checked")]


def findings_text(verdict: TrustVerdict, between: str = " ") -> str:
    """Messages of the findings that make the verdict, before the other doubtful ones."""
    findings = [f for f in verdict.findings if f.color == verdict.color]
    others = [f for f in verdict.findings if f.color not in (verdict.color, "green")]
    return between.join(finding.message for finding in (*findings, *others))
