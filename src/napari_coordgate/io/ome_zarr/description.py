"""What a store of OME-Zarr tells of its image."""

from typing import Any

import numpy as np

from napari_coordgate.io.metadata import Metadata

__all__ = ["described"]

_TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
_UNITS = {"time": "second", "space": "micrometer"}


def described(levels: list[Any], names: tuple[str, ...], metadata: Metadata) -> dict[str, Any]:
    """Attributes of the group of an image.

    Parameters
    ----------
    levels : list of zarr.Array
        Its levels of resolution, each half the size of the one before.
    names : tuple of str
        Names of the axes.
    metadata : Metadata
        Sizes, and names of channels.

    Returns
    -------
    dict
        As version 0.5 of the specification has them.
    """
    y, x = metadata.pixel_size_um or (None, None)
    known = {"t": metadata.time_step_s, "z": metadata.z_step_um, "y": y, "x": x}
    sizes = np.array([known.get(name) or 1.0 for name in names])
    axes = [
        {"name": name, "type": _TYPES[name]}
        | ({"unit": _UNITS[_TYPES[name]]} if known.get(name) else {})
        for name in names
    ]
    datasets = []
    for number, level in enumerate(levels):
        factors = np.array([2**number if name in "yx" else 1 for name in names])
        places: list[dict[str, Any]] = [{"type": "scale", "scale": (sizes * factors).tolist()}]
        if number:
            # The middle of a coarse pixel is the middle of all those that it stands for.
            shift = sizes * (factors - 1) / 2
            places.append({"type": "translation", "translation": shift.tolist()})
        datasets.append({"path": level.basename, "coordinateTransformations": places})
    told: dict[str, Any] = {"multiscales": [{"axes": axes, "datasets": datasets}]}
    if metadata.channels:
        told["omero"] = {"channels": _channels(levels[-1], names, metadata.channels)}
    return {"ome": {"version": "0.5", **told}}


def _channels(level: Any, names: tuple[str, ...], labels: tuple[str, ...]) -> list[dict[str, Any]]:
    """Names of channels; viewers also want to know their color and brightness."""
    channels = []
    for number, label in enumerate(labels):
        middle = [n // 2 for n in level.shape[:-2]]
        if "c" in names:
            middle[names.index("c")] = number
        plane = np.asarray(level[tuple(middle)])
        finite = plane[np.isfinite(plane)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        window = {"min": low, "max": high, "start": low, "end": high}
        channels.append({"label": label, "color": "FFFFFF", "active": True, "window": window})
    return channels
