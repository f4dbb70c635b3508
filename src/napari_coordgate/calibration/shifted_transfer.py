"""Products of the transfer functions of a lens at two values of the defocus.

The expected cross spectrum of a tile under its window W, of a scene of spectrum S, is

    P_ij(k) = (|W|^2 * (H_i conj(H_j) S))(k),

on average over rings of frequencies. As an inner product of H_i and H_j it is that of a few numbers
F for each defocus and ring: P_ij = F_i . F_j, tabulated against the defocus.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.interpolate import CubicSpline

from napari_coordgate.calibration.shifted_tiles import USED, WINDOW
from napari_coordgate.calibration.spectra import RINGS, TILE, Array
from napari_coordgate.config import Lens
from napari_coordgate.optics.pupil import lens_psfs

ComplexArray = NDArray[np.complex128]

_MAX_RADIUS_PX = 34.0  # Largest radius of a defocused PSF in the table, about half a tile.
_RADIUS_STEP_PX = 0.4
_MARGIN_PX = 12  # Light of a PSF outside its geometric radius.
_GRID = 2 * TILE  # Frequencies between those of a tile, from which the window leaks.
_NUMBERS = 6  # Of F for each defocus and ring.
_SCENE_SCALE = 1.0 / TILE  # The power of scenes falls as |k|^-3 above this frequency.
_FIELD_RADIUS = 0.6  # Of aberrations that vary over the frame: about the mean.


class TransferTable:
    """Numbers F of a lens against its defocus; its focus does not matter."""

    def __init__(self, lens: Lens) -> None:
        per_um = math.tan(math.asin(lens.na / lens.refractive_index)) / lens.pixel_size_um
        self.max_defocus_um = _MAX_RADIUS_PX / per_um
        number = round(_MAX_RADIUS_PX / _RADIUS_STEP_PX)
        defocus_um = np.linspace(-self.max_defocus_um, self.max_defocus_um, 2 * number + 1)
        sizes = 2 * np.ceil((np.abs(defocus_um) * per_um + _MARGIN_PX) / 8.0).astype(int) * 8 + 1
        transfer = np.empty((len(defocus_um), _GRID, _GRID // 2 + 1), np.complex128)
        plain = _without_focus(lens)
        is_even = not any(
            (lens.spherical_waves, *plain.axial_astigmatism_waves, *plain.axial_coma_waves)
        )
        needed = (defocus_um >= 0) | (not is_even)
        for size in np.unique(sizes):  # Small windows where they suffice: PSFs take long.
            chosen = needed & (sizes == size)
            positions = np.stack([defocus_um[chosen], np.zeros(chosen.sum())], axis=1)
            transfer[chosen] = _transfer_functions(
                lens_psfs(plain, positions, (TILE, TILE), int(size))
            )
        transfer[~needed] = transfer[::-1][~needed]
        numbers = [_numbers(transfer, ring) for ring in range(RINGS)[USED]]
        self._spline = CubicSpline(defocus_um, np.stack(numbers, axis=1))

    def __call__(self, defocus_um: Array, derivative: int = 0) -> Array:
        """F (..., R, Q) at values of the defocus, or its derivative."""
        inside = np.clip(defocus_um, -self.max_defocus_um, self.max_defocus_um)
        values: Array = self._spline(inside, derivative)
        if derivative:
            values[inside != defocus_um] = 0.0
        return values


def _without_focus(lens: Lens) -> Lens:
    """Lens with the aberrations of a mean field radius everywhere; its defocus is y, in um."""
    (straight, diagonal), (coma_y, coma_x) = lens.axial_astigmatism_waves, lens.axial_coma_waves
    changes = {
        "defocus_um": 0.0,
        "field_curvature_um": 0.0,
        "tilt_um": (1.0, 0.0),
        "axis": (0.0, 0.0),
        "astigmatism_waves": 0.0,
        "coma_waves": 0.0,
        "axial_astigmatism_waves": (
            straight + lens.astigmatism_waves * _FIELD_RADIUS**2,
            diagonal,
        ),
        "axial_coma_waves": (coma_y + lens.coma_waves * _FIELD_RADIUS, coma_x),
        "calibration": None,
    }
    return lens.model_copy(update=changes)


def _transfer_functions(psfs: Array) -> ComplexArray:
    """Fourier transforms of PSFs (N, size, size) about their centers, as of `rfft2`."""
    offsets = np.arange(psfs.shape[1]) - psfs.shape[1] // 2
    rows, columns = (
        np.exp(-2j * np.pi * frequency[:, None] * offsets)
        for frequency in (fft.fftfreq(_GRID), fft.rfftfreq(_GRID))
    )
    transfer: ComplexArray = rows @ psfs @ columns.T
    return transfer


def _numbers(transfer: ComplexArray, ring: int) -> Array:
    """Numbers (N, Q) whose inner products are the cross spectra on a ring."""
    weight = _scene_weights()[ring]
    used = weight > 1e-7
    values = transfer[:, used] * np.sqrt(weight[used])
    parts = np.concatenate([values.real, values.imag], axis=1)
    size, basis = np.linalg.eigh(parts @ parts.T)
    numbers: Array = basis[:, -_NUMBERS:] * np.sqrt(np.maximum(size[-_NUMBERS:], 0.0))
    return numbers


@lru_cache(maxsize=1)
def _scene_weights() -> Array:
    """Share (RINGS, grid) of each frequency of a scene in the power on a ring."""
    y, x = fft.fftfreq(_GRID), fft.rfftfreq(_GRID)
    radius = np.hypot(y[:, None], y)
    on_tile = np.zeros_like(radius)
    on_tile[::2, ::2] = 1.0  # The frequencies of a tile.
    leak = fft.fft2(np.abs(fft.fft2(WINDOW, (_GRID, _GRID))) ** 2)
    half = np.full((_GRID, len(x)), 2.0)  # `rfft2` leaves out the mirrored half.
    half[:, [0, -1]] = 1.0
    half *= (np.hypot(y[:, None], x) ** 2 + _SCENE_SCALE**2) ** -1.5
    weights = []
    for ring in range(RINGS):
        at_ring = (np.rint(radius * TILE) == ring) * on_tile
        seen = fft.ifft2(fft.fft2(at_ring) * leak).real[:, : len(x)] * half
        weights.append(seen / seen.sum())
    return np.stack(weights)


@lru_cache(maxsize=8)
def transfer_table(lens: Lens) -> TransferTable:
    """Table of a lens without focus, computed once."""
    return TransferTable(lens)


def table_of(lens: Lens) -> TransferTable:
    """Table of a lens, computed once for all values of its focus."""
    return transfer_table(_without_focus(lens))
