"""CoordGate: features multiplied by gating maps that are computed from coordinates.

Howard, Norreys and Döpp, "CoordGate: Efficiently Computing Spatially-Varying
Convolutions in Convolutional Neural Networks", section 3, Eq. 3::

    y(i, a) = h(x)(i, a) * g(C(i))(a)

at pixel i and channel a: features h(x), coordinates C, coordinate encoder g.
"""

import torch
from torch import Tensor, nn

from napari_coordgate.config import GateOutput

__all__ = ["CoordGate", "coordinate_encoder"]

PIXELS_IN_CACHE = 8192
"""Pixels whose features are gated at once on a CPU; measured."""


def coordinate_encoder(channels: int, layers: int) -> nn.Sequential:
    """Pixel-wise fully connected network from (y, x) to one number a channel.

    Parameters
    ----------
    channels : int
        Width n_c of every layer, and so of the output.
    layers : int
        Number p of fully connected layers, with ReLU between them: linear
        layers alone would make a gate that is affine in the coordinates.

    Returns
    -------
    nn.Sequential
        Maps (B, 2, H, W) to (B, channels, H, W).
    """
    modules: list[nn.Module] = [nn.Conv2d(2, channels, 1)]
    for _ in range(layers - 1):
        modules += [nn.ReLU(inplace=True), nn.Conv2d(channels, channels, 1)]
    return nn.Sequential(*modules)


class CoordGate(nn.Module):
    """Gate of one place in a network: product with the gating map, then a 1x1 convolution.

    Parameters
    ----------
    channels : int
        Channels of the features.
    encoder_layers : int
        Fully connected layers of the coordinate encoder g.
    output : {"identity", "relu", "one_plus"}
        Gating map: g, ReLU(g), or 1 + g with g = 0 before training.
    """

    def __init__(self, channels: int, encoder_layers: int, output: GateOutput) -> None:
        super().__init__()
        self.encoder = coordinate_encoder(channels, encoder_layers)
        self.output = output
        self.mix = nn.Conv2d(channels, channels, 1)
        if output == "one_plus":
            for parameter in self.encoder[-1].parameters():
                nn.init.zeros_(parameter)

    def gating_map(self, coordinates: Tensor) -> Tensor:
        """Gating map g(C): (B, 2, H, W) coordinates to (B, channels, H, W)."""
        g: Tensor = self.encoder(coordinates)
        if self.output == "relu":
            return g.relu_()
        return g.add_(1) if self.output == "one_plus" else g

    def forward(self, features: Tensor, gating_map: Tensor) -> Tensor:
        """Gated features; both inputs (B or 1, channels, H, W).

        Where no gradient is wanted, the result may take the place of ``features``.
        """
        if torch.is_grad_enabled() or features.device.type != "cpu":
            mixed: Tensor = self.mix(features * gating_map.to(features.dtype))
            return mixed
        # Large new arrays cost a CPU more time (page faults) than the arithmetic: a few
        # rows at a time stay in its cache.
        rows = max(1, PIXELS_IN_CACHE // features.shape[-1])
        for part, gates in zip(features.split(rows, -2), gating_map.split(rows, -2), strict=True):
            part.copy_(self.mix(part * gates))
        return features
