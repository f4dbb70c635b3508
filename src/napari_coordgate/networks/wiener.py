"""Networks on a bank of learnable Wiener filters, one for each position of a known PSF.

Yanny, Monakhova, Shuai and Waller, "Deep learning for fast spatially varying
deconvolution", Optica 9, 96 (2022). With the transfer function H_k of PSF k and
noise over signal power r_k, filter k is::

    W_k = conj(H_k) / (|H_k|^2 + r_k)

Three things differ from the program published with that article: the learned parameter is
log r_k, so that r_k stays positive; images are padded, so that no light wraps around from
the opposite side; and no image is scaled by the others in its batch.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple, Self

import torch
from scipy.fft import next_fast_len
from torch import Tensor, nn

from napari_coordgate.config import CGMultiWienerConfig, MultiWienerConfig, WeightedWienerConfig
from napari_coordgate.geometry import mirror_indices, pixel_coordinates
from napari_coordgate.networks.network import GatingMaps, Network
from napari_coordgate.networks.unet import UNet
from napari_coordgate.optics import PSFField, PSFGrid

FILTER_RADII = 2
"""Radius of a filter, in radii of its PSF."""


class PSFSamples(NamedTuple):
    """PSFs (K, S, S), S odd, each of sum 1, and their frame coordinates (y, x), shape (K, 2)."""

    psfs: Tensor
    coordinates: Tensor

    @classmethod
    def from_weights(cls, weights: Mapping[str, Tensor]) -> Self:
        """PSFs in the weights of a network whose `WienerBank` is named ``bank``."""
        return cls(weights["bank.psfs"], weights["bank.positions"])

    @classmethod
    def from_psf_field(cls, psf_field: PSFField, side: int) -> Self:
        """PSFs of a PSF field on a grid of ``side`` x ``side`` positions over the frame."""
        grid = PSFGrid.from_psf_field(psf_field, side)
        positions = pixel_coordinates(grid.positions, psf_field.frame_shape)
        return cls(torch.from_numpy(grid.psfs).float(), torch.from_numpy(positions).float())


class WienerBank(nn.Module):
    """Wiener filters, one for each PSF, applied in parallel: (B, 1, H, W) to (B, K, H, W).

    A filter is computed on a grid three times as large as the PSF, and cut at twice its radius:
    it is a convolution of finite size, the same for images of any size, so that overlapping
    tiles give the same result as the whole image. Beyond its border the image is mirrored.
    """

    def __init__(self, samples: PSFSamples, regularization: float) -> None:
        super().__init__()
        psfs, positions = samples
        count, side = psfs.shape[0], psfs.shape[-1]
        if psfs.shape != (count, side, side) or side % 2 == 0 or positions.shape != (count, 2):
            raise ValueError(
                f"Wiener filters need PSFs of shape (K, S, S) with odd S and positions of shape "
                f"(K, 2), got {tuple(psfs.shape)} and {tuple(positions.shape)}."
            )
        # Peaks are near 1, so that an optimizer step is small compared to them.
        self.psfs = nn.Parameter(psfs / psfs.amax())
        self.log_regularization = nn.Parameter(psfs.new_full((count,), math.log(regularization)))
        self.positions: Tensor
        self.register_buffer("positions", positions)

    @property
    def radius(self) -> int:
        """Radius of a filter, in pixels."""
        return FILTER_RADII * (self.psfs.shape[-1] // 2)

    def filters(self) -> Tensor:
        """Filters in space, shape (K, 2 * radius + 1, 2 * radius + 1)."""
        side, radius = self.psfs.shape[-1], self.radius
        grid = next_fast_len(2 * radius + side, real=True)
        psfs = self.psfs / self.psfs.sum((-2, -1), keepdim=True)
        transfer = torch.fft.rfft2(psfs, (grid, grid))
        power = self.log_regularization.exp()[:, None, None] + transfer.abs().square()
        filters: Tensor = torch.fft.irfft2(transfer.conj() / power, (grid, grid))
        # The center of the PSF is at pixel side // 2, that of the filter at -side // 2.
        middle = radius + side // 2
        return filters.roll((middle, middle), (-2, -1))[..., : 2 * radius + 1, : 2 * radius + 1]

    def forward(self, blurred: Tensor) -> Tensor:
        """Filtered windows: (B, 1, H, W) to (B, K, H, W)."""
        height, width = blurred.shape[-2:]
        for axis in (-2, -1):
            length = blurred.shape[axis]
            mirrored = mirror_indices(-self.radius, length + 2 * self.radius, length)
            blurred = blurred.index_select(axis, torch.from_numpy(mirrored).to(blurred.device))
        shape = [next_fast_len(side, real=True) for side in blurred.shape[-2:]]
        with torch.autocast(blurred.device.type, enabled=False):  # no FFT in bfloat16
            spectrum = torch.fft.rfft2(blurred.to(self.psfs.dtype), shape)  # (B, 1, H', W' / 2 + 1)
            filtered: Tensor = torch.fft.irfft2(  # (B, K, H', W')
                spectrum * torch.fft.rfft2(self.filters(), shape), shape
            )
        first = 2 * self.radius
        return filtered[..., first : first + height, first : first + width]


class MultiWienerNet(Network):
    """Wiener filters of PSFs all over the frame, and a U-Net that combines their results.

    Yanny et al., Optica 9, 96 (2022); paper, section 4.2. With gates in the U-Net it is a
    network of our own: the physics first, then a choice among the filters by position.
    """

    def __init__(
        self, config: MultiWienerConfig | CGMultiWienerConfig, samples: PSFSamples
    ) -> None:
        super().__init__()
        self.residual = config.residual
        self.bank = WienerBank(samples, config.regularization)
        self.unet = UNet.from_config(config, in_channels=len(samples.psfs), residual=False)

    def gating_maps(self, coordinates: Tensor) -> GatingMaps:
        """Gating maps of the U-Net."""
        return self.unet.gating_maps(coordinates)

    def forward(
        self,
        inputs: Tensor,
        coordinates: Tensor,
        coordinate_maps: tuple[Tensor, ...] | None = None,
    ) -> Tensor:
        """Deblurred windows; the residual is added to the unfiltered input."""
        output: Tensor = self.unet(self.bank(inputs), coordinates, coordinate_maps)
        return inputs + output if self.residual else output

    @property
    def multiple(self) -> int:
        """Side, in input pixels, of a pixel of the U-Net's deepest level."""
        return self.unet.multiple

    @property
    def receptive_radius(self) -> int:
        """Radius of the filters plus that of the U-Net, in pixels."""
        return self.bank.radius + self.unet.receptive_radius


class WeightedWiener(Network):
    """Mean of the results of Wiener filters, weighted by the inverse squared distance to the PSF.

    This is Shepard's interpolation in frame coordinates. Its weights sum to 1 at each pixel and
    are not learned; the filters may be.
    """

    def __init__(self, config: WeightedWienerConfig, samples: PSFSamples) -> None:
        super().__init__()
        self.bank = WienerBank(samples, config.regularization)

    def coordinate_maps(self, coordinates: Tensor) -> tuple[Tensor]:
        """Interpolation weights of the filters at each pixel, one map (B or 1, K, H, W)."""
        # (B, 1, 2, H, W) - (K, 2, 1, 1) -> (B, K, 2, H, W) -> (B, K, H, W)
        offsets = coordinates[:, None] - self.bank.positions[:, :, None, None]
        nearness = 1 / offsets.square().sum(2).clamp_min(torch.finfo(offsets.dtype).eps)
        return (nearness / nearness.sum(1, keepdim=True),)

    def forward(
        self,
        inputs: Tensor,
        coordinates: Tensor,
        coordinate_maps: tuple[Tensor, ...] | None = None,
    ) -> Tensor:
        """Deblurred windows; the coordinates are ignored where the weights are given."""
        maps = self.coordinate_maps(coordinates) if coordinate_maps is None else coordinate_maps
        mean: Tensor = (self.bank(inputs) * maps[0]).sum(1, keepdim=True)  # over K
        return mean

    @property
    def receptive_radius(self) -> int:
        """Radius of the filters, in pixels."""
        return self.bank.radius
