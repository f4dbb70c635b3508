"""Fit of the focus over the frame to the power spectra of tiles.

Unknown are the focus (defocus on the axis, field curvature, tilt), the scene's spectrum S, and for
each tile its contrast and how steeply its spectrum falls, which scatter about a mean: without
that freedom, single tiles with sharp edges would outweigh all others. Ring means of power scatter
as a log-normal distribution. The mode is found by Levenberg-Marquardt steps with the
expected information, from which the unknowns of each tile are eliminated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from napari_coordgate.calibration.spectra import (
    FREQUENCY,
    RING_COUNT,
    RINGS,
    SpectrumTable,
    TileSpectra,
    tile_positions,
)
from napari_coordgate.geometry import field_vectors

Array = NDArray[np.float64]

FOCUS = ("defocus_um", "field_curvature_um", "tilt_um.y", "tilt_um.x")
"""Parameters of the focus, in the order of arrays of them."""

FIRST_RING = 3  # Lower ones depend on the mean, which was subtracted.
_INDEPENDENT = 0.4  # Fraction of frequencies that are, under a Hann window and with overlap.
_SCATTER = 0.05  # Variance of the logarithm of a ring mean, beyond that of noise.
_CONTRAST_SD, _SLOPE_SD = 2.0, 0.3  # Of tiles, in natural logarithms.
NOISE_SD = 0.15  # Of the logarithm of the noise, if it is measured in the same images.
KNOWN_NOISE_SD = 0.05  # If it is that of a camera.
_BEND_SD = 0.3  # Second difference of log S between rings, which keeps it smooth.
_CORNER = FREQUENCY > 0.51  # Rings that only the corners of the spectrum reach.
_NOISE_QUANTILE = 0.25  # Sharp tiles have signal in the corners as well.


def tile_noise(spectra: TileSpectra) -> Array:
    """Variance (T,) of the noise in each tile, a line of its mean intensity for each group.

    The line is a low quantile of the power in the corners of the spectrum.
    """
    count = RING_COUNT[_CORNER]
    corner: Array = spectra.power[:, _CORNER] @ count / count.sum()
    noise = np.empty_like(corner)
    for image in np.unique(spectra.image):
        chosen = spectra.image == image
        noise[chosen] = _low_line(spectra.mean[chosen], corner[chosen])
    return noise


def _low_line(x: Array, y: Array) -> Array:
    """Line through the low quantile of points, with no negative slope or value."""
    x = x - x.min()
    scale_x, number = max(float(x.max()), 1e-300), len(x)
    scale_y = float(np.median(y)) or float(y.max()) or 1.0  # 0 in images without noise
    unit = np.eye(number)
    system = np.concatenate([np.stack([x / scale_x, np.ones(number)], 1), unit, -unit], axis=1)
    cost = np.concatenate(
        [[0, 0], np.full(number, _NOISE_QUANTILE), np.full(number, 1 - _NOISE_QUANTILE)]
    )
    solution = np.asarray(linprog(cost, A_eq=system, b_eq=y / scale_y, bounds=(0, None)).x)
    line: Array = scale_y * np.maximum(solution[0] * x / scale_x + solution[1], 1e-3)
    return line


@dataclass(frozen=True, eq=False)
class _State:
    """Values of all unknowns: focus (4,), log noise, log S (R,), and those of tiles (T, 2)."""

    focus: Array
    noise: float
    scene: Array
    tiles: Array

    def shifted(self, change: Array) -> _State:
        """State with another focus."""
        return replace(self, focus=self.focus + change)


@dataclass(frozen=True, eq=False)
class _Terms:
    """Gradient and expected information of the log-probability.

    Of the shared unknowns (focus, noise, scene; k + 1 + R): scores of each tile, their sum with
    the prior, and information; of the tiles' own unknowns: gradient, information, and
    that across to the shared ones.
    """

    scores: Array
    gradient: Array
    information: Array
    of_tiles: Array
    tiles: Array
    across: Array


@dataclass(frozen=True, eq=False)
class FocusFit:
    """Focus over the frame with the highest likelihood.

    Attributes
    ----------
    focus : ndarray, shape (4,)
        Values of `FOCUS`.
    covariance : ndarray, shape (4, 4)
        Of the free parameters, from how the groups of tiles differ (sandwich estimate).
    loss : float
        Negative logarithm of the posterior probability.
    """

    focus: Array
    covariance: Array
    loss: float
    noise_factor: float
    state: _State = field(repr=False)


class SpectralLikelihood:
    """Posterior probability of a focus, given spectra of tiles."""

    def __init__(
        self,
        spectra: TileSpectra,
        table: SpectrumTable,
        frame_shape: tuple[int, int],
        axis: tuple[float, float],
        noise: Array,
        *,
        rings: NDArray[np.bool_] | None = None,
        mean: Array | None = None,
        sd: Array | None = None,
        weight: Array | None = None,
        group: NDArray[np.intp] | None = None,
        noise_sd: float = NOISE_SD,
    ) -> None:
        self.noise_sd = noise_sd
        self.spectra, self.table, self.noise = spectra, table, noise
        corner, row = np.unique(spectra.corner, axis=0, return_inverse=True)
        self.row = row.reshape(-1)
        self.group = spectra.image if group is None else group
        positions = tile_positions(corner, frame_shape)
        squared = np.sum(field_vectors(positions, frame_shape, axis) ** 2, axis=-1, keepdims=True)
        self.squared_radius = squared[..., 0]
        self.basis = np.concatenate([np.ones_like(squared), squared, positions], axis=-1)
        self.weight = np.ones(len(spectra.power)) if weight is None else weight
        count = _INDEPENDENT * RING_COUNT
        used = np.arange(RINGS) >= FIRST_RING if rings is None else rings
        self.precision = used / (1.0 / count + _SCATTER)
        self.mean = np.zeros(4) if mean is None else mean
        self.sd = np.full(4, np.inf) if sd is None else sd
        slope = np.log(np.maximum(FREQUENCY, FREQUENCY[1]) / 0.1)
        self.tile_basis = np.stack([np.ones(RINGS), slope], axis=1)
        self.tile_precision = 1.0 / np.square([_CONTRAST_SD, _SLOPE_SD])
        bend = np.diff(np.eye(RINGS), 2, axis=0) / _BEND_SD
        self.smoothness = bend.T @ bend + 1e-4 / RINGS  # The mean is free up to a gauge.

    def start(self, focus: Array) -> _State:
        """Rough values of all unknowns for a focus."""
        transfer = self._transfer(focus)[0]
        noise = self.noise[:, None]
        signal = np.maximum(self.spectra.power - noise, 0.02 * noise)
        contrast = signal[:, FIRST_RING:12].mean(axis=1)
        expected = (self.weight * contrast) @ transfer
        scene = np.log(np.maximum(self.weight @ signal / expected, 1e-9))
        tiles = np.stack([np.log(contrast), np.zeros_like(contrast)], axis=1)
        return _State(np.asarray(focus, np.float64), 0.0, scene, tiles)

    def _transfer(self, focus: Array) -> tuple[Array, Array]:
        """Mean |H|^2 (T, R) in each tile, and its derivative by the focus (T, R, 4)."""
        transfer, slope = self.table(self.basis @ focus, self.squared_radius)
        detail = self.spectra.detail
        weighted = detail[..., None] * self.basis[self.row]
        by_focus = np.swapaxes(slope[self.row], 1, 2) @ weighted
        mean = (detail[:, None] @ transfer[self.row])[:, 0]
        return np.maximum(mean, 1e-12), by_focus

    def _expected(self, state: _State, transfer: Array) -> tuple[Array, Array]:
        """Expected power (T, R), and the share of the signal in it."""
        signal = np.exp(state.tiles @ self.tile_basis.T + state.scene) * transfer
        power = signal + np.exp(state.noise) * self.noise[:, None]
        return power, signal / power

    def expected_power(self, state: _State) -> Array:
        """Expected power spectra (T, R)."""
        return self._expected(state, self._transfer(state.focus)[0])[0]

    def defocus_um(self, focus: Array) -> Array:
        """Mean defocus (T,) in each tile."""
        mean: Array = (self.basis @ focus).mean(axis=1)
        return mean[self.row]

    def _residual(self, power: Array) -> Array:
        return np.log(np.maximum(self.spectra.power / power, 1e-3))

    def _centered(self, state: _State) -> Array:
        tiles = state.tiles.copy()
        tiles[:, 0] -= np.median(tiles[:, 0])
        return tiles

    def loss(self, state: _State) -> float:
        """Negative logarithm of the posterior probability."""
        power, _ = self._expected(state, self._transfer(state.focus)[0])
        data = self.weight @ (self._residual(power) ** 2 @ self.precision)
        tiles = self.weight @ (self._centered(state) ** 2 @ self.tile_precision)
        focus = np.sum(((state.focus - self.mean) / self.sd) ** 2)
        scene = state.scene @ self.smoothness @ state.scene
        return float(data + tiles + focus + scene + (state.noise / self.noise_sd) ** 2) / 2.0

    def gradient(self, state: _State) -> Array:
        """Slope (4,) of the log-probability along the focus, with all else fixed."""
        return self._terms(state, range(4)).gradient[:4]

    def step(self, state: _State, damping: float, free: Sequence[int]) -> tuple[_State, Array]:
        """Damped step to a lower loss, and the covariance of the free focus parameters."""
        k, terms = len(free), self._terms(state, free)
        block, diagonal = terms.tiles.copy(), np.arange(self.tile_basis.shape[1])
        block[:, diagonal, diagonal] *= 1.0 + damping
        inverse = np.linalg.inv(block)
        solved = inverse @ terms.across
        own = np.einsum("tmn,tn->tm", inverse, terms.of_tiles)
        information = terms.information - np.tensordot(terms.across, solved, ([0, 1], [0, 1]))
        gradient = terms.gradient - np.tensordot(terms.across, own, ([0, 1], [0, 1]))
        damped = information + damping * np.diag(np.diag(information))
        change = np.linalg.solve(damped, gradient)
        focus = state.focus.copy()
        focus[list(free)] += np.clip(change[:k], -2.0, 2.0)
        new = _State(
            focus,
            state.noise + float(np.clip(change[k], -1.0, 1.0)),
            state.scene + np.clip(change[k + 1 :], -2.0, 2.0),
            state.tiles + np.clip(own - solved @ change, -2.0, 2.0),
        )
        return new, self._covariance(information, terms.scores)[:k, :k]

    def _terms(self, state: _State, free: Sequence[int]) -> _Terms:
        """Gradient and expected information at a state."""
        free, k = list(free), len(free)
        transfer, by_focus = self._transfer(state.focus)
        power, share = self._expected(state, transfer)
        # Derivatives of log P by focus and noise (T, R, k + 1); by the scene it is `share`.
        by_few = np.concatenate(
            [(share / transfer)[..., None] * by_focus[..., free], (1.0 - share)[..., None]], axis=2
        )
        weight, basis = self.weight[:, None] * self.precision, self.tile_basis
        error, weight_share = weight * self._residual(power), weight * share
        prior = np.append(1.0 / self.sd[free] ** 2, 1.0 / self.noise_sd**2)
        scores = np.concatenate([(error[:, None] @ by_few)[:, 0], error * share], axis=1)
        gradient = scores.sum(axis=0)
        gradient[: k + 1] -= np.append((state.focus - self.mean)[free], state.noise) * prior
        gradient[k + 1 :] -= self.smoothness @ state.scene
        weighted_few = weight_share[..., None] * by_few
        flat = by_few.reshape(-1, k + 1)
        few = flat.T @ (weight[..., None] * by_few).reshape(-1, k + 1) + np.diag(prior)
        mixed = weighted_few.sum(axis=0)
        scene = self.smoothness + np.diag((weight_share * share).sum(axis=0))
        information = np.block([[few, mixed.T], [mixed, scene]])
        of_tiles = (error * share) @ basis - self.weight[:, None] * (
            self._centered(state) * self.tile_precision
        )
        by_scene = (weight_share * share)[:, None] * basis.T
        tiles, diagonal = by_scene @ basis, np.arange(basis.shape[1])
        tiles[:, diagonal, diagonal] += self.weight[:, None] * self.tile_precision + 1e-9
        across = np.concatenate([basis.T @ weighted_few, by_scene], axis=2)
        return _Terms(scores, gradient, information, of_tiles, tiles, across)

    def _covariance(self, information: Array, scores: Array) -> Array:
        """Covariance of all shared unknowns, from the scatter of the scores of groups."""
        inverse = np.linalg.inv(information)
        groups = np.zeros((self.group.max() + 1, scores.shape[1]))
        np.add.at(groups, self.group, scores)
        used = len(np.unique(self.group))
        middle = groups.T @ groups * used / max(used - 1, 1)
        covariance: Array = inverse @ middle @ inverse
        return covariance

    def fit(
        self,
        start: Array | _State,
        free: Sequence[int] = (0, 1, 2, 3),
        *,
        steps: int = 40,
        tolerance: float = 0.01,
    ) -> FocusFit:
        """Focus of the highest probability near a start; the other parameters keep their value."""
        state = start if isinstance(start, _State) else self.start(start)
        damping, loss = 1e-2, self.loss(state)
        for _ in range(steps):
            new, _ = self.step(state, damping, free)
            new_loss = self.loss(new)
            if new_loss < loss:
                is_done = loss - new_loss < tolerance
                state, loss, damping = new, new_loss, damping / 5.0
                if is_done:
                    break
            elif damping > 1e4:
                break
            else:
                damping *= 6.0
        covariance = np.zeros((4, 4))
        covariance[np.ix_(free, free)] = self.step(state, 0.0, free)[1]
        return FocusFit(state.focus, covariance, loss, float(np.exp(state.noise)), state)
