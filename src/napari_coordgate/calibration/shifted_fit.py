"""Fit of the focus over the frame to cross spectra of the same content at two places.

With transfer functions H1 and H2 and a scene X, the Fourier coefficients of a tile in two images
are Y1 = H1 X and Y2 = H2 X. Whatever the scene, H2 Y1 = H1 Y2: power and cross spectrum are in
the proportion |H1|^2 : H1 H2 : |H2|^2. On each ring of each tile the contents' power A is free, and
minimized is

    sum (P - A p)' M (P - A p),    p = (|H1|^2, g H1 H2, g^2 |H2|^2),

with the power P less that of the noise, and the brightness g of the second image in the tile. The
metric M is the inverse covariance of P, held during a fit: then noise does not bias it. A is
taken from other rings for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import correlate1d

from napari_coordgate.calibration.shifted_tiles import USED, TilePairs
from napari_coordgate.calibration.shifted_transfer import TransferTable
from napari_coordgate.calibration.spectra import FREQUENCY, RING_COUNT, Array, Bools
from napari_coordgate.geometry import field_vectors

_INDEPENDENT = 0.4  # Fraction of frequencies that are, under a Hann window and with overlap.
MODEL_ERROR = 0.1
"""Amplitude that two images of a tile do not share, because the blur varies in it."""
ROUGH_ERROR = 0.5
"""The same far from the solution: it lets fits from afar find their way."""
_NOISE_ERROR = 0.1  # Relative error of the noise of a tile.
_BRIGHTNESS_SD = 0.2  # Of the logarithm of g.
_OTHER_RINGS = np.array([1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0])
_MIN_POWER = 0.02  # Of the contents, relative to the noise.
_OUTLIER = 3.0  # Misfit of a tile, in medians, beyond which its weight falls.
_MODEL_ERRORS = (0.3, MODEL_ERROR, MODEL_ERROR)  # Of fits that follow each other.


@dataclass(frozen=True, eq=False)
class CrossFit:
    """Focus that fits cross spectra best.

    Attributes
    ----------
    focus : ndarray, shape (M,)
        Defocus, field curvature, tilt (y, x), then the defocus that each image but the first adds.
    covariance : ndarray, shape (M, M)
        Of the free parameters, from how the tiles differ (sandwich estimate).
    misfit : ndarray, shape (T,)
        Misfit of each tile, 1 if only noise is left.
    """

    focus: Array
    covariance: Array
    misfit: Array


class CrossRelation:
    """Misfit of a focus over the frame to cross spectra of tiles."""

    def __init__(
        self,
        pairs: TilePairs,
        table: TransferTable,
        frame_shape: tuple[int, int],
        axis: tuple[float, float],
        sd: Array,
        rings: Bools | None = None,
    ) -> None:
        self.pairs, self.table, self.sd = pairs, table, sd
        positions = pairs.positions
        squared = np.sum(field_vectors(positions, frame_shape, axis) ** 2, axis=-1, keepdims=True)
        added = np.eye(len(sd) - 3)[pairs.image][:, :, None, 1:]
        added = np.broadcast_to(added, (*positions.shape[:-1], len(sd) - 4))
        self.basis = np.concatenate([np.ones_like(squared), squared, positions, added], axis=-1)
        self.count = _INDEPENDENT * RING_COUNT[USED]
        self.used = np.full(len(self.count), True) if rings is None else rings[USED]
        self.weight = np.ones(len(pairs))
        noise = pairs.noise[:, None]
        self.signal = pairs.power - np.stack(
            [noise[..., 0], np.zeros_like(noise[..., 0]), noise[..., 1]], axis=-1
        )
        self.model_error = MODEL_ERROR
        self.metric = np.zeros((*self.signal.shape, 3))

    def products(self, focus: Array) -> Array:
        """|H1|^2, H1 H2 and |H2|^2 (T, R, 3), on average over the detail of each tile."""
        defocus_um = self.basis @ focus
        first, second = (self.table(defocus_um[:, i]) for i in (0, 1))
        both = (first, first), (first, second), (second, second)
        return np.stack([self._product(*one).sum(axis=1) for one in both], axis=-1)

    def slopes(self, focus: Array) -> Array:
        """Derivatives (T, R, 3, M) of the products by the focus."""
        defocus_um, table = self.basis @ focus, self.table
        first, second = (table(defocus_um[:, i]) for i in (0, 1))
        by_first, by_second = (table(defocus_um[:, i], 1) for i in (0, 1))
        at_first, at_second = self.basis[:, 0], self.basis[:, 1]

        def along(values: Array, basis: Array) -> Array:
            sums: Array = np.swapaxes(values, 1, 2) @ basis
            return sums

        across = along(self._product(by_first, second), at_first)
        across += along(self._product(first, by_second), at_second)
        return np.stack(
            [
                2.0 * along(self._product(first, by_first), at_first),
                across,
                2.0 * along(self._product(second, by_second), at_second),
            ],
            axis=2,
        )

    def _product(self, a: Array, b: Array) -> Array:
        """Inner products (T, P, R) of numbers of the table, weighted by the detail."""
        product: Array = np.einsum("tprq,tprq->tpr", a, b) * self.pairs.detail[..., None]
        return product

    def set_metric(self, focus: Array, brightness: Array) -> None:
        """Compute the expected covariance of the power."""
        p = self.products(focus) * _scaling(brightness)
        shape = FREQUENCY[USED] ** -3.0
        total, unit = (values[..., 0] + values[..., 2] for values in (self.signal, p))
        found, expected = (
            correlate1d(values * self.count, _OTHER_RINGS, axis=1, mode="nearest")
            for values in (total, unit * shape)
        )
        noise = self.pairs.noise[:, None]
        least = _MIN_POWER * noise.sum(axis=-1) / np.maximum(unit, 1e-12)
        power = np.maximum(found / np.maximum(expected, 1e-12) * shape, least)[..., None] * p
        first, second = (
            power[..., i] * (1.0 + self.model_error**2) + noise[..., j] for i, j in ((0, 0), (2, 1))
        )
        cross, n = power[..., 1], self.count
        variance = np.empty((*power.shape, 3))
        variance[..., 0, 0] = first**2 / n + (_NOISE_ERROR * noise[..., 0]) ** 2
        variance[..., 2, 2] = second**2 / n + (_NOISE_ERROR * noise[..., 1]) ** 2
        variance[..., 1, 1] = (first * second + cross**2) / (2.0 * n)
        for i, j, value in ((0, 1, first * cross), (0, 2, cross**2), (1, 2, second * cross)):
            variance[..., i, j] = variance[..., j, i] = value / n
        self.metric = np.linalg.inv(variance) * self.used[:, None, None]

    def _split(self, p: Array) -> tuple[Array, Array, Array]:
        """Power A (T, R) of the contents, what is left (T, R, 3), and the metric times p."""
        metric_p = (self.metric @ p[..., None])[..., 0]
        norm = np.maximum(np.sum(p * metric_p, axis=-1), 1e-300)
        power = np.sum(metric_p * self.signal, axis=-1) / norm
        return power, self.signal - power[..., None] * p, metric_p / norm[..., None]

    def tile_losses(self, focus: Array, brightness: Array) -> Array:
        """Misfit (T,) of each tile; noise alone makes one of twice the number of rings."""
        _, left, _ = self._split(self.products(focus) * _scaling(brightness))
        losses: Array = np.sum((self.metric @ left[..., None])[..., 0] * left, axis=(1, 2))
        return losses

    def loss(self, focus: Array, brightness: Array) -> float:
        """Half the misfit of all tiles, and what speaks against the parameters beforehand."""
        tiles = self.tile_losses(focus, brightness) + (brightness / _BRIGHTNESS_SD) ** 2
        return float(self.weight @ tiles + np.sum((focus / self.sd) ** 2)) / 2.0

    def step(
        self, focus: Array, brightness: Array, damping: float, free: Sequence[int]
    ) -> tuple[Array, Array, Array]:
        """Damped step to a smaller misfit, and the covariance of the free parameters."""
        free = list(free)
        scaling = _scaling(brightness)
        p, slopes = self.products(focus) * scaling, self.slopes(focus)
        power, left, onto_p = self._split(p)
        by_focus = slopes[..., free] * scaling[..., None]
        by_all = np.concatenate([by_focus, (p * np.arange(3))[..., None]], axis=-1)
        by_all *= power[..., None, None]
        by_all -= p[..., None] * (onto_p[..., None, :] @ by_all)
        weighted = self.metric @ by_all
        gradient = np.einsum("trcm,trc->tm", weighted, left)
        information = np.einsum("trcm,trcn->tmn", weighted, by_all, optimize=True)
        own_gradient = gradient[:, -1] - brightness / _BRIGHTNESS_SD**2
        own = information[:, -1, -1] * (1.0 + damping) + 1.0 / _BRIGHTNESS_SD**2
        across = information[:, :-1, -1]
        scores = gradient[:, :-1] - across * (own_gradient / own)[:, None]
        reduced = information[:, :-1, :-1] - (
            across[:, :, None] * across[:, None] / own[:, None, None]
        )
        total = np.tensordot(self.weight, reduced, 1) + np.diag(self.sd[free] ** -2.0)
        slope = self.weight @ scores - focus[free] / self.sd[free] ** 2
        change = np.linalg.solve(total + damping * np.diag(np.diag(total)), slope)
        change = np.clip(change, -2.0, 2.0)
        new = focus.copy()
        new[free] += change
        own_change = np.clip((own_gradient - across @ change) / own, -0.3, 0.3)
        inverse, weighted_scores = np.linalg.inv(total), self.weight[:, None] * scores
        covariance = inverse @ (weighted_scores.T @ weighted_scores) @ inverse
        return new, brightness + own_change, covariance

    def start_misfit(self, focus: Array) -> float:
        """Median misfit of the tiles for a focus far from the solution, without a fit."""
        brightness = np.zeros(len(self.pairs))
        self.model_error = ROUGH_ERROR
        self.set_metric(focus, brightness)
        return float(np.median(self.tile_losses(focus, brightness)))

    def fit(
        self,
        focus: Array,
        free: Sequence[int],
        *,
        steps: int = 25,
        model_errors: Sequence[float] = _MODEL_ERRORS,
    ) -> CrossFit:
        """Best focus near a start; the parameters that are not free keep their value."""
        brightness = np.zeros(len(self.pairs))
        for self.model_error in model_errors:
            self.set_metric(focus, brightness)
            focus, brightness = self._descend(focus, brightness, free, steps)
            losses = self.tile_losses(focus, brightness)
            limit = _OUTLIER * float(np.median(losses))
            self.weight = np.minimum(1.0, limit / np.maximum(losses, 1e-300))
        covariance = np.zeros((len(focus), len(focus)))
        covariance[np.ix_(free, free)] = self.step(focus, brightness, 0.0, free)[2]
        misfit = losses / (2.0 * self.used.sum())
        return CrossFit(focus, covariance, misfit)

    def _descend(
        self, focus: Array, brightness: Array, free: Sequence[int], steps: int
    ) -> tuple[Array, Array]:
        damping, loss = 1e-2, self.loss(focus, brightness)
        for _ in range(steps):
            new, new_brightness, _ = self.step(focus, brightness, damping, free)
            new_loss = self.loss(new, new_brightness)
            if new_loss < loss:
                is_done = loss - new_loss < 0.1
                focus, brightness, loss, damping = new, new_brightness, new_loss, damping / 5.0
                if is_done:
                    break
            elif damping > 1e4:
                break
            else:
                damping *= 6.0
        return focus, brightness


def _scaling(brightness: Array) -> Array:
    """Factors (T, 1, 3) of a brightness g of the second image: 1, g, g^2."""
    scaling: Array = np.exp(brightness[:, None, None] * np.arange(3.0))
    return scaling
