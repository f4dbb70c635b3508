"""Attributes of OME-Zarr images: what they state, and all of them, so that the rest passes through.

Specification: https://ngff.openmicroscopy.org/0.5
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.io.metadata import ImageMetadata, Original, micrometers, seconds

_PROCESSING = "napari-coordgate"
"""Key of how an image was made."""
_LETTERS = {"time": "T", "channel": "C"}
_TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
_UNITS = {"time": "second", "space": "micrometer"}
_OF_STORE = frozenset(
    [
        "ome",
        "multiscales",
        "omero",
        "bioformats2raw.layout",
        "plate",
        "well",
        "labels",
        "image-label",
    ]
)
"""Attributes that are not copied: they are rewritten, or about other images in a store."""
_MAX_DEPTH = 100
_OF_LEVELS = ("axes", "datasets", "version", "type", "metadata", "coordinateTransformations")
"""Entries of a multiscale that are about its levels."""


def ome_attributes(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """OME attributes of a group, which are within "ome" since version 0.5."""
    ome: Mapping[str, Any] = attributes.get("ome", attributes)
    return ome


def read_zarr_attributes(
    attributes: Mapping[str, Any], dtype: np.dtype[Any]
) -> tuple[str, ImageMetadata]:
    """Axes and metadata of an image with pixels of this type, of the attributes of its group."""
    _check_depth(attributes)
    ome = ome_attributes(attributes)
    multiscale = ome["multiscales"][0]
    level = multiscale["datasets"][0]
    axes = [
        axis if isinstance(axis, dict) else {"name": axis}  # only names until version 0.3
        for axis in multiscale.get("axes", "tczyx")
    ]
    letters = "".join(map(_axis_letter, axes))
    finest, all_levels = _transform(level, len(axes)), _transform(multiscale, len(axes))
    scale = dict(zip(letters, (finest[0] * all_levels[0]).tolist(), strict=True))
    shift = finest[1] * all_levels[0] + all_levels[1]
    units = {letter: axis.get("unit") for letter, axis in zip(letters, axes, strict=True)}
    known = {
        letter: (seconds if letter == "T" else micrometers)(scale[letter], units[letter])
        for letter in letters
    }
    omero = dict(ome.get("omero", {}))
    channels = omero.pop("channels", [])
    metadata = ImageMetadata.sanitized(
        (known.get("Y"), known.get("X")),
        known.get("Z"),
        known.get("T"),
        [str(channel.get("label", "")) for channel in channels],
        channel_colors=[
            str(channel.get("color", "")).removeprefix("#").upper()[:6] for channel in channels
        ],
        processing=attributes.get(_PROCESSING),
    )
    original = {
        "attributes": {n: v for n, v in attributes.items() if n not in _OF_STORE},
        "multiscale": {n: v for n, v in multiscale.items() if n not in _OF_LEVELS},
        "omero": omero,
        "channels": channels,
        "dtype": dtype.name,
        # Along axes without a known unit; of the others the metadata have the size.
        "axes": {
            letter: {"scale": scale[letter], "unit": units[letter]}
            for letter in letters
            if known[letter] is None
        },
        # In pixels.
        "shift": {
            letter: float(distance) / scale[letter]
            for letter, distance in zip(letters, shift, strict=True)
            if scale[letter]
        },
    }
    return letters, metadata._replace(original=Original(zarr=original))


def _check_depth(value: Any, levels: int = _MAX_DEPTH) -> None:
    """Raise ValueError if values are nested so deeply that they could be read, and not written."""
    if not levels:
        raise ValueError("its attributes are nested too deeply")
    inner = value.values() if isinstance(value, Mapping) else value
    for each in inner if isinstance(value, Mapping | list) else ():
        _check_depth(each, levels - 1)


def select_in_zarr(
    original: Mapping[str, Any], subset: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """Original attributes for some of the channels (C), times (T) and planes (Z)."""
    channels = original["channels"]
    kept = [channels[n] for n in subset.get("C", range(len(channels))) if n < len(channels)]
    other = {
        name: {axis: value for axis, value in original[name].items() if axis not in subset}
        for name in ("axes", "shift")
    }
    return {**original, **other, "channels": kept}


def _axis_letter(axis: Mapping[str, str]) -> str:
    return _LETTERS.get(axis.get("type", ""), axis["name"][:1].upper())


def _transform(
    stated: Mapping[str, Any], ndim: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scale and translation along each axis, by default 1 and 0; of several, all in order."""
    scale, shift = np.ones(ndim), np.zeros(ndim)
    for step in stated.get("coordinateTransformations", []):
        if step.get("type") == "scale":
            factors = np.asarray(step["scale"], float)
            scale, shift = scale * factors, shift * factors
        if step.get("type") == "translation":
            shift = shift + np.asarray(step["translation"], float)
    return scale, shift


def zarr_attributes(
    levels: Sequence[Any], names: Sequence[str], metadata: ImageMetadata
) -> dict[str, Any]:
    """Attributes of a group with these levels of axes such as "c", as version 0.5 has them."""
    original = metadata.original.zarr or {}
    y, x = metadata.pixel_size_um or (None, None)
    known = {"t": metadata.time_step_s, "z": metadata.z_step_um, "y": y, "x": x}
    axes, sizes = [], np.ones(len(names))
    for number, name in enumerate(names):
        stated = original.get("axes", {}).get(name.upper(), {})
        unit = _UNITS.get(_TYPES[name]) if known.get(name) else stated.get("unit")
        axes.append({"name": name, "type": _TYPES[name]} | ({"unit": unit} if unit else {}))
        sizes[number] = known.get(name) or stated.get("scale") or 1.0
    first = np.array([original.get("shift", {}).get(name.upper(), 0.0) for name in names])
    datasets = []
    for number, level in enumerate(levels):
        factors = np.array([2**number if name in "yx" else 1 for name in names])
        steps: list[dict[str, Any]] = [{"type": "scale", "scale": (sizes * factors).tolist()}]
        # The center of a coarse pixel is the center of the pixels it averages.
        shift = sizes * (first + (factors - 1) / 2)
        if shift.any():
            steps.append({"type": "translation", "translation": shift.tolist()})
        datasets.append({"path": level.basename, "coordinateTransformations": steps})
    multiscale = {**original.get("multiscale", {}), "axes": axes, "datasets": datasets}
    ome: dict[str, Any] = {"version": "0.5", "multiscales": [multiscale]}
    if channels := _channels(levels, names, metadata, original):
        ome["omero"] = {**original.get("omero", {}), "channels": channels}
    processing = {_PROCESSING: dict(metadata.processing)} if metadata.processing else {}
    return {**original.get("attributes", {}), **processing, "ome": ome}


def _channels(
    levels: Sequence[Any],
    names: Sequence[str],
    metadata: ImageMetadata,
    original: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Channels with the name, color and contrast limits that viewers require; none if unknown."""
    number = levels[0].shape[names.index("c")] if "c" in names else 1
    metadata = metadata.for_channels(number)
    former = original.get("channels", [])
    former = former if len(former) == number else []
    if not (former or metadata.channel_names or metadata.channel_colors):
        return []
    keeps_window = original.get("dtype") == levels[0].dtype.name
    channels = []
    for channel in range(number):
        stated = dict(former[channel]) if former else {"active": True, "color": "FFFFFF"}
        if metadata.channel_names:
            stated["label"] = metadata.channel_names[channel]
        if metadata.channel_colors and metadata.channel_colors[channel]:
            stated["color"] = metadata.channel_colors[channel]
        if not (keeps_window and "window" in stated):
            stated["window"] = _window(levels[-1], names, channel)
        channels.append(stated)
    return channels


def _window(level: Any, names: Sequence[str], channel: int) -> dict[str, float]:
    """Contrast limits of a channel: those of its middle plane."""
    middle = [n // 2 for n in level.shape[:-2]]
    if "c" in names:
        middle[names.index("c")] = channel
    plane = np.asarray(level[tuple(middle)])
    finite = plane[np.isfinite(plane)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return {"min": low, "max": high, "start": low, "end": high}
