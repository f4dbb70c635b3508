"""Networks on a bank of Wiener filters: MultiWienerNet, with or without gates; weighted Wiener."""

import torch
from torch import Tensor

from napari_coordgate.config import NetworkConfig
from napari_coordgate.networks.network import GatingMaps, Network
from napari_coordgate.networks.unet import UNet
from napari_coordgate.networks.wiener import MeasuredPSFs, WienerBank

__all__ = ["MultiWienerNet", "WeightedWiener"]


class MultiWienerNet(Network):
    """Wiener filters of PSFs all over the frame, and a U-Net that combines what they make.

    Yanny et al., Optica 9, 96 (2022); paper, section 4.2. With gates in the U-Net it is a
    network of our own: the physics first, then a choice by place among what it made.

    Parameters
    ----------
    config : NetworkConfig
        The architecture.
    measured : MeasuredPSFs
        PSFs for the filters to start from.
    """

    def __init__(self, config: NetworkConfig, measured: MeasuredPSFs) -> None:
        super().__init__(config)
        self.bank = WienerBank(measured, config.regularization)
        self.unet = UNet(config, inputs=len(measured.psfs))

    def gating_maps(self, coordinates: Tensor) -> GatingMaps:
        """Gating maps of the U-Net."""
        return self.unet.gating_maps(coordinates)

    def forward(
        self, blurred: Tensor, coordinates: Tensor, gating_maps: GatingMaps | None = None
    ) -> Tensor:
        """Deblurred windows; the residual is added to what came in before the filters."""
        output = self.unet.combine(self.bank(blurred), coordinates, gating_maps)
        return blurred + output if self.config.residual else output

    @property
    def receptive_radius(self) -> int:
        """Reach of a filter and then of the U-Net, pixels."""
        return self.bank.radius + self.unet.receptive_radius


class WeightedWiener(Network):
    """Mean of what Wiener filters make, each weighted by how near its PSF was measured.

    The weights are those of Shepard's interpolation: the inverse square of the distance
    in frame coordinates, of sum 1 at each pixel. They are not learned; the filters may be.

    Parameters
    ----------
    config : NetworkConfig
        The architecture.
    measured : MeasuredPSFs
        PSFs for the filters to start from.
    """

    def __init__(self, config: NetworkConfig, measured: MeasuredPSFs) -> None:
        super().__init__(config)
        self.bank = WienerBank(measured, config.regularization)

    def gating_maps(self, coordinates: Tensor) -> GatingMaps:
        """Weights of the filters at each pixel, (B or 1, K, H, W), as the one map."""
        offsets = coordinates[:, None] - self.bank.places[:, :, None, None]
        nearness = 1 / offsets.square().sum(2).clamp_min(torch.finfo(offsets.dtype).eps)
        return GatingMaps((nearness / nearness.sum(1, keepdim=True),), ())

    def forward(
        self, blurred: Tensor, coordinates: Tensor, gating_maps: GatingMaps | None = None
    ) -> Tensor:
        """Deblurred windows; the coordinates do not count where the weights are given."""
        maps = gating_maps or self.gating_maps(coordinates)
        mean: Tensor = (self.bank(blurred) * maps.down[0]).sum(1, keepdim=True)
        return mean

    @property
    def receptive_radius(self) -> int:
        """Reach of a filter, pixels."""
        return self.bank.radius
