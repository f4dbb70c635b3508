"""Iterations of Wiener deconvolution: the regularized inverse of the blur."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_coordgate.config import WienerConfig
from napari_coordgate.networks import PSFSamples, WienerBank
from napari_coordgate.optics import BlurOperator

CG_TOLERANCE = 1e-5
"""Relative residual of the linear system at which conjugate gradients stop."""


def wiener_iterations(
    image: NDArray[np.float32], blur: BlurOperator, config: WienerConfig
) -> Iterator[Tensor]:
    """Estimate (h, w) after each iteration of `wiener` on a scaled image (h, w)."""
    blurred = torch.from_numpy(image.copy()).to(blur.device)
    uniform = blurred.new_ones(blur.scene_window.shape) * blurred.mean()
    for deviation in _conjugate_gradients(blur, blurred - blur(uniform), config):
        yield blur.crop(uniform + deviation)


@torch.no_grad()
def wiener_filter(
    image: NDArray[np.float32],
    psf: NDArray[np.float64],
    regularization: float,
    device: torch.device,
) -> Tensor:
    """Apply the Wiener filter of one PSF (K, K) to a scaled image (h, w)."""
    blurred = torch.from_numpy(image.copy()).to(device)
    psfs = torch.from_numpy(psf)[None].float().to(device)
    bank = WienerBank(PSFSamples(psfs, psfs.new_zeros(1, 2)), regularization).to(device)
    mean = blurred.mean()
    filtered: Tensor = bank((blurred - mean)[None, None])[0, 0]
    return mean + filtered


def _conjugate_gradients(
    blur: BlurOperator, image: Tensor, config: WienerConfig
) -> Iterator[Tensor]:
    """Successive solutions d of (H^T H + r) d = H^T y by conjugate gradients."""
    residual = blur.adjoint(image)
    solution, direction = torch.zeros_like(residual), residual.clone()
    power = first_power = residual.square().sum()
    for _ in range(config.num_iter):
        product = blur.adjoint(blur(direction)).add_(direction, alpha=config.regularization)
        length = power / (direction * product).sum().clamp_min(torch.finfo(power.dtype).tiny)
        solution = solution + length * direction
        residual = residual - length * product
        yield solution
        previous, power = power, residual.square().sum()
        if power <= CG_TOLERANCE**2 * first_power:
            return
        direction = residual + (power / previous) * direction
