"""A bank of learnable Wiener filters, one for each place at which the PSF is known.

Yanny, Monakhova, Shuai and Waller, "Deep learning for fast spatially varying
deconvolution", Optica 9, 96 (2022). With the transfer function H_k of PSF k and
noise over signal power r_k, filter k is::

    W_k = conj(H_k) / (|H_k|^2 + r_k)

Three things differ from the program published with that article: r_k is the exponential
of what is learned, and so never negative; images are padded, so that no light wraps
around from the far side; and no image is scaled by what else is in its batch.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple, Self

import torch
from scipy.fft import next_fast_len
from torch import Tensor, nn

from napari_coordgate.geometry import mirror_indices

__all__ = ["MeasuredPSFs", "WienerBank"]

REACH = 2
"""Radius of a filter, in radii of its PSF."""


class MeasuredPSFs(NamedTuple):
    """PSFs at places of a frame.

    Attributes
    ----------
    psfs : Tensor, shape (K, S, S)
        The PSFs, each of sum 1; S is odd.
    coordinates : Tensor, shape (K, 2)
        Frame coordinates (y, x) of their places.
    """

    psfs: Tensor
    coordinates: Tensor

    @classmethod
    def from_weights(cls, weights: Mapping[str, Tensor]) -> Self:
        """PSFs of a network's weights, those of a `WienerBank` called ``bank``."""
        return cls(weights["bank.psfs"], weights["bank.places"])


class WienerBank(nn.Module):
    """Wiener filters, one for each PSF, that an image goes through side by side.

    A filter is computed on a grid three times as large as the PSF, and cut where it
    reaches twice as far: it is a convolution of finite reach, the same for an image of
    any size, so that tiles with a halo give what the whole gives. Beyond the image's
    border the scene is mirrored.

    Parameters
    ----------
    measured : MeasuredPSFs
        PSFs to start from.
    regularization : float
        Noise over signal power to start from.

    Raises
    ------
    ValueError
        If the PSFs are not squares of odd side, one for each place.
    """

    def __init__(self, measured: MeasuredPSFs, regularization: float) -> None:
        super().__init__()
        psfs, places = measured
        count, side = psfs.shape[0], psfs.shape[-1]
        if psfs.shape != (count, side, side) or side % 2 == 0 or places.shape != (count, 2):
            raise ValueError(
                f"PSFs of shape {tuple(psfs.shape)} at places of shape {tuple(places.shape)} "
                "make no filters; they must be (K, S, S) with odd S, and (K, 2)."
            )
        # Peaks are near 1, so that a step of the optimizer is small beside them.
        self.psfs = nn.Parameter(psfs / psfs.amax())
        self.log_regularization = nn.Parameter(psfs.new_full((count,), math.log(regularization)))
        self.places: Tensor
        self.register_buffer("places", places)

    @property
    def radius(self) -> int:
        """Pixels by which a filter reaches."""
        return REACH * (self.psfs.shape[-1] // 2)

    def filters(self) -> Tensor:
        """Filters in space, shape (K, 2 * radius + 1, 2 * radius + 1)."""
        side, radius = self.psfs.shape[-1], self.radius
        grid = next_fast_len(2 * radius + side, real=True)
        psfs = self.psfs / self.psfs.sum((-2, -1), keepdim=True)
        transfer = torch.fft.rfft2(psfs, (grid, grid))
        power = self.log_regularization.exp()[:, None, None] + transfer.abs().square()
        filters: Tensor = torch.fft.irfft2(transfer.conj() / power, (grid, grid))
        # The PSF's center stands side // 2 from the first pixel, the filter's as far before it.
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
        with torch.autocast(blurred.device.type, enabled=False):  # there are no such transforms
            spectrum = torch.fft.rfft2(blurred.to(self.psfs.dtype), shape)
            filtered: Tensor = torch.fft.irfft2(
                spectrum * torch.fft.rfft2(self.filters(), shape), shape
            )
        first = 2 * self.radius
        return filtered[..., first : first + height, first : first + width]
