"""Maximum likelihood of a lens, given windows around beads.

The light expected in the window of bead j is

    g (a_j light(c(q_j; theta), d_j) + light of the other beads) + b_j,

with the parameters theta of the lens, and the amplitude a, background b (one for each plane) and
position d of each bead; g is the gain of each pixel, by default 1. The counts are those of a
Poisson distribution: they include the variance of the read noise as additional photons (Snyder et
al., J. Opt. Soc. Am. A 10, 1014, 1993).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from napari_coordgate.calibration.lens_parameters import (
    PARAMETERS,
    coefficient_jacobian,
    wavefront_coefficients,
)
from napari_coordgate.config import Lens
from napari_coordgate.geometry import pixel_coordinates
from napari_coordgate.optics.differentiable import COEFFICIENTS, PupilLight

Array = NDArray[np.float64]

FLOOR = 0.05
"""Least number of photons expected in a pixel, so that no pixel has an infinite weight."""
MAX_SHIFT = 4.0
"""Distance that a bead may move from where it was detected, in pixels."""
FIRST_DAMPING, LAST_DAMPING = 1e-2, 1e7
LINEAR_ROUNDS = 4
OPTICAL = COEFFICIENTS - 2
"""Coefficients of the pupil that the lens determines: all but the position."""
LOCAL = 3
"""Values of a bead beside its backgrounds: position and amplitude."""
TINY = 1e-12
APERTURE_STEP = 0.01
"""Relative change of the NA for its derivative."""


@dataclass(frozen=True, eq=False)
class BeadWindows:
    """Pixels around beads.

    ``counts`` (N, P, K, K) are photons of each plane; only those in ``used`` (N, P, K, K) count.
    They are at most ``sizes`` (N, P) pixels across. ``centers`` (N, 2) are the frame pixels of the
    windows' central pixels, ``gain`` (N, 1, K, K) is that of the camera.
    """

    counts: Tensor
    used: Tensor
    sizes: Tensor
    centers: Tensor
    frame_shape: tuple[int, int]
    z_um: Tensor
    gain: Tensor

    @property
    def size(self) -> int:
        """Side of a window."""
        return self.counts.shape[-1]

    def plane(self, number: int) -> BeadWindows:
        """Windows in one of the planes."""
        one = slice(number, number + 1)
        return replace(
            self,
            counts=self.counts[:, one],
            used=self.used[:, one],
            sizes=self.sizes[:, one],
            z_um=self.z_um[one],
        )


@dataclass(frozen=True, eq=False)
class BeadState:
    """Parameters of the lens (13,); position (N, 2), amplitude (N,) and background (N, P)."""

    vector: Tensor
    shift: Tensor
    amplitude: Tensor
    background: Tensor

    def select(self, beads: Tensor) -> BeadState:
        """State of some of the beads."""
        local = (self.shift[beads], self.amplitude[beads], self.background[beads])
        return BeadState(self.vector, *local)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A state with its light (N, P, K, K), expectation and deviance (N,)."""

    state: BeadState
    light: Tensor
    others: Tensor
    expected: Tensor
    deviance: Tensor
    objective: float


@dataclass(frozen=True, eq=False)
class _Normal:
    """Normal equations: of the lens, of each bead, and between both."""

    lens: Tensor  # (13, 13)
    mixed: Tensor  # (N, 13, L)
    beads: Tensor  # (N, L, L)
    lens_gradient: Tensor  # (13,)
    bead_gradient: Tensor  # (N, L)
    pull: Tensor  # (N, 13), of each bead on the lens

    def step(self, damping: float, free: Tensor) -> tuple[Tensor, Tensor]:
        """Step of the lens (13,) and of the beads (N, L)."""
        local = _damped(self.beads, damping)
        reduced, gradient = self._eliminated(local)
        reduced = reduced + damping * torch.diag_embed(self.lens.diagonal())
        lens_step = torch.zeros_like(gradient)
        if free.any():
            inner = reduced[free][:, free]
            lens_step[free] = torch.linalg.lstsq(inner, gradient[free, None]).solution[:, 0]
        back = self.bead_gradient - torch.einsum("ngl,g->nl", self.mixed, lens_step)
        return lens_step, torch.linalg.solve(local, back)

    def information(self, free: Tensor) -> Tensor:
        """Information about the free parameters of the lens, whatever the beads are."""
        return self._eliminated(_damped(self.beads, 0.0))[0][free][:, free]

    def pulls(self) -> Tensor:
        """Gradient (N, 13) of the likelihood of each bead, its own values being free."""
        weights = torch.linalg.solve(_damped(self.beads, 0.0), self.mixed.transpose(1, 2))
        return self.pull - torch.einsum("nlg,nl->ng", weights, self.bead_gradient)

    def _eliminated(self, local: Tensor) -> tuple[Tensor, Tensor]:
        """Schur complement of the beads, and its gradient."""
        weights = torch.linalg.solve(local, self.mixed.transpose(1, 2))  # (N, L, 13)
        matrix = self.lens - torch.einsum("ngl,nlh->gh", self.mixed, weights)
        gradient = self.lens_gradient - torch.einsum("nlg,nl->g", weights, self.bead_gradient)
        return (matrix + matrix.T) / 2.0, gradient


class WindowLight:
    """Light in the windows of beads, computed as far as the window of each plane reaches."""

    def __init__(
        self,
        lens: Lens,
        windows: BeadWindows,
        diameter_um: float,
        cancel: threading.Event | None,
        fast: bool = False,
    ) -> None:
        self._size, self._cancel = windows.size, cancel
        points, dtype = (2, torch.complex64) if fast else (None, torch.complex128)
        self._groups = [
            (
                torch.nonzero(windows.sizes.flatten() == size)[:, 0],
                PupilLight(lens, size, diameter_um=diameter_um, points=points, dtype=dtype),
            )
            for size in windows.sizes.unique().tolist()
        ]

    def __call__(self, coefficients: Tensor) -> Tensor:
        """Light (N, P, K, K), given coefficients (N, P, 8)."""
        each = coefficients.flatten(0, 1)
        light = each.new_zeros(len(each), self._size, self._size)
        for chosen, pupil in self._groups:
            place = self._place(pupil.size)
            light[chosen, place, place] = pupil(each[chosen], self._cancel)
        by_plane: Tensor = light.unflatten(0, coefficients.shape[:2])
        return by_plane

    def with_jacobian(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """Light, and its derivatives (N, P, 8, K, K) by the coefficients."""
        each = coefficients.flatten(0, 1)
        light = each.new_zeros(len(each), self._size, self._size)
        jacobian = each.new_zeros(*each.shape, self._size, self._size)
        for chosen, pupil in self._groups:
            own, by_pupil = pupil.with_jacobian(each[chosen], self._cancel)
            place = self._place(pupil.size)
            light[chosen, place, place] = own
            jacobian[chosen, :, place, place] = by_pupil
        shape = coefficients.shape[:2]
        return light.unflatten(0, shape), jacobian.unflatten(0, shape)

    def _place(self, size: int) -> slice:
        """Rows, or columns, of a smaller window in the middle."""
        start = (self._size - size) // 2
        return slice(start, start + size)


class BeadProblem:
    """Likelihood of a lens and of beads, with a Gaussian prior on the lens.

    ``prior`` are the means and standard deviations (13,) of the parameters; those with a standard
    deviation of zero are held at their mean.
    """

    def __init__(
        self,
        lens: Lens,
        windows: BeadWindows,
        prior: tuple[Array, Array],
        *,
        diameter_um: float = 0.0,
        fast: bool = False,
        cancel: threading.Event | None = None,
    ) -> None:
        self.lens, self.windows = lens, windows
        self.prior, self.diameter_um, self.cancel = prior, diameter_um, cancel
        self.mean, deviation = (torch.from_numpy(values) for values in prior)
        self.free = deviation > 0
        self.precision = torch.where(self.free, deviation.clamp(min=1e-300) ** -2.0, 0.0)
        coarse = WindowLight(lens, windows, diameter_um, cancel, fast=True)
        self._light = coarse if fast else WindowLight(lens, windows, diameter_um, cancel)
        self._derivatives = coarse  # which need not be exact for a step to be good

    def with_aperture(self, na: float) -> BeadProblem:
        """Fast problem of the same beads and a lens of another NA."""
        return BeadProblem(
            self.lens.replace(na=na),
            self.windows,
            self.prior,
            diameter_um=self.diameter_um,
            fast=True,
            cancel=self.cancel,
        )

    def evaluate(self, state: BeadState, others: Tensor | None = None) -> Evaluation:
        """Light and deviance of a state, with the best amplitudes and backgrounds.

        By default the light of the other beads is that of this state.
        """
        light = self._light(self._coefficients(state))
        others = self._light_of_others(state, light) if others is None else others
        return self.with_light(state, light, others)

    def with_light(self, state: BeadState, light: Tensor, others: Tensor) -> Evaluation:
        """Deviance of any light of the beads, with the best amplitudes and backgrounds."""
        state = self._with_linear(state, light, others)
        expected = self._expected(state, light, others)
        deviance = (poisson_deviance(self.windows.counts, expected) * self.windows.used).sum(
            (1, 2, 3)
        )
        prior = (self.precision * (state.vector - self.mean) ** 2).sum()
        objective = float((deviance.sum() + prior) / 2.0)
        return Evaluation(state, light, others, expected, deviance, objective)

    def minimize(
        self, start: BeadState, max_iter: int, tolerance: float = 0.01, lens: bool = True
    ) -> Iterator[Evaluation]:
        """Levenberg-Marquardt steps; yields the evaluation after each that improves.

        They end if one improves half the deviance by less than the tolerance. Without ``lens``
        only the beads move.
        """
        current, damping = self.evaluate(start), FIRST_DAMPING
        yield current
        for _ in range(max_iter):
            trial, damping = self._improved(current, damping, lens)
            if trial is None:
                return
            gain = current.objective - trial.objective
            current = self.evaluate(trial.state)  # with the light of the others where they are now
            yield current
            if gain < tolerance:
                return

    def covariance(self, at: Evaluation) -> Array:
        """Covariance (13, 13) of the parameters, zero for those that are held."""
        free = self.free.numpy()
        covariance = np.zeros((len(PARAMETERS), len(PARAMETERS)))
        information = self._normal(at).information(self.free).numpy()
        covariance[np.ix_(free, free)] = np.linalg.pinv(information, hermitian=True)
        return covariance

    def scattered_covariance(self, at: Evaluation) -> Array:
        """Covariance (13, 13) from how much the beads disagree, which needs no model of the noise.

        It is that of White, Econometrica 50, 1 (1982).
        """
        covariance = self.covariance(at)
        pulls = self._normal(at).pulls().numpy()
        scattered: Array = covariance @ (pulls.T @ pulls) @ covariance
        return scattered

    def _improved(
        self, current: Evaluation, damping: float, lens: bool
    ) -> tuple[Evaluation | None, float]:
        """Better state than the current one, if there is any, and the next damping."""
        normal = self._normal(current)
        free = self.free if lens else torch.zeros_like(self.free)
        while damping < LAST_DAMPING:
            lens_step, bead_step = normal.step(damping, free)
            trial = self.evaluate(_moved(current.state, lens_step, bead_step), current.others)
            if trial.objective < current.objective:
                return trial, max(damping / 10.0, 1e-9)
            damping *= 5.0
        return None, damping

    def _coefficients(self, state: BeadState) -> Tensor:
        """Coefficients (N, P, 8) of the pupils of all beads and planes."""
        windows = self.windows
        optical = wavefront_coefficients(
            state.vector, self._coordinates(state), windows.frame_shape
        )
        whole = torch.cat([optical, state.shift], dim=1)[:, None].repeat(1, len(windows.z_um), 1)
        whole[..., 0] += windows.z_um
        return whole

    def _coordinates(self, state: BeadState) -> Tensor:
        """Frame coordinates (N, 2) of the beads."""
        pixels = (self.windows.centers + state.shift).numpy()
        return torch.from_numpy(pixel_coordinates(pixels, self.windows.frame_shape))

    def _light_of_others(self, state: BeadState, light: Tensor) -> Tensor:
        """Light (N, P, K, K) of the other beads in each window."""
        windows, size = self.windows, self.windows.size
        height, width = windows.frame_shape
        planes = torch.zeros(len(windows.z_um), height + 2 * size, width + 2 * size).double()
        corners = (windows.centers + size - size // 2).tolist()
        own = state.amplitude[:, None, None, None] * light
        places = [(..., slice(y, y + size), slice(x, x + size)) for y, x in corners]
        for place, one in zip(places, own, strict=True):
            planes[place] += one
        return torch.stack([planes[place] for place in places]) - own

    def _expected(self, state: BeadState, light: Tensor, others: Tensor) -> Tensor:
        light = self.windows.gain * (state.amplitude[:, None, None, None] * light + others)
        expected: Tensor = light + state.background[..., None, None]
        return expected.clamp(min=FLOOR)

    def _with_linear(self, state: BeadState, light: Tensor, others: Tensor) -> BeadState:
        """State with the most likely amplitudes and backgrounds."""
        gain = self.windows.gain
        seen, target = gain * light, self.windows.counts - gain * others
        for _ in range(LINEAR_ROUNDS):
            weight = self.windows.used / self._expected(state, light, others)
            weighted = weight * seen
            # Of the normal equations, the block of the backgrounds (N, P) is diagonal.
            mixed, pulls = weighted.sum((2, 3)), (weight * target).sum((2, 3))
            means = mixed / weight.sum((2, 3)).clamp(min=TINY)
            square = (weighted * seen).sum((1, 2, 3)) - (means * mixed).sum(1)
            pull = (weighted * target).sum((1, 2, 3)) - (means * pulls).sum(1)
            amplitude = pull / square.clamp(min=TINY)
            background = (pulls - amplitude[:, None] * mixed) / weight.sum((2, 3)).clamp(min=TINY)
            state = replace(state, amplitude=amplitude.clamp(min=1.0), background=background)
        return state

    def leverage(self, at: Evaluation) -> Tensor:
        """How much each pixel (N, P, K, K) determines its own expectation, from 0 to 1."""
        columns = self._columns(at)[:, OPTICAL:]
        weight = self._weight(at)
        inverse = torch.linalg.inv(_damped(_gram(columns * weight[:, None], columns, weight), 0.0))
        count = columns.shape[1]
        by_background = inverse[:, count:, count:].diagonal(dim1=1, dim2=2)
        solved = torch.einsum("nab,nbpi->napi", inverse[:, :count, :count], columns)
        solved += 2.0 * inverse[:, :count, count:, None]
        by_pixel: Tensor = ((solved * columns).sum(1) + by_background[..., None]) * weight
        return by_pixel.view_as(at.light)

    def _weight(self, at: Evaluation) -> Tensor:
        """Weight (N, P, pixels) of each pixel: the inverse of its variance."""
        weight: Tensor = self.windows.used / at.expected
        return weight.flatten(2)

    def _columns(self, at: Evaluation) -> Tensor:
        """Derivatives (N, 9, P, pixels) by pupil and position, and amplitude."""
        light, jacobian = self._derivatives.with_jacobian(self._coefficients(at.state))
        gain = self.windows.gain
        scaled = gain * at.state.amplitude[:, None, None, None]
        by_pupil = scaled[:, None] * jacobian.transpose(1, 2)
        return torch.cat([by_pupil, (gain * light)[:, None]], dim=1).flatten(3)

    def aperture_step(self, at: Evaluation) -> tuple[float, float]:
        """Change of the NA that the residuals suggest, and its standard error.

        All other parameters are free to change with it. The error is the larger one of that from
        the information and that from the scatter among beads.
        """
        na, step = self.lens.na, APERTURE_STEP * self.lens.na
        ends = na - step, min(na + step, (na + self.lens.refractive_index) / 2.0)
        coefficients = self._coefficients(at.state)
        low, high = (
            WindowLight(
                self.lens.replace(na=end), self.windows, self.diameter_um, self.cancel, fast=True
            )(coefficients)
            for end in ends
        )
        scaled = self.windows.gain * at.state.amplitude[:, None, None, None]
        slope = (scaled * (high - low) / (ends[1] - ends[0])).flatten(2)
        normal = self._normal(at, slope)
        free = torch.cat([self.free, torch.ones(1, dtype=torch.bool)])
        covariance = torch.linalg.pinv(normal.information(free), hermitian=True)
        pulls = normal.pulls()[:, free]
        scattered = covariance @ (pulls.T @ pulls) @ covariance
        variance = max(float(covariance[-1, -1]), float(scattered[-1, -1]))
        return float(normal.step(0.0, free)[0][-1]), variance**0.5

    def _normal(self, at: Evaluation, extra: Tensor | None = None) -> _Normal:
        """Normal equations at a state, with the expected information.

        ``extra`` (N, P, pixels) is the derivative by one more parameter, which becomes the last.
        """
        state, windows = at.state, self.windows
        columns = self._columns(at)
        if extra is not None:
            columns = torch.cat([columns[:, :OPTICAL], extra[:, None], columns[:, OPTICAL:]], dim=1)
        weight = self._weight(at)
        weighted = columns * weight[:, None]
        gram = _gram(weighted, columns, weight)  # (N, 9 + P, 9 + P)
        residual = (windows.counts - at.expected).flatten(2)
        gradient = torch.cat(
            [(weighted * residual[:, None]).sum((2, 3)), (weight * residual).sum(2)], dim=1
        )
        local = LOCAL + len(windows.z_um)
        lens = coefficient_jacobian(state.vector, self._coordinates(state), windows.frame_shape)
        precision, offset = self.precision, state.vector - self.mean
        if extra is not None:
            lens = functional.pad(lens, (0, 1, 0, 1))
            lens[:, -1, -1] = 1.0
            precision, offset = functional.pad(precision, (0, 1)), functional.pad(offset, (0, 1))
        pull = torch.einsum("ncg,nc->ng", lens, gradient[:, :-local])
        return _Normal(
            torch.einsum("ncg,ncd,ndh->gh", lens, gram[:, :-local, :-local], lens)
            + torch.diag(precision),
            torch.einsum("ncg,ncl->ngl", lens, gram[:, :-local, -local:]),
            gram[:, -local:, -local:],
            pull.sum(0) - precision * offset,
            gradient[:, -local:],
            pull,
        )


def poisson_deviance(counts: Tensor, expected: Tensor) -> Tensor:
    """Twice the log-likelihood that the counts lack, pixel by pixel."""
    positive = counts.clamp(min=0.0)
    deviance: Tensor = expected - counts + torch.special.xlogy(positive, positive / expected)
    return 2.0 * deviance


def _moved(state: BeadState, lens_step: Tensor, bead_step: Tensor) -> BeadState:
    shift = (state.shift + bead_step[:, :2]).clamp(-MAX_SHIFT, MAX_SHIFT)
    amplitude = (state.amplitude + bead_step[:, 2]).clamp(min=1.0)
    return BeadState(
        state.vector + lens_step, shift, amplitude, state.background + bead_step[:, 3:]
    )


def _gram(weighted: Tensor, columns: Tensor, weight: Tensor) -> Tensor:
    """Products (N, C + P, C + P) of columns (N, C, P, pixels) and backgrounds, one per plane."""
    inner = weighted.flatten(2) @ columns.flatten(2).transpose(1, 2)
    mixed = weighted.sum(3)
    rows = torch.cat([inner, mixed], dim=2)
    backgrounds = torch.cat([mixed.transpose(1, 2), torch.diag_embed(weight.sum(2))], dim=2)
    return torch.cat([rows, backgrounds], dim=1)


def _damped(matrices: Tensor, damping: float) -> Tensor:
    """Matrices with larger diagonals, positive even where there is no information."""
    diagonal = matrices.diagonal(dim1=-2, dim2=-1)
    return matrices + torch.diag_embed(damping * diagonal + 1e-9 * diagonal.clamp(min=1e-6))
