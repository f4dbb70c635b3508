"""U-Net(d), CG U-Net(d) and CoordConv-UNet(d) (paper, section 4.2 and Fig. 4a)."""

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_coordgate.config import NetworkConfig
from napari_coordgate.networks.coordgate import ACTIVATIONS, CoordGate
from napari_coordgate.networks.network import GatingMaps, Network

__all__ = ["FEATURES_PER_PIXEL", "UNet"]

FEATURES_PER_PIXEL = 10
"""Feature maps at full resolution in memory at once in a forward pass without gradient, gating
maps included; measured."""


class UNet(Network):
    """U-Net of d levels, with coordinate gates, with coordinates as features, or plain.

    A level is two convolutions with their activation. Between levels: 2x2 max-pooling
    down, 2x2 transposed convolution up, skip connections. With gates, the features are
    gated before each down-sampling and after each up-sampling. With CoordConv (Liu et
    al., 2018), every level's first convolution sees the coordinates as two more features.

    Parameters
    ----------
    config : NetworkConfig
        The architecture.
    inputs : int
        Images that come in; more than one, where a bank of filters comes first.
    """

    def __init__(self, config: NetworkConfig, inputs: int = 1) -> None:
        super().__init__(config)
        self.sees_coordinates = config.architecture == "coordconv-unet"
        extra = 2 if self.sees_coordinates else 0
        channels = config.channels
        finer, deeper = channels[:-1], channels[1:]
        self.encoder = nn.ModuleList(
            _level(c_in + extra, c_out, config)
            for c_in, c_out in zip((inputs, *finer), channels, strict=True)
        )
        self.upsample = nn.ModuleList(
            nn.ConvTranspose2d(c_in, c_out, 2, stride=2)
            for c_in, c_out in zip(deeper, finer, strict=True)
        )
        self.decoder = nn.ModuleList(_level(2 * c + extra, c, config) for c in finer)
        self.head = nn.Conv2d(channels[0], 1, 1)
        self.down_gates, self.up_gates = (
            nn.ModuleList(
                CoordGate(
                    c,
                    config.encoder_layers,
                    config.gate_output,
                    width=config.encoder_width,
                    activation=config.activation,
                )
                for c in finer
                if config.is_gated and config.gate_points in (place, "both")
            )
            for place in ("down", "up")
        )

    def gating_maps(self, coordinates: Tensor) -> GatingMaps:
        """Gating maps of a window, each at its level's resolution."""
        levels = list(self._level_coordinates(coordinates))
        # In bfloat16, neighboring pixels of a frame of 512 would share one coordinate.
        with torch.autocast(coordinates.device.type, enabled=False):
            down, up = (
                tuple(
                    cast(CoordGate, gate).gating_map(at)
                    for gate, at in zip(gates, levels, strict=False)
                )
                for gates in (self.down_gates, self.up_gates)
            )
        return GatingMaps(down, up)

    def forward(
        self, blurred: Tensor, coordinates: Tensor, gating_maps: GatingMaps | None = None
    ) -> Tensor:
        """Deblurred windows; the coordinates do not count where a gated network has its maps."""
        output = self.combine(blurred, coordinates, gating_maps)
        return blurred + output if self.config.residual else output

    def combine(
        self, images: Tensor, coordinates: Tensor, gating_maps: GatingMaps | None = None
    ) -> Tensor:
        """One image of all that come in, without the residual.

        Parameters
        ----------
        images : Tensor, shape (B, inputs, H, W)
            Scaled windows.
        coordinates, gating_maps
            As for `forward`.

        Returns
        -------
        Tensor, shape (B, 1, H, W)
            What the U-Net makes of them.
        """
        maps = gating_maps or self.gating_maps(coordinates)
        seen = list(self._level_coordinates(coordinates)) if self.sees_coordinates else []
        features = _padded(images, self.config.multiple)
        skips = []
        for level, encode in enumerate(self.encoder):
            features = encode(_beside(features, seen[level : level + 1]))
            if level < len(self.upsample):
                if self.down_gates:
                    features = self.down_gates[level](features, maps.down[level])
                skips.append(features)
                features = functional.max_pool2d(features, 2)
        for level in reversed(range(len(self.upsample))):
            features = self.upsample[level](features)
            if self.up_gates:
                features = self.up_gates[level](features, maps.up[level])
            features = torch.cat([skips.pop(), features], dim=1)
            features = self.decoder[level](_beside(features, seen[level : level + 1]))
        output: Tensor = self.head(features)[..., : images.shape[-2], : images.shape[-1]]
        return output

    def _level_coordinates(self, coordinates: Tensor) -> Iterator[Tensor]:
        """Coordinates of each level's pixels, finest level first."""
        coordinates = _extended(coordinates, self.config.multiple)
        yield coordinates
        for _ in self.upsample:
            coordinates = functional.avg_pool2d(coordinates, 2)
            yield coordinates

    @property
    def receptive_radius(self) -> int:
        """Largest distance, in pixels, over which an input pixel reaches an output pixel.

        A level's four convolutions (two at the deepest) reach k // 2 of its
        pixels each, of 1, 2, ... m pixels of the image; pooling and up-sampling
        align to pixels of m, so that light may come from m - 1 further away.
        """
        reach, m = self.config.kernel_size // 2, self.config.multiple
        return reach * (6 * m - 4) + m - 1


def _level(c_in: int, c_out: int, config: NetworkConfig) -> nn.Sequential:
    activation = ACTIVATIONS[config.activation]
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, config.kernel_size, padding="same"),
        activation(),
        nn.Conv2d(c_out, c_out, config.kernel_size, padding="same"),
        activation(),
    )


def _beside(features: Tensor, coordinates: list[Tensor]) -> Tensor:
    """Features with the coordinates of their pixels as two more, where there are some."""
    if not coordinates:
        return features
    return torch.cat([features, *(c.expand(len(features), -1, -1, -1) for c in coordinates)], dim=1)


def _missing(image: Tensor, multiple: int) -> tuple[int, int]:
    """Rows and columns that an image lacks to the next multiple."""
    return -image.shape[-2] % multiple, -image.shape[-1] % multiple


def _padded(image: Tensor, multiple: int) -> Tensor:
    """Image with its last row and column repeated up to a multiple."""
    rows, columns = _missing(image, multiple)
    return functional.pad(image, (0, columns, 0, rows), mode="replicate")


def _extended(coordinates: Tensor, multiple: int) -> Tensor:
    """Coordinates continued in equal steps up to a multiple."""
    rows, columns = _missing(coordinates, multiple)
    for axis, missing in ((-2, rows), (-1, columns)):
        if missing:
            last = coordinates.narrow(axis, -1, 1)
            step = last - coordinates.narrow(axis, -min(2, coordinates.shape[axis]), 1)
            more = [last + step * (i + 1) for i in range(missing)]
            coordinates = torch.cat([coordinates, *more], dim=axis)
    return coordinates
