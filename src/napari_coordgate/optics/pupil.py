"""From a lens to its point spread functions (PSFs).

A `Lens` is a circular pupil of uniform amplitude (scalar light, no apodisation)
whose wavefront W, in waves, changes over the frame. With p in the unit disk of
the pupil and x the offset from the ideal image point, in pixels of the camera,

    psf(x) = | integral exp(2 pi i (W(p) - s p.x)) dp |^2,    s = NA pixel / wavelength,

integrated over each square pixel. Light goes where the wavefront slopes, to
x = grad W / s: positive coma flares away from the optical axis.

Both integrals are Gauss rules. The one over the disk (Stroud, *Approximate
Calculation of Multiple Integrals*, 1971) converges exponentially, so the pupil's
edge needs no smoothing and a PSF is an analytic function of its place in the
frame. The one over a pixel has positive weights, so no PSF is ever negative.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, erfinv, roots_chebyu, roots_legendre

from napari_coordgate.config import GaussianLens, Lens
from napari_coordgate.errors import PSFError
from napari_coordgate.events import raise_if_canceled
from napari_coordgate.geometry import field_vectors

__all__ = ["lens_psfs", "psf_size"]

Array = NDArray[np.float64]
Field = NDArray[np.complex128]

_CHUNK_BYTES = 256 * 2**20  # Pupils in memory at a time.
_RAYS_ACROSS = 48  # Order of the disk rule that looks at slopes, not at phases.


def lens_psfs(
    lens: Lens | GaussianLens,
    positions: Array,
    frame_shape: tuple[int, int],
    size: int,
    cancel: threading.Event | None = None,
) -> Array:
    """Point spread functions of a lens at places in the frame.

    Parameters
    ----------
    lens : Lens or GaussianLens
        The lens.
    positions : ndarray, shape (N, 2)
        Frame coordinates (y, x); they may lie beyond [-1, 1].
    frame_shape : tuple of int
        (height, width) of the frame, in pixels.
    size : int
        Side of the PSFs in pixels, odd; the ideal image point is at the center.
    cancel : threading.Event, optional
        Once set, the work ends.

    Returns
    -------
    ndarray, shape (N, size, size)
        PSFs integrated over the pixels of the camera, non-negative, each of sum 1
        (scaled up for the light that falls outside the window).

    Raises
    ------
    PSFError
        If the size has no central pixel.
    CanceledError
        If canceled.

    Notes
    -----
    Measured against closed forms and finer rules, a PSF of a `Lens` is within
    2e-4 of its peak (the rule over a pixel; the one over the pupil is within
    1e-7, or 1e-3 where the NA comes within 1e-4 of the refractive index).
    """
    if size < 1 or size % 2 == 0:
        raise PSFError(f"A PSF of side {size} has no central pixel; choose an odd size.")
    places, number, side = _folded(lens, np.asarray(positions, dtype=np.float64))
    if isinstance(lens, GaussianLens):
        light = _gaussian_light(_gaussian_sigma(lens, places, frame_shape), size)
    else:
        light = _pupil_light(_Wavefronts.of(lens, places, frame_shape), size, cancel)
    psfs: Array = (light / light.sum(axis=(1, 2), keepdims=True))[number]
    for axis in (0, 1):
        mirrored = side[:, axis] < 0
        psfs[mirrored] = np.flip(psfs[mirrored], axis + 1)
    return psfs


def psf_size(
    lens: Lens | GaussianLens,
    frame_shape: tuple[int, int],
    enclosed_energy: float,
    positions: Array | None = None,
) -> int:
    """Side of the smallest window that holds the PSFs of a lens all over the frame.

    Parameters
    ----------
    lens : Lens or GaussianLens
        The lens.
    frame_shape : tuple of int
        (height, width) of the frame, in pixels.
    enclosed_energy : float
        Part of each PSF's light inside the window, below 1.
    positions : ndarray, shape (N, 2), optional
        Frame coordinates (y, x) to look at; when not given, a 5 x 5 grid over the
        frame from corner to corner, and the optical axis.

    Returns
    -------
    int
        Odd number of pixels.

    Raises
    ------
    PSFError
        If the window would outgrow the smaller side of the frame.
    """
    if positions is None:
        grid = np.stack(np.meshgrid(*[np.linspace(-1.0, 1.0, 5)] * 2), axis=-1).reshape(-1, 2)
        positions = np.concatenate([grid, np.clip([lens.axis], -1.0, 1.0)])
    places, _, _ = _folded(lens, np.asarray(positions, dtype=np.float64))
    limit = (min(frame_shape) - 1) // 2 * 2 + 1
    if isinstance(lens, GaussianLens):
        sigma = _gaussian_sigma(lens, places, frame_shape).max()
        size = _odd_side(np.sqrt(2.0) * sigma * erfinv(np.sqrt(enclosed_energy)))
        remedy = "lower sigma_center_px or sigma_edge_px"
    else:
        size = _pupil_size(_Wavefronts.of(lens, places, frame_shape), limit, enclosed_energy)
        remedy = "lower the defocus, field curvature, tilt or aberrations, enlarge pixel_size_um"
    if size > limit:
        raise PSFError(
            f"The blur needs PSFs of about {size} pixels to hold {enclosed_energy:.4g} of their "
            f"light, more than the frame of {frame_shape[0]} x {frame_shape[1]} pixels; {remedy}, "
            "or lower enclosed_energy."
        )
    return size


def _odd_side(half_side: float) -> int:
    """Smallest odd number of pixels that covers this much on both sides of a center."""
    return 2 * int(np.ceil(half_side - 0.5)) + 1


def _folded(lens: Lens | GaussianLens, places: Array) -> tuple[Array, NDArray[np.intp], Array]:
    """Places that differ by more than a mirror which the lens does not notice.

    Returns them, the number among them of each place, and the sign (y, x) of its side.
    """
    tilt = lens.tilt_um if isinstance(lens, Lens) else (0.0, 0.0)
    even = [not axis and not slope for axis, slope in zip(lens.axis, tilt, strict=True)]
    side = np.where(even & (places < 0), -1.0, 1.0)
    # Two pixels that mirror each other are so up to rounding.
    distinct, number = np.unique(np.round(places * side, 12), axis=0, return_inverse=True)
    return distinct, number.reshape(-1), side


# A Gaussian lens


def _gaussian_sigma(lens: GaussianLens, places: Array, frame_shape: tuple[int, int]) -> Array:
    field = field_vectors(places, frame_shape, lens.axis)
    center, edge = lens.sigma_center_px**2, lens.sigma_edge_px**2
    variance = center + (edge - center) * np.sum(field**2, axis=-1)
    # Where the edge is the sharper, the law would reach zero beyond the frame.
    sigma: Array = np.sqrt(np.maximum(variance, min(center, edge) / 4.0))
    return sigma


def _gaussian_light(sigma: Array, size: int) -> Array:
    edges = np.arange(size + 1) - size / 2.0
    profile = np.diff(erf(edges / (np.sqrt(2.0) * sigma[:, None]))) / 2.0
    light: Array = profile[:, :, None] * profile[:, None, :]
    return light


# A lens with a pupil


@dataclass(frozen=True)
class _Wavefronts:
    """Wavefronts of a lens at N places of its frame, over the unit disk of the pupil.

    Attributes
    ----------
    lens : Lens
        The lens.
    field : ndarray, shape (N, 2)
        Field vectors (y, x).
    defocus_um : ndarray, shape (N,)
        Distance from focus.
    """

    lens: Lens
    field: Array
    defocus_um: Array

    @classmethod
    def of(cls, lens: Lens, places: Array, frame_shape: tuple[int, int]) -> _Wavefronts:
        """Wavefronts at frame coordinates (y, x), shape (N, 2)."""
        field = field_vectors(places, frame_shape, lens.axis)
        curvature = lens.field_curvature_um * np.sum(field**2, axis=-1)
        return cls(lens, field, lens.defocus_um + curvature + places @ np.asarray(lens.tilt_um))

    def part(self, run: slice) -> _Wavefronts:
        """Wavefronts at a run of the places."""
        return _Wavefronts(self.lens, self.field[run], self.defocus_um[run])

    @property
    def pixel(self) -> float:
        """Side of a pixel in units of wavelength / NA."""
        return self.lens.pixel_size_um * self.lens.na / (self.lens.wavelength_nm * 1e-3)

    def waves(self, y: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
        """Wavefronts at points of the pupil, (N, ...).

        Polynomials in the field vector, and so smooth through the optical axis,
        where its azimuth is not defined.
        """
        lens = self.lens
        v_y, v_x, defocus_um = (
            column.reshape(-1, *[1] * y.ndim) for column in (*self.field.T, self.defocus_um)
        )
        along, across, squared = y * v_y + x * v_x, y * v_x - x * v_y, y**2 + x**2
        per_um = 1e3 / lens.wavelength_nm
        axial = np.sqrt((lens.refractive_index * per_um) ** 2 - (lens.na * per_um) ** 2 * squared)
        waves: NDArray[Any] = (
            defocus_um * (axial - lens.refractive_index * per_um)
            + lens.astigmatism_waves * (along**2 - across**2)
            + lens.coma_waves * (3.0 * squared - 2.0) * along
            + lens.spherical_waves * (6.0 * squared**2 - 6.0 * squared + 1.0)
        )
        return waves

    def slopes(self, y: Array, x: Array) -> Array:
        """Gradient (y, x) of the wavefronts, (2, N, ...): where rays land, in wavelength / NA."""
        step = 1e-20  # A complex step has no cancellation: the gradient is exact to rounding.
        towards_y, towards_x = self.waves(y + step * 1j, x), self.waves(y, x + step * 1j)
        slopes: Array = np.stack([towards_y.imag, towards_x.imag]) / step
        return slopes


def _disk_rule(order: int) -> tuple[Array, Array, Array]:
    """Points (y, x) and weights over the unit disk, exact for polynomials below 2 * order."""
    y, row_weight = roots_chebyu(order)
    along_row, weight = roots_legendre(order)
    x = np.sqrt(1.0 - y**2)[:, None] * along_row
    return np.broadcast_to(y[:, None], x.shape), x, row_weight[:, None] * weight


def _disk_order(wavefronts: _Wavefronts, size: int) -> int:
    """Order of the rule that follows the phase of all wavefronts out to the window's corners.

    Chebyshev coefficients of exp(i phase) vanish beyond the largest slope of the
    phase in the angle arccos(radius), and fall off there over its cube root.
    """
    y, x, _ = _disk_rule(_RAYS_ACROSS)
    slope = np.hypot(*wavefronts.slopes(y, x)) * np.sqrt(1.0 - y**2 - x**2)
    bandwidth = 2.0 * np.pi * (slope.max() + wavefronts.pixel * size / np.sqrt(2.0))
    return int(np.ceil(bandwidth / 2.0 + 4.0 * np.cbrt(bandwidth))) + 8


def _pixel_rule(pixel: float) -> tuple[Array, Array]:
    """Points across one pixel, in wavelength / NA from its center, and their weights."""
    point, weight = roots_legendre(int(np.ceil(1.25 * np.pi * pixel + 1.7)))
    return pixel * point / 2.0, pixel * weight / 2.0


def _pupil_light(
    wavefronts: _Wavefronts, size: int, cancel: threading.Event | None = None
) -> Array:
    """Part of the light that falls on each pixel of the window, (N, size, size)."""
    disk = _disk_rule(_disk_order(wavefronts, size))
    points, weight = _pixel_rule(wavefronts.pixel)
    order, places = len(disk[0]), len(wavefronts.defocus_um)
    step = max(1, _CHUNK_BYTES // (16 * order * (2 * order + size * len(points))))
    light = np.empty((places, size, size))
    for start in range(0, places, step):
        part = wavefronts.part(slice(start, start + step))
        for place, field in enumerate(_fields(part, disk, size, points), start):
            raise_if_canceled(cancel, "Stopped before the PSFs of the lens were computed.")
            intensity = (field.real**2 + field.imag**2).reshape(len(points), size, -1, size)
            light[place] = np.einsum("mynx,m,n->yx", intensity, weight, weight) / np.pi
    return light


def _fields(
    wavefronts: _Wavefronts, disk: tuple[Array, Array, Array], size: int, points: Array
) -> Iterator[Field]:
    """Fourier transforms of the pupils, one by one, at all points across all pixels (y, x).

    Points come first, so that each is a window of pixels: (points * size, points * size).
    """
    y, x, weight = disk
    pupils = weight * np.exp(2j * np.pi * wavefronts.waves(y, x))
    to_points = np.exp(-2j * np.pi * x[:, None] * points[:, None])
    rows = np.empty((len(pupils), len(y), points.size * size), dtype=np.complex128)
    for index, row_x in enumerate(x):  # Each row of the disk has its own length, hence kernel.
        at_points = (pupils[:, index, None] * to_points[index]).reshape(-1, row_x.size)
        at_pixels = at_points @ _pixel_kernel(row_x, wavefronts.pixel, size)
        rows[:, index] = at_pixels.reshape(len(pupils), -1)
    column_y = y[:, 0]
    at_points = np.exp(-2j * np.pi * points[:, None] * column_y)
    columns = at_points[:, None] * _pixel_kernel(column_y, wavefronts.pixel, size).T
    return (columns.reshape(-1, len(y)) @ row for row in rows)


def _pixel_kernel(pupil: Array, pixel: float, size: int) -> Field:
    """Exp(-2 pi i p x) at the centers x of the window's pixels, (len(pupil), size)."""
    # Powers of the first: an exponential for each pixel would take most of the time.
    powers = np.vander(np.exp(-2j * np.pi * pixel * pupil), size // 2 + 1, increasing=True)
    return np.hstack([powers[:, :0:-1].conj(), powers])


def _pupil_size(wavefronts: _Wavefronts, limit: int, enclosed_energy: float) -> int:
    """Side that holds this part of all PSFs; above the limit, an estimate of it."""
    rays = _ray_half_sides(wavefronts, enclosed_energy)
    # Outside a circle of radius r the Airy pattern has 2 / (pi v) of its light, v = 2 pi r.
    tail = 1.0 / (np.pi**2 * (1.0 - enclosed_energy))
    guesses = [_odd_side(half_side / wavefronts.pixel) for half_side in rays + tail]
    if _odd_side(rays.max() / wavefronts.pixel) > limit:
        return max(guesses)
    size, place = -1, int(np.argmax(rays))
    while True:
        one = wavefronts.part(slice(place, place + 1))
        size = max(size + 2, _holding_side(one, guesses[place], limit, enclosed_energy))
        if size > limit:
            return size
        held = _pupil_light(wavefronts, size).sum(axis=(1, 2))
        place = int(np.argmin(held))
        if held[place] >= enclosed_energy:
            return size


def _ray_half_sides(wavefronts: _Wavefronts, enclosed_energy: float) -> Array:
    """Half side of the square that this part of the rays hits, (N,), in wavelength / NA."""
    y, x, weight = _disk_rule(_RAYS_ACROSS)
    reach = np.abs(wavefronts.slopes(y, x)).max(axis=0).reshape(-1, y.size)
    order = np.argsort(reach, axis=1)
    inside = np.cumsum(weight.ravel()[order], axis=1) < enclosed_energy * np.pi
    outermost = inside.sum(axis=1, keepdims=True)
    half_sides: Array = np.take_along_axis(np.sort(reach, axis=1), outermost, axis=1)[:, 0]
    return half_sides


def _holding_side(wavefront: _Wavefronts, guess: int, limit: int, enclosed_energy: float) -> int:
    """Side that holds this part of one PSF; above the limit, an estimate of it."""
    window = min(guess, limit)
    light = _pupil_light(wavefront, window)[0]
    distance = np.abs(np.arange(window) - window // 2)
    rings = np.bincount(np.maximum.outer(distance, distance).ravel(), light.ravel())
    held = np.cumsum(rings)
    if held[-1] >= enclosed_energy:
        return 2 * int(np.argmax(held >= enclosed_energy)) + 1
    if window < limit:
        return _holding_side(wavefront, guess + max(2, guess // 4 * 2), limit, enclosed_energy)
    # Far out, the light outside a window falls as one over its side.
    tail = _odd_side(window / 2.0 * (1.0 - held[-1]) / (1.0 - enclosed_energy))
    return max(limit + 2, min(guess, tail))
