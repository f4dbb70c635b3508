"""Cross spectra of the same content in two images, in tiles of the part that both show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import gaussian_gradient_magnitude

from napari_coordgate.calibration.spectra import (
    TILE,
    Array,
    Bools,
    Indices,
    TileSpectra,
    ring_means,
    tile_positions,
    tile_spectra,
)
from napari_coordgate.calibration.spectral_fit import tile_noise
from napari_coordgate.config import Camera
from napari_coordgate.geometry import Window

Plane = NDArray[np.float32]

USED = slice(2, 25)
"""Rings that are used: lower ones depend on the mean, higher ones carry little of the blur."""

HANN = np.hanning(TILE + 1)[:-1]
WINDOW = np.outer(HANN, HANN)
"""Window of a tile (64, 64)."""

_SATURATED = 0.01  # Fraction of a tile's pixels at the maximum of the image.
_DETAIL = slice(1, 6)  # Of the rings that are used.
_DETAIL_PX = 3.0  # Scale of the detail whose place in the tile counts.
_MIN_CENTRAL = 0.6
_MIN_DETAIL = 3.0  # Power of a tile with detail over that of its noise, in both images.
_QUANTILE_BIAS = 1.07  # `tile_noise` is a low quantile; measured on white noise.
_FREQUENCIES = np.stack(np.meshgrid(fft.fftfreq(TILE), fft.rfftfreq(TILE), indexing="ij"), axis=-1)


@dataclass(frozen=True, eq=False)
class TilePairs:
    """Power of T tiles that two images show, on R rings of frequencies.

    Attributes
    ----------
    power : ndarray, shape (T, R, 3)
        Power in the first image, real part of the cross spectrum, power in the second image.
    noise : ndarray, shape (T, 2)
        Variance of the noise in both images, which is the power of the noise.
    positions : ndarray, shape (T, 2, P, 2)
        Frame coordinates of the parts of each tile in both images.
    detail : ndarray, shape (T, P)
        Share of each part in the detail of the tile.
    image : ndarray of int, shape (T, 2)
        Numbers of the two images.
    central : ndarray, shape (T,)
        How far the detail is in the middle of the tile: 1 if it is spread evenly.
    number : ndarray of int, shape (T,)
        Index of each tile in `overlap_power`.
    """

    power: Array
    noise: Array
    positions: Array
    detail: Array
    image: Indices
    central: Array
    number: Indices

    def __len__(self) -> int:
        return len(self.power)

    def __getitem__(self, chosen: Bools | Indices) -> TilePairs:
        return TilePairs(*(getattr(self, field.name)[chosen] for field in fields(self)))

    @classmethod
    def concatenate(cls, parts: Sequence[TilePairs]) -> TilePairs:
        """Tiles of several pairs of images."""
        columns = ([getattr(part, field.name) for part in parts] for field in fields(cls))
        return cls(*map(np.concatenate, columns))

    def with_detail(self, min_central: float = _MIN_CENTRAL) -> TilePairs:
        """Tiles whose detail exceeds the noise in both images, and is not at the border.

        Of content at the border of a tile, a wider blur brings more light into the tile.
        """
        detail = self.power[:, _DETAIL, ::2].mean(axis=1) / self.noise
        return self[(detail.min(axis=1) > _MIN_DETAIL) & (self.central > min_central)]


def overlap(frame_shape: tuple[int, int], shift_px: Array) -> tuple[Window, Window]:
    """Windows of two images that show the same; the shift is where the first's content moved."""
    y, x = (round(float(shift)) for shift in shift_px)
    height, width = frame_shape[0] - abs(y), frame_shape[1] - abs(x)
    first = Window(max(-y, 0), max(-x, 0), max(height, 0), max(width, 0))
    return first, first.shifted((y, x))


def tile_pairs(
    planes: tuple[Plane, Plane],
    numbers: tuple[int, int],
    shift_px: Array,
    camera: Camera | None = None,
) -> TilePairs:
    """Tiles of the overlap of two planes, of at least 64 x 64 pixels."""
    frame_shape = (planes[0].shape[0], planes[0].shape[1])
    spectra, power = _pair_spectra(planes, numbers, shift_px)
    first, second = spectra
    usable, central = np.ones(len(power), bool), np.full(len(power), np.inf)
    for plane, one in zip(planes, spectra, strict=True):
        usable &= _tile_means(plane >= plane.max(), one) < _SATURATED
        central = np.minimum(central, _central(plane, one))
    return TilePairs(
        power,
        np.stack([_noise(one, camera) for one in spectra], axis=1),
        np.stack([tile_positions(one.corner, frame_shape) for one in spectra], axis=1),
        (first.detail + second.detail) / 2.0,
        np.broadcast_to(numbers, (len(power), 2)),
        central,
        np.arange(len(power)),
    )[usable]


def overlap_power(planes: tuple[Plane, Plane], shift_px: Array) -> Array:
    """Power (T, R, 3) of all tiles of the overlap of two planes, as that of `TilePairs`."""
    return _pair_spectra(planes, (0, 1), shift_px)[1]


def _pair_spectra(
    planes: tuple[Plane, Plane], numbers: tuple[int, int], shift_px: Array
) -> tuple[tuple[TileSpectra, TileSpectra], Array]:
    """Spectra of the tiles of the overlap in both planes, and their power with the cross spectra.

    The tiles depend on the shapes and the shift alone.
    """
    frame_shape = (planes[0].shape[0], planes[0].shape[1])
    whole, spectra, parts = Window.whole(frame_shape), [], []
    for plane, window, number in zip(planes, overlap(frame_shape, shift_px), numbers, strict=True):
        part = plane[window.within(whole)]
        parts.append(part)
        spectra.append(tile_spectra(part, window.origin, number))
    first, second = spectra
    fraction = shift_px - np.rint(shift_px)
    corners = (first.corner - first.corner.min(axis=0)).astype(np.intp)
    cross = _cross_spectra(parts, corners, fraction)
    power = np.stack([first.power, cross, second.power], axis=-1)[:, USED]
    return (first, second), power


def _tile_means(plane: NDArray[Any], spectra: TileSpectra, weight: Array | float = 1.0) -> Array:
    """Mean (T,) of weighted pixels over each tile."""
    corners = spectra.corner.astype(np.intp)
    means = [np.mean(plane[y : y + TILE, x : x + TILE] * weight) for y, x in corners]
    return np.array(means)


def _central(plane: Plane, spectra: TileSpectra) -> Array:
    """Detail (T,) seen through the window, relative to that of the whole tile."""
    detail = gaussian_gradient_magnitude(plane, _DETAIL_PX).astype(np.float64) ** 2
    detail = np.maximum(detail - np.median(detail), 0.0)
    weight = WINDOW**2 / np.mean(WINDOW**2)
    whole = _tile_means(detail, spectra)
    return _tile_means(detail, spectra, weight) / np.maximum(whole, 1e-300)


def _cross_spectra(parts: Sequence[Plane], corners: Indices, fraction: Array) -> Array:
    """Ring means (T, RINGS) of the cross spectra, with the second image shifted back."""
    back = np.exp(2j * np.pi * _FREQUENCIES @ fraction)
    normalized = WINDOW / np.sqrt(np.sum(WINDOW**2))
    cross = np.empty((len(corners), *back.shape))
    for values, (y, x) in zip(cross, corners, strict=True):
        tiles = [part[y : y + TILE, x : x + TILE].astype(np.float64) for part in parts]
        first, second = (
            fft.rfft2((tile - np.sum(tile * WINDOW) / WINDOW.sum()) * normalized) for tile in tiles
        )
        values[:] = (first.conj() * second * back).real
    return ring_means(cross)


def _noise(spectra: TileSpectra, camera: Camera | None) -> Array:
    """Variance (T,) of the noise of each tile: that of the camera, else measured."""
    if camera is None or camera.electrons_per_count is None:
        return _QUANTILE_BIAS * tile_noise(spectra)
    offset = float(spectra.mean.min()) if camera.offset is None else camera.offset
    electrons = np.maximum((spectra.mean - offset) * camera.electrons_per_count, 0.0)
    variance = (electrons + camera.read_noise**2) / camera.electrons_per_count**2
    floor = 1e-9 * float(spectra.power.max())
    return np.maximum(variance, floor)
