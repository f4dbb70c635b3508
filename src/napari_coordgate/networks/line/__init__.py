"""One-dimensional networks of section 4.1: signals in, signals of the same length out.

Each is called as ``network(signal, coordinates)`` with signals (B, N) and the coordinates of
their pixels (N,), be they used or not; random numbers may stand in for the coordinates.
"""

from napari_coordgate.networks.line.adaptive import PixelAdaptive
from napari_coordgate.networks.line.convolutional import ConvolutionalLine, Padding
from napari_coordgate.networks.line.gated import GatedLine
from napari_coordgate.networks.line.local import LocallyConnected, neighbourhoods

__all__ = [
    "ConvolutionalLine",
    "GatedLine",
    "LocallyConnected",
    "Padding",
    "PixelAdaptive",
    "neighbourhoods",
]
