"""CNN(L, k, c) and cCNN(L, k, c), its relative of CoordConv layers."""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

__all__ = ["ConvolutionalLine", "Padding"]

Padding = Literal["same", "once"]


class ConvolutionalLine(nn.Module):
    """Convolutions of one kernel size, all with c channels but the last, which has one.

    Parameters
    ----------
    layers, kernel_size, channels : int
        L, k (odd) and c.
    coordinates : bool
        CoordConv (Liu et al. 2018): every layer also gets the coordinates, as one more channel.
    linear : bool
        No ReLU between the layers.
    padding : {"same", "once"}
        Zeros around the input of every layer, as usual; or around the signal alone, wide enough
        for all layers: then no layer's border tells of a position, and coordinates go on.
    """

    def __init__(
        self,
        layers: int,
        kernel_size: int,
        channels: int,
        *,
        coordinates: bool = False,
        linear: bool = False,
        padding: Padding = "same",
    ) -> None:
        super().__init__()
        widths = [1, *[channels] * (layers - 1), 1]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(before + coordinates, after, kernel_size)
            for before, after in pairwise(widths)
        )
        self.coordinates = coordinates
        self.linear = linear
        self.padding = padding
        self.radius = kernel_size // 2

    def forward(self, signal: Tensor, coordinates: Tensor) -> Tensor:
        """Output (B, N) of signals (B, N) at coordinates (N,)."""
        features = signal[:, None]
        if self.padding == "once":
            margin = self.radius * len(self.convolutions)
            features, coordinates = pad(features, (margin, margin)), _going_on(coordinates, margin)
        for number, convolution in enumerate(self.convolutions):
            if number and not self.linear:
                features = features.relu()
            if self.coordinates:
                beside = coordinates.expand(len(features), 1, -1)
                features = torch.cat([features, beside], dim=1)
            if self.padding == "same":
                features = pad(features, (self.radius, self.radius))
            else:
                coordinates = coordinates[self.radius : len(coordinates) - self.radius]
            features = convolution(features)
        return features[:, 0]


def _going_on(coordinates: Tensor, margin: int) -> Tensor:
    """Evenly spaced coordinates with those of ``margin`` more pixels on both sides."""
    steps = torch.arange(1, margin + 1) * (coordinates[1] - coordinates[0])
    return torch.cat([coordinates[0] - steps.flip(0), coordinates, coordinates[-1] + steps])
