"""Power spectra of the tiles of an image, and those that a lens predicts.

The expected power spectrum of a tile of 64 x 64 pixels under a Hann window W is

    P(k) = A S(|k|) (|W|^2 * |H|^2)(k) + N,

with the transfer function H of the lens in the tile, the spectrum S of the scene, which all
tiles share up to their contrast A, and the noise N. All are averaged over rings of equal |k|, so
that scenes of any direction fit the model. |H|^2 is tabulated against the defocus, which varies
over the frame, and averaged over the positions in a tile where it has detail.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import fft
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter

from napari_coordgate.config import Lens
from napari_coordgate.geometry import pixel_coordinates
from napari_coordgate.optics.pupil import lens_psfs

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
Indices = NDArray[np.intp]

TILE = 64
"""Side of a tile, pixels."""

_STRIDE = 32
_POSITIONS_ACROSS = 3  # Positions in a tile at which the transfer function is averaged.
_DETAIL_PX = 3.0  # Scale of the detail that weights them: the blur matters little there.
_MAX_RADIUS_PX = 36.0  # Largest radius of a defocused PSF in the table, about half a tile.
_RADIUS_STEP_PX = 0.25
_MARGIN_PX = 12  # Light of a PSF outside its geometric radius.
_SCENE_SCALE = 1.0 / TILE  # The power of scenes falls as |k|^-3 above this frequency.
_RADIUS_NODES = (0.0, 0.7, 1.2)  # Field radii of the table if aberrations depend on it.

_HANN = np.hanning(TILE + 1)[:-1]
_WINDOW = np.outer(_HANN, _HANN)


def _rings() -> tuple[Indices, Array, Array]:
    """Ring of each frequency of `rfft2`, its weight, and the number of frequencies in each ring."""
    radius = np.hypot(fft.fftfreq(TILE)[:, None], fft.rfftfreq(TILE)) * TILE
    ring = np.rint(radius).astype(np.intp)
    weight = np.full(radius.shape, 2.0)  # `rfft2` leaves out the mirrored half.
    weight[:, [0, -1]] = 1.0
    count = np.bincount(ring.ravel(), weight.ravel())
    return ring, weight / count[ring], count / 2.0


_RING, _RING_WEIGHT, RING_COUNT = _rings()
_RING_ORDER = np.argsort(_RING.ravel(), kind="stable")
RINGS = len(RING_COUNT)
FREQUENCY = np.arange(RINGS) / TILE
"""Frequency of each ring, cycles per pixel."""


def ring_means(power: Array) -> Array:
    """Means (..., RINGS) over rings of power spectra (..., 64, 33)."""
    flat = (power * _RING_WEIGHT).reshape(-1, _RING.size)[:, _RING_ORDER]
    starts = np.searchsorted(_RING.ravel()[_RING_ORDER], np.arange(RINGS))
    means: Array = np.add.reduceat(flat, starts, axis=1)
    return means.reshape(*power.shape[:-2], RINGS)


@dataclass(frozen=True, eq=False)
class TileSpectra:
    """Power spectra of T tiles.

    Attributes
    ----------
    power : ndarray, shape (T, R)
        Mean of the power spectrum over each ring; that of white noise is its variance.
    mean : ndarray, shape (T,)
        Mean intensity.
    corner : ndarray, shape (T, 2)
        Frame pixel (y, x) of the first pixel.
    detail : ndarray, shape (T, P)
        Share of each position of `tile_positions` in the detail of the tile.
    image : ndarray of int, shape (T,)
        Number of the image that the tile is from.
    """

    power: Array
    mean: Array
    corner: Array
    detail: Array
    image: Indices

    def __len__(self) -> int:
        return len(self.power)

    def __getitem__(self, chosen: Bools | Indices | slice) -> TileSpectra:
        return TileSpectra(*(getattr(self, field.name)[chosen] for field in fields(self)))

    @classmethod
    def concatenate(cls, parts: Sequence[TileSpectra]) -> TileSpectra:
        """Spectra of the tiles of several images."""
        return cls(
            *(
                np.concatenate([getattr(part, field.name) for part in parts])
                for field in fields(cls)
            )
        )


def tile_spectra(
    plane: NDArray[np.float32], origin: tuple[int, int] = (0, 0), image: int = 0
) -> TileSpectra:
    """Power spectra of the tiles of an image (H, W), of at least 64 x 64 pixels."""
    views = sliding_window_view(plane, (TILE, TILE))
    detail_views = sliding_window_view(_detail(plane), (TILE, TILE))
    rows, columns = (_starts(length) for length in plane.shape)
    normalized = _WINDOW / np.sqrt(np.sum(_WINDOW**2))
    power, mean, detail = [], [], []
    for row in rows:
        tiles = views[row, columns].astype(np.float64)
        mean.append(np.tensordot(tiles, normalized**2, axes=2))
        tiles -= np.tensordot(tiles, _WINDOW / _WINDOW.sum(), axes=2)[:, None, None]
        spectrum = fft.rfft2(tiles * normalized)
        power.append(ring_means(spectrum.real**2 + spectrum.imag**2))
        in_cells = _CELLS @ detail_views[row, columns].astype(np.float64) @ _CELLS.T
        detail.append(in_cells.reshape(len(columns), -1))
    shares = np.concatenate(detail)
    corner = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    return TileSpectra(
        np.concatenate(power),
        np.concatenate(mean),
        corner.astype(np.float64) + origin,
        shares / shares.sum(axis=1, keepdims=True),
        np.full(len(corner), image),
    )


def _starts(length: int) -> Indices:
    """First pixels of tiles that cover a side evenly, about one stride apart."""
    stride = _STRIDE if length <= 16 * TILE else TILE
    count = max(1, math.ceil((length - TILE) / stride) + 1)
    return np.rint(np.linspace(0, length - TILE, count)).astype(np.intp)


def _detail(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared gradient of an image at a scale at which the blur matters little."""
    y, x = (gaussian_filter(plane, _DETAIL_PX, order) for order in ((1, 0), (0, 1)))
    detail: NDArray[np.float32] = y**2 + x**2
    return detail + np.median(detail) + np.float32(1e-30)


def _cells() -> Array:
    """Weights (P, 64) of the pixels across a tile in each of its cells, of equal total."""
    power = _HANN**2 / np.sum(_HANN**2)
    cell = ((np.cumsum(power) - power / 2.0) * _POSITIONS_ACROSS).astype(np.intp)
    return np.where(cell == np.arange(_POSITIONS_ACROSS)[:, None], power, 0.0)


_CELLS = _cells()


def tile_positions(corner: Array, frame_shape: tuple[int, int]) -> Array:
    """Frame coordinates (T, P, 2) of the centers of the cells of each tile."""
    offsets = _CELLS @ np.arange(TILE) / _CELLS.sum(axis=1)
    grid = np.stack(np.meshgrid(offsets, offsets, indexing="ij"), axis=-1).reshape(-1, 2)
    return pixel_coordinates(corner[:, None] + grid, frame_shape)


class SpectrumTable:
    """|H|^2 of a lens on the rings of a tile, smeared by the window, against the defocus.

    The focus of the lens does not matter. Aberrations that depend on the field radius are those
    at an azimuth of 0; averages over rings depend little on it.
    """

    def __init__(self, lens: Lens) -> None:
        per_um = math.tan(math.asin(lens.na / lens.refractive_index)) / lens.pixel_size_um
        self.max_defocus_um = _MAX_RADIUS_PX / per_um
        varies = bool(lens.astigmatism_waves or lens.coma_waves)
        radii = np.array(_RADIUS_NODES if varies else (0.0,))
        self._squared_radii = radii**2
        number = round(_MAX_RADIUS_PX / _RADIUS_STEP_PX)
        defocus_um = np.linspace(-self.max_defocus_um, self.max_defocus_um, 2 * number + 1)
        sizes = 2 * np.ceil((np.abs(defocus_um) * per_um + _MARGIN_PX) / 8.0).astype(int) * 8 + 1
        self._splines = [
            CubicSpline(defocus_um, _ring_transfer(_at_radius(lens, radius), defocus_um, sizes))
            for radius in radii
        ]
        self._slopes = [spline.derivative() for spline in self._splines]

    def __call__(self, defocus_um: Array, squared_radius: Array) -> tuple[Array, Array]:
        """|H|^2 (..., R) at values of the defocus and the field radius, and its derivative."""
        inside = np.clip(defocus_um, -self.max_defocus_um, self.max_defocus_um)
        weights = _linear_weights(squared_radius, self._squared_radii)
        transfer, slope = np.zeros((2, *inside.shape, RINGS))
        for weight, spline, derivative in zip(weights, self._splines, self._slopes, strict=True):
            transfer += weight * spline(inside)
            slope += weight * derivative(inside)
        slope[inside != defocus_um] = 0.0
        return transfer, slope


def _linear_weights(x: Array, nodes: Array) -> list[Array | float]:
    """Weight (..., 1) of each node in linear interpolation, constant beyond the last."""
    if len(nodes) == 1:
        return [1.0]
    return [np.interp(x, nodes, row)[..., None] for row in np.eye(len(nodes))]


def _at_radius(lens: Lens, radius: float) -> Lens:
    """Lens with the aberrations that it has at a field radius, the same over the whole frame.

    Its defocus is the frame coordinate y, in um.
    """
    (straight, diagonal), (coma_y, coma_x) = lens.axial_astigmatism_waves, lens.axial_coma_waves
    changes = {
        "defocus_um": 0.0,
        "field_curvature_um": 0.0,
        "tilt_um": (1.0, 0.0),
        "axis": (0.0, 0.0),
        "astigmatism_waves": 0.0,
        "coma_waves": 0.0,
        "axial_astigmatism_waves": (straight + lens.astigmatism_waves * radius**2, diagonal),
        "axial_coma_waves": (coma_y + lens.coma_waves * radius, coma_x),
    }
    return lens.model_copy(update=changes)


def _ring_transfer(lens: Lens, defocus_um: Array, sizes: NDArray[np.int_]) -> Array:
    """Ring means (N, R) of |H|^2 at values of the defocus, symmetric about 0."""
    is_even = not any((lens.spherical_waves, *lens.axial_astigmatism_waves, *lens.axial_coma_waves))
    needed = defocus_um >= 0 if is_even else np.full(len(defocus_um), True)
    transfer = np.empty((len(defocus_um), RINGS))
    for size in np.unique(sizes):  # Small windows where they suffice: PSFs take long.
        chosen = needed & (sizes == size)
        positions = np.stack([defocus_um[chosen], np.zeros(chosen.sum())], axis=1)
        transfer[chosen] = _smeared_rings(lens_psfs(lens, positions, (TILE, TILE), int(size)))
    if is_even:
        transfer[~needed] = transfer[::-1][~needed]
    return transfer


def _smeared_rings(psfs: Array) -> Array:
    """Ring means (N, R) of the squared transfer functions of PSFs, as seen through the window."""
    offsets = np.arange(psfs.shape[1]) - psfs.shape[1] // 2
    waves = np.exp(-2j * np.pi * fft.fftfreq(TILE)[:, None] * offsets)
    transfer = np.abs(waves @ psfs @ waves.T) ** 2
    radius = np.hypot(fft.fftfreq(TILE)[:, None], fft.fftfreq(TILE))
    scene = (radius**2 + _SCENE_SCALE**2) ** -1.5
    smeared, plain = _smeared(transfer * scene), _smeared(scene)
    half = slice(TILE // 2 + 1)
    return ring_means(smeared[..., half]) / ring_means(plain[..., half])


def _smeared(power: Array) -> Array:
    """Power spectra (..., 64, 64) convolved with that of the window."""
    window = np.abs(fft.fft2(_WINDOW)) ** 2
    product = fft.fft2(power) * fft.fft2(window / window.sum())
    smeared: Array = fft.ifft2(product).real
    return smeared


@lru_cache(maxsize=8)
def _cached_table(lens: Lens) -> SpectrumTable:
    return SpectrumTable(lens)


def spectrum_table(lens: Lens) -> SpectrumTable:
    """Table of a lens, computed once for all values of its focus."""
    focus = {
        "defocus_um": 0.0,
        "field_curvature_um": 0.0,
        "tilt_um": (0.0, 0.0),
        "axis": (0.0, 0.0),
        "calibration": None,
    }
    return _cached_table(lens.model_copy(update=focus))
