"""Gating maps as layers over the frame."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.widgets.layers.places import on_frame
from napari_coordgate.widgets.layers.provenance import GATES, LayerData, metadata

if TYPE_CHECKING:
    from napari_coordgate.model import Model

__all__ = ["LONGEST_SIDE", "gate_layers", "pitch_px"]

LONGEST_SIDE = 512
"""Most pixels along a side of maps that are shown: they are smooth, and many."""


def gate_layers(
    checkpoint: "Model",
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
    layers: list[LayerData] = []
    for gate, pixels in maps.items():
        pitch = pitch_px(gate, maps, checkpoint.frame_shape)
        options = {
            **on_frame(("channel",), checkpoint.pixel_size_um, pitch),
            "name": f"{name} {gate} ({len(pixels)} channels)",
            "colormap": "viridis",
            "visible": not layers,
            "metadata": metadata(GATES, gate=gate, path=path, settings=settings),
        }
        layers.append((pixels, options, "image"))
    return layers


def pitch_px(
    gate: str, maps: Mapping[str, NDArray[np.float32]], frame_shape: tuple[int, int]
) -> tuple[float, float]:
    """Frame pixels (y, x) that a pixel of a gate's maps covers.

    Parameters
    ----------
    gate : str
        Name of the gate.
    maps : mapping of str to ndarray, shape (n_c, h, w)
        Maps of all gates, over the whole frame at any resolution.
    frame_shape : tuple of int
        (height, width) of the frame, in pixels.

    Returns
    -------
    tuple of float
        1, 2, 4, ... by the gate's level, and more where the maps show the frame in fewer pixels.
    """
    finest = np.max([gate.shape[1:] for gate in maps.values()], axis=0, initial=1)
    # The network continues the frame to a multiple of pixels: such maps are larger, not finer.
    coarser = np.maximum(np.divide(frame_shape, finest), 1)
    height, width = (2.0 ** (int(gate.split()[-1]) - 1) * coarser).tolist()
    return height, width
