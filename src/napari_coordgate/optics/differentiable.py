"""PSFs of a pupil in PyTorch, with their derivatives by its aberrations.

The wavefront is linear in eight coefficients: defocus (um), astigmatism (waves, along the axes of
the frame and along its diagonals), coma (waves; y, x), spherical aberration (waves), and the
position of the image (pixels; y, x). With A the Fourier transform of the pupil P and Z_k the shape
of coefficient k, intensity and derivatives are

    I = |A|^2,    dI/dc_k = 2 Re(conj(A) A_k),    A_k = transform of 2 pi i Z_k P,

integrated over each pixel. The rules of integration are those of `optics.pupil`.
"""

from __future__ import annotations

import math
import threading
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_coordgate.config import Lens
from napari_coordgate.events import raise_if_canceled
from napari_coordgate.optics.pupil import disk_order, disk_rule, pixel_kernel, pixel_rule

COEFFICIENTS = 8
"""Defocus, astigmatism (2), coma (2), spherical aberration, position (2)."""

_ORDER_STEP = 8
_CHUNK_BYTES = 32 * 2**20  # Amplitudes in memory at a time; more does not fit the caches.
_SLOPE_RAYS = 24


class PupilLight:
    """Light on the pixels of a window around beads, as a function of the pupil's coefficients.

    ``points`` is the order of the rule over a pixel; fewer points than the default are faster and
    less accurate. A ball of ``diameter_um`` takes the place of a point source.
    """

    def __init__(
        self,
        lens: Lens,
        size: int,
        *,
        diameter_um: float = 0.0,
        points: int | None = None,
        dtype: torch.dtype = torch.complex128,
    ) -> None:
        self.size = size
        self.dtype = dtype
        self._optics = (lens.na, lens.wavelength_nm * 1e-3, lens.refractive_index)
        self._pixel = lens.pixel_size_um * lens.na / (lens.wavelength_nm * 1e-3)
        self._ball = diameter_um / lens.pixel_size_um
        self._margin = math.ceil(self._ball / 2.0) + 2 if diameter_um else 0
        self._points, self._weight = pixel_rule(self._pixel, points)

    def __call__(self, coefficients: Tensor, cancel: threading.Event | None = None) -> Tensor:
        """Fraction of the light on each pixel, (N, size, size), of coefficients (N, 8)."""
        rule = self._rule(coefficients)
        parts = []
        for part in coefficients.split(self._chunk(rule, 1)):
            raise_if_canceled(cancel, "Canceled while computing PSFs.")
            amplitude = rule.transform(self._pupils(part, rule))
            parts.append(self._on_pixels(amplitude.real**2 + amplitude.imag**2))
        return torch.cat(parts)

    def with_jacobian(
        self, coefficients: Tensor, cancel: threading.Event | None = None
    ) -> tuple[Tensor, Tensor]:
        """Light (N, size, size), and its derivatives by the coefficients (N, 8, size, size)."""
        rule = self._rule(coefficients)
        light, jacobian = [], []
        for part in coefficients.split(self._chunk(rule, 1 + COEFFICIENTS)):
            raise_if_canceled(cancel, "Canceled while computing PSFs.")
            pupils = self._pupils(part, rule)
            shapes = torch.cat([torch.ones_like(rule.shapes[:1]), rule.shapes]).to(pupils.dtype)
            stacked = (pupils[:, None] * shapes).flatten(0, 1)
            amplitudes = rule.transform(stacked).unflatten(0, (len(part), -1))
            first = amplitudes[:, :1]
            light.append(self._on_pixels(first[:, 0].real ** 2 + first[:, 0].imag ** 2))
            product = first.real * amplitudes[:, 1:].imag - first.imag * amplitudes[:, 1:].real
            jacobian.append(self._on_pixels(-4.0 * math.pi * product))
        return torch.cat(light), torch.cat(jacobian)

    def _rule(self, coefficients: Tensor) -> _Rule:
        """Rule over the disk that resolves the phases of these coefficients."""
        reach = self._pixel * (self.size + 2 * self._margin) / math.sqrt(2.0)
        if len(coefficients):
            slopes = _disk_slopes(*self._optics, self._pixel)
            gradient = np.tensordot(coefficients.detach().cpu().numpy(), slopes, (1, 1))
            reach += float(np.hypot(gradient[:, 0], gradient[:, 1]).max())
        order = -(-disk_order(reach) // _ORDER_STEP) * _ORDER_STEP
        key = (*self._optics, self._pixel, self.size + 2 * self._margin, len(self._points))
        return _rule(*key, order, self.dtype)

    def _pupils(self, coefficients: Tensor, rule: _Rule) -> Tensor:
        """Pupil functions (N, rows, points) times the weights of the rule."""
        waves = torch.tensordot(coefficients.to(rule.shapes.dtype), rule.shapes, 1)
        return torch.polar(rule.weight.expand_as(waves), 2.0 * math.pi * waves)

    def _on_pixels(self, intensity: Tensor) -> Tensor:
        """Integrals over pixels (..., size, size) of intensities at all points across them."""
        count, side = len(self._points), self.size + 2 * self._margin
        over_rows = intensity.unflatten(-2, (count, side)).sum(-3)  # weighted by the transform
        summed: Tensor = over_rows.unflatten(-1, (count, side)).sum(-2).double()
        if not self._margin:
            return summed
        inner = slice(self._margin, self._margin + self.size)
        spectrum = torch.fft.rfft2(summed) * ball_transform(self._ball, side)
        blurred: Tensor = torch.fft.irfft2(spectrum, summed.shape[-2:])
        return blurred[..., inner, inner]

    def _chunk(self, rule: _Rule, fields: int) -> int:
        """Number of beads whose amplitudes fit into the memory for a chunk."""
        side = rule.columns.shape[0]
        return max(1, _CHUNK_BYTES // (16 * fields * side * side))


class _Rule:
    """Integration over the disk, and the Fourier transforms from its points to those of pixels."""

    def __init__(
        self,
        optics: tuple[float, float, float],
        pixel: float,
        side: int,
        points: int,
        order: int,
        dtype: torch.dtype,
    ) -> None:
        y, x, weight = disk_rule(order)
        offsets, point_weight = pixel_rule(pixel, points)
        columns = _at_points(y[:, 0], pixel, side, offsets, point_weight)
        rows = np.stack([_at_points(row, pixel, side, offsets, point_weight) for row in x])
        real = torch.float32 if dtype == torch.complex64 else torch.float64
        self.shapes = torch.from_numpy(_shapes(y, x, optics, pixel)).to(real)
        self.weight = torch.from_numpy(weight / math.sqrt(math.pi)).to(real)
        self.rows = torch.from_numpy(rows.swapaxes(1, 2).copy()).to(dtype)  # (rows, points, side)
        self.columns = torch.from_numpy(columns).to(dtype)  # (side, rows)

    def transform(self, pupils: Tensor) -> Tensor:
        """Amplitudes (N, side, side) at all points across all pixels, of pupils (N, rows, p)."""
        count = len(pupils)
        along_rows = torch.bmm(pupils.transpose(0, 1), self.rows)  # (rows, N, side)
        both = self.columns @ along_rows.flatten(1)  # (side, N * side)
        amplitudes: Tensor = both.unflatten(1, (count, -1)).transpose(0, 1)
        return amplitudes


@lru_cache(maxsize=12)
def _rule(
    na: float,
    wavelength: float,
    index: float,
    pixel: float,
    side: int,
    points: int,
    order: int,
    dtype: torch.dtype,
) -> _Rule:
    return _Rule((na, wavelength, index), pixel, side, points, order, dtype)


def _at_points(
    pupil: NDArray[np.float64],
    pixel: float,
    side: int,
    offsets: NDArray[np.float64],
    weight: NDArray[np.float64],
) -> NDArray[np.complex128]:
    """Fourier kernels (points * side, len(pupil)), times the root of the points' weights."""
    at_points = np.exp(-2j * np.pi * offsets[:, None] * pupil) * np.sqrt(weight)[:, None]
    kernel = pixel_kernel(pupil, pixel, side).T
    scaled: NDArray[np.complex128] = (at_points[:, None] * kernel).reshape(-1, len(pupil))
    return scaled


def _shapes(
    y: NDArray[Any],
    x: NDArray[Any],
    optics: tuple[float, float, float],
    pixel: float,
) -> NDArray[np.float64]:
    """Waves per unit of each coefficient at points of the pupil, (8, ...)."""
    na, wavelength, index = optics
    squared = y**2 + x**2
    defocus = (np.sqrt(index**2 - na**2 * squared) - index) / wavelength
    coma = 3.0 * squared - 2.0
    spherical = 6.0 * squared**2 - 6.0 * squared + 1.0
    return np.stack(
        [
            *(defocus, y**2 - x**2, 2.0 * y * x, coma * y, coma * x, spherical),
            *(pixel * y, pixel * x),
        ]
    )


@lru_cache(maxsize=4)
def _disk_slopes(na: float, wavelength: float, index: float, pixel: float) -> NDArray[np.float64]:
    """Gradients (2, 8, ...) of the shapes over the disk, in the angle arccos(radius)."""
    y, x, _ = disk_rule(_SLOPE_RAYS)
    step = 1e-20  # Complex-step differentiation is exact to rounding.
    optics = (na, wavelength, index)
    slopes = np.stack(
        [
            _shapes(y + step * 1j, x + 0j, optics, pixel).imag,
            _shapes(y + 0j, x + step * 1j, optics, pixel).imag,
        ]
    )
    scaled: NDArray[np.float64] = slopes / step * np.sqrt(1.0 - y**2 - x**2)
    return scaled


def ball_transform(diameter_px: float, side: int) -> Tensor:
    """Fourier transform, as of `torch.fft.rfft2`, of a ball's light projected onto the pixels."""
    frequency_y, frequency_x = torch.fft.fftfreq(side), torch.fft.rfftfreq(side)
    frequency = torch.hypot(frequency_y[:, None].double(), frequency_x[None].double())
    phase = (math.pi * diameter_px * frequency).clamp(min=1e-3)
    return 3.0 * (torch.sin(phase) - phase * torch.cos(phase)) / phase**3
