"""Where the fit of a lens to beads starts: defocus, curvature and tilt from matched filters."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.optimize import minimize

from napari_coordgate.geometry import field_vectors

Array = NDArray[np.float64]

DRAWS = 4000
POLISH: Any = {"maxfev": 300, "xatol": 0.02, "fatol": 0.1}
MAX_GAIN = 200.0
"""Most that one bead may contribute: it is aberrated, and the filters are not."""


def start_vectors(
    signals: Array,
    defocus_um: Array,
    coordinates: Array,
    frame_shape: tuple[int, int],
    z_um: Array,
    count: int,
    tilt_um: float,
    seed: int = 0,
) -> list[Array]:
    """Starts (13,) of the fit, the most likely first; they differ from each other.

    ``signals`` (N, P, R) are those of beads at frame coordinates (N, 2), each filter having the
    defocus (R,). The matched filters know the size of the defocus and not its sign: of a single
    plane, the starts have positive field curvature.
    """
    curves = PchipInterpolator(defocus_um, _log_likelihoods(signals), axis=-1)
    slopes = _terms(coordinates, frame_shape)
    limit = float(defocus_um[-1])

    def losses(values: Array) -> Array:  # (B, 4) -> (B,)
        defocus = np.abs((values @ slopes.T)[..., None] + z_um)  # (B, N, P)
        inside = np.minimum(defocus, limit)
        found = _at(curves, inside) - ((defocus - inside) / limit) ** 2 * MAX_GAIN
        prior = np.sum((values[:, 2:] / tilt_um) ** 2, axis=1) / 2.0
        lost: Array = prior - found.sum((1, 2))
        return lost

    def loss(values: Array) -> float:
        return float(losses(values[None])[0])

    draws = _draws(limit, tilt_um, len(z_um) == 1, np.random.default_rng(seed))
    polished = []
    for draw in draws[np.argsort(losses(draws))[:count]]:
        found = minimize(loss, draw, method="Nelder-Mead", options=POLISH)
        polished.append((float(found.fun), np.asarray(found.x, np.float64)))
    polished.sort(key=lambda item: item[0])
    return [_as_vector(values) for values in _distinct(polished, slopes, len(z_um) == 1)]


def _draws(limit: float, tilt_um: float, unsigned: bool, rng: np.random.Generator) -> Array:
    """Random defocus, field curvature and tilt, (B, 4); a part of them with little tilt."""
    draws = rng.uniform(-1.0, 1.0, (DRAWS, 4)) * [limit, limit * 1.3, tilt_um, tilt_um]
    draws[: DRAWS // 2, 2:] *= 0.2
    if unsigned:
        draws[:, 1] = np.abs(draws[:, 1])
    return draws


def _log_likelihoods(signals: Array) -> Array:
    """Log-likelihood (N, P, R) of each filter, limited for bright beads."""
    gain = np.maximum(signals, 0.0) ** 2 / 2.0
    largest = gain.max((1, 2), keepdims=True)
    scaled: Array = gain * np.minimum(1.0, MAX_GAIN / np.maximum(largest, 1e-12))
    return scaled


def _at(curves: PchipInterpolator, points: Array) -> Array:
    """Values (B, N, P) of the curves of all beads and planes, at a point each."""
    knots = curves.x
    piece = np.clip(np.searchsorted(knots, points, side="right") - 1, 0, len(knots) - 2)
    offset = points - knots[piece]
    beads, planes = np.arange(points.shape[1])[:, None], np.arange(points.shape[2])
    values = np.zeros_like(points)
    for power in curves.c:  # (pieces, N, P), the highest power first
        values = values * offset + power[piece, beads, planes]
    return values


def _terms(coordinates: Array, frame_shape: tuple[int, int]) -> Array:
    """What defocus, field curvature and tilt of 1 um make of the defocus, (N, 4)."""
    squared = np.sum(field_vectors(coordinates, frame_shape) ** 2, axis=-1)
    return np.column_stack([np.ones(len(squared)), squared, coordinates])


def _distinct(polished: list[tuple[float, Array]], slopes: Array, unsigned: bool) -> list[Array]:
    """Values whose defocus differs by more than half a micrometer from all better ones."""
    kept: list[Array] = []
    for _, values in polished:
        signed = -values if unsigned and values[1] < 0 else values
        defocus = slopes @ signed
        if all(np.abs(defocus - slopes @ other).max() > 0.5 for other in kept):
            kept.append(signed)
    return kept


def _as_vector(values: Array) -> Array:
    """Parameters of a lens with this defocus, curvature and tilt."""
    return np.concatenate([values, np.zeros(9)])
