"""Gating maps: what a network has learned of each place in the frame."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_coordgate.geometry import Window, frame_coordinates
from napari_coordgate.model import Model
from napari_coordgate.networks import Network

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["GatingMapCache", "by_variance", "draw_gates", "gating_maps"]


def gating_maps(
    checkpoint: str | Path | Model,
    window: Window | None = None,
    longest_side: int | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Gating maps that a network has learned, as images.

    Parameters
    ----------
    checkpoint : str, Path or Checkpoint
        The trained network.
    window : Window, optional
        Part of the frame; all of it when not given.
    longest_side : int, optional
        Most pixels along a side of the maps of a whole frame, to look at: maps are
        smooth, and those of a large frame fill the memory.

    Returns
    -------
    dict of str to ndarray, shape (n_c, h, w)
        Maps of each gate, at its level's resolution. ``"down 1"`` stands before
        the first down-sampling, ``"up 1"`` after the last up-sampling, both at
        full resolution; ``"down 2"`` at half of it. Empty for a network without gates.
    """
    model = checkpoint if isinstance(checkpoint, Model) else Model.load(checkpoint)
    shape = model.frame_shape
    if window is None and longest_side is not None:
        shape = _shrunk(shape, longest_side, model.config.network.multiple)
    coordinates = torch.from_numpy(frame_coordinates(shape, window))[None]
    maps = model.network.gating_maps(coordinates)
    return {
        f"{place} {level}": gate[0].numpy()
        for place, gates in maps._asdict().items()
        for level, gate in enumerate(gates, start=1)
    }


def _shrunk(shape: tuple[int, int], longest_side: int, multiple: int) -> tuple[int, int]:
    """Frame of the same view in fewer pixels: its coordinates reach over [-1, 1] as well.

    Its sides are multiples of what a coarsest feature covers, so that no map is padded.
    """
    factor = multiple * max(shape) / longest_side
    if factor <= multiple:
        return shape
    height, width = (multiple * max(1, round(side / factor)) for side in shape)
    return height, width


def by_variance(gate: NDArray[np.float32]) -> NDArray[np.intp]:
    """Order of a gate's maps by how much they vary over the frame.

    Parameters
    ----------
    gate : ndarray, shape (n_c, h, w)
        Maps of one gate.

    Returns
    -------
    ndarray, shape (n_c,)
        Numbers of the maps, those that vary most first.
    """
    return np.argsort(-gate.std(axis=(1, 2)), kind="stable")


def draw_gates(maps: Mapping[str, NDArray[np.float32]], columns: int = 8) -> Figure:
    """Contact sheet: a row of maps for each gate, those that vary most.

    Parameters
    ----------
    maps : mapping of str to ndarray, shape (n_c, h, w)
        From `gating_maps`; not empty.
    columns : int
        Maps shown of each gate.

    Returns
    -------
    matplotlib.figure.Figure
        The sheet, of no window; ``figure.savefig(path)`` writes it.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.6 * columns, 1.9 * len(maps)), layout="constrained")
    axes = figure.subplots(len(maps), columns, squeeze=False)
    for row, (name, gate) in zip(axes, maps.items(), strict=True):
        for cell in row:
            cell.set_axis_off()
        for cell, number in zip(row, by_variance(gate), strict=False):
            shown = gate[number]
            cell.imshow(shown, cmap="viridis")
            title = f"{name}, map {number}\n{shown.min():.3g} to {shown.max():.3g}"
            cell.set_title(title, fontsize=7)
    return figure


class GatingMapCache:
    """Coordinates and gating maps of windows, kept from their second use on.

    Parameters
    ----------
    network : Network
        The network whose maps they are.
    frame_shape : tuple of int
        (height, width) of the frame.
    device : torch.device
        Where the network is.
    room : float
        Bytes that may be kept.
    """

    def __init__(
        self, network: Network, frame_shape: tuple[int, int], device: torch.device, room: float
    ) -> None:
        self.network = network
        self.frame_shape = frame_shape
        self.device = device
        self.room = room
        self._seen: set[Window] = set()
        self._kept: dict[Window, tuple[Tensor, tuple[Tensor, ...]]] = {}

    def of(self, window: Window) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Coordinates of a window, (1, 2, H, W), and its gating maps."""
        if window in self._kept:
            return self._kept[window]
        array = frame_coordinates(self.frame_shape, window)
        coordinates = torch.from_numpy(array)[None].to(self.device)
        maps = self.network.coordinate_maps(coordinates)
        size = coordinates.nbytes + sum(values.nbytes for values in maps)
        # A single image, however large, never uses its maps again.
        if window in self._seen and size <= self.room:
            self._kept[window] = coordinates, maps
            self.room -= size
        self._seen.add(window)
        return coordinates, maps

    def disable(self) -> None:
        """Let go of all, and keep none from now on: the memory is needed."""
        self._kept.clear()
        self.room = 0
