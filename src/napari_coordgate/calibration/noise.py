"""Noise of a camera, measured from images."""

import math
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from napari_coordgate.calibration.counts import (
    Counting,
    Maps,
    Stack,
    read_band,
    sample_window,
    scenes_of,
    take_samples,
)
from napari_coordgate.calibration.mean_variance import (
    DIFFERENCES,
    ORDERS,
    Difference,
    Float,
    Line,
    Samples,
    agreed_line,
    fit_line,
)
from napari_coordgate.calibration.reading import Images
from napari_coordgate.config import Camera
from napari_coordgate.errors import ImageError, SettingsError
from napari_coordgate.events import Event, Stopwatch, raise_if_canceled, run
from napari_coordgate.io.files import atomic_write

NAMES = ("electrons_per_count", "offset", "read_noise", "read_noise_counts")
SIGNIFICANT = 3.0
"""Standard errors from 0 from which a value counts as measured."""
WIDE = 0.15
"""Relative standard error of the electrons per count from which a note says so."""
HIDDEN = 0.4
"""Relative standard error from which the electrons per count are not stated."""
MAX_AT_ZERO = 0.01
MOVED = 1.1
CORRELATED = 1.35
"""Whiteness above which neighboring pixels are not independent, or structure is everywhere."""
MAX_LEAK = 0.08
MIN_KEPT = 0.5
LEAST_NOISE = 0.3
"""Standard deviation in steps of counts below which rounding hides the noise."""
EVERYTHING = (-math.inf, math.inf)


@dataclass(frozen=True, eq=False)
class NoiseEstimate:
    """Noise of a camera, as `estimate_noise` measured it.

    The variance of the noise is a line over the brightness, in counts (gray values). Values that
    the images do not determine are None; ``notes`` say why, and what would do.

    Parameters
    ----------
    electrons_per_count : float or None
        Electrons (photons detected) per count.
    offset : float or None
        Counts without light.
    read_noise : float or None
        Standard deviation of the read noise, electrons.
    read_noise_counts : float or None
        The same in counts, known even where ``electrons_per_count`` is not.
    standard_errors : mapping of str to float
        Standard errors of the values that are known, by name.
    camera : Camera
        Settings that give the measured noise at each brightness, for deblurring and simulation.
    means, variances, numbers : ndarray, shape (N,)
        Brightness, counts, variance, counts^2, and number of pixels that the line was fitted to.
    intercept, slope : float
        The line; the variance includes that of rounding to whole counts.
    notes : tuple of str
        What the images cannot tell, and what in them is unusual.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_coordgate import estimate_noise
    >>> light = np.linspace(20, 800, 256) * np.ones((256, 1))
    >>> image = 100 + np.random.default_rng(0).poisson(light) / 0.5
    >>> estimate = estimate_noise(image, offset=100)
    >>> bool(abs(estimate.electrons_per_count - 0.5) < 0.05)
    True
    >>> bool(abs(estimate.variance(1100) / (1000 / 0.5) - 1) < 0.1)
    True
    """

    electrons_per_count: float | None
    offset: float | None
    read_noise: float | None
    read_noise_counts: float | None
    standard_errors: Mapping[str, float]
    camera: Camera
    means: Float
    variances: Float
    numbers: Float
    intercept: float
    slope: float
    notes: tuple[str, ...] = ()

    def variance(self, counts: ArrayLike) -> Any:
        """Variance of the noise, counts^2, of pixels whose mean is ``counts``; not below 0."""
        return np.maximum(self.intercept + self.slope * np.asarray(counts, float), 0)

    def __repr__(self) -> str:
        return f"NoiseEstimate({', '.join(self.lines())})"

    def lines(self) -> Iterator[str]:
        """Each value with its standard error, or that it is unknown."""
        units = {"electrons_per_count": "", "offset": " counts", "read_noise": " electrons"}
        for name, unit in units.items():
            value, error = getattr(self, name), self.standard_errors.get(name)
            shown = "unknown" if value is None else f"{value:.4g} ± {error:.2g}{unit}"
            yield f"{name}: {shown}"

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the camera as a YAML file of settings, with errors and notes as comments.

        Parameters
        ----------
        path : str or Path
            File to write; commands take it as ``--camera``.
        overwrite : bool
            Replace an existing file.

        Raises
        ------
        OutputError
            If the file exists or cannot be written.
        """
        comments = "".join(f"# {line}\n" for line in (*self.lines(), *self.notes))
        text = self.camera.model_dump(mode="json", exclude_none=True)
        body = "".join(f"{name}: {value!r}\n" for name, value in text.items())
        with atomic_write(Path(path), overwrite) as temporary:
            temporary.write_text(comments + body, encoding="utf-8")


def estimate_noise(
    images: Images | None,
    *,
    dark: Images | None = None,
    offset: ArrayLike | None = None,
    read_variance: ArrayLike | None = None,
    gain: ArrayLike | None = None,
    axes: str | None = None,
    callback: Callable[[Event], None] | None = None,
    cancel: threading.Event | None = None,
) -> NoiseEstimate:
    """Measure a camera's offset, electrons per count and read noise from images.

    The noise is what a difference of high order along both axes leaves: there a lens leaves nearly
    no structure, and pixels where it does are rejected; if structure remains, as differences of
    several orders show, errors grow until nothing is stated. Its variance grows linearly with the
    brightness; the slope is one over the electrons per count. Of a time series (axis T) of a
    scene that does not move, the differences of successive frames are used, which cancel structure
    altogether. Levels where pixels are clipped at 0 or saturated are left out.

    Parameters
    ----------
    images : path, ndarray of shape (..., H, W), Image, sequence of these, or None
        Images as the camera recorded them, not rescaled; any content with dark and bright parts. If
        None, ``dark`` is measured alone.
    dark : as ``images``, optional
        Frames without light, which give offset and read noise; two or more are better than one.
    offset : float or ndarray of shape (H, W), optional
        Known counts without light, of the camera or of each pixel.
    read_variance : float or ndarray of shape (H, W), optional
        Known variance of the read noise, counts^2, of the camera or of each pixel (sCMOS).
    gain : ndarray of shape (H, W), optional
        Counts per electron of each pixel, relative to their mean (sCMOS).
    axes : str, optional
        Axes of the images, such as TYX; by default, those of the files, or the last of TCZYX.
    callback : callable, optional
        Called with each event of `estimate_noise_events`.
    cancel : threading.Event, optional
        Set it from another thread to stop the work.

    Returns
    -------
    NoiseEstimate
        The values with standard errors; those that the images do not determine are None.

    Raises
    ------
    ImageError
        If an image cannot be read, is constant, a color image, smaller than 28 x 28 pixels, or is
        clipped nearly everywhere.
    SettingsError
        If a map has another shape than the images.
    CanceledError
        If canceled.

    References
    ----------
    J. R. Janesick, "Photon Transfer", SPIE Press (2007).
    J. Immerkaer, Comput. Vis. Image Underst. 64, 300 (1996): noise from differences.
    F. Huang et al., Nat. Methods 10, 653 (2013): noise of sCMOS cameras.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_coordgate import estimate_noise
    >>> rng = np.random.default_rng(0)
    >>> light = np.linspace(20, 800, 256) * np.ones((256, 1))
    >>> def record(light):
    ...     return np.rint(100 + (rng.poisson(light) + 2 * rng.normal(size=light.shape)) / 0.5)
    >>> estimate = estimate_noise(record(light), dark=record(0 * light))
    >>> round(estimate.offset), bool(abs(estimate.read_noise - 2) < 0.1)
    (100, True)
    """
    events = estimate_noise_events(
        images,
        dark=dark,
        offset=offset,
        read_variance=read_variance,
        gain=gain,
        axes=axes,
        cancel=cancel,
    )
    return run(events, callback)


def estimate_noise_events(
    images: Images | None,
    *,
    dark: Images | None = None,
    offset: ArrayLike | None = None,
    read_variance: ArrayLike | None = None,
    gain: ArrayLike | None = None,
    axes: str | None = None,
    cancel: threading.Event | None = None,
) -> Generator[Event, None, NoiseEstimate]:
    """Generator form of `estimate_noise`, with the same parameters and errors.

    Yields
    ------
    Progress
        After each plane.

    Returns
    -------
    NoiseEstimate
        The values with standard errors.
    """
    if images is None and dark is None:
        raise SettingsError("Give images, dark frames, or both.")
    maps = Maps.of(offset, read_variance, gain)
    scenes = [] if images is None else scenes_of(images, axes, "T")
    dark_scenes = [] if dark is None else scenes_of(dark, axes, "TCZ")
    total = sum(len(part.indices) for part in (*scenes, *dark_scenes))
    stopwatch, done = Stopwatch("measuring noise", total), 0
    stacks: list[Stack] = []
    for number, part in enumerate((*scenes, *dark_scenes)):
        window = sample_window(part.image.frame_shape, total, number)
        planes = []
        for index in part.indices:
            raise_if_canceled(cancel, "Stopped while measuring the noise; nothing was written.")
            planes.append(read_band(part.image, index, window, is_dark=number >= len(scenes)))
            done += 1
            yield stopwatch.progress(done)
        stacks.append(Stack(planes, maps.within(window, part.image)))
    bright, without_light = stacks[: len(scenes)], stacks[len(scenes) :]
    dark_level = _measure_dark(without_light) if without_light else None
    if not bright:
        assert dark_level is not None
        return _of_dark(dark_level)
    return _estimate(bright, maps, dark_level)


class _Dark(NamedTuple):
    """Dark frames: offset and variance in counts, with their standard errors."""

    offset: float
    offset_error: float
    variance: float
    variance_error: float
    step: float
    number: int
    stacks: Sequence[Stack]


def _measure_dark(stacks: Sequence[Stack]) -> _Dark:
    """Offset and read noise of dark frames; two or more of one stack are subtracted."""
    planes = [plane for stack in stacks for plane in stack.planes]
    at_zero = float(np.mean([(plane <= 0).mean() for plane in planes]))
    if at_zero > MAX_AT_ZERO and min(plane.min() for plane in planes) == 0:
        raise ImageError(
            f"{at_zero:.0%} of the dark frames' pixels are clipped at 0, so that their noise "
            "cannot be measured; set a higher offset in the camera."
        )
    samples = _dark_samples(stacks, DIFFERENCES[ORDERS[0]])
    group, squares, level = (
        np.concatenate([getattr(part, name) for part in samples])
        for name in ("group", "squares", "mean")
    )
    number = np.bincount(group)
    sums = np.array([np.bincount(group, values) for values in (level, squares)])[:, number > 0]
    number = number[number > 0]
    means = sums.sum(axis=1) / number.sum()
    left_out = (sums.sum(axis=1, keepdims=True) - sums) / (number.sum() - number)
    errors = np.sqrt((len(number) - 1) * left_out.var(axis=1))
    step = Counting.of(stacks).step
    variance = means[1] - step**2 / 12
    return _Dark(means[0], errors[0], variance, errors[1], step, len(level), stacks)


def _dark_samples(stacks: Sequence[Stack], difference: Difference) -> list[Samples]:
    """Samples of dark frames: of the differences of two or more, else of single ones."""
    return [
        part
        for pairs in (True, False)
        for part in take_samples(
            [stack for stack in stacks if (len(stack.planes) > 1) == pairs],
            EVERYTHING,
            difference,
            pairs=pairs,
        )
    ]


def _estimate(stacks: Sequence[Stack], maps: Maps, dark: _Dark | None) -> NoiseEstimate:
    """Estimate of images with light, and of dark frames if there are any."""
    counting = Counting.of(stacks)
    lines = (_line(stacks, dark, counting.clip, order, pairs=False) for order in ORDERS)
    line = agreed_line([line for line in lines if line is not None])
    notes = []
    if any(len(stack.planes) > 1 for stack in stacks):
        still = _line(stacks, dark, counting.clip, ORDERS[0], pairs=True)
        line, moved = _lower(line, still)
        if moved:
            notes.append("The time series is not of a still scene: single frames were used.")
    if line is None:
        raise ImageError(
            "The images have no range of brightness that is free of clipping at 0 and of "
            "saturation; use images with dark and bright parts, as the camera recorded them."
        )
    return _solved(line, counting.step, maps, dark, [*notes, *_doubts(line, counting)])


def _line(
    stacks: Sequence[Stack],
    dark: _Dark | None,
    clip: tuple[float, float],
    order: int,
    *,
    pairs: bool,
) -> Line | None:
    """Line of the images and the dark frames, filtered by a difference of one order."""
    difference = DIFFERENCES[order]
    samples = take_samples(stacks, clip, difference, pairs=pairs)
    return fit_line(
        samples, [] if dark is None else _dark_samples(dark.stacks, difference), difference
    )


def _lower(single: Line | None, still: Line | None) -> tuple[Line | None, bool]:
    """Of the lines from single frames and from differences, that with less variance."""
    if single is None or still is None:
        return still or single, False
    bright = float(np.quantile(single.mean, 0.9))
    moved = still.at(bright) > MOVED * single.at(bright)
    return (single if moved else still), moved


def _doubts(line: Line, counting: Counting) -> Iterator[str]:
    """What is unusual about the images."""
    if counting.has_gaps:
        yield "The gray values have gaps: the images were rescaled, so these are not the camera's."
    if line.whiteness > CORRELATED:
        yield (
            "Neighboring pixels vary together nearly everywhere: fine structure may be taken for "
            "noise, which a time series of a still scene avoids; or the images were compressed, "
            "filtered or resampled, which hides noise: use them as the camera recorded them."
        )
    if line.structure > MAX_LEAK:
        yield (
            f"Structure as fine as the noise may be {min(line.structure, 1):.0%} of what was taken "
            "for noise; a time series of a still scene tells them apart."
        )
    if line.kept < MIN_KEPT:
        yield f"Only {line.kept:.0%} of the pixels are free of fine structure."
    if float(line.variance.max()) < (LEAST_NOISE * counting.step) ** 2:
        yield _below_rounding(counting.step)


def _below_rounding(step: float) -> str:
    return f"The noise is below the rounding to steps of {step:g} counts."


class _Known(NamedTuple):
    """Offset, counts, and variance of the read noise, counts^2, with errors, as far as known."""

    offset: float | None = None
    offset_error: float = 0.0
    variance: float | None = None
    variance_error: float = 0.0


def _known(line: Line, step: float, maps: Maps, dark: _Dark | None, has_slope: bool) -> _Known:
    """What dark frames, given values and the line say of the camera without light."""
    if dark is not None:
        return _Known(dark.offset, dark.offset_error, dark.variance, dark.variance_error)
    offset = None if maps.offset is None else float(maps.offset.mean())
    constant = line.replicates[:, 0] - step**2 / 12
    if maps.read_variance is not None:
        variance = float(maps.read_variance.mean())
        if offset is not None or not has_slope:
            return _Known(offset, 0.0, variance)
        error = line.standard_error(constant / line.replicates[:, 1])
        return _Known((step**2 / 12 - line.intercept) / line.slope, error, variance)
    if offset is None:
        return _Known()
    error = math.hypot(
        line.standard_error(constant + offset * line.replicates[:, 1]),
        line.model_error * line.at(float(line.mean.min())),
    )
    return _Known(offset, 0.0, line.at(offset) - step**2 / 12, error)


def _solved(
    line: Line, step: float, maps: Maps, dark: _Dark | None, notes: list[str]
) -> NoiseEstimate:
    """The camera's values that a line determines, and why it does not determine the others."""
    scatter = line.standard_error(line.replicates[:, 1])
    grows = line.slope > SIGNIFICANT * scatter
    relative = math.hypot(scatter / line.slope, line.model_error) if grows else math.inf
    has_slope = grows and relative < HIDDEN
    known = _known(line, step, maps, dark, has_slope)
    counts, counts_error = None, 0.0
    if known.variance is not None and known.variance > 2 * known.variance_error:
        counts = math.sqrt(known.variance)
        counts_error = known.variance_error / (2 * counts)
    values: dict[str, tuple[float | None, float]] = {
        "offset": (known.offset, known.offset_error),
        "read_noise_counts": (counts, counts_error),
    }
    if has_slope:
        values["electrons_per_count"] = (1 / line.slope, relative / line.slope)
        if counts is not None:
            error = math.hypot(counts_error / counts, relative) * counts / line.slope
            values["read_noise"] = (counts / line.slope, error)
    camera = _camera(line, step, known, has_slope)
    extra = 0.0 if maps.read_variance is None else float(maps.read_variance.mean())
    return NoiseEstimate(
        **{name: values.get(name, (None, 0.0))[0] for name in NAMES},
        standard_errors={name: e for name, (value, e) in values.items() if value is not None},
        camera=camera,
        means=line.mean,
        variances=line.variance + extra,
        numbers=line.number,
        intercept=line.intercept + extra,
        slope=line.slope,
        notes=(*notes, *_unknown(line, known, relative, camera)),
    )


def _camera(line: Line, step: float, known: _Known, has_slope: bool) -> Camera:
    """Camera whose noise is the line; of an unknown offset, that at which the line is 0."""
    if not has_slope:
        return Camera(offset=known.offset)
    offset, variance = known.offset, known.variance or 0.0
    if offset is None:
        offset = (step**2 / 12 - line.intercept) / line.slope
    return Camera(
        electrons_per_count=1 / line.slope,
        offset=offset,
        read_noise=math.sqrt(max(variance, 0.0)) / line.slope,
    )


def _unknown(line: Line, known: _Known, relative: float, camera: Camera) -> Iterator[str]:
    """What the images do not determine, and what would."""
    if HIDDEN <= relative < math.inf:
        yield (
            "Few pixels differ in brightness without fine structure, so that the electrons per "
            "count are unknown; use a time series of a still scene, images with wide bright parts "
            "that are smooth, or an image of an evenly lit sample together with dark frames."
        )
        return
    if math.isinf(relative):
        noise = math.sqrt(max(float(np.median(line.variance)), 0.0))
        yield (
            f"The noise, {noise:.3g} counts, does not grow measurably with the brightness, so that "
            "the electrons per count are unknown; use images with dark and bright parts, or more."
        )
        return
    if relative > WIDE:
        yield (
            "The electrons per count are uncertain; use more images, or a time series of a still "
            "scene."
        )
    if known.offset is None:
        darkest = max(float(line.mean.min()), camera.offset or 0.0)
        highest = math.sqrt(max(line.at(darkest), 0.0)) / line.slope
        yield (
            f"Offset and read noise cannot be told apart without dark frames: {camera.offset:.5g} "
            f"counts and no read noise, as in the camera's settings, up to {darkest:.5g} counts "
            f"and {highest:.3g} electrons have the same noise at every brightness."
        )
    elif known.variance is not None and known.variance <= 2 * known.variance_error:
        highest = math.sqrt(max(known.variance, 0.0) + 2 * known.variance_error) / line.slope
        yield (
            f"Read noise is hidden by the photon noise: it is below {highest:.2g} electrons; dark "
            "frames would tell it."
        )


def _of_dark(dark: _Dark) -> NoiseEstimate:
    """Estimate of dark frames alone."""
    errors = {"offset": dark.offset_error}
    counts, rounding = None, dark.step**2 / 12
    notes = ["Dark frames do not tell the electrons per count: give images with light as well."]
    if dark.variance > 2 * dark.variance_error:
        counts = math.sqrt(dark.variance)
        errors["read_noise_counts"] = dark.variance_error / (2 * counts)
    if dark.variance + rounding < (LEAST_NOISE * dark.step) ** 2:
        notes.append(_below_rounding(dark.step))
    return NoiseEstimate(
        electrons_per_count=None,
        offset=dark.offset,
        read_noise=None,
        read_noise_counts=counts,
        standard_errors=errors,
        camera=Camera(offset=dark.offset),
        means=np.array([dark.offset]),
        variances=np.array([dark.variance + rounding]),
        numbers=np.array([float(dark.number)]),
        intercept=dark.variance + rounding,
        slope=0.0,
        notes=tuple(notes),
    )
