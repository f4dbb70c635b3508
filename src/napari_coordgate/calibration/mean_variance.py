"""Variance of an image's noise against its brightness, with structure separated from noise."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d, maximum_filter, uniform_filter
from scipy.special import comb
from scipy.stats import chi2, norm, t

Float = NDArray[np.floating[Any]]

ORDERS = (4, 8, 12)
"""Orders of the differences, from the least noise to the least structure."""
LOCAL = 9
"""Side of the square for local variances."""
BORDER = ORDERS[0] // 2 + LOCAL // 2
LEVELS = 24
"""Number of brightness bins of equal size, and again of equal width."""
MIN_IN_BIN = 50
GROUPS = 64
"""Number of parts of the data that are left out in turn, for standard errors."""
MAX_CLIPPED = 0.005
THRESHOLD = 3.0
"""Local variances further above the fit, in their standard deviations, are structure."""
ITERATIONS = 20
STRUCTURED = 1.35
"""Whiteness from which structure decides how rough a part of the image is."""
MODEL_ERROR = 0.04
"""Relative error of each bin's variance, however many pixels it has: structure differs by level."""
ROUGH_ERROR = 0.03
"""Relative error of the slope for each unit of its roughness; measured on simulated scenes."""
MAX_EXCESS = 0.08
"""Part of a slope, of structure, that a difference of higher order would leave out."""
REMAINING = 0.25
"""Relative error of a slope for each unit by which that of the lowest order exceeds it."""


@dataclass(frozen=True, eq=False)
class Difference:
    """A difference of high order along both axes.

    It passes the corners of the spectrum, where a lens leaves nearly no structure (the less, the
    higher the order), and keeps the variance of white noise.
    """

    order: int

    @cached_property
    def taps(self) -> Float:
        """Weights of the pixels along one axis."""
        taps = comb(self.order, np.arange(self.order + 1)) * (-1.0) ** np.arange(self.order + 1)
        unit: Float = taps / np.sqrt(np.sum(taps**2))
        return unit

    @property
    def side(self) -> int:
        """Number of pixels along one axis."""
        return self.order + 1

    @property
    def ring(self) -> int:
        """Side of the ring that measures the local brightness.

        It is without the pixels of the filter, so that their noise does not decide on their bin.
        """
        return self.side + 4

    @property
    def border(self) -> int:
        """Pixels at the border that are not measured."""
        return self.order // 2 + LOCAL // 2

    @cached_property
    def correlation(self) -> float:
        """Relative variance of the square of one filtered pixel, and its neighbors' share in it."""
        return 2 * float(np.square(np.correlate(self.taps, self.taps, "full")).sum()) ** 2

    @cached_property
    def number(self) -> float:
        """Independent values in the local square of the filtered image."""
        return _independent(self.taps) ** 2


def _independent(taps: Float) -> float:
    """Independent values along one side of the local square, of noise filtered by taps."""
    lags = np.correlate(taps, taps, "full")
    shift = np.arange(-(len(taps) - 1), len(taps))
    share = np.maximum(1 - np.abs(shift) / LOCAL, 0)
    return LOCAL / float((share * (lags / lags.max()) ** 2).sum())


DIFFERENCES = {order: Difference(order) for order in ORDERS}
NUMBER_OF_DIFFERENCES = LOCAL * _independent(np.array([1.0, -1.0]))


class Samples(NamedTuple):
    """Pixels of one plane, or of the difference of two; flat arrays."""

    squares: Float
    """Squared noise: the filtered image, whose expectation is the variance at ``mean``."""
    mean: Float
    level: Float
    """Local brightness around the filter, for the bins."""
    local: Float
    """Local mean of ``squares``."""
    local_mean: Float
    """Local mean of ``mean``."""
    local_square: Float
    """Local mean of the square of ``mean``."""
    known: Float
    """Known part of the variance."""
    local_known: Float
    """Local mean of ``known``."""
    differences: Float
    """Local variance of the differences of neighbors: with structure, or correlated noise."""
    clipped: NDArray[np.bool_]
    group: NDArray[np.int64]


def samples_of(
    plane: Float,
    second: Float | None,
    variance: Float | None,
    clipped: Any,
    number: int,
    difference: Difference,
) -> Samples:
    """Samples of a plane (H, W), or of its difference to a second one of the same scene.

    ``variance`` is the known part of the noise's variance, per pixel.
    """
    noise = plane if second is None else (plane - second) / np.sqrt(2)
    plane = plane if second is None else (plane + second) / 2
    taps, side, ring = difference.taps, difference.side, difference.ring
    squares = _filtered(noise, taps) ** 2
    differences = (np.diff(noise, axis=1, append=noise[:, -1:]) ** 2) / 2
    local, local_differences = (uniform_filter(x, LOCAL) for x in (squares, differences))
    known = np.zeros(1) if variance is None else _filtered(variance, taps**2)
    mean = _filtered(plane, taps**2)
    around = uniform_filter(plane, ring) * ring**2 - uniform_filter(plane, side) * side**2
    near_clipped = maximum_filter(np.broadcast_to(clipped, plane.shape), side)
    rows, columns = (np.arange(n) * 8 // n for n in plane.shape)
    group = (rows[:, None] * 8 + columns + number * 37) % GROUPS
    inner = (slice(difference.border, -difference.border),) * 2

    def flat(array: Float) -> Float:
        return np.broadcast_to(array, plane.shape)[inner].ravel().astype(np.float32)

    return Samples(
        squares=flat(squares),
        mean=flat(mean),
        level=flat(around / (ring**2 - side**2)),
        local=flat(local),
        local_mean=flat(uniform_filter(mean, LOCAL)),
        local_square=flat(uniform_filter(mean**2, LOCAL)),
        known=flat(known),
        local_known=flat(uniform_filter(known, LOCAL)),
        differences=flat(local_differences),
        clipped=near_clipped[inner].ravel(),
        group=group[inner].ravel(),
    )


def _filtered(image: Float, taps: Float) -> Float:
    filtered: Float = correlate1d(correlate1d(image, taps, axis=0), taps, axis=1)
    return filtered


@dataclass(frozen=True, eq=False)
class Line:
    """Noise variance as a linear function of brightness: intercept + slope * mean."""

    intercept: float
    slope: float
    replicates: Float
    """(intercept, slope) without one part of the data each, shape (parts, 2)."""
    mean: Float
    variance: Float
    number: Float
    """Brightness, variance and number of pixels of each bin."""
    kept: float
    """Fraction of the pixels where no structure stands out of the noise."""
    whiteness: float
    """Variance of the smoothest differences of neighbors over that of white noise, about 1."""
    leak: float
    """Relative part of the variance that may be structure as fine as noise."""
    roughness: float
    """Differences of neighbors over those of the noise, root mean square, in pixels by how much
    they decide on the slope."""
    disagreement: float = 0.0
    """Relative difference to slopes from differences of other orders, beyond their scatter."""

    def at(self, mean: float) -> float:
        """Variance at a brightness."""
        return self.intercept + self.slope * mean

    @property
    def structure(self) -> float:
        """Relative part of the slope that may be structure instead of noise."""
        return max(self.leak, self.disagreement)

    @property
    def model_error(self) -> float:
        """Relative error of the slope that neither its scatter nor other orders show.

        In scenes of bright points or lines, brightness and structure come together.
        """
        return math.hypot(max(MODEL_ERROR, ROUGH_ERROR * self.roughness), self.structure)

    def standard_error(self, values: Float) -> float:
        """Jackknife standard error of a quantity computed from each of the replicates.

        Where few parts decide, as in scenes of few bright objects, it is itself uncertain, and
        enlarged so that intervals of 90 % cover as often.
        """
        squares = (values - np.mean(values)) ** 2
        total = float(squares.sum())
        if total <= 0:
            return 0.0
        freedom = max(3 * total**2 / float(np.sum(squares**2)) - 1, 1.0)
        widening = float(t.ppf(0.95, freedom) / norm.ppf(0.95))
        return widening * math.sqrt((len(values) - 1) / len(values) * total)


def agreed_line(lines: Sequence[Line]) -> Line | None:
    """The first of the lines, of rising order, whose slope higher orders confirm; else the last.

    Structure raises the slope, and the less, the higher the order.
    """
    if not lines:
        return None
    for number, line in enumerate(lines):
        higher = [_deviation(other, line) for other in lines[number + 1 :]]
        if all(-change <= max(MAX_EXCESS, 2 * error) for change, error in higher):
            break
    compared = higher or [_deviation(other, line) for other in lines[-2:-1]]
    left, removed = (
        max((max(change**2 - error**2, 0.0) for change, error in deviations), default=0.0)
        for deviations in (compared, [_deviation(lines[0], line)])
    )
    return replace(line, disagreement=math.sqrt(left + REMAINING**2 * removed))


def _deviation(other: Line, line: Line) -> tuple[float, float]:
    """Relative difference of the slope of another line, and its standard error."""
    ratio = other.replicates[:, 1] / line.replicates[:, 1]
    return other.slope / line.slope - 1, line.standard_error(ratio)


def fit_line(
    samples: Sequence[Samples], dark: Sequence[Samples], difference: Difference
) -> Line | None:
    """Robust line through the variances; None unless two bins of brightness are usable."""
    data = Samples(*(np.concatenate(parts) for parts in zip(*samples, *dark, strict=True)))
    is_dark = np.zeros(len(data.mean), bool)
    is_dark[sum(len(part.mean) for part in samples) :] = True
    bins, count = _bins(data, is_dark)
    usable = _usable(data, bins, count)
    line = _initial(data, bins, usable, difference)
    for _ in range(ITERATIONS):
        if line is None:
            return None
        expected = _predicted(line, data.local_mean) + data.local_known
        cut, kept_mean = _cut(line, data, expected, difference)
        keep = (data.local < cut * expected) | is_dark
        keep &= ~data.clipped & usable[bins]
        table = _table(data, bins, count, keep, np.where(is_dark, 1.0, kept_mean))
        before, line = line, _fit(table.sum(axis=1), difference.correlation)
        if line is not None and np.allclose(line, before, rtol=1e-4):
            break
    if line is None:
        return None
    left_out = (table.sum(axis=1, keepdims=True) - table).transpose(1, 0, 2)
    replicates = [_fit(part, difference.correlation) for part in left_out]
    number, mean, total, known = table.sum(axis=1)
    filled = number >= MIN_IN_BIN
    lit = keep & ~is_dark
    roughness = (data.differences / expected)[lit]
    smooth = np.quantile(roughness, 0.1)
    mean_level = data.mean[lit]
    decisive = ((mean_level - mean_level.mean()) / expected[lit]) ** 2
    usual = chi2.ppf(0.1, NUMBER_OF_DIFFERENCES) / NUMBER_OF_DIFFERENCES
    return Line(
        *line,
        replicates=np.array([part if part is not None else line for part in replicates]),
        mean=mean[filled] / number[filled],
        variance=(total - known)[filled] / number[filled],
        number=number[filled],
        kept=float(keep.sum() / max((~data.clipped & usable[bins]).sum(), 1)),
        whiteness=float(smooth / usual),
        roughness=math.sqrt(float(decisive @ roughness) / max(float(decisive.sum()), 1e-30)),
        leak=_leak(roughness, (data.squares / expected)[lit], float(smooth / usual)),
    )


def _cut(
    line: tuple[float, float], data: Samples, expected: Float, difference: Difference
) -> tuple[Float, Float]:
    """Local variance, relative to the expected one, that is structure, and the mean below it.

    Where bright pixels are few in a local square, its variance is that of fewer values.
    """
    intercept, slope = line
    square = intercept**2 + 2 * intercept * slope * data.local_mean + slope**2 * data.local_square
    number = difference.number / np.clip(square / expected**2, 1.0, difference.number / 2)
    nodes = np.geomspace(2.0, difference.number, 32)
    cuts = 1 + THRESHOLD * np.sqrt(2 / nodes)
    means = chi2.cdf(cuts * nodes, nodes + 2) / chi2.cdf(cuts * nodes, nodes)
    return 1 + THRESHOLD * np.sqrt(2 / number), np.interp(number, nodes, means)


def _leak(roughness: Float, squares: Float, whiteness: float) -> float:
    """Excess of the variance where there is more structure over that where there is less.

    Where the noise itself decides on the roughness, it says nothing: 0.
    """
    if whiteness < STRUCTURED:
        return 0.0
    rough = roughness > np.median(roughness)
    return max(float(squares[rough].mean() / squares[~rough].mean()) - 1, 0.0)


def _bins(data: Samples, is_dark: NDArray[np.bool_]) -> tuple[NDArray[np.int64], int]:
    """Bin of each sample, and the number of bins; dark frames have the last one."""
    level = data.level[~is_dark]
    part = np.linspace(0, 1, LEVELS + 1)
    edges = np.unique(
        np.append(np.quantile(level, part), np.quantile(level, [0, 1]) @ [1 - part, part])
    )
    bins = np.searchsorted(edges, data.level, side="right") - 1
    bins = np.where(is_dark, len(edges) - 1, bins.clip(0, max(len(edges) - 2, 0)))
    return bins, len(edges)


def _usable(data: Samples, bins: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """Bins with enough pixels, of which few are clipped: there the noise is not whole."""
    number = np.bincount(bins, minlength=count)
    clipped = np.bincount(bins, data.clipped, minlength=count)
    usable: NDArray[np.bool_] = (number >= MIN_IN_BIN) & (clipped <= MAX_CLIPPED * number)
    return usable


def _initial(
    data: Samples, bins: NDArray[np.int64], usable: NDArray[np.bool_], difference: Difference
) -> tuple[float, float] | None:
    """Line through the low local variances of each bin, which structure hardly raises."""
    usual = chi2.ppf(0.2, difference.number) / difference.number
    order = np.argsort(bins, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(bins, minlength=len(usable)))[:-1])
    rows = [
        len(part)
        * np.array(
            [
                1.0,
                data.mean[part].mean(),
                np.quantile(data.local[part], 0.2) / usual,
                data.known[part].mean(),
            ]
        )
        for part, is_usable in zip(parts, usable, strict=True)
        if is_usable
    ]
    return _fit(np.array(rows).T, difference.correlation) if len(rows) > 1 else None


def _table(
    data: Samples,
    bins: NDArray[np.int64],
    count: int,
    keep: NDArray[np.bool_],
    kept_mean: Float,
) -> Float:
    """Number, and sums of means, squares and known variances, shape (4, groups, bins)."""
    cell = (data.group * count + bins)[keep]
    size = GROUPS * count
    return np.stack(
        [
            np.bincount(cell, weights, size).reshape(GROUPS, count)
            for weights in (
                *(None, data.mean[keep], (data.squares / kept_mean)[keep]),
                data.known[keep],
            )
        ]
    )


def _fit(sums: Float, correlation: float) -> tuple[float, float] | None:
    """Intercept and slope by least squares, where a variance's error is as large as itself."""
    number, mean, total, known = sums[:, sums[0] >= MIN_IN_BIN]
    if len(number) < 2 or total.max() <= 0:
        return None
    mean, total, known = mean / number, total / number, known / number
    variance, least = total - known, 1e-3 * float(total.max())
    predicted = np.maximum(total, least)
    for _ in range(5):
        weight = 1 / (predicted**2 * (correlation / number + MODEL_ERROR**2))
        center = (weight @ mean) / weight.sum()
        spread = weight @ (mean - center) ** 2
        if spread <= 0:
            return None
        slope = (weight @ ((mean - center) * variance)) / spread
        intercept = (weight @ variance) / weight.sum() - slope * center
        predicted = np.maximum(intercept + slope * mean + known, least)
    return float(intercept), float(slope)


def _predicted(line: tuple[float, float], level: Float) -> Float:
    """Variance at a brightness, above 0."""
    variance = line[0] + line[1] * level
    bounded: Float = np.maximum(variance, 1e-3 * variance.max())
    return bounded
