"""Pixel-adaptive convolution: a kernel times a Gaussian of the distance between features."""

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from paper.networks.local import neighborhoods

__all__ = ["PixelAdaptive"]


class PixelAdaptive(nn.Module):
    """Pixel-adaptive convolutions (Su et al. 2019, Eq. 3), with ReLU between layers.

    A layer's output at pixel i is the sum over pixels j nearby of K(f_i, f_j) w(i - j) v_j,
    with K(f_i, f_j) = exp(-|f_i - f_j|^2 / 2). As f are the coordinates themselves, which
    are evenly spaced, K depends on i - j alone: the layer is an ordinary convolution.

    Parameters
    ----------
    layers, kernel_size, channels : int
        L, k (odd) and c, as for a CNN.
    embedding : int
        Features f of the coordinates that are trained along, a fully connected layer, ReLU
        and another one, of so many nodes; 0: the coordinates.
    """

    def __init__(self, layers: int, kernel_size: int, channels: int, *, embedding: int = 0) -> None:
        super().__init__()
        widths = [1, *[channels] * (layers - 1), 1]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(before, after, kernel_size) for before, after in pairwise(widths)
        )
        self.kernel_size = kernel_size
        self.embed = (
            nn.Identity()
            if embedding == 0
            else nn.Sequential(
                nn.Conv1d(1, embedding, 1), nn.ReLU(), nn.Conv1d(embedding, embedding, 1)
            )
        )

    def adaptation(self, coordinates: Tensor) -> Tensor:
        """Factors K, (N, k), at coordinates (N,)."""
        features = self.embed(coordinates[None])
        apart = neighborhoods(features, self.kernel_size) - features[..., None]
        return torch.exp(-apart.square().sum(0) / 2)

    def forward(self, signal: Tensor, coordinates: Tensor) -> Tensor:
        """Output (B, N) of signals (B, N) at coordinates (N,)."""
        factors, features = self.adaptation(coordinates), signal[:, None]
        for number, layer in enumerate(self.convolutions):
            if number:
                features = features.relu()
            adapted = neighborhoods(features, self.kernel_size) * factors
            weight, bias = cast(nn.Conv1d, layer).weight, cast(nn.Conv1d, layer).bias
            assert bias is not None
            features = torch.einsum("bcnk,ock->bon", adapted, weight) + bias[:, None]
        return features[:, 0]
