"""CoordGate: features multiplied by gating maps that are computed from coordinates."""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from types import MappingProxyType

import torch
from torch import Tensor, nn

from napari_coordgate.config import Activation, GateOutput, check_choice, check_counts

ACTIVATIONS: Mapping[Activation, Callable[[], nn.Module]] = MappingProxyType(
    {
        "relu": partial(nn.ReLU, inplace=True),
        "gelu": nn.GELU,
        "silu": partial(nn.SiLU, inplace=True),
    }
)
"""Constructor of each activation."""


def coordinate_encoder(
    channels: int,
    layers: int = 2,
    width: int | None = None,
    activation: Activation = "relu",
    coordinate_channels: int = 2,
) -> nn.Sequential:
    """Pixel-wise fully connected network, (B, coordinate_channels, H, W) to (B, channels, H, W).

    The hidden layers have ``width`` units, or as many as the output. The activations between the
    layers matter: linear layers alone would make gating maps that are affine in the coordinates.
    """
    widths = [coordinate_channels, *[width or channels] * (layers - 1), channels]
    modules: list[nn.Module] = [nn.Conv2d(widths[0], widths[1], 1)]
    for c_in, c_out in pairwise(widths[1:]):
        modules += [ACTIVATIONS[activation](), nn.Conv2d(c_in, c_out, 1)]
    return nn.Sequential(*modules)


class CoordGate(nn.Module):
    """Multiply features by a gating map of the coordinates, then mix channels with a 1x1 kernel.

    At pixel i and channel a, with features h(x), coordinates C and coordinate encoder g, the
    product is ``y(i, a) = h(x)(i, a) * g(C(i))(a)`` (Eq. 3 of [1]_).

    Parameters
    ----------
    channels : int
        Number of channels of the features.
    output : {"one_plus", "identity", "relu"}
        Gating map: 1 + g, with g = 0 before training; g; or ReLU(g).
    encoder_layers : int
        Number of fully connected layers of the coordinate encoder g.
    encoder_width : int, optional
        Width of the encoder's hidden layers; default ``channels``.
    activation : {"relu", "gelu", "silu"}
        Activation between the encoder's layers.
    coordinate_channels : int
        Number of coordinates per pixel; 2 for a position (y, x).

    Raises
    ------
    SettingsError
        If an argument is not one of its choices, or a number is not a positive integer.

    References
    ----------
    .. [1] S. Howard, P. Norreys and A. Döpp, "CoordGate: Efficiently Computing
       Spatially-Varying Convolutions in Convolutional Neural Networks", section 3.

    Examples
    --------
    >>> import torch
    >>> from napari_coordgate import CoordGate
    >>> gate = CoordGate(16)
    >>> features = torch.rand(4, 16, 32, 48)
    >>> y, x = torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 48)
    >>> coordinates = torch.stack(torch.meshgrid(y, x, indexing="ij"))[None]
    >>> gate(features, coordinates).shape
    torch.Size([4, 16, 32, 48])
    """

    def __init__(
        self,
        channels: int,
        output: GateOutput = "one_plus",
        *,
        encoder_layers: int = 2,
        encoder_width: int | None = None,
        activation: Activation = "relu",
        coordinate_channels: int = 2,
    ) -> None:
        super().__init__()
        check_counts(
            channels=channels,
            encoder_layers=encoder_layers,
            encoder_width=1 if encoder_width is None else encoder_width,
            coordinate_channels=coordinate_channels,
        )
        check_choice("output", output, GateOutput)
        check_choice("activation", activation, Activation)
        self.encoder = coordinate_encoder(
            channels, encoder_layers, encoder_width, activation, coordinate_channels
        )
        self.output = output
        self.mix = nn.Conv2d(channels, channels, 1)
        if output == "one_plus":
            for parameter in self.encoder[-1].parameters():
                nn.init.zeros_(parameter)

    def gating_map(self, coordinates: Tensor) -> Tensor:
        """Gating map of some pixels; depends on their coordinates alone, not on the image.

        Parameters
        ----------
        coordinates : Tensor, shape (B or 1, coordinate_channels, H, W)
            Coordinates of the pixels.

        Returns
        -------
        Tensor, shape (B or 1, channels, H, W)
            Gating map; in full precision under autocast, because in bfloat16 neighboring
            pixels of a frame of 512 would share one coordinate.
        """
        with torch.autocast(coordinates.device.type, enabled=False):
            g: Tensor = self.encoder(coordinates)  # (B, K, H, W) -> (B, channels, H, W)
        if self.output == "relu":
            return g.relu_()
        return g.add_(1) if self.output == "one_plus" else g

    def modulate(self, features: Tensor, gating_map: Tensor) -> Tensor:
        """Apply a precomputed gating map.

        Parameters
        ----------
        features : Tensor, shape (B, channels, H, W)
            Features; not modified.
        gating_map : Tensor, shape (B or 1, channels, H, W)
            Result of `gating_map`.

        Returns
        -------
        Tensor, shape (B, channels, H, W)
            Gated and mixed features.
        """
        mixed: Tensor = self.mix(features * gating_map.to(features.dtype))
        return mixed

    def forward(self, features: Tensor, coordinates: Tensor) -> Tensor:
        """Gate features by the coordinates of their pixels.

        Parameters
        ----------
        features : Tensor, shape (B, channels, H, W)
            Features; not modified.
        coordinates : Tensor, shape (B or 1, coordinate_channels, H, W)
            Coordinates at the resolution of the features.

        Returns
        -------
        Tensor, shape (B, channels, H, W)
            Gated and mixed features.
        """
        return self.modulate(features, self.gating_map(coordinates))
