"""Flat field of a microscope: how much of the light each camera pixel sees."""

import math
import threading
from collections.abc import Callable, Generator

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from napari_coordgate.calibration.counts import Scene, read_band, scenes_of
from napari_coordgate.calibration.reading import Images
from napari_coordgate.errors import ImageError, SettingsError
from napari_coordgate.events import Event, Stopwatch, pluralize, raise_if_canceled, run
from napari_coordgate.geometry import coordinate_axis, format_shape

Float = NDArray[np.float64]

CELLS = 12
"""Cells along the shorter side of the frame, in each of which the gain is measured."""
DEGREE = 4
"""Degree of the polynomial in (y, x) that is fitted to the cells."""
MIN_IMAGES = 8
GROUPS = 8
"""Parts of the images that are left out in turn, for the error."""
MAX_ERROR = 0.1
ROBUST_ITERATIONS = 5
QUANTILES = (50, 75, 90)
"""Percentiles of a cell's pixels that follow the gain, as their mean does."""
MIN_GAIN = 0.02


def estimate_flat_field(
    images: Images,
    *,
    offset: float | None = None,
    dark: Images | None = None,
    uniform: bool = False,
    axes: str | None = None,
    callback: Callable[[Event], None] | None = None,
    cancel: threading.Event | None = None,
) -> NDArray[np.float32]:
    """Measure the smooth gain of each pixel, from flat-field images or from many others.

    Of images of a uniform sample, the counts above the offset follow the gain. Of other images,
    each pixel sees bright and dark parts of many scenes; brightness statistics of small cells,
    averaged over the images, follow the gain. A polynomial in (y, x) is fitted to the cells,
    and cells that differ from it count less.

    Parameters
    ----------
    images : path, ndarray of shape (..., H, W), Image, or sequence of these
        Images of one frame; if not ``uniform``, at least 8 of different scenes.
    offset : float, optional
        Counts of the camera without light.
    dark : as ``images``, optional
        Frames without light, whose mean is the offset.
    uniform : bool
        Whether the images show a uniform sample, such as a fluorescent slide.
    axes : str, optional
        Axes of the images; by default, those of the files, or the last of TCZYX.
    callback : callable, optional
        Called with each event of `estimate_flat_field_events`.
    cancel : threading.Event, optional
        Set it from another thread to stop the work.

    Returns
    -------
    ndarray of float32, shape (H, W)
        Relative brightness of each pixel for equal light, with mean 1; for
        ``PSFField.with_flat_field``.

    Raises
    ------
    SettingsError
        If neither ``offset`` nor ``dark`` is given.
    ImageError
        If the images cannot be read, differ in shape, are too few, or differ so much that the
        gain has a standard error above 10 %.
    CanceledError
        If canceled.

    References
    ----------
    K. Smith et al., Nat. Methods 12, 404 (2015): shading from many images.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_coordgate import estimate_flat_field
    >>> gain = np.linspace(0.8, 1.2, 64) * np.ones((64, 1))
    >>> slide = 100 + np.random.default_rng(0).poisson(500 * gain)
    >>> flat_field = estimate_flat_field(slide, offset=100, uniform=True)
    >>> bool(abs(flat_field - gain).max() < 0.03)
    True
    """
    events = estimate_flat_field_events(
        images, offset=offset, dark=dark, uniform=uniform, axes=axes, cancel=cancel
    )
    return run(events, callback)


def estimate_flat_field_events(
    images: Images,
    *,
    offset: float | None = None,
    dark: Images | None = None,
    uniform: bool = False,
    axes: str | None = None,
    cancel: threading.Event | None = None,
) -> Generator[Event, None, NDArray[np.float32]]:
    """Generator form of `estimate_flat_field`, with the same parameters and errors.

    Yields
    ------
    Progress
        After each plane.

    Returns
    -------
    ndarray of float32, shape (H, W)
        Gain of each pixel, with mean 1.
    """
    if (offset is None) == (dark is None):
        raise SettingsError(
            "The gain acts on the light alone: give either the offset of the camera, which "
            "'calibrate noise' measures, or dark frames."
        )
    scenes = scenes_of(images, axes, "")
    shape = _common_shape(scenes)
    dark_scenes = [] if dark is None else scenes_of(dark, axes, "")
    if not uniform and len(scenes) < MIN_IMAGES:
        raise ImageError(
            f"{pluralize(len(scenes), 'image')} cannot tell the flat field from the sample: give "
            f"at least {MIN_IMAGES} of different scenes, or images of a uniform sample (uniform, "
            "--uniform)."
        )
    stopwatch = Stopwatch("measuring the flat field", len(scenes) + len(dark_scenes))
    levels, statistics = [] if offset is None else [float(offset)], []
    for number, part in enumerate((*dark_scenes, *scenes)):
        raise_if_canceled(cancel, "Stopped while measuring the flat field; nothing was written.")
        is_dark = number < len(dark_scenes)
        plane = read_band(part.image, part.indices[0], (slice(None),) * 2, is_dark=is_dark)
        if is_dark:
            levels.append(float(plane.mean()))
        else:
            statistics.append(_statistics(plane - np.mean(levels)))
        yield stopwatch.progress(number + 1)
    return _fit(np.stack(statistics), shape, uniform=uniform)


def _common_shape(scenes: list[Scene]) -> tuple[int, int]:
    """Shape of all images."""
    first = scenes[0].image
    for scene in scenes:
        if scene.image.frame_shape != first.frame_shape:
            raise ImageError(
                f"{scene.image.name} is {format_shape(scene.image.frame_shape)} pixels, but "
                f"{first.name} {format_shape(first.frame_shape)}; give images of one frame."
            )
    return first.frame_shape


def _statistics(light: Float) -> Float:
    """Mean and percentiles of each cell, shape (1 + len(QUANTILES), cells, cells)."""
    rows = [
        [_summary(cell) for cell in np.array_split(band, CELLS, axis=1)]
        for band in np.array_split(light, CELLS, axis=0)
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def _summary(cell: Float) -> Float:
    return np.array([cell.mean(), *np.percentile(cell, QUANTILES)])


def _fit(statistics: Float, shape: tuple[int, int], *, uniform: bool) -> NDArray[np.float32]:
    """Gain (H, W) of the statistic, of those given, that is smoothest over the frame.

    Where the background has light, percentiles vary less than the mean; where it has none, they
    do not follow the gain.
    """
    # One very bright image must not outweigh the others.
    brightness = np.maximum(statistics[:, :1].mean(axis=(2, 3), keepdims=True), 1e-9)
    statistics = statistics / brightness
    fits = [
        (_Surface(average(values, axis=0)), average, values)
        for average in (np.mean, np.median)
        for values in np.moveaxis(statistics, 1, 0)
    ]
    usable = [fit for fit in fits if fit[0].is_positive]
    if not usable:
        raise ImageError(
            "The images have no light above the offset in parts of the frame; check the offset, "
            "or give brighter images."
        )
    best, average, values = min(usable, key=lambda fit: fit[0].roughness)
    error = best.roughness if uniform else _jackknife(values, average)
    if error > MAX_ERROR:
        raise ImageError(
            f"The flat field of {pluralize(len(values), 'image')} has a standard error of "
            f"{error:.0%}, above {MAX_ERROR:.0%}; give more images of different scenes, or images "
            "of a uniform sample."
        )
    gain = np.maximum(best.gain(shape), MIN_GAIN)
    relative: NDArray[np.float32] = (gain / gain.mean()).astype(np.float32)
    return relative


class _Surface:
    """Polynomial fitted robustly to the brightness of cells (cells, cells)."""

    def __init__(self, cells: Float) -> None:
        self.mean = float(cells.mean())
        size = cells.shape[0]
        centers = coordinate_axis(0, size, size)
        basis = _products(centers, centers)
        weights = np.ones(cells.size)
        for _ in range(ROBUST_ITERATIONS):
            root = np.sqrt(weights)
            self.coefficients = np.linalg.lstsq(
                basis * root[:, None], cells.ravel() * root, rcond=None
            )[0]
            residual = cells.ravel() - basis @ self.coefficients
            scale = 1.4826 * float(np.median(np.abs(residual))) + 1e-12
            weights = 1 / (1 + (residual / (2 * scale)) ** 2)
        self.roughness = scale / max(abs(self.mean), 1e-12)
        self.is_positive = self.mean > 0 and float((basis @ self.coefficients).min()) > 0

    def gain(self, shape: tuple[int, int]) -> Float:
        """Fitted values at each pixel of a frame, shape (H, W), relative to their mean."""
        axes = [coordinate_axis(0, length, length) for length in shape]
        fitted = _products(*axes) @ self.coefficients
        return fitted.reshape(shape) / self.mean


def _products(y: Float, x: Float) -> Float:
    """Products of Chebyshev polynomials of total degree up to 4, shape (len(y) len(x), terms)."""
    in_y, in_x = (chebyshev.chebvander(axis, DEGREE) for axis in (y, x))
    terms = [
        np.outer(in_y[:, i], in_x[:, j]).ravel()
        for i in range(DEGREE + 1)
        for j in range(DEGREE + 1 - i)
    ]
    return np.stack(terms, axis=1)


def _jackknife(values: Float, average: Callable[..., Float]) -> float:
    """Standard error of the gain, root mean square over the frame, from parts of the images."""
    parts = min(GROUPS, len(values))
    group = np.arange(len(values)) % parts
    shape = (CELLS, CELLS)
    gains = np.stack(
        [_Surface(average(values[group != part], axis=0)).gain(shape) for part in range(parts)]
    )
    return math.sqrt((parts - 1) * float(gains.var(axis=0).mean()))
