"""Coordinates of the gates of an unrolled network: what is known of the measurement."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from torch import Tensor

from napari_coordgate.config import UnrolledConfig
from napari_coordgate.geometry import Window, coordinate_axis, frame_coordinates
from napari_coordgate.optics import BlurOperator, PSFField

UNCALIBRATED, UNCERTAINTY_LIMITS = 0.1, (0.02, 0.3)
"""Relative error of a lens without error bars, and the range of those with."""


class Noise(NamedTuple):
    """Camera noise of images whose full brightness is 1: tensors (B or 1, 1, 1, 1)."""

    photons: Tensor
    """Photons of a pixel of full brightness."""
    read_noise: Tensor
    """Standard deviation of the read noise, electrons."""

    @classmethod
    def of(cls, photons: float, read_noise: float, device: torch.device | None = None) -> Noise:
        """Noise of one image."""
        return cls(*(torch.full((1, 1, 1, 1), v, device=device) for v in (photons, read_noise)))

    @property
    def dark(self) -> Tensor:
        """Variance of the read noise, in photons relative to full brightness (Snyder's shift)."""
        return self.read_noise.square() / self.photons

    @property
    def coordinates(self) -> Tensor:
        """Coordinates (B or 1, 2, 1, 1) of about unit size."""
        return torch.cat([(self.photons.log() - 7) / 2, 10 * self.dark.sqrt()], dim=1)


def scene_coordinates(
    config: UnrolledConfig,
    noise: Noise,
    lens_uncertainty: float,
    psf_field: PSFField,
    operator: BlurOperator,
) -> Tensor:
    """Coordinates (1, K, H, W) of the pixels of a scene, or (1, K, 1, 1) where all are the same.

    ``lens_uncertainty`` is the relative error of the lens, 0.1 for 10 %.
    """
    window, device = operator.scene_window, operator.device
    return window_coordinates(config, noise, lens_uncertainty, psf_field, window, device)


def uncertainty_of(psf_field: PSFField) -> float:
    """Relative error of a lens: by the error bars of its calibration, if it has any.

    It is the error of the defocus in the corners relative to the defocus there, twice its standard
    error, as the network was trained with the largest error of a lens.
    """
    lens = psf_field.source.get("lens") or {}
    errors = (lens.get("calibration") or {}).get("standard_errors", {})
    names = {base for name in errors if (base := name.partition(".")[0]).endswith("_um")}
    if not names:
        return UNCALIBRATED
    error = math.hypot(*(e for name, e in errors.items() if name.partition(".")[0] in names))
    size = sum(float(np.abs(lens.get(name, 0.0)).sum()) for name in names)
    low, high = UNCERTAINTY_LIMITS
    return min(max(2 * error / max(size, error), low), high)


def window_coordinates(
    config: UnrolledConfig,
    noise: Noise,
    lens_uncertainty: float,
    psf_field: PSFField | None,
    window: Window | None,
    device: torch.device | None = None,
) -> Tensor:
    """Coordinates as of `scene_coordinates`; those of the noise and the lens need no window."""
    parts = []
    for name in config.coordinates:
        if name == "noise":
            parts.append(noise.coordinates)
        elif name == "lens":
            parts.append(torch.full_like(noise.photons, 5 * lens_uncertainty))
        else:
            assert psf_field is not None and window is not None
            values = _position if name == "position" else _log_widths
            parts.append(torch.from_numpy(values(psf_field, window))[None])
    if not parts:
        return torch.zeros(1, 1, 1, 1)
    shape = np.max([part.shape[-2:] for part in parts], axis=0).tolist()
    return torch.cat([part.to(device).expand(-1, -1, *shape) for part in parts], dim=1)


def _position(psf_field: PSFField, window: Window) -> NDArray[np.float32]:
    """Frame coordinates (y, x) of the pixels of a window, (2, H, W)."""
    return frame_coordinates(psf_field.frame_shape, window)


def _log_widths(psf_field: PSFField, window: Window) -> NDArray[np.float32]:
    """Logarithm of the standard deviation of each pixel's PSF along y and x, (2, H, W)."""
    distance = np.arange(psf_field.size) - psf_field.radius
    second = [np.tensordot(psf_field.kernels.sum(axis), distance**2, 1) for axis in (2, 1)]
    y, x = (
        np.clip(coordinate_axis(start, length, frame_length), -1, 1)
        for start, length, frame_length in zip(
            window.origin, window.shape, psf_field.frame_shape, strict=True
        )
    )
    variances = [
        chebyshev.chebgrid2d(y, x, np.tensordot(m, psf_field.coefficients, 1)) for m in second
    ]
    widths: NDArray[np.float64] = np.log(np.maximum(variances, 0.05)) / 2
    return widths.astype(np.float32)
