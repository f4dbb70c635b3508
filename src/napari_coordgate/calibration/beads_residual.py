"""What a lens cannot describe of its beads: a few images, weighted by polynomials of the field.

The light of bead j, relative to its amplitude, minus that of the fitted lens, is modeled as

    sum_r p_r(q_j) c_r(u - d_j),    p_r a quadratic polynomial of the frame coordinates q,

by weighted least squares at each pixel u. The images are expected to be small where there is
little light: without that the noise of all pixels would be in the PSFs. How small, and how many
components, is chosen by beads that are left out; none if their deviance does not improve.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from napari_coordgate.calibration.beads_deviance import reduced_deviance
from napari_coordgate.calibration.beads_solver import BeadProblem, Evaluation
from napari_coordgate.events import raise_if_canceled
from napari_coordgate.geometry import pixel_coordinates
from napari_coordgate.optics import PSFField
from napari_coordgate.optics.measured_fit import without_negatives

Array = NDArray[np.float64]

FOLDS = 5
SIZES = (0.05, 0.15, 0.5)
"""Standard deviations expected of a residual, relative to the light."""
SMOOTHING_PX = 1.0
"""Width by which the light is smoothed that a residual is expected to be in proportion to."""
SIGNIFICANCE = 3.0
"""Standard errors by which the deviance of the beads left out must improve."""
MAX_DEFOCUS, MAX_DIAMETER = 0.25, 0.5
"""Of the plane, in wavelength index / NA^2, and of beads, in wavelength / NA: those of PSFs."""
TERMS = 6


@dataclass(frozen=True, eq=False)
class Residual:
    """Residual of a lens, and the deviance of beads left out, without it and with it.

    ``images`` (R, K, K) sum to 0 and are weighted by the polynomials (R, 6), in 1, y, x, y^2, y x
    and x^2; R is 0 if the residual was rejected, or not tried for a ``reason``.
    """

    images: Array
    polynomials: Array
    without: float = np.nan
    deviance: float = np.nan
    reason: str = ""

    def at(self, coordinates: Array) -> Array:
        """Residuals (N, K, K) at frame coordinates (N, 2)."""
        return np.tensordot(_terms(coordinates) @ self.polynomials.T, self.images, 1)

    def added_to(self, field: PSFField) -> PSFField:
        """PSF field with this residual; no PSF is negative, and each has sum 1."""
        if not len(self.images):
            return field
        images = _resized(self.images, field.size)
        images = images - images.sum((1, 2), keepdims=True) * field.kernels[0]
        order = max(3, field.coefficients.shape[1])
        missing = order - field.coefficients.shape[1]
        series = np.pad(field.coefficients, ((0, 0), (0, missing), (0, missing)))
        kernels = np.concatenate([field.kernels, images])
        coefficients = np.concatenate([series, _series(self.polynomials, order)])
        shape = kernels.shape
        kernels = without_negatives(kernels.reshape(len(kernels), -1), coefficients)
        return PSFField(
            kernels.reshape(shape),
            coefficients,
            field.frame_shape,
            field.pixel_size_um,
            field.axis,
            field.source | {"residual_rank": len(self.images)},
            field.flat_field,
        )

    def note(self) -> str:
        """What became of the residual."""
        if self.reason:
            return f"What the lens cannot describe was not looked for: {self.reason}."
        change = (
            f"the deviance of beads left out is {self.deviance:.3f} with it, {self.without:.3f} "
            "without it (1: noise alone)"
        )
        if not len(self.images):
            return f"No residual of the lens was added to its PSFs: {change}."
        return (
            f"The PSF field contains a residual that such a lens cannot describe, of rank "
            f"{len(self.images)}: {change}. A lens file does not contain it; save the PSF field."
        )


def fit_residual(
    problem: BeadProblem, at: Evaluation, max_rank: int
) -> Generator[int, None, Residual]:
    """Residual of the fitted lens; of rank 0 if it does not help, or is not looked for.

    Yields the number of parts that are done, of `SIZES`.
    """
    plane = int(problem.windows.z_um.abs().argmin())
    reason = "" if max_rank else "its largest rank is 0"
    reason = reason or _obstacle(problem, plane)
    if reason:
        return Residual(*_nothing(problem.windows.size), reason=reason)
    return (yield from _ResidualFit(problem, at, plane).best(max_rank))


def _obstacle(problem: BeadProblem, plane: int) -> str:
    """Why the images of the beads in this plane are not the PSFs of the lens, if so."""
    lens = problem.lens
    wavelength_um = lens.wavelength_nm * 1e-3
    depth_um = wavelength_um * lens.refractive_index / lens.na**2
    if float(problem.windows.z_um[plane].abs()) > MAX_DEFOCUS * depth_um:
        return "no plane is at z = 0"
    if problem.diameter_um > MAX_DIAMETER * wavelength_um / lens.na:
        return "the beads are too large"
    return ""


def _nothing(size: int) -> tuple[Array, Array]:
    return np.empty((0, size, size)), np.empty((0, TERMS))


class _ResidualFit:
    """Relative residuals of the beads in one plane, moved to the middle of their windows."""

    def __init__(self, problem: BeadProblem, at: Evaluation, plane: int) -> None:
        one = slice(plane, plane + 1)
        windows = problem.windows.plane(plane)
        state = replace(at.state, background=at.state.background[:, one])
        self._problem = BeadProblem(problem.lens, windows, problem.prior, fast=True)
        self._at = self._problem.with_light(state, at.light[:, one], at.others[:, one])
        self._shift, self._cancel = state.shift, problem.cancel
        scale = (windows.gain * self._at.state.amplitude[:, None, None, None])[:, 0]
        used, expected = windows.used[:, 0], self._at.expected[:, 0]
        relative = used * (windows.counts[:, 0] - expected) / scale
        self._residuals = _moved(relative, -self._shift).flatten(1).numpy()
        self._weights = _rolled(used * scale**2 / expected, -self._shift).flatten(1).numpy()
        light = _moved(self._at.light[:, 0], -self._shift)
        profile = ndimage.gaussian_filter(light.square().mean(0).sqrt().numpy(), SMOOTHING_PX)
        self._profile = np.maximum(profile, 1e-6 * profile.max()).ravel()
        pixels = (windows.centers + self._shift).numpy()
        self._terms = _terms(pixel_coordinates(pixels, windows.frame_shape))

    def best(self, max_rank: int) -> Generator[int, None, Residual]:
        """Residual that beads left out agree with most; of rank 0 if they do not improve."""
        before, count = self._at, len(self._at.deviance)
        trials = []
        for number, size in enumerate(SIZES, 1):
            for rank, after in enumerate(self._left_out(size, max_rank), 1):
                trials.append((after, size, rank))
            yield number
        after, size, rank = min(trials, key=lambda trial: float(trial[0].deviance.sum()))
        gains = before.deviance - after.deviance
        is_better = float(gains.mean()) > SIGNIFICANCE * float(gains.std()) / count**0.5
        found = _nothing(self._problem.windows.size)
        if is_better:
            images, polynomials = self._fit(np.ones(count, bool), size)
            found = images[:rank], polynomials[:rank]
        windows = self._problem.windows
        return Residual(*found, reduced_deviance(before, windows), reduced_deviance(after, windows))

    def _left_out(self, size: float, max_rank: int) -> list[Evaluation]:
        """Evaluations with residuals of rank 1, 2, ..., each bead being left out of its own."""
        at = self._at
        fold = np.random.default_rng(0).permutation(len(at.light)) % FOLDS
        light = torch.stack([at.light] * max_rank)
        for number in range(FOLDS):
            raise_if_canceled(self._cancel, "Canceled while fitting the residual of the lens.")
            left = fold == number
            chosen = torch.from_numpy(left)
            images, polynomials = self._fit(~left, size)
            weights = self._terms[left] @ polynomials.T
            parts = weights.T[:max_rank, :, None, None] * images[:max_rank, None]
            for rank, added in enumerate(parts.cumsum(0)):
                light[rank, chosen, 0] += _moved(torch.from_numpy(added), self._shift[chosen])
        return [self._problem.with_light(at.state, one.clamp(min=0.0), at.others) for one in light]

    def _fit(self, beads: NDArray[np.bool_], size: float) -> tuple[Array, Array]:
        """Images (6, K, K) and polynomials (6, 6) of the residuals of some beads, by strength."""
        terms, weights = self._terms[beads], self._weights[beads]
        products = (terms[:, :, None] * terms[:, None]).reshape(len(terms), -1)
        matrices = (weights.T @ products).reshape(-1, TERMS, TERMS)
        matrices += np.eye(TERMS) / (size * self._profile[:, None, None]) ** 2
        targets = (weights * self._residuals[beads]).T @ terms
        values = np.linalg.solve(matrices, targets[..., None])[..., 0].T  # (6, pixels)
        # The strongest components, in units of the noise of a typical bead.
        root = np.linalg.cholesky(terms.T @ terms / len(terms) + 1e-9 * np.eye(TERMS))
        scale = np.sqrt(weights.mean(0)) + 1e-12
        left, strengths, components = np.linalg.svd(root.T @ values * scale, full_matrices=False)
        side = self._problem.windows.size
        images = (strengths[:, None] * components / scale).reshape(-1, side, side)
        return images, np.linalg.solve(root.T, left).T


def _terms(coordinates: Array) -> Array:
    """Terms (N, 6) of the polynomials at frame coordinates (N, 2)."""
    y, x = coordinates.T
    return np.stack([np.ones_like(y), y, x, y**2, y * x, x**2], axis=1)


def _series(polynomials: Array, order: int) -> Array:
    """Chebyshev coefficients (R, order, order) of polynomials (R, 6)."""
    one, y, x, y_squared, product, x_squared = polynomials.T
    series = np.zeros((len(polynomials), order, order))
    series[:, 0, 0] = one + (y_squared + x_squared) / 2.0
    series[:, 1, 0], series[:, 0, 1], series[:, 1, 1] = y, x, product
    series[:, 2, 0], series[:, 0, 2] = y_squared / 2.0, x_squared / 2.0
    return series


def _moved(images: Tensor, shift: Tensor) -> Tensor:
    """Images (N, K, K) moved by fractions of a pixel (N, 2), periodically."""
    frequency = torch.fft.fftfreq(images.shape[-1], dtype=torch.float64)
    phase_y, phase_x = (torch.exp(-2j * torch.pi * frequency * along[:, None]) for along in shift.T)
    spectrum = torch.fft.fft2(images) * phase_y[:, :, None] * phase_x[:, None, :]
    moved: Tensor = torch.fft.ifft2(spectrum).real
    return moved


def _rolled(images: Tensor, shift: Tensor) -> Tensor:
    """Images (N, K, K) moved by whole pixels, those nearest to a shift (N, 2)."""
    steps = shift.round().int().tolist()
    moved = [torch.roll(one, tuple(step), (0, 1)) for one, step in zip(images, steps, strict=True)]
    return torch.stack(moved)


def _resized(images: Array, size: int) -> Array:
    """Images (R, K, K) cropped, or padded with zeros, to an odd size."""
    change = (size - images.shape[1]) // 2
    if change < 0:
        return images[:, -change:change, -change:change]
    return np.pad(images, ((0, 0), (change, change), (change, change)))
