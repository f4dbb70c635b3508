"""Gating maps as layers over the frame."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.widgets.contributions.layer_metadata import (
    GATES,
    LayerData,
    metadata,
    on_frame,
)

if TYPE_CHECKING:
    from napari_coordgate.checkpoint import Checkpoint

__all__ = ["LONGEST_SIDE", "gate_layers"]

LONGEST_SIDE = 512
"""Most pixels along a side of maps that are shown: they are smooth, and many."""


def gate_layers(
    checkpoint: "Checkpoint",
    maps: Mapping[str, NDArray[np.float32]],
    name: str,
    path: str | None = None,
) -> list[LayerData]:
    """Layers of the maps of each gate, pixel over pixel of the frame.

    Parameters
    ----------
    checkpoint : Checkpoint
        The trained network.
    maps : mapping of str to ndarray, shape (n_c, h, w)
        Its gating maps, of all gates, over the whole frame at any resolution.
    name : str
        What the layers' names begin with.
    path : str, optional
        File of the checkpoint.

    Returns
    -------
    list of layer data
        An image for each gate; the first is visible.
    """
    settings = checkpoint.header()
    finest = np.max([gate.shape[1:] for gate in maps.values()], axis=0, initial=1)
    # The network continues the frame to a multiple of pixels: such maps are larger, not finer.
    coarser = np.maximum(np.divide(checkpoint.frame_shape, finest), 1)
    layers: list[LayerData] = []
    for gate, pixels in maps.items():
        height, width = 2.0 ** (int(gate.split()[-1]) - 1) * coarser
        options = {
            **on_frame(("channel",), checkpoint.pixel_size_um, (float(height), float(width))),
            "name": f"{name} {gate} ({len(pixels)} channels)",
            "colormap": "viridis",
            "visible": not layers,
            "metadata": metadata(GATES, gate=gate, path=path, settings=settings),
        }
        layers.append((pixels, options, "image"))
    return layers
