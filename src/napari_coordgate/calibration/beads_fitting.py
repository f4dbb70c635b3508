"""The fit of a lens to detected beads: starts, robust rejection, error bars, held-out beads."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_coordgate.calibration.beads_detection import Beads, FilterBank, blur_per_um, summarize
from napari_coordgate.calibration.beads_deviance import CORE, bead_deviance, reduced_deviance
from napari_coordgate.calibration.beads_noise import CountNoise, estimate_gain
from napari_coordgate.calibration.beads_residual import Residual, fit_residual
from napari_coordgate.calibration.beads_solver import (
    BeadProblem,
    BeadState,
    BeadWindows,
    Evaluation,
)
from napari_coordgate.calibration.beads_start import start_vectors
from napari_coordgate.calibration.beads_windows import cut_windows, window_sizes
from napari_coordgate.calibration.lens_parameters import EVEN, PARAMETERS, lens_vector
from napari_coordgate.config import BeadsConfig, Lens
from napari_coordgate.errors import ImageError
from napari_coordgate.events import Event, Stopwatch
from napari_coordgate.geometry import pixel_coordinates

Array = NDArray[np.float64]

AXIS_DEVIATION = 0.3
TILT_DEPTHS = 2.0
"""Standard deviation expected of the tilt, in depths of field, wavelength / NA^2."""
ABERRATION_WAVES = 1.0
DEFOCUS_DEPTHS = 100.0

RACE_BEADS, MIN_RACE_BEADS, RACE_STEPS = 20, 8, 4
FINALISTS, FINAL_STEPS = 3, 6
STEPS = 30
ROUNDS = 6
HELD_OUT = 5
"""Every fifth bead is held out to test the lens."""
OUTLIER = 6.0
"""Excess of a bead's deviance, relative to the spread among beads, above which it is dropped."""
UNLIKE = "unlike the model"
MAX_UNLIKE, FEW_UNLIKE = 0.1, 2
"""Part of the beads, and number, that may be unlike the model before it is doubted."""
GOOD_DEVIANCE = 1.5
"""Deviance of held-out beads above which the model is doubted."""
GAIN_TOLERANCE = 0.03
OTHER_APERTURE, LEAST_OTHER_APERTURE = 4.0, 0.01
"""Standard errors, and part of the NA, by which another one must differ for a note."""
HIGHEST_APERTURE, APERTURE_ROUNDS = 0.98, 4
ROUND_SHARE, HELD_OUT_SHARE, FINAL_SHARE, RESIDUAL_SHARE = 0.25, 0.3, 0.5, 0.9
"""Parts of the fit, as shares of what is left to do."""
TYPICAL_STEP = 0.8
"""Part of a minimization that a step leaves to do."""


@dataclass(frozen=True, eq=False)
class BeadImages:
    """Planes (P, H, W) of beads, in counts, at defocus positions ``z_um`` (P,).

    The camera has a gain (H, W) of mean 1, None if it is the same everywhere.
    """

    planes: Array
    z_um: Array
    diameter_um: float
    name: str
    gain: Array | None = None


@dataclass(frozen=True)
class Aperture:
    """NA that the beads suggest, its standard error, and that of the lens."""

    na: float
    standard_error: float
    given: float

    @property
    def is_other(self) -> bool:
        """Whether the NA of the lens is wrong, or what looks like it."""
        difference = abs(self.na - self.given)
        return difference > max(
            OTHER_APERTURE * self.standard_error, LEAST_OTHER_APERTURE * self.given
        )


@dataclass(frozen=True, eq=False)
class FittedBeads:
    """Result of a fit: parameters, covariance, and the beads that were used."""

    vector: Array
    covariance: Array
    windows: BeadWindows
    evaluation: Evaluation
    dropped: tuple[str, ...]
    deviance: Array
    reduced_deviance: float
    held_out_deviance: float
    noise: CountNoise
    aperture: Aperture
    residual: Residual


class FitProgress:
    """Progress of a fit of unknown length: each part takes a share of what is left."""

    def __init__(self) -> None:
        self._stopwatch = Stopwatch("fitting the lens", 100)
        self._begin = self._end = 0.0

    def begin(self, share: float) -> None:
        """Begin a part of the fit, when the one before is complete."""
        self._begin = self._end
        self._end += share * (1.0 - self._end)

    def after(self, steps: int) -> Event:
        """Event after some steps of this part."""
        part = 1.0 - TYPICAL_STEP**steps
        return self._stopwatch.progress(
            round(99.0 * (self._begin + (self._end - self._begin) * part))
        )

    def completed(self) -> Event:
        """Event at the end of the fit."""
        return self._stopwatch.progress(100)


class BeadsFitter:
    """Fits a lens to detected beads, of which each filter sees the ``signals`` (N, P, R)."""

    def __init__(
        self,
        images: BeadImages,
        lens: Lens,
        beads: Beads,
        signals: Array,
        noise: CountNoise,
        config: BeadsConfig,
        cancel: threading.Event | None = None,
    ) -> None:
        self.images, self.lens, self.beads = images, lens, beads
        self.signals, self.noise, self.config, self.cancel = signals, noise, config, cancel
        check_number(beads.dropped, config, images.name)
        # In other planes of a stack a bead may be farther from the focus than in its best one.
        best = images.z_um[signals.max(2, initial=0.0).argmax(1)]
        spread = np.abs(images.z_um - best[:, None]) * blur_per_um(lens)
        self.sizes = window_sizes(beads.radius_px[:, None] + spread, self._frame_shape)
        self.prior = expected_parameters(lens)
        self.progress = FitProgress()

    def fit(self, bank: FilterBank) -> Generator[Event, None, FittedBeads]:
        """Fit the lens; yields `Progress` events."""
        dropped = list(self.beads.dropped)
        state = yield from self._race(self._starts(bank))
        self.progress = FitProgress()
        for _ in range(ROUNDS):
            chosen = np.array([not reason for reason in dropped])
            problem = self._problem(chosen)
            at = yield from self._minimize(problem, state, ROUND_SHARE)
            gain = self._updated_gain(problem, at)
            bad = self._misfits(at, problem.windows)
            state = _rescaled(at.state.select(torch.from_numpy(~bad)), gain)
            self.noise = self.noise.scaled(gain)
            if not bad.any() and abs(np.log(gain)) < GAIN_TOLERANCE:
                break
            for index in np.flatnonzero(chosen)[bad]:
                dropped[index] = UNLIKE
            check_number(dropped, self.config, self.images.name)
        chosen = np.array([not reason for reason in dropped])
        held_out = yield from self._held_out(chosen, state)
        problem = self._problem(chosen, fast=False)
        at = yield from self._minimize(problem, state, FINAL_SHARE)
        scale = max(1.0, reduced_deviance(at, problem.windows)) ** 0.5
        aperture = yield from self._aperture(problem, at, scale)
        residual = yield from self._residual(problem, at)
        return self._result(problem, at, tuple(dropped), held_out, aperture, residual)

    def _starts(self, bank: FilterBank) -> list[Array]:
        """Parameters to start from."""
        kept, shape = self.beads.kept, self._frame_shape
        coordinates = pixel_coordinates(self.beads.positions[kept], shape)
        tilt_um, count = float(self.prior[1][2]), self.config.starts
        z_um = self.images.z_um
        return start_vectors(
            self.signals[kept], bank.defocus_um, coordinates, shape, z_um, count, tilt_um
        )

    def _race(self, starts: list[Array]) -> Generator[Event, None, BeadState]:
        """Fit few beads from all starts, more from the best, and return the best of all."""
        kept = np.flatnonzero(self.beads.kept)
        stopwatch = Stopwatch("choosing the start", len(starts) + FINALISTS)
        few = np.zeros(len(self.beads.dropped), bool)
        number = max(RACE_BEADS // len(self.images.z_um), MIN_RACE_BEADS)
        few[np.random.default_rng(0).permutation(kept)[:number]] = True
        vectors = [torch.from_numpy(vector) for vector in starts]
        for chosen, count, steps in (
            (few, FINALISTS, RACE_STEPS),
            (self.beads.kept, 1, FINAL_STEPS),
        ):
            problem, ends = self._problem(chosen), []
            for number, vector in enumerate(vectors, 1):
                first = _initial(vector, problem.windows)
                ends.append(list(problem.minimize(first, steps))[-1])
                yield stopwatch.progress(number if chosen is few else len(starts) + number)
            ends.sort(key=lambda end: end.objective)
            vectors = [end.state.vector for end in ends[:count]]
        yield stopwatch.progress(stopwatch.total)
        return ends[0].state

    def _minimize(
        self, problem: BeadProblem, state: BeadState, share: float
    ) -> Generator[Event, None, Evaluation]:
        """Fit all parameters until nothing improves, as this share of what is left to do."""
        self.progress.begin(share)
        at = None
        for number, at in enumerate(problem.minimize(state, STEPS)):  # noqa: B007
            yield self.progress.after(number)
        assert at is not None
        return at

    def _aperture(
        self, problem: BeadProblem, at: Evaluation, scale: float
    ) -> Generator[Event, None, Aperture]:
        """NA that the beads suggest; the lens is fitted with it if it is another one.

        Standard errors are multiplied by a scale.
        """
        change, error = problem.aperture_step(at)
        na = given = self.lens.na
        if abs(change) <= OTHER_APERTURE * scale * error:
            return Aperture(na + change, scale * error, given)
        highest = HIGHEST_APERTURE * self.lens.refractive_index
        for _ in range(APERTURE_ROUNDS):
            na = float(np.clip(na + change, na / 1.3, min(1.3 * na, highest)))
            other = problem.with_aperture(na)
            at = yield from self._minimize(other, at.state, ROUND_SHARE)
            change, error = other.aperture_step(at)
            if abs(change) < error:
                break
        return Aperture(na + change, scale * error, given)

    def _residual(self, problem: BeadProblem, at: Evaluation) -> Generator[Event, None, Residual]:
        """What the lens cannot describe of the beads."""
        self.progress.begin(RESIDUAL_SHARE)
        steps = fit_residual(problem, at, self.config.residual)
        while True:
            try:
                number = next(steps)
            except StopIteration as end:
                residual: Residual = end.value
                return residual
            yield self.progress.after(3 * number)

    def _held_out(
        self, chosen: NDArray[np.bool_], state: BeadState
    ) -> Generator[Event, None, float]:
        """Deviance of beads from a lens that was fitted to the others, relative to noise."""
        number = np.arange(int(chosen.sum()))
        test = number % HELD_OUT == HELD_OUT // 2
        indices = np.flatnonzero(chosen)
        known, new = np.zeros_like(chosen), np.zeros_like(chosen)
        known[indices[~test]], new[indices[test]] = True, True
        fitted = yield from self._minimize(
            self._problem(known), state.select(torch.from_numpy(~test)), HELD_OUT_SHARE
        )
        problem = self._problem(new)
        first = replace(state.select(torch.from_numpy(test)), vector=fitted.state.vector)
        at = list(problem.minimize(first, STEPS, lens=False))[-1]
        return reduced_deviance(at, problem.windows)

    def _result(
        self,
        problem: BeadProblem,
        at: Evaluation,
        dropped: tuple[str, ...],
        held_out: float,
        aperture: Aperture,
        residual: Residual,
    ) -> FittedBeads:
        windows = problem.windows
        per_bead = bead_deviance(at, windows)[0]
        overall = reduced_deviance(at, windows)
        covariance = problem.covariance(at) * max(1.0, overall)
        if is_doubtful(dropped, held_out):
            covariance = widened(covariance, problem.scattered_covariance(at))
        vector = at.state.vector.numpy()
        if len(self.images.z_um) == 1:
            vector = with_sign(vector, lens_vector(self.lens)[1])
        return FittedBeads(
            vector=vector,
            covariance=covariance,
            windows=windows,
            evaluation=at,
            dropped=dropped,
            deviance=per_bead,
            reduced_deviance=overall,
            held_out_deviance=held_out,
            noise=self.noise,
            aperture=aperture,
            residual=residual,
        )

    @property
    def _frame_shape(self) -> tuple[int, int]:
        height, width = self.images.planes.shape[1:]
        return height, width

    def _problem(self, chosen: NDArray[np.bool_], *, fast: bool = True) -> BeadProblem:
        images = self.images
        windows = cut_windows(
            images.planes,
            self.beads,
            chosen,
            self.sizes,
            self.noise,
            images.z_um,
            images.gain,
        )
        diameter, cancel = images.diameter_um, self.cancel
        return BeadProblem(
            self.lens, windows, self.prior, diameter_um=diameter, fast=fast, cancel=cancel
        )

    def _updated_gain(self, problem: BeadProblem, at: Evaluation) -> float:
        """Factor of the gain of the noise that the residuals suggest; 1 if it is known."""
        if self.noise.known:
            return 1.0
        used = problem.windows.used.expand_as(at.light) > 0
        light = at.state.amplitude[:, None, None, None] * at.light + at.others
        light = problem.windows.gain * light
        # A residual is smaller than the noise by what the fit makes of the pixel itself.
        free = (1.0 - problem.leverage(at)).clamp(min=0.1)
        squared = (problem.windows.counts - at.expected) ** 2 / free
        return estimate_gain(light[used], squared[used], (at.expected - light)[used])

    def _misfits(self, at: Evaluation, windows: BeadWindows) -> NDArray[np.bool_]:
        """Beads whose core, or whole window, deviates much more than most."""
        misfits = np.zeros(len(at.deviance), bool)
        for part in (CORE, 0.0):
            deviance, pixels = bead_deviance(at, windows, part)
            misfits |= deviance > self.config.max_deviance * np.median(deviance)
            misfits |= is_outlier(deviance, pixels)
        return misfits


def is_outlier(deviance: Array, pixels: Array) -> NDArray[np.bool_]:
    """Beads whose deviance from the median is large, relative to noise and to the others'."""
    excess = (deviance - np.median(deviance)) * np.sqrt(pixels / 2.0)
    spread = max(1.0, 1.48 * float(np.median(np.abs(excess))))
    outliers: NDArray[np.bool_] = excess > OUTLIER * spread
    return outliers


def expected_parameters(lens: Lens) -> tuple[Array, Array]:
    """Means and standard deviations (13,) of what is expected of a lens before it is measured."""
    depth = lens.wavelength_nm * 1e-3 * lens.refractive_index / lens.na**2
    deviations = {
        "defocus_um": DEFOCUS_DEPTHS * depth,
        "field_curvature_um": DEFOCUS_DEPTHS * depth,
        "tilt_um": TILT_DEPTHS * depth,
        "axis": AXIS_DEVIATION,
    }
    deviation = [deviations.get(name.partition(".")[0], ABERRATION_WAVES) for name in PARAMETERS]
    return np.zeros(len(PARAMETERS)), np.array(deviation)


def is_doubtful(dropped: Sequence[str], held_out_deviance: float) -> bool:
    """Whether the lens does not describe the beads, or too many of them."""
    unlike = sum(reason == UNLIKE for reason in dropped)
    used = sum(not reason for reason in dropped)
    many = max(MAX_UNLIKE * (unlike + used), FEW_UNLIKE)
    return unlike > many or held_out_deviance > GOOD_DEVIANCE


def widened(covariance: Array, other: Array) -> Array:
    """Covariance whose variances are at least those of another one."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.nan_to_num(other.diagonal() / covariance.diagonal())
    factor = np.sqrt(np.maximum(1.0, ratio))
    widest: Array = covariance * np.outer(factor, factor)
    return widest


def with_sign(vector: Array, sign: float) -> Array:
    """Parameters of the same PSFs whose field curvature has this sign, by default positive."""
    if vector[1] * (1.0 if sign >= 0 else -1.0) >= 0:
        return vector
    return np.where([name in EVEN for name in PARAMETERS], -vector, vector)


def check_number(dropped: Sequence[str], config: BeadsConfig, name: str) -> None:
    """Raise ImageError if too few beads are left."""
    number = sum(not reason for reason in dropped)
    if number >= config.min_beads:
        return
    found = summarize(dropped) if len(dropped) else "no beads found"
    raise ImageError(
        f"{name}: {found}; a lens needs at least {config.min_beads} that are bright, single and "
        "not saturated, spread over the frame."
    )


def _initial(vector: Tensor, windows: BeadWindows) -> BeadState:
    """State of beads of which only the lens is known."""
    number = len(windows.counts)
    background = windows.counts.flatten(2).median(2).values
    light = (windows.counts - background[..., None, None]).sum((2, 3)).mean(1).clamp(min=10.0)
    return BeadState(vector, torch.zeros(number, 2, dtype=torch.float64), light, background)


def _rescaled(state: BeadState, gain: float) -> BeadState:
    """State in photons of a gain that is larger by a factor."""
    amplitude, background = state.amplitude / gain, state.background / gain
    return replace(state, amplitude=amplitude, background=background)
