"""Point spread functions (PSFs) of a lens.

A `Lens` is a circular pupil of uniform amplitude (scalar light, no apodization) whose
wavefront W, in waves, varies over the frame. With p in the unit disk of the pupil and x the
offset from the ideal image point, in camera pixels,

    psf(x) = | integral exp(2 pi i (W(p) - s p.x)) dp |^2,    s = NA pixel / wavelength,

integrated over each square pixel. Rays arrive at x = grad W / s: positive coma points away
from the optical axis.

Both integrals are Gauss rules. The one over the disk (Stroud, *Approximate Calculation of
Multiple Integrals*, 1971) converges exponentially, so that the edge of the pupil needs no
smoothing and a PSF is an analytic function of its position in the frame. The one over a pixel
has positive weights, so that no PSF is ever negative.
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
from napari_coordgate.geometry import field_vectors, format_shape

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

_CHUNK_BYTES = 256 * 2**20  # Pupils in memory at a time.
_MAX_HALF_SIDE = 1e9  # pixels; beyond it are settings that are no lens.
_RAYS_ACROSS = 48  # Order of the disk rule for slopes, which vary less than phases.


def lens_psfs(
    lens: Lens | GaussianLens,
    positions: Array,
    frame_shape: tuple[int, int],
    size: int,
    cancel: threading.Event | None = None,
) -> Array:
    """PSFs (N, size, size) of a lens at frame coordinates (y, x), shape (N, 2); size is odd.

    They are integrated over the camera pixels, non-negative, scaled to sum 1, and centered on
    the ideal image point. Their error is below 2e-4 of the peak, from the rule over a pixel (the
    rule over the pupil: 1e-7, or 1e-3 if the NA is within 1e-4 of the refractive index).
    """
    if size < 1 or size % 2 == 0:
        raise PSFError(f"The side of a PSF must be odd, got {size}; choose an odd size.")
    distinct, index, sign = _distinct(lens, np.asarray(positions, dtype=np.float64))
    if isinstance(lens, GaussianLens):
        light = _gaussian_light(_gaussian_sigma(lens, distinct, frame_shape), size)
    else:
        light = _pupil_light(_Wavefronts.of(lens, distinct, frame_shape), size, cancel)
    psfs: Array = (light / light.sum(axis=(1, 2), keepdims=True))[index]
    for axis in (0, 1):
        mirrored = sign[:, axis] < 0
        psfs[mirrored] = np.flip(psfs[mirrored], axis + 1)
    return psfs


def psf_size(
    lens: Lens | GaussianLens,
    frame_shape: tuple[int, int],
    enclosed_energy: float,
    positions: Array | None = None,
) -> int:
    """Odd side of the smallest window with this fraction of the light of all PSFs of a lens.

    The PSFs are those at frame coordinates (N, 2), by default on a 5 x 5 grid from corner to
    corner and on the optical axis. Raises PSFError if the window is larger than the frame.
    """
    if positions is None:
        grid = np.stack(np.meshgrid(*[np.linspace(-1.0, 1.0, 5)] * 2), axis=-1).reshape(-1, 2)
        positions = np.concatenate([grid, np.clip([lens.axis], -1.0, 1.0)])
    distinct, _, _ = _distinct(lens, np.asarray(positions, dtype=np.float64))
    limit = (min(frame_shape) - 1) // 2 * 2 + 1
    if isinstance(lens, GaussianLens):
        sigma = _gaussian_sigma(lens, distinct, frame_shape).max()
        size = _odd_side(np.sqrt(2.0) * sigma * erfinv(np.sqrt(enclosed_energy)))
        remedy = "lower sigma_center_px or sigma_edge_px"
    else:
        with np.errstate(over="ignore", invalid="ignore"):  # such a size is beyond the bounds
            size = _pupil_size(_Wavefronts.of(lens, distinct, frame_shape), limit, enclosed_energy)
        remedy = "lower the defocus, field curvature, tilt or aberrations, enlarge pixel_size_um"
    if size > limit:
        raise PSFError(
            f"The blur needs PSFs of about {size} pixels to contain {enclosed_energy:.4g} of their "
            f"light, more than the frame of {format_shape(frame_shape)} pixels; {remedy}, "
            "or lower enclosed_energy."
        )
    return size


def _odd_side(half_side: float) -> int:
    """Smallest odd number of pixels that covers this half side."""
    if not half_side < _MAX_HALF_SIDE:
        raise PSFError("The blur of this lens is beyond all bounds; check its values.")
    return 2 * int(np.ceil(half_side - 0.5)) + 1


def _distinct(lens: Lens | GaussianLens, positions: Array) -> tuple[Array, NDArray[np.intp], Array]:
    """Remove positions whose PSFs are equal up to the mirror symmetries of the lens.

    Returns the distinct positions (M, 2), the index into them of each position (N,), and the
    sign (N, 2) of each coordinate before mirroring.
    """
    symmetric = [
        not (lens.axis[i] or (isinstance(lens, Lens) and _breaks_symmetry(lens, i))) for i in (0, 1)
    ]
    sign = np.where(symmetric & (positions < 0), -1.0, 1.0)
    # Pixels that mirror each other do so up to rounding.
    distinct, index = np.unique(np.round(positions * sign, 12), axis=0, return_inverse=True)
    return distinct, index.reshape(-1), sign


def _breaks_symmetry(lens: Lens, i: int) -> bool:
    """Whether an aberration differs on the two sides of the frame along axis ``i``."""
    return any((lens.tilt_um[i], lens.axial_coma_waves[i], lens.axial_astigmatism_waves[1]))


# A Gaussian lens


def _gaussian_sigma(lens: GaussianLens, positions: Array, frame_shape: tuple[int, int]) -> Array:
    vectors = field_vectors(positions, frame_shape, lens.axis)
    center, edge = lens.sigma_center_px**2, lens.sigma_edge_px**2
    variance = center + (edge - center) * np.sum(vectors**2, axis=-1)
    # If the edge is sharper than the center, the variance would reach zero beyond the frame.
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
    """Wavefronts of a lens over the unit disk of the pupil, at N positions of the frame.

    ``vectors`` (N, 2) are the field vectors of the positions, ``defocus_um`` (N,) their defocus.
    """

    lens: Lens
    vectors: Array
    defocus_um: Array

    @classmethod
    def of(cls, lens: Lens, positions: Array, frame_shape: tuple[int, int]) -> _Wavefronts:
        """Wavefronts at frame coordinates (y, x), shape (N, 2)."""
        vectors = field_vectors(positions, frame_shape, lens.axis)
        curvature = lens.field_curvature_um * np.sum(vectors**2, axis=-1)
        tilt = positions @ np.asarray(lens.tilt_um)
        return cls(lens, vectors, lens.defocus_um + curvature + tilt)

    def part(self, selected: slice) -> _Wavefronts:
        """Wavefronts at some of the positions."""
        return _Wavefronts(self.lens, self.vectors[selected], self.defocus_um[selected])

    @property
    def pixel(self) -> float:
        """Side of a pixel in units of wavelength / NA."""
        return self.lens.pixel_size_um * self.lens.na / (self.lens.wavelength_nm * 1e-3)

    def waves(self, y: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
        """Wavefronts at points of the pupil, (N, ...).

        As polynomials in the field vector, they are smooth at the optical axis, where its azimuth
        is not defined.
        """
        lens = self.lens
        v_y, v_x, defocus_um = (
            column.reshape(-1, *[1] * y.ndim) for column in (*self.vectors.T, self.defocus_um)
        )
        along, across, squared = y * v_y + x * v_x, y * v_x - x * v_y, y**2 + x**2
        per_um = 1e3 / lens.wavelength_nm
        axial = np.sqrt((lens.refractive_index * per_um) ** 2 - (lens.na * per_um) ** 2 * squared)
        straight, diagonal = lens.axial_astigmatism_waves
        coma_y, coma_x = lens.axial_coma_waves
        waves: NDArray[Any] = (
            defocus_um * (axial - lens.refractive_index * per_um)
            + lens.astigmatism_waves * (along**2 - across**2)
            + straight * (y**2 - x**2)
            + diagonal * 2.0 * y * x
            + (3.0 * squared - 2.0) * (lens.coma_waves * along + coma_y * y + coma_x * x)
            + lens.spherical_waves * (6.0 * squared**2 - 6.0 * squared + 1.0)
        )
        return waves

    def slopes(self, y: Array, x: Array) -> Array:
        """Gradient (y, x) of the wavefronts, (2, N, ...): ray positions in wavelength / NA."""
        step = 1e-20  # Complex-step differentiation is exact to rounding.
        along_y, along_x = self.waves(y + step * 1j, x), self.waves(y, x + step * 1j)
        slopes: Array = np.stack([along_y.imag, along_x.imag]) / step
        return slopes


def disk_rule(order: int) -> tuple[Array, Array, Array]:
    """Points (y, x) and weights over the unit disk, exact for polynomials below 2 * order."""
    y, row_weight = roots_chebyu(order)
    along_row, weight = roots_legendre(order)
    x = np.sqrt(1.0 - y**2)[:, None] * along_row
    return np.broadcast_to(y[:, None], x.shape), x, row_weight[:, None] * weight


def _resolving_order(wavefronts: _Wavefronts, size: int) -> int:
    """Order of the rule that resolves the phase of all wavefronts up to the window's corners.

    Chebyshev coefficients of exp(i phase) vanish beyond the largest slope of the
    phase in the angle arccos(radius), and decay there over its cube root.
    """
    y, x, _ = disk_rule(_RAYS_ACROSS)
    slope = np.hypot(*wavefronts.slopes(y, x)) * np.sqrt(1.0 - y**2 - x**2)
    return disk_order(slope.max() + wavefronts.pixel * size / np.sqrt(2.0))


def disk_order(reach: float) -> int:
    """Order of the rule for phases of this slope, in waves per unit of arccos(radius)."""
    bandwidth = 2.0 * np.pi * reach
    return int(np.ceil(bandwidth / 2.0 + 4.0 * np.cbrt(bandwidth))) + 8


def pixel_rule(pixel: float, order: int | None = None) -> tuple[Array, Array]:
    """Points across one pixel, in wavelength / NA from its center, and their weights."""
    order = order or int(np.ceil(1.25 * np.pi * pixel + 1.7))
    point, weight = roots_legendre(order)
    return pixel * point / 2.0, pixel * weight / 2.0


def _pupil_light(
    wavefronts: _Wavefronts, size: int, cancel: threading.Event | None = None
) -> Array:
    """Fraction of the light on each pixel of the window, (N, size, size)."""
    disk = disk_rule(_resolving_order(wavefronts, size))
    points, weight = pixel_rule(wavefronts.pixel)
    order, count = len(disk[0]), len(wavefronts.defocus_um)
    step = max(1, _CHUNK_BYTES // (16 * order * (2 * order + size * len(points))))
    light = np.empty((count, size, size))
    for start in range(0, count, step):
        part = wavefronts.part(slice(start, start + step))
        for index, amplitude in enumerate(_amplitudes(part, disk, size, points), start):
            raise_if_canceled(cancel, "Canceled while computing the PSFs of the lens.")
            squared = amplitude.real**2 + amplitude.imag**2
            # (points * size, points * size) -> (points, size, points, size)
            intensity = squared.reshape(len(points), size, -1, size)
            light[index] = np.einsum("mynx,m,n->yx", intensity, weight, weight) / np.pi
    return light


def _amplitudes(
    wavefronts: _Wavefronts, disk: tuple[Array, Array, Array], size: int, points: Array
) -> Iterator[ComplexArray]:
    """Fourier transforms of the pupils, one by one, at all points across all pixels (y, x).

    The points vary slowest: the shape is (points * size, points * size).
    """
    y, x, weight = disk
    pupils = weight * np.exp(2j * np.pi * wavefronts.waves(y, x))
    to_points = np.exp(-2j * np.pi * x[:, None] * points[:, None])
    rows = np.empty((len(pupils), len(y), points.size * size), dtype=np.complex128)
    for index, row_x in enumerate(x):  # Rows of the disk differ in length.
        at_points = (pupils[:, index, None] * to_points[index]).reshape(-1, row_x.size)
        at_pixels = at_points @ pixel_kernel(row_x, wavefronts.pixel, size)
        rows[:, index] = at_pixels.reshape(len(pupils), -1)
    column_y = y[:, 0]
    at_points = np.exp(-2j * np.pi * points[:, None] * column_y)
    columns = at_points[:, None] * pixel_kernel(column_y, wavefronts.pixel, size).T
    return (columns.reshape(-1, len(y)) @ row for row in rows)


def pixel_kernel(pupil: Array, pixel: float, size: int) -> ComplexArray:
    """Exp(-2 pi i p x) at the centers x of the window's pixels, (len(pupil), size)."""
    # Powers are much faster than exponentials.
    powers = np.vander(np.exp(-2j * np.pi * pixel * pupil), size // 2 + 1, increasing=True)
    return np.hstack([powers[:, :0:-1].conj(), powers])


def _pupil_size(wavefronts: _Wavefronts, limit: int, enclosed_energy: float) -> int:
    """Side that contains this fraction of all PSFs; above the limit, an estimate of it."""
    rays = _ray_half_sides(wavefronts, enclosed_energy)
    # Outside a circle of radius r the Airy pattern has 2 / (pi v) of its light, v = 2 pi r.
    tail = 1.0 / (np.pi**2 * (1.0 - enclosed_energy))
    guesses = [_odd_side(half_side / wavefronts.pixel) for half_side in rays + tail]
    if _odd_side(rays.max() / wavefronts.pixel) > limit:
        return max(guesses)
    size, widest = -1, int(np.argmax(rays))
    while True:
        one = wavefronts.part(slice(widest, widest + 1))
        size = max(size + 2, _enclosing_side(one, guesses[widest], limit, enclosed_energy))
        if size > limit:
            return size
        enclosed = _pupil_light(wavefronts, size).sum(axis=(1, 2))
        widest = int(np.argmin(enclosed))
        if enclosed[widest] >= enclosed_energy:
            return size


def _ray_half_sides(wavefronts: _Wavefronts, enclosed_energy: float) -> Array:
    """Half side (N,) of the square with this fraction of the rays, in wavelength / NA."""
    y, x, weight = disk_rule(_RAYS_ACROSS)
    distance = np.abs(wavefronts.slopes(y, x)).max(axis=0).reshape(-1, y.size)
    order = np.argsort(distance, axis=1)
    inside = np.cumsum(weight.ravel()[order], axis=1) < enclosed_energy * np.pi
    outermost = inside.sum(axis=1, keepdims=True)
    half_sides: Array = np.take_along_axis(np.sort(distance, axis=1), outermost, axis=1)[:, 0]
    return half_sides


def _enclosing_side(wavefront: _Wavefronts, guess: int, limit: int, enclosed_energy: float) -> int:
    """Side that contains this fraction of one PSF; above the limit, an estimate of it."""
    window = min(guess, limit)
    light = _pupil_light(wavefront, window)[0]
    distance = np.abs(np.arange(window) - window // 2)
    rings = np.bincount(np.maximum.outer(distance, distance).ravel(), light.ravel())
    enclosed = np.cumsum(rings)
    if enclosed[-1] >= enclosed_energy:
        return 2 * int(np.argmax(enclosed >= enclosed_energy)) + 1
    if window < limit:
        return _enclosing_side(wavefront, guess + max(2, guess // 4 * 2), limit, enclosed_energy)
    # Far out, the light outside a window decreases as one over its side.
    tail = _odd_side(window / 2.0 * (1.0 - enclosed[-1]) / (1.0 - enclosed_energy))
    return max(limit + 2, min(guess, tail))
