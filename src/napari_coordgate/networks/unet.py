"""U-Net(d) and CG U-Net(d) (paper, section 4.2 and Fig. 4a)."""

from collections.abc import Iterable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_coordgate.config import NetworkConfig
from napari_coordgate.networks.coordgate import CoordGate

__all__ = ["FEATURES_A_PIXEL", "GatingMaps", "UNet"]

FEATURES_A_PIXEL = 10
"""Feature maps at full resolution in memory at once in a forward pass without gradient, gating
maps included; measured."""


class GatingMaps(NamedTuple):
    """Gating maps of a window, each at its level's resolution.

    Attributes
    ----------
    down : tuple of Tensor, each (B or 1, n_c, H, W)
        Maps before each down-sampling, finest level first.
    up : tuple of Tensor, each (B or 1, n_c, H, W)
        Maps after each up-sampling, finest level first.
    """

    down: tuple[Tensor, ...]
    up: tuple[Tensor, ...]


class UNet(nn.Module):
    """U-Net of d levels, with or without coordinate gates.

    A level is two convolutions with ReLU. Between levels: 2x2 max-pooling down,
    2x2 transposed convolution up, skip connections. With gates, the features are
    gated before each down-sampling and after each up-sampling.

    Parameters
    ----------
    config : NetworkConfig
        The architecture.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        channels, kernel = config.channels, config.kernel_size
        finer, deeper = channels[:-1], channels[1:]
        self.encoder = nn.ModuleList(
            _level(c_in, c_out, kernel) for c_in, c_out in zip((1, *finer), channels, strict=True)
        )
        self.upsample = nn.ModuleList(
            nn.ConvTranspose2d(c_in, c_out, 2, stride=2)
            for c_in, c_out in zip(deeper, finer, strict=True)
        )
        self.decoder = nn.ModuleList(_level(2 * c, c, kernel) for c in finer)
        self.head = nn.Conv2d(channels[0], 1, 1)
        gated = finer if config.architecture == "cg-unet" else ()
        self.down_gates, self.up_gates = (
            nn.ModuleList(CoordGate(c, config.encoder_layers, config.gate_output) for c in gated)
            for _ in range(2)
        )

    def gating_maps(self, coordinates: Tensor) -> GatingMaps:
        """Gating maps of a window; they stay the same for every image.

        Parameters
        ----------
        coordinates : Tensor, shape (B or 1, 2, H, W)
            Frame coordinates (y, x) of the window's pixels.

        Returns
        -------
        GatingMaps
            Maps for `forward`; none without gates.
        """
        level_coordinates = _extended(coordinates, self.config.multiple)
        down, up = [], []
        gates = zip(self.down_gates, self.up_gates, strict=True)
        # In bfloat16, neighbouring pixels of a frame of 512 would share one coordinate.
        with torch.autocast(coordinates.device.type, enabled=False):
            for down_gate, up_gate in cast(Iterable[tuple[CoordGate, CoordGate]], gates):
                down.append(down_gate.gating_map(level_coordinates))
                up.append(up_gate.gating_map(level_coordinates))
                level_coordinates = functional.avg_pool2d(level_coordinates, 2)
        return GatingMaps(tuple(down), tuple(up))

    def forward(
        self, blurred: Tensor, coordinates: Tensor, gating_maps: GatingMaps | None = None
    ) -> Tensor:
        """Deblurred windows.

        Parameters
        ----------
        blurred : Tensor, shape (B, 1, H, W)
            Scaled windows of blurred images.
        coordinates : Tensor, shape (B or 1, 2, H, W)
            Frame coordinates of their pixels; not looked at where the maps are given.
        gating_maps : GatingMaps, optional
            Maps from `gating_maps`, so that they need no computing.

        Returns
        -------
        Tensor, shape (B, 1, H, W)
            Scaled windows of deblurred images.
        """
        maps = gating_maps or self.gating_maps(coordinates)
        features = _padded(blurred, self.config.multiple)
        skips = []
        for level, encode in enumerate(self.encoder):
            features = encode(features)
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
            features = self.decoder[level](features)
        output: Tensor = self.head(features)[..., : blurred.shape[-2], : blurred.shape[-1]]
        return blurred + output if self.config.residual else output

    @property
    def receptive_radius(self) -> int:
        """Largest distance, in pixels, over which an input pixel reaches an output pixel.

        A level's four convolutions (two at the deepest) reach k // 2 of its
        pixels each, of 1, 2, ... m pixels of the image; pooling and up-sampling
        align to pixels of m, so that light may come from m - 1 further away.
        """
        reach, m = self.config.kernel_size // 2, self.config.multiple
        return reach * (6 * m - 4) + m - 1


def _level(c_in: int, c_out: int, kernel_size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, kernel_size, padding="same"),
        nn.ReLU(inplace=True),
        nn.Conv2d(c_out, c_out, kernel_size, padding="same"),
        nn.ReLU(inplace=True),
    )


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
