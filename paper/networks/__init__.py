"""One-dimensional networks of section 4.1: signals in, signals of the same length out.

Each is called as ``network(signal, coordinates)`` with signals (B, N) and the coordinates of
their pixels (N,), be they used or not; random numbers may stand in for the coordinates.
"""

from paper.networks.adaptive import PixelAdaptive
from paper.networks.convolutional import ConvolutionalLine, Padding
from paper.networks.gated import GatedLine
from paper.networks.local import LocallyConnected, neighborhoods

__all__ = [
    "ConvolutionalLine",
    "GatedLine",
    "LocallyConnected",
    "Padding",
    "PixelAdaptive",
    "neighborhoods",
]
