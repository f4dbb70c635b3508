"""Gating maps of a trained model, as images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from napari_coordgate.errors import ModelError
from napari_coordgate.geometry import Window, as_window, frame_coordinates
from napari_coordgate.model import Model, as_model
from napari_coordgate.opening import check_claim
from napari_coordgate.representation import create_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BYTES_PER_PIXEL = 32
"""Of the coordinates alone."""


def gating_maps(
    model: str | Path | Model,
    window: Window | None = None,
    longest_side: int | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Gating maps of a trained model, as images.

    A gating map is the factor by which a gate multiplies one feature map at each pixel of
    the frame. It depends on the coordinates alone and is the same for all images.

    Parameters
    ----------
    model : str, Path or Model
        Trained model, or the file of one.
    window : Window, optional
        Part of the frame; the whole frame by default.
    longest_side : int, optional
        Maximum side of the maps of the whole frame, in pixels, for display: the maps are
        smooth, and those of a large frame need much memory.

    Returns
    -------
    dict of str to ndarray of float32, shape (C, h, w)
        Maps of each gate, at the resolution of its level. ``"down 1"`` is the gate before
        the first down-sampling and ``"up 1"`` the one after the last up-sampling, both at
        full resolution; ``"down 2"`` is at half of it. Empty for a network without gates.

    Raises
    ------
    ModelError
        If the model cannot be read, or its frame is too large for the memory.

    References
    ----------
    S. Howard, P. Norreys and A. Döpp, "CoordGate: Efficiently computing spatially-varying
    convolutions in convolutional neural networks", section 3.

    Examples
    --------
    >>> from napari_coordgate import gating_maps
    >>> maps = gating_maps("sample_data/starter.safetensors", longest_side=64)
    >>> {name: gate.shape for name, gate in maps.items() if name.startswith("down")}
    {'down 1': (32, 64, 64), 'down 2': (64, 32, 32)}
    """
    model = as_model(model)
    window = None if window is None else as_window(window)
    shape = model.frame_shape
    if window is None and longest_side is not None:
        shape = reduced_shape(shape, longest_side, model.network.multiple)
    pixels = math.prod(shape if window is None else window.shape)
    try:
        check_claim(_BYTES_PER_PIXEL * pixels, "Gating maps need")
    except ValueError as error:
        raise ModelError(f"{error}; choose a window or a longest side.") from None
    coordinates = torch.from_numpy(frame_coordinates(shape, window))[None]
    maps = model.network.gating_maps(coordinates)
    return {
        f"{branch} {level}": gate[0].numpy()
        for branch, gates in maps._asdict().items()
        for level, gate in enumerate(gates, start=1)
    }


def reduced_shape(shape: tuple[int, int], longest_side: int, multiple: int) -> tuple[int, int]:
    """Shape of the same field of view in fewer pixels, divisible so that no map is padded."""
    factor = multiple * max(shape) / longest_side
    if factor <= multiple:
        return shape
    height, width = (multiple * max(1, round(side / factor)) for side in shape)
    return height, width


def by_variance(gate: NDArray[np.float32]) -> NDArray[np.intp]:
    """Indices of a gate's maps (C, h, w), sorted by how much they vary over the frame."""
    return np.argsort(-gate.std(axis=(1, 2)), kind="stable")


def plot_gating_maps(maps: Mapping[str, NDArray[np.float32]], columns: int = 8) -> Figure:
    """Figure with one row per gate of `gating_maps`: the maps that vary most."""
    figure = create_figure(1.6 * columns, 1.9 * len(maps))
    axes = figure.subplots(len(maps), columns, squeeze=False)
    for row, (name, gate) in zip(axes, maps.items(), strict=True):
        for cell in row:
            cell.set_axis_off()
        for cell, channel in zip(row, by_variance(gate), strict=False):
            image = gate[channel]
            cell.imshow(image, cmap="viridis")
            title = f"{name}, map {channel}\n{image.min():.3g} to {image.max():.3g}"
            cell.set_title(title, fontsize=7)
    return figure
