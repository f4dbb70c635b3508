"""Picture of a validation by shifted images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, shift as moved, uniform_filter

from napari_coordgate.calibration.spectra import Array
from napari_coordgate.validation.agreement import FREQUENCIES, ZoneAgreement

Float32 = NDArray[np.float32]

MAX_SIDE = 192
"""Largest side of the part that is shown, pixels."""
_DETAIL_PX = 1.5


def draw_validation(
    zones: Sequence[ZoneAgreement],
    titles: Sequence[str],
    blurred: Float32,
    deblurred: Float32,
    shift_px: Array,
) -> Figure:
    """Both images (2, h, w) and their difference, before and after, and the agreement.

    The titles are those of the figure and of both images.
    """
    figure = Figure(figsize=(12, 6), layout="constrained")
    axes = figure.subplot_mosaic("abcd;efgh")
    corner = _shown_corner(blurred)
    rest = shift_px - np.rint(shift_px)
    for row, label, pair in (("abc", "blurred", blurred), ("efg", "deblurred", deblurred)):
        registered = np.stack([pair[0], moved(pair[1], -rest, order=3, mode="nearest")])
        _draw_pair([axes[name] for name in row], registered[:, *corner], label)
    for name, title in zip("abc", (*titles[1:], "difference"), strict=True):
        axes[name].set_title(title, fontsize=8)
    _draw_curves(axes["d"], zones[-1])
    _draw_zones(axes["h"], zones)
    figure.suptitle(titles[0], fontsize=8, wrap=True)
    return figure


def _shown_corner(pair: Float32) -> tuple[slice, slice]:
    """Part where the detail of the two blurred images differs most."""
    smooth = gaussian_filter(pair, (0, _DETAIL_PX, _DETAIL_PX))
    contrast = (smooth - gaussian_filter(pair, (0, 4 * _DETAIL_PX, 4 * _DETAIL_PX))) ** 2
    height, width = (min(side, MAX_SIDE) for side in pair.shape[1:])
    differs = uniform_filter(np.abs(contrast[0] - contrast[1]), (height, width), mode="constant")
    y, x = np.unravel_index(np.argmax(differs), differs.shape)
    starts = [
        int(np.clip(center - side // 2, 0, total - side))
        for center, side, total in zip((y, x), (height, width), pair.shape[1:], strict=True)
    ]
    return slice(starts[0], starts[0] + height), slice(starts[1], starts[1] + width)


def _draw_pair(axes: list[Axes], pair: Float32, label: str) -> None:
    low, high = np.percentile(pair, [1, 99.7])
    for one, image in zip(axes, pair, strict=False):
        one.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    half = (high - low) / 3.0
    difference = pair[0] - pair[1]
    axes[2].imshow(difference, cmap="RdBu", vmin=-half, vmax=half, interpolation="nearest")
    for one in axes:
        one.set(xticks=[], yticks=[])
    axes[0].set_ylabel(label)


def _draw_curves(axes: Axes, edge: ZoneAgreement) -> None:
    frequency = FREQUENCIES[: len(edge.before_by_frequency)]
    axes.plot(frequency, edge.before_by_frequency, "--", color="#7f7f7f", label="blurred")
    axes.plot(frequency, edge.after_by_frequency, color="#0072b2", label="deblurred")
    axes.set(xlabel="frequency, cycles per pixel", ylabel="agreement", ylim=(-0.3, 1.02))
    axes.set_title(edge.name, fontsize=8)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)


def _draw_zones(axes: Axes, zones: Sequence[ZoneAgreement]) -> None:
    place = np.arange(len(zones))
    after = np.array([zone.after for zone in zones])
    half = [(zone.interval[1] - zone.interval[0]) / 2.0 for zone in zones]
    axes.bar(place - 0.2, [zone.before for zone in zones], 0.38, color="#bbbbbb", label="blurred")
    axes.bar(place + 0.2, after, 0.38, yerr=half, color="#0072b2", label="deblurred", capsize=3)
    axes.set_xticks(place, [zone.name for zone in zones], fontsize=8)
    axes.set(ylabel="agreement", ylim=(min(0.0, float(after.min()) - 0.1), 1.1))
    axes.grid(axis="y", alpha=0.3)
