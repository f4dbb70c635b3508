"""One-dimensional networks of section 4.1 of the paper, ``network(signals, coordinates)``.

Signals and outputs have shape (B, N), coordinates (N,). Every network takes coordinates, even if
it ignores them, so that all are trained by the same code.
"""

from itertools import pairwise
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

Padding = Literal["same", "once"]


class CNN1D(nn.Module):
    """CNN(L, k, c), or CoordConv cCNN(L, k, c) (Liu et al. 2018) with ``coordinates=True``.

    With ``padding="same"``, every layer pads its input with zeros. With ``"once"``, only the signal
    is padded, wide enough for all layers, and the coordinates are extrapolated: then no layer's
    border reveals a position.
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
            nn.Conv1d(inputs + coordinates, outputs, kernel_size)
            for inputs, outputs in pairwise(widths)
        )
        self.coordinates = coordinates
        self.linear = linear
        self.padding = padding
        self.radius = kernel_size // 2

    def forward(self, signals: Tensor, coordinates: Tensor) -> Tensor:
        """Return the outputs (B, N)."""
        features = signals[:, None]
        if self.padding == "once":
            margin = self.radius * len(self.convolutions)
            features = pad(features, (margin, margin))
            coordinates = _extrapolate(coordinates, margin)
        for number, convolution in enumerate(self.convolutions):
            if number and not self.linear:
                features = features.relu()
            if self.coordinates:
                channel = coordinates.expand(len(features), 1, -1)
                features = torch.cat([features, channel], dim=1)
            if self.padding == "same":
                features = pad(features, (self.radius, self.radius))
            else:
                coordinates = coordinates[self.radius : len(coordinates) - self.radius]
            features = convolution(features)
        return features[:, 0]


def _extrapolate(coordinates: Tensor, margin: int) -> Tensor:
    """Extend evenly spaced coordinates by ``margin`` pixels on both sides."""
    steps = torch.arange(1, margin + 1) * (coordinates[1] - coordinates[0])
    return torch.cat([coordinates[0] - steps.flip(0), coordinates, coordinates[-1] + steps])


class GatedCNN1D(nn.Module):
    """CG(L, k, c, p): CNN features times a gating map, mixed by a 1x1 convolution (Eq. 3).

    The coordinate encoder has p fully connected layers of c nodes. With p = 0 the gating map of
    ``length`` pixels is itself a parameter.
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
        for inputs, outputs in pairwise([1, *[channels] * layers]):
            modules += [nn.Conv1d(inputs, outputs, kernel_size, padding="same"), nn.ReLU()]
        self.features = nn.Sequential(*(modules if relu_features else modules[:-1]))
        if encoder_layers:
            self.encoder = _encoder(channels, encoder_layers)
        else:
            assert length is not None
            self.free_map = nn.Parameter(torch.empty(channels, length).uniform_(-1, 1))
        self.mix = nn.Conv1d(channels, 1, 1)

    def gating_map(self, coordinates: Tensor) -> Tensor:
        """Return the gating map g(C), (c, N)."""
        if hasattr(self, "free_map"):
            return self.free_map
        gating_map: Tensor = self.encoder(coordinates[None])
        return gating_map

    def forward(
        self, signals: Tensor, coordinates: Tensor, gating_map: Tensor | None = None
    ) -> Tensor:
        """Return the outputs (B, N); a given gating map is used instead of the encoder's."""
        gates = self.gating_map(coordinates) if gating_map is None else gating_map
        outputs: Tensor = self.mix(self.features(signals[:, None]) * gates)
        return outputs[:, 0]


def _encoder(channels: int, layers: int) -> nn.Sequential:
    """Build a coordinate encoder with ReLU between its layers."""
    modules: list[nn.Module] = []
    for inputs, outputs in pairwise([1, *[channels] * layers]):
        modules += [nn.Conv1d(inputs, outputs, 1), nn.ReLU()]
    return nn.Sequential(*modules[:-1])


class LocallyConnected1D(nn.Module):
    """LCN(k): one layer with a kernel and a bias for every pixel (Bruna et al. 2014)."""

    def __init__(self, length: int, kernel_size: int) -> None:
        super().__init__()
        bound = kernel_size**-0.5
        self.kernels = nn.Parameter(torch.empty(length, kernel_size).uniform_(-bound, bound))
        self.biases = nn.Parameter(torch.empty(length).uniform_(-bound, bound))

    def forward(self, signals: Tensor, coordinates: Tensor) -> Tensor:
        """Return the outputs (B, N); coordinates are ignored."""
        return (_neighborhoods(signals, self.kernels.shape[1]) * self.kernels).sum(-1) + self.biases


class PixelAdaptiveCNN1D(nn.Module):
    """PAC(L, k, c): pixel-adaptive convolutions (Su et al. 2019, Eq. 3), with ReLU between layers.

    A layer's output at pixel i is the sum over pixels j of K(f_i, f_j) w(i - j) v_j with
    K(f_i, f_j) = exp(-|f_i - f_j|^2 / 2). Here the features f are the coordinates, or, with
    ``embedding`` > 0, that many learned functions of them. Evenly spaced coordinates make K depend
    on i - j alone, so that the layer is an ordinary convolution.
    """

    def __init__(self, layers: int, kernel_size: int, channels: int, *, embedding: int = 0) -> None:
        super().__init__()
        widths = [1, *[channels] * (layers - 1), 1]
        convolutions = [nn.Conv1d(*sizes, kernel_size) for sizes in pairwise(widths)]
        self.convolutions = nn.ModuleList(convolutions)
        self.kernel_size = kernel_size
        self.embed = _encoder(embedding, 2) if embedding else nn.Identity()

    def forward(self, signals: Tensor, coordinates: Tensor) -> Tensor:
        """Return the outputs (B, N)."""
        embedded = self.embed(coordinates[None])
        differences = _neighborhoods(embedded, self.kernel_size) - embedded[..., None]
        factors = torch.exp(-differences.square().sum(0) / 2)  # K, (N, k)
        features = signals[:, None]
        for number, layer in enumerate(self.convolutions):
            if number:
                features = features.relu()
            adapted = _neighborhoods(features, self.kernel_size) * factors
            weight, bias = cast(Tensor, layer.weight), cast(Tensor, layer.bias)
            features = torch.einsum("bcnk,ock->bon", adapted, weight) + bias[:, None]
        return features[:, 0]


def _neighborhoods(features: Tensor, kernel_size: int) -> Tensor:
    """Return the k pixels around each pixel, zeros beyond the border: (..., N) to (..., N, k)."""
    radius, length = kernel_size // 2, features.shape[-1]
    padded = pad(features, (radius, radius))
    # The gradient of Tensor.unfold is slow under vmap.
    return torch.stack([padded[..., tap : tap + length] for tap in range(kernel_size)], dim=-1)
