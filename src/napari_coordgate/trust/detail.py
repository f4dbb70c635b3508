"""Finest detail of a scene that survives the blur and the noise, at each place of an image.

A frequency k survives where |H(k)|^2 S(k) > N, with the transfer function H of the lens there, the
spectrum S of the deblurred image around, and the variance N of the noise. It is evaluated on tiles
of 64 x 64 pixels, on rings of equal |k|, and given as the period of the highest such frequency.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from napari_coordgate.calibration.spectra import (
    FREQUENCY,
    TILE,
    Array,
    ring_means,
    tile_spectra,
)
from napari_coordgate.config import Camera
from napari_coordgate.geometry import Window, pixel_coordinates
from napari_coordgate.optics import PSFField
from napari_coordgate.optics.low_rank import sum_series

Float32 = NDArray[np.float32]

MAX_PERIOD = float(TILE)
"""Period that is given where nothing finer survives, pixels."""
_LAST_RING = TILE // 2  # The last one whose frequency is below half a cycle per pixel.
_FIRST_RING = 1


def detail_map(deblurred: Float32, psf_field: PSFField, camera: Camera, window: Window) -> Float32:
    """Finest surviving period (h, w) in pixels, of a scaled plane that shows this window."""
    missing = [(0, max(0, TILE - side)) for side in deblurred.shape]
    padded = np.pad(deblurred, missing, mode="symmetric")
    spectra = tile_spectra(padded)
    centers = spectra.corner + (TILE - 1) / 2
    transfer = _ring_transfer(psf_field, centers + window.origin)
    assert camera.photons is not None
    electrons = np.maximum(spectra.mean, 0) * camera.photons + max(camera.read_noise**2, 0.5)
    noise = electrons / camera.photons**2
    periods = 1 / _cutoff(transfer * spectra.power / noise[:, None])
    return _resampled(periods, centers, deblurred.shape)


def _ring_transfer(psf_field: PSFField, positions: Array) -> Array:
    """Ring means (T, R) of |H|^2 of the PSFs at frame pixels (T, 2)."""
    offsets = np.arange(psf_field.size) - psf_field.radius
    wave_y = np.exp(-2j * np.pi * np.outer(fft.fftfreq(TILE), offsets))
    wave_x = np.exp(-2j * np.pi * np.outer(fft.rfftfreq(TILE), offsets))
    spectra = wave_y @ psf_field.kernels @ wave_x.T  # (R, 64, 33)
    coordinates = np.clip(pixel_coordinates(positions, psf_field.frame_shape), -1, 1)
    weights = sum_series(psf_field.coefficients, coordinates)
    power = np.empty((len(weights), *spectra.shape[1:]))
    for number, row in enumerate(weights):
        power[number] = np.abs(np.tensordot(row, spectra, axes=1)) ** 2
    return ring_means(power)


def _cutoff(ratio: Array) -> Array:
    """Frequency (T,), cycles per pixel, up to which ratios (T, R) on rings are above 1."""
    rings = np.log(np.maximum(ratio[:, _FIRST_RING : _LAST_RING + 1], 1e-12))
    frequency = FREQUENCY[_FIRST_RING : _LAST_RING + 1]
    below = rings < 0
    first = np.where(below.any(axis=1), below.argmax(axis=1), rings.shape[1])
    last = np.clip(first - 1, 0, None)
    after = np.clip(first, None, rings.shape[1] - 1)
    rows = np.arange(len(rings))
    high, low = rings[rows, last], rings[rows, after]
    step = np.where(first > last, high / np.maximum(high - low, 1e-12), 0.0)
    step = np.where((first == 0) | (first == rings.shape[1]), 0.0, np.clip(step, 0, 1))
    cutoff: Array = frequency[last] + step * (frequency[after] - frequency[last])
    return cutoff


def _resampled(values: Array, centers: Array, shape: tuple[int, int]) -> Float32:
    """Values (T,) at the centers (T, 2) of tiles of a grid, at each pixel of a plane (h, w)."""
    rows, columns = (np.unique(axis) for axis in centers.T)
    grid = values.reshape(len(rows), len(columns))
    y = np.clip(np.arange(shape[0]), rows[0], rows[-1])
    x = np.clip(np.arange(shape[1]), columns[0], columns[-1])
    along_x = np.stack([np.interp(x, columns, row) for row in grid])
    result = np.empty(shape, np.float32)
    index = np.clip(np.searchsorted(rows, y, side="right") - 1, 0, max(len(rows) - 2, 0))
    following = np.minimum(index + 1, len(rows) - 1)
    gap = np.maximum(rows[following] - rows[index], 1e-9)
    weight = ((y - rows[index]) / gap)[:, None]
    result[:] = (1 - weight) * along_x[index] + weight * along_x[following]
    return result
