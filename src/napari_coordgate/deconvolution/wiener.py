"""Wiener deconvolution: the regularized inverse of the blur."""

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_coordgate.config import Device, WienerConfig
from napari_coordgate.deconvolution.blur import Blur, checked, last, within_memory
from napari_coordgate.geometry import Window
from napari_coordgate.networks import PSFSamples, WienerBank
from napari_coordgate.optics import PSFField

__all__ = ["wiener", "wiener_steps"]

DEFAULTS = WienerConfig()
CG_TOLERANCE = 1e-5
"""Residual of the linear system over its first one, at which its solution is good enough."""


def wiener(
    image: NDArray[Any],
    field: PSFField,
    config: WienerConfig = DEFAULTS,
    *,
    origin: tuple[int, int] = (0, 0),
    device: Device = "auto",
    cancel: threading.Event | None = None,
) -> NDArray[np.float32]:
    """Wiener deconvolution of an image.

    With a blur H, an image y of mean m and noise over signal power r, the estimate is

        x = m + argmin_d |H d - (y - H m)|^2 + r |d|^2.

    For the mean PSF this is a filter, conj(h) / (|h|^2 + r) in Fourier space, with the
    image mirrored at its border. For each pixel's own PSF it is the linear system
    (H^T H + r) d = H^T (y - H m), solved by conjugate gradients over all of the scene
    whose light reaches the image.

    Parameters
    ----------
    image : ndarray, shape (h, w)
        Blurred image; dark is 0.
    field : PSFField
        The blur of the frame.
    config : WienerConfig
        Which PSF, and the regularization.
    origin : tuple of int
        Frame pixel of the image's first one.
    device : {"auto", "cpu", "cuda", "mps"}
        Where to compute.
    cancel : threading.Event, optional
        Once set, the work ends.

    Returns
    -------
    ndarray of float32, shape (h, w)
        Deconvolved image.

    Raises
    ------
    FrameMismatchError
        If the image reaches beyond the frame.
    ImageError
        If it is not of shape (h, w) and finite.
    DeviceMemoryError
        If the memory does not suffice.
    CanceledError
        If canceled.

    References
    ----------
    N. Wiener, "Extrapolation, Interpolation, and Smoothing of Stationary Time Series", 1949.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_coordgate import GaussianLens, PSFField, wiener
    >>> field = PSFField.from_lens(GaussianLens(), (64, 64))
    >>> blurred = field.blur(np.eye(64))
    >>> wiener(blurred, field).shape
    (64, 64)
    """
    pixels = checked(image)
    blur = Blur(field, config.psf, Window(*origin, *pixels.shape), device)
    return last(within_memory(wiener_steps(pixels, blur, config), blur.image), cancel)


def wiener_steps(image: NDArray[np.float32], blur: Blur, config: WienerConfig) -> Iterator[Tensor]:
    """Estimates (h, w) of `wiener`, the last of which is its result."""
    blurred = torch.from_numpy(image.copy()).to(blur.device)
    mean = blurred.mean()
    if config.psf == "mean":
        yield mean + _filtered(blurred - mean, blur, config.regularization)
        return
    flat = blur.flat(mean)
    for deviation in _conjugate_gradients(blur, blurred - blur(flat), config):
        yield blur.seen(flat + deviation)


def _filtered(image: Tensor, blur: Blur, regularization: float) -> Tensor:
    """Image through the Wiener filter of the mean PSF."""
    psf = torch.from_numpy(blur.field.kernels).float().to(image.device)
    bank = WienerBank(PSFSamples(psf, psf.new_zeros(1, 2)), regularization).to(image.device)
    with torch.no_grad():
        filtered: Tensor = bank(image[None, None])[0, 0]
    return filtered


def _conjugate_gradients(blur: Blur, image: Tensor, config: WienerConfig) -> Iterator[Tensor]:
    """Solutions d of (H^T H + r) d = H^T y, nearer with each step."""
    residual = blur.transpose(image)
    solution, direction = torch.zeros_like(residual), residual.clone()
    power = first = residual.square().sum()
    for _ in range(config.num_iter):
        towards = blur.transpose(blur(direction)).add_(direction, alpha=config.regularization)
        length = power / (direction * towards).sum().clamp_min(torch.finfo(power.dtype).tiny)
        solution = solution + length * direction
        residual = residual - length * towards
        yield solution
        before, power = power, residual.square().sum()
        if power <= CG_TOLERANCE**2 * first:
            return
        direction = residual + (power / before) * direction
