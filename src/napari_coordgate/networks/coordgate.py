"""CoordGate: features multiplied by gating maps that are computed from coordinates.

Howard, Norreys and Döpp, "CoordGate: Efficiently Computing Spatially-Varying
Convolutions in Convolutional Neural Networks", section 3, Eq. 3::

    y(i, a) = h(x)(i, a) * g(C(i))(a)

at pixel i and channel a: features h(x), coordinates C, coordinate encoder g.
"""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from types import MappingProxyType

import torch
from torch import Tensor, nn

from napari_coordgate.config import Activation, GateOutput

__all__ = ["ACTIVATIONS", "CoordGate", "coordinate_encoder"]

ACTIVATIONS: Mapping[Activation, Callable[[], nn.Module]] = MappingProxyType(
    {
        "relu": partial(nn.ReLU, inplace=True),
        "gelu": nn.GELU,
        "silu": partial(nn.SiLU, inplace=True),
    }
)
"""What makes each activation of the settings."""

CACHE_PIXELS = 8192
"""Pixels whose features are gated at once on a CPU; measured."""


def coordinate_encoder(
    channels: int, layers: int, width: int | None = None, activation: Activation = "relu"
) -> nn.Sequential:
    """Pixel-wise fully connected network from (y, x) to one number a channel.

    Parameters
    ----------
    channels : int
        Width n_c of the output.
    layers : int
        Number p of fully connected layers, with the activation between them:
        linear layers alone would make a gate that is affine in the coordinates.
    width : int, optional
        Width of the hidden layers; that of the output when not given.
    activation : {"relu", "gelu", "silu"}
        What stands between the layers.

    Returns
    -------
    nn.Sequential
        Maps (B, 2, H, W) to (B, channels, H, W).
    """
    widths = [2, *[width or channels] * (layers - 1), channels]
    modules: list[nn.Module] = [nn.Conv2d(widths[0], widths[1], 1)]
    for before, after in pairwise(widths[1:]):
        modules += [ACTIVATIONS[activation](), nn.Conv2d(before, after, 1)]
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
    width, activation
        As for `coordinate_encoder`.
    """

    def __init__(
        self,
        channels: int,
        encoder_layers: int,
        output: GateOutput,
        *,
        width: int | None = None,
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        self.encoder = coordinate_encoder(channels, encoder_layers, width, activation)
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
        rows = max(1, CACHE_PIXELS // features.shape[-1])
        for part, gates in zip(features.split(rows, -2), gating_map.split(rows, -2), strict=True):
            part.copy_(self.mix(part * gates))
        return features
