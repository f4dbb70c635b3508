"""Gating maps: what a network has learned of each place in the frame."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_coordgate.checkpoint import Checkpoint, load_checkpoint
from napari_coordgate.coordinates import Window, frame_coordinates
from napari_coordgate.networks import GatingMaps, UNet

__all__ = ["KeptMaps", "gating_maps"]


def gating_maps(
    checkpoint: str | Path | Checkpoint, window: Window | None = None
) -> dict[str, NDArray[np.float32]]:
    """Gating maps that a network has learned, as images.

    Parameters
    ----------
    checkpoint : str, Path or Checkpoint
        The trained network.
    window : Window, optional
        Part of the frame; all of it when not given.

    Returns
    -------
    dict of str to ndarray, shape (n_c, h, w)
        Maps of each gate, at its level's resolution. ``"down 1"`` stands before
        the first down-sampling, ``"up 1"`` after the last up-sampling, both at
        full resolution; ``"down 2"`` at half of it. Empty for a network without gates.
    """
    model = checkpoint if isinstance(checkpoint, Checkpoint) else load_checkpoint(checkpoint)
    coordinates = torch.from_numpy(frame_coordinates(model.frame_shape, window))[None]
    maps = model.network.gating_maps(coordinates)
    return {
        f"{place} {level}": gate[0].numpy()
        for place, gates in maps._asdict().items()
        for level, gate in enumerate(gates, start=1)
    }


class KeptMaps:
    """Gating maps of windows, kept from their second use on while they fit the memory.

    Parameters
    ----------
    network : UNet
        The network whose maps they are.
    memory_gb : float
        Most memory that is kept, in GB.
    """

    def __init__(self, network: UNet, memory_gb: float) -> None:
        self.network = network
        self.free_bytes = memory_gb * 1e9
        self._seen: set[Window] = set()
        self._kept: dict[Window, GatingMaps] = {}

    def of(self, window: Window, coordinates: Tensor) -> GatingMaps:
        """Gating maps of a window whose pixels have these coordinates, (1, 2, H, W)."""
        if window in self._kept:
            return self._kept[window]
        maps = self.network.gating_maps(coordinates)
        size = sum(gate.nbytes for gates in maps for gate in gates)
        # A single image, however large, never uses its maps again.
        if window in self._seen and size <= self.free_bytes:
            self._kept[window] = maps
            self.free_bytes -= size
        self._seen.add(window)
        return maps
