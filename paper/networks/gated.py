"""CG(L, k, c, p): a convolutional network behind a coordinate gate."""

from itertools import pairwise

import torch
from torch import Tensor, nn

__all__ = ["GatedLine"]


class GatedLine(nn.Module):
    """Features h of a CNN, times a gating map, mixed by a 1x1 convolution (paper, Eq. 3).

    The network is linear in the signal if it has one layer, or no ReLU: its gates are not.

    Parameters
    ----------
    layers, kernel_size, channels : int
        L, k (odd) and c of the CNN h, whose last layer has c channels as well.
    encoder_layers : int
        Fully connected layers p of c nodes that make the gating map of the coordinates, with
        ReLU between them; 0: the map itself is trained, freely.
    length : int, optional
        Pixels N of a signal, which a free map must know.
    relu_features : bool
        ReLU also on the last layer of h, before the gate.
    """

    def __init__(
        self,
        layers: int,
        kernel_size: int,
        channels: int,
        encoder_layers: int,
        *,
        length: int | None = None,
        relu_features: bool = False,
    ) -> None:
        super().__init__()
        modules: list[nn.Module] = []
        for before, after in pairwise([1, *[channels] * layers]):
            modules += [nn.Conv1d(before, after, kernel_size, padding="same"), nn.ReLU()]
        self.features = nn.Sequential(*(modules if relu_features else modules[:-1]))
        if encoder_layers:
            self.encoder = _encoder(channels, encoder_layers)
        else:
            assert length is not None
            self.free_map = nn.Parameter(torch.empty(channels, length).uniform_(-1, 1))
        self.mix = nn.Conv1d(channels, 1, 1)

    def gating_map(self, coordinates: Tensor) -> Tensor:
        """Gating map g(C), (c, N), at coordinates (N,)."""
        if hasattr(self, "free_map"):
            return self.free_map
        made: Tensor = self.encoder(coordinates[None])
        return made

    def forward(
        self, signal: Tensor, coordinates: Tensor, gating_map: Tensor | None = None
    ) -> Tensor:
        """Output (B, N) of signals (B, N); a gating map made before is not made again."""
        gates = self.gating_map(coordinates) if gating_map is None else gating_map
        mixed: Tensor = self.mix(self.features(signal[:, None]) * gates)
        return mixed[:, 0]


def _encoder(channels: int, layers: int) -> nn.Sequential:
    """Encoder of one coordinate; the 2-D networks' takes two."""
    modules: list[nn.Module] = []
    for before, after in pairwise([1, *[channels] * layers]):
        modules += [nn.Conv1d(before, after, 1), nn.ReLU()]
    return nn.Sequential(*modules[:-1])
