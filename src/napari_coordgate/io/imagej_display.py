"""How ImageJ shows an image: labels of planes, display ranges and mode, which pass to results."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_OF_IMAGE = ("mode", "loop", "fps", "min", "max")
_ORDER = "TZC"
"""Axes of the planes of a file; channels vary fastest."""


def display_of(stated: Mapping[str, Any]) -> dict[str, Any]:
    """Labels, ranges and mode among the metadata of ImageJ in a file."""
    kept = {name: stated[name] for name in _OF_IMAGE if name in stated}
    lists = {name: list(stated[name]) for name in ("Labels", "Ranges") if stated.get(name)}
    return kept | lists


def select_display(
    display: Mapping[str, Any], subset: Mapping[str, Sequence[int]], lengths: Mapping[str, int]
) -> dict[str, Any]:
    """Display of an image of some of the elements of its axes, whose lengths are given."""
    selected = _fitting(display, lengths)
    kept = [list(subset.get(axis, range(lengths[axis]))) for axis in _ORDER]
    if "Labels" in selected:
        labels = np.reshape(selected["Labels"], [lengths[axis] for axis in _ORDER])
        selected["Labels"] = labels[np.ix_(*kept)].ravel().tolist()
    if "Ranges" in selected:
        selected["Ranges"] = np.reshape(selected["Ranges"], (-1, 2))[kept[2]].ravel().tolist()
        selected |= dict(zip(("min", "max"), selected["Ranges"], strict=False))
    return selected


def display_options(display: Mapping[str, Any], lengths: Mapping[str, int]) -> dict[str, Any]:
    """Metadata for tifffile of an image whose axes have these lengths."""
    options = _fitting(display, lengths)
    if lengths["C"] == 1:
        options.pop("mode", None)  # nothing to compose
    return options | {name: tuple(options[name]) for name in ("Ranges",) if name in options}


def _fitting(display: Mapping[str, Any], lengths: Mapping[str, int]) -> dict[str, Any]:
    """Display without labels and ranges of other numbers of planes and channels."""
    counts = {"Labels": lengths["T"] * lengths["Z"] * lengths["C"], "Ranges": 2 * lengths["C"]}
    return {
        name: value
        for name, value in display.items()
        if name not in counts or len(value) == counts[name]
    }
