"""U-Net(d), CG U-Net(d) and CoordConv-UNet(d) (paper, section 4.2 and Fig. 4a)."""

from collections.abc import Iterator
from typing import Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_coordgate.config import (
    Activation,
    CGUNetConfig,
    GateOutput,
    GatePoints,
    GateSettings,
    UNetSettings,
    check_choice,
    check_counts,
    check_kernel_size,
)
from napari_coordgate.errors import SettingsError
from napari_coordgate.networks.coordgate import ACTIVATIONS, CoordGate
from napari_coordgate.networks.network import GatingMaps, Network

FEATURES_PER_PIXEL = 10
"""Feature maps at full resolution in memory at once in a forward pass without gradient, gating
maps included; measured."""

CACHE_PIXELS = 8192
"""Pixels whose features are gated at once on a CPU; measured."""


class UNet(Network):
    """U-Net of d levels, optionally with coordinate gates or with coordinates as features.

    A level is two convolutions, each with its activation. Between levels: 2x2 max-pooling
    down, 2x2 transposed convolution up, skip connections (Fig. 4a of [1]_). Gates multiply
    the features before each down-sampling and after each up-sampling.

    Parameters
    ----------
    in_channels, out_channels : int
        Number of channels of the input and of the output.
    depth : int
        Number of levels d.
    base_channels : int
        Channels at full resolution; they double at each level.
    kernel_size : int
        Side of the convolution kernels, odd.
    activation : {"relu", "gelu", "silu"}
        Activation after each convolution and in the coordinate encoders.
    gate_points : {"both", "down", "up"}, optional
        Gates before down-sampling, after up-sampling, or at both; none by default.
    gate_output, encoder_layers, encoder_width
        Settings of each gate, see `CoordGate`.
    coordinate_features : bool
        Append the coordinates to the input of every level (CoordConv, [2]_).
    coordinate_channels : int
        Number of coordinates per pixel; 2 for a position (y, x).
    residual : bool
        Add the input to the output.

    Raises
    ------
    SettingsError
        If an argument is not one of its choices, a number is not a positive integer, or
        ``residual`` is set and input and output differ in their number of channels.

    References
    ----------
    .. [1] S. Howard, P. Norreys and A. Döpp, "CoordGate: Efficiently Computing
       Spatially-Varying Convolutions in Convolutional Neural Networks", section 4.2.
    .. [2] R. Liu et al., "An intriguing failing of convolutional neural networks and the
       CoordConv solution", NeurIPS 2018.

    Examples
    --------
    >>> import torch
    >>> from napari_coordgate import UNet
    >>> network = UNet(3, 3, depth=2, base_channels=8, gate_points="both")
    >>> images = torch.rand(4, 3, 32, 48)
    >>> y, x = torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 48)
    >>> coordinates = torch.stack(torch.meshgrid(y, x, indexing="ij"))[None]
    >>> network(images, coordinates).shape
    torch.Size([4, 3, 32, 48])
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        depth: int = 3,
        base_channels: int = 32,
        kernel_size: int = 3,
        activation: Activation = "relu",
        gate_points: GatePoints | None = None,
        gate_output: GateOutput = "one_plus",
        encoder_layers: int = 2,
        encoder_width: int | None = None,
        coordinate_features: bool = False,
        coordinate_channels: int = 2,
        residual: bool = True,
    ) -> None:
        super().__init__()
        check_counts(
            in_channels=in_channels,
            out_channels=out_channels,
            depth=depth,
            base_channels=base_channels,
        )
        check_kernel_size(kernel_size)
        check_choice("activation", activation, Activation)
        check_choice("gate_output", gate_output, GateOutput)
        if gate_points is not None:
            check_choice("gate_points", gate_points, GatePoints)
        if residual and in_channels != out_channels:
            raise SettingsError(
                f"A residual network needs as many output channels ({out_channels}) as input "
                f"channels ({in_channels}); set residual=False."
            )
        self.depth, self.kernel_size = depth, kernel_size
        self.coordinate_features, self.residual = coordinate_features, residual
        channels = [base_channels * 2**level for level in range(depth)]
        finer, deeper = channels[:-1], channels[1:]
        extra = coordinate_channels if coordinate_features else 0

        def level(c_in: int, c_out: int) -> nn.Sequential:
            return _level(c_in + extra, c_out, kernel_size, activation)

        def gates(point: GatePoints) -> nn.ModuleList:
            return nn.ModuleList(
                CoordGate(
                    c,
                    gate_output,
                    encoder_layers=encoder_layers,
                    encoder_width=encoder_width,
                    activation=activation,
                    coordinate_channels=coordinate_channels,
                )
                for c in finer
                if gate_points in (point, "both")
            )

        self.encoder = nn.ModuleList(
            level(c_in, c_out) for c_in, c_out in zip((in_channels, *finer), channels, strict=True)
        )
        self.upsample = nn.ModuleList(
            nn.ConvTranspose2d(c_in, c_out, 2, stride=2)
            for c_in, c_out in zip(deeper, finer, strict=True)
        )
        self.decoder = nn.ModuleList(level(2 * c, c) for c in finer)
        self.head = nn.Conv2d(channels[0], out_channels, 1)
        self.down_gates, self.up_gates = gates("down"), gates("up")

    @classmethod
    def from_config(
        cls, config: UNetSettings, in_channels: int = 1, *, residual: bool | None = None
    ) -> Self:
        """U-Net of a configuration with one output channel."""
        gates = config if isinstance(config, GateSettings) else CGUNetConfig()
        return cls(
            in_channels,
            depth=config.depth,
            base_channels=config.base_channels,
            kernel_size=config.kernel_size,
            activation=config.activation,
            gate_points=gates.gate_points if config.is_gated else None,
            gate_output=gates.gate_output,
            encoder_layers=gates.encoder_layers,
            encoder_width=gates.encoder_width,
            coordinate_features=config.architecture == "coordconv-unet",
            residual=config.residual if residual is None else residual,
        )

    def gating_maps(self, coordinates: Tensor) -> GatingMaps:
        """Gating maps of a window, each at the resolution of its level.

        Parameters
        ----------
        coordinates : Tensor, shape (B or 1, coordinate_channels, H, W)
            Coordinates of the window's pixels, such as their frame coordinates (y, x). Those of a
            single pixel, (B or 1, coordinate_channels, 1, 1), are those of all pixels.

        Returns
        -------
        GatingMaps
            Tuples ``down`` and ``up`` of maps, finest level first; empty without gates.
        """
        levels = list(self._coordinate_pyramid(coordinates))
        down, up = (
            tuple(
                cast(CoordGate, gate).gating_map(at)
                for gate, at in zip(gates, levels, strict=False)
            )
            for gates in (self.down_gates, self.up_gates)
        )
        return GatingMaps(down, up)

    def forward(
        self,
        inputs: Tensor,
        coordinates: Tensor | None = None,
        coordinate_maps: tuple[Tensor, ...] | None = None,
    ) -> Tensor:
        """Output image of an input image of any size.

        Parameters
        ----------
        inputs : Tensor, shape (B, in_channels, H, W)
            Images.
        coordinates : Tensor, shape (B or 1, coordinate_channels, H, W), optional
            Coordinates of their pixels; not used by a plain U-Net.
        coordinate_maps : tuple of Tensor, optional
            Result of ``coordinate_maps(coordinates)``, to compute it once for many images.

        Returns
        -------
        Tensor, shape (B, out_channels, H, W)
            Output.

        Raises
        ------
        ValueError
            If the network uses coordinates and there are none.
        """
        down, up = self._split(coordinates, coordinate_maps)
        appended = self._appended(coordinates)
        features = _pad_to_multiple(inputs, self.multiple)  # (B, in_channels, H', W')
        skips = []
        for level, encode in enumerate(self.encoder):
            # (B, c / 2, H' / 2**level, W' / 2**level) -> (B, c, same, same)
            features = encode(_append(features, appended[level : level + 1]))
            if level < len(self.upsample):
                if self.down_gates:
                    features = _gated(self.down_gates[level], features, down[level])
                skips.append(features)
                features = functional.max_pool2d(features, 2)  # half the height and width
        for level in reversed(range(len(self.upsample))):
            features = self.upsample[level](features)  # half the channels, twice the sides
            if self.up_gates:
                features = _gated(self.up_gates[level], features, up[level])
            features = torch.cat([skips.pop(), features], dim=1)  # (B, 2 c, ...)
            features = self.decoder[level](_append(features, appended[level : level + 1]))
        output: Tensor = self.head(features)  # (B, c, H', W') -> (B, out_channels, H', W')
        output = output[..., : inputs.shape[-2], : inputs.shape[-1]]
        return inputs + output if self.residual else output

    def _split(
        self, coordinates: Tensor | None, maps: tuple[Tensor, ...] | None
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Maps of the gates on the way down and on the way up."""
        if maps is None:
            gated = len(self.down_gates) + len(self.up_gates) > 0
            maps = self.coordinate_maps(_required(coordinates)) if gated else ()
        return maps[: len(self.down_gates)], maps[len(self.down_gates) :]

    def _appended(self, coordinates: Tensor | None) -> list[Tensor]:
        """Coordinates to append at each level, none but for CoordConv."""
        if not self.coordinate_features:
            return []
        return list(self._coordinate_pyramid(_required(coordinates)))

    def _coordinate_pyramid(self, coordinates: Tensor) -> Iterator[Tensor]:
        """Coordinates of the pixels of each level, finest level first."""
        if coordinates.shape[-2:] == (1, 1):  # the same at all pixels and levels
            yield from [coordinates] * self.depth
            return
        coordinates = _extrapolate_to_multiple(coordinates, self.multiple)
        yield coordinates  # (B or 1, 2, H', W')
        for _ in self.upsample:
            coordinates = functional.avg_pool2d(coordinates, 2)
            yield coordinates

    @property
    def multiple(self) -> int:
        """Side, in input pixels, of a pixel of the deepest level."""
        return int(2 ** (self.depth - 1))

    @property
    def receptive_radius(self) -> int:
        """Largest distance, in pixels, between an input pixel and an output pixel it affects.

        The four convolutions of a level (two at the deepest) extend it by k // 2 of the level's
        pixels each, of 1, 2, ... m input pixels; the alignment of pooling and up-sampling to
        pixels of m adds m - 1.
        """
        return self.kernel_size // 2 * (6 * self.multiple - 4) + self.multiple - 1


def _required(coordinates: Tensor | None) -> Tensor:
    if coordinates is None:
        raise ValueError("This U-Net needs coordinates of shape (B or 1, 2, H, W).")
    return coordinates


def _level(c_in: int, c_out: int, kernel_size: int, activation: Activation) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, kernel_size, padding="same"),
        ACTIVATIONS[activation](),
        nn.Conv2d(c_out, c_out, kernel_size, padding="same"),
        ACTIVATIONS[activation](),
    )


def _gated(gate: nn.Module, features: Tensor, gating_map: Tensor) -> Tensor:
    """Gated features; on a CPU without gradient they overwrite the input."""
    gate = cast(CoordGate, gate)
    if torch.is_grad_enabled() or features.device.type != "cpu":
        return gate.modulate(features, gating_map)
    # Large new arrays cost a CPU more time (page faults) than the arithmetic: a few
    # rows at a time stay in its cache. No other reference to these features exists.
    rows = max(1, CACHE_PIXELS // features.shape[-1])
    gating_map = gating_map.expand(-1, -1, *features.shape[-2:])
    for part, gates in zip(features.split(rows, -2), gating_map.split(rows, -2), strict=True):
        part.copy_(gate.modulate(part, gates))
    return features


def _append(features: Tensor, coordinates: list[Tensor]) -> Tensor:
    """Features (B, c, H, W), with coordinates appended if there are any: (B, c + 2, H, W)."""
    if not coordinates:
        return features
    batch = features.shape[0]  # not len(): of an export it is a variable
    return torch.cat([features, *(c.expand(batch, -1, -1, -1) for c in coordinates)], dim=1)


def _pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Image whose last row and column are repeated until its sides are multiples."""
    rows, columns = -image.shape[-2] % multiple, -image.shape[-1] % multiple
    return functional.pad(image, (0, columns, 0, rows), mode="replicate")


def _extrapolate_to_multiple(coordinates: Tensor, multiple: int) -> Tensor:
    """Coordinates continued in equal steps until the sides are multiples."""
    for axis in (-2, -1):
        missing = -coordinates.shape[axis] % multiple
        if missing:
            last = coordinates.narrow(axis, -1, 1)
            step = last - coordinates.narrow(axis, -min(2, coordinates.shape[axis]), 1)
            more = [last + step * (i + 1) for i in range(missing)]
            coordinates = torch.cat([coordinates, *more], dim=axis)
    return coordinates
