"""The focus of a lens over the frame, estimated from blurred images of any kind."""

import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from napari_coordgate.calibration.focus_problem import BANDS, FocusProblem
from napari_coordgate.calibration.lens_fit import LensFit
from napari_coordgate.calibration.reading import Images, as_images
from napari_coordgate.calibration.spectra import (
    FREQUENCY,
    TILE,
    TileSpectra,
    tile_spectra,
)
from napari_coordgate.calibration.spectral_fit import (
    FIRST_RING,
    FOCUS,
    KNOWN_NOISE_SD,
    FocusFit,
)
from napari_coordgate.config import Camera, Lens, LensCalibration, Scaling
from napari_coordgate.errors import ImageError, SettingsError
from napari_coordgate.events import Event, Stopwatch, pluralize, raise_if_canceled, run
from napari_coordgate.geometry import format_shape
from napari_coordgate.io import Image, calibration_facts, plane_indices
from napari_coordgate.normalization import check_plane

Array = NDArray[np.float64]

FREE = ("defocus_um", "field_curvature_um", "tilt_um")
"""Parameters that images can tell; an axis off the center looks like a tilt."""

_MIN_SIDE = 2 * TILE
_MAX_PLANES = 60
_STARTS = (0.15, 0.4, 0.8)  # Curvatures to start from, relative to the deepest in the table.
_BOOTSTRAPS = 20
_SATURATED = 0.01  # Fraction of a tile's pixels at the maximum of the image.
_SYSTEMATIC = 0.05  # Relative error of a curvature that resampling cannot show; measured.
_SYSTEMATIC_DEPTHS = 0.1
_DISAGREEMENT = 0.1


@dataclass(frozen=True, eq=False)
class ImagesFit(LensFit):
    """Lens whose focus over the frame was estimated from blurred images.

    Attributes
    ----------
    is_conclusive : bool
        Whether the images have enough detail: the error is small, and low and high
        frequencies agree. Otherwise take beads.
    second_opinion : mapping of str to float
        Field curvature from the low and from the high frequencies alone, um.
    bootstrap : ndarray, shape (B, 4)
        Estimates from resampled images: defocus, field curvature and tilt (y, x), um.
    tiles : int
        Number of tiles of 64 x 64 pixels that were used.
    """

    is_conclusive: bool = True
    second_opinion: Mapping[str, float] = field(default_factory=dict)
    bootstrap: Array = field(default_factory=lambda: np.zeros((0, 4)))
    tiles: int = 0
    spectra: tuple[tuple[str, Array, Array], ...] = ()

    def _figures(self) -> dict[str, Figure]:
        figures = {"Power spectra": _spectrum_figure(self.spectra)} if self.spectra else {}
        return figures | super()._figures()


def calibrate_images(
    images: Images,
    lens: Lens,
    *,
    free: Sequence[str] = FREE,
    camera: Camera | None = None,
    axes: str | None = None,
    rng: int = 0,
    callback: Callable[[Event], None] | None = None,
    cancel: threading.Event | None = None,
) -> ImagesFit:
    """Estimate the focus of a lens over the frame from blurred images alone.

    The lens blurs the same kind of scene differently in different parts of the frame. The
    defocus, field curvature and tilt are those of the highest likelihood of the power spectra
    of tiles of 64 x 64 pixels. About thirty images of 256 x 256 pixels, or one of 2048 x 2048, are
    needed; they should have detail all over the frame.

    Parameters
    ----------
    images : array, Image, str or Path, or sequence of them
        Blurred images of the whole frame, in one channel and one focal plane; or their files,
        or folders of them.
    lens : Lens
        What is known: NA, wavelength, pixel size, refractive index; and the values of other
        parameters, which are held.
    free : sequence of str
        Parameters to estimate, of "defocus_um", "field_curvature_um" and "tilt_um".
    camera : Camera, optional
        Noise of the images, such as `estimate_noise` measures; default: that in their highest
        frequencies.
    axes : str, optional
        Axes of the images, as letters of TCZYX, if they do not state them.
    rng : int
        Seed of the resampling for error bars.
    callback : callable, optional
        Called with each event of `calibrate_images_events`.
    cancel : threading.Event, optional
        Set it from another thread to stop the work.

    Returns
    -------
    ImagesFit
        The lens with error bars, and whether the images have enough detail.

    Raises
    ------
    ImageError
        If there are no images, if they differ in size, are smaller than 128 x 128 pixels, in
        color, a z stack or of several channels, or have no detail above the noise.
    SettingsError
        If the lens has no NA, a parameter cannot be estimated from images, or the camera states no
        noise.
    CanceledError
        If canceled.

    Notes
    -----
    One plane cannot tell on which side of the focus it is: the field curvature is assumed to
    have the sign of that of ``lens``, or to be positive. An axis off the center cannot be told
    from a tilt; the axis of ``lens`` is kept.

    References
    ----------
    P. Whittle, "Estimation and information in stationary time series", Ark. Mat. 2, 423 (1953).
    B. Efron, "Bootstrap methods: another look at the jackknife", Ann. Stat. 7, 1 (1979).

    Examples
    --------
    >>> from napari_coordgate import calibrate_images, load_lens, read_image
    >>> lens = load_lens("sample_data/lens.yaml").replace(field_curvature_um=0)
    >>> fit = calibrate_images(read_image("sample_data/blurred/nuclei.tif"), lens)
    >>> 4 < fit.lens.field_curvature_um < 12
    True
    """
    events = calibrate_images_events(
        images, lens, free=free, camera=camera, axes=axes, rng=rng, cancel=cancel
    )
    return run(events, callback)


def calibrate_images_events(
    images: Images,
    lens: Lens,
    *,
    free: Sequence[str] = FREE,
    camera: Camera | None = None,
    axes: str | None = None,
    rng: int = 0,
    cancel: threading.Event | None = None,
) -> Generator[Event, None, ImagesFit]:
    """Generator form of `calibrate_images`, with the same parameters and errors.

    Yields
    ------
    Progress
        After each image, and each fit.

    Returns
    -------
    ImagesFit
        The lens with error bars.
    """
    free_index = _free_parameters(lens, free)
    if camera is not None and not camera.has_noise:
        raise SettingsError(
            "The camera of a calibration needs electrons_per_count or photons; set one, or leave "
            "out the camera to measure its noise in the images."
        )
    stopwatch = Stopwatch("reading images", 1)
    sources = as_images(images, axes)
    for image in sources:
        _check_image(image, sources[0])
    planes = [(image, index) for image in sources for index in plane_indices(image)]
    planes = [
        planes[i] for i in np.unique(np.linspace(0, len(planes) - 1, _MAX_PLANES).astype(int))
    ]
    stopwatch.total = len(planes)
    parts: list[tuple[TileSpectra, Array | None]] = []
    frame_shape = planes[0][0].frame_shape
    for number, (image, index) in enumerate(planes):
        raise_if_canceled(cancel, f"Stopped after {pluralize(number, 'image')}.")
        parts.append(_plane_spectra(image.plane(index), image.name, camera, number))
        yield stopwatch.progress(number + 1)
    problem = _problem(lens, parts, frame_shape, free_index)
    fits = Stopwatch("fitting the lens", len(_STARTS) + 3 + _BOOTSTRAPS)
    done = 0
    best: FocusFit | None = None
    for start in _STARTS:
        raise_if_canceled(cancel, "Stopped while fitting the lens.")
        fit = problem.rough_fit(start)
        best = fit if best is None or fit.loss < best.loss else best
        done += 1
        yield fits.progress(done)
    assert best is not None
    best = problem.likelihood().fit(best.focus, free_index)
    results = []
    generator = np.random.default_rng(rng)
    for kind in ("low", "high", *range(_BOOTSTRAPS)):
        done += 1
        yield fits.progress(done)
        raise_if_canceled(cancel, "Stopped while fitting the lens.")
        if isinstance(kind, str):
            results.append(problem.likelihood(rings=BANDS[kind]).fit(best.focus, free_index).focus)
        else:
            results.append(problem.resampled_fit(best, generator))
    yield fits.progress(fits.total)
    low, high, *bootstrap = results
    return _result(problem, best, (low, high), np.array(bootstrap), sources)


def _free_parameters(lens: Lens, free: Sequence[str]) -> tuple[int, ...]:
    """Indices of free parameters into `FOCUS`."""
    if not isinstance(lens, Lens):
        raise SettingsError(
            f"lens must be a Lens with an NA, got {type(lens).__name__}; images of a lens without "
            "one can be deblurred with PSFs measured on beads."
        )
    unknown = set(free) - set(FREE)
    if unknown or not free:
        raise SettingsError(
            f"{', '.join(sorted(unknown)) or 'Nothing'} cannot be estimated from images; choose "
            f"of {', '.join(FREE)}."
        )
    return tuple(i for i, name in enumerate(FOCUS) if name.partition(".")[0] in free)


def _check_image(image: Image, first: Image) -> None:
    """Raise ImageError unless the planes of an image show the frame in one color and focus."""
    lengths = dict(zip(image.axes, image.data.shape, strict=True))
    if lengths.get("C", 1) > 1:
        raise ImageError(f"{image.name} has several channels, whose blur differs; select one.")
    if lengths.get("Z", 1) > 1 and image.z_step_um is not None:
        raise ImageError(
            f"{image.name} is a z stack, whose planes differ in focus; select the plane in focus, "
            "or use calibrate_focus (calibrate focus)."
        )
    if image.frame_shape != first.frame_shape:
        raise ImageError(
            f"{image.name} is {format_shape(image.frame_shape)} pixels, but {first.name} is "
            f"{format_shape(first.frame_shape)}; give whole frames of one camera."
        )
    if min(image.frame_shape) < _MIN_SIDE:
        raise ImageError(
            f"{image.name} is {format_shape(image.frame_shape)} pixels; use the whole frame, of at "
            f"least {_MIN_SIDE} x {_MIN_SIDE} pixels."
        )


def _plane_spectra(
    plane: NDArray[Any], name: str, camera: Camera | None, number: int
) -> tuple[TileSpectra, Array | None]:
    """Spectra of the tiles of a plane that are not saturated, of unit variance over the plane.

    With the variance (T,) of the noise in each, if the camera is known.
    """
    check_plane(plane, name)
    pixels = plane.astype(np.float32)
    saturated = pixels >= pixels.max()
    mean, deviation = float(pixels.mean()), float(pixels.std())
    spectra = tile_spectra((pixels - mean) / deviation, image=number)
    corner = spectra.corner.astype(np.intp)
    fraction = np.array([saturated[y : y + TILE, x : x + TILE].mean() for y, x in corner])
    spectra = spectra[fraction < _SATURATED]
    if camera is None:
        return spectra, None
    noise = _noise_variance(camera, spectra.mean * deviation + mean, plane)
    return spectra, noise / deviation**2


def _noise_variance(camera: Camera, level: Array, plane: NDArray[Any]) -> Array:
    """Variance of a camera's noise at some gray values of a plane, in their units."""
    scaling = Scaling()
    low, high = np.percentile(plane, [scaling.low_percentile, scaling.high_percentile])
    per_value, dark = camera.electrons_per_count, camera.offset
    if camera.photons is not None or per_value is None:
        per_value, dark = (camera.photons or 0.0) / (high - low), low
    dark = low if dark is None else dark
    electrons = np.maximum((level - dark) * per_value, 0.0) + camera.read_noise**2
    rounding = 1.0 / 12.0 if plane.dtype.kind in "ui" else 0.0
    variance = electrons / per_value**2 + rounding
    bounded: Array = np.maximum(variance, 1e-3 * variance.max())
    return bounded


def _problem(
    lens: Lens,
    parts: Sequence[tuple[TileSpectra, Array | None]],
    frame_shape: tuple[int, int],
    free: tuple[int, ...],
) -> FocusProblem:
    """Problem of all planes, with the noise of the camera if it is known."""
    spectra = TileSpectra.concatenate([part for part, _ in parts])
    noises = [noise for _, noise in parts if noise is not None]
    if not noises:
        return FocusProblem.of(lens, spectra, frame_shape, free)
    noise = np.concatenate(noises)
    return FocusProblem.of(lens, spectra, frame_shape, free, noise, KNOWN_NOISE_SD)


def _result(
    problem: FocusProblem,
    best: FocusFit,
    opinions: tuple[Array, Array],
    bootstrap: Array,
    images: list[Image],
) -> ImagesFit:
    """Lens with error bars, and whether it can be trusted."""
    focus, lens = best.focus.copy(), problem.lens
    is_even = not any((lens.spherical_waves, lens.coma_waves, *lens.axial_coma_waves))
    if is_even and 1 in problem.free and focus[1] * problem.sign < 0:
        focus, bootstrap = -focus, -bootstrap
        opinions = (-opinions[0], -opinions[1])
    errors = _standard_errors(problem, best, bootstrap)
    second = {"low frequencies": float(opinions[0][1]), "high frequencies": float(opinions[1][1])}
    curvature, error = float(focus[1]), errors.get("field_curvature_um", 0.0)
    allowed = max(_DISAGREEMENT * abs(curvature), 0.25 * problem.depth_um)
    spread = max(abs(value - curvature) for value in second.values())
    is_conclusive = 1 not in problem.free or (spread <= 2.0 * allowed and error <= allowed)
    notes = [
        "One plane cannot tell on which side of the focus it is: all signs may be reversed.",
        "A tilt of the focal plane may also be an optical axis off the center.",
    ]
    if not is_conclusive:
        notes.insert(
            0,
            f"Not enough detail: the field curvature is {curvature:.1f} um, but "
            f"{second['low frequencies']:.1f} from low and {second['high frequencies']:.1f} from "
            f"high frequencies, with an error of {error:.1f} um; take beads, or more images.",
        )
    text = f"{pluralize(len(np.unique(problem.spectra.image)), 'image')}, {images[0].name}"
    calibration = LensCalibration(
        method="images",
        standard_errors=errors,
        date=date.today().isoformat(),
        images=text if len(images) == 1 else f"{text}, ...",
        notes=tuple(notes),
        **calibration_facts(images[0]),
    )
    values = focus.tolist()
    fitted = lens.replace(
        defocus_um=values[0],
        field_curvature_um=values[1],
        tilt_um=(values[2], values[3]),
        calibration=calibration,
    )
    return ImagesFit(
        lens=fitted,
        frame_shape=problem.frame_shape,
        standard_errors=errors,
        notes=tuple(notes),
        is_conclusive=is_conclusive,
        second_opinion=second,
        bootstrap=bootstrap,
        tiles=len(problem.spectra),
        spectra=_zone_spectra(problem, best),
    )


def _standard_errors(problem: FocusProblem, best: FocusFit, bootstrap: Array) -> dict[str, float]:
    """Standard errors by name: of resampling, and what resampling cannot show."""
    statistical = np.maximum(bootstrap.std(axis=0, ddof=1), np.sqrt(np.diag(best.covariance)))
    relative = _SYSTEMATIC * np.array([0.5, 1.0, 0.5, 0.5]) * abs(best.focus[1])
    systematic = np.hypot(relative, _SYSTEMATIC_DEPTHS * problem.depth_um)
    total = np.hypot(statistical, systematic)
    return {FOCUS[i]: float(total[i]) for i in problem.free}


def _zone_spectra(problem: FocusProblem, best: FocusFit) -> tuple[tuple[str, Array, Array], ...]:
    """Measured and fitted spectra, on average over thirds of the tiles from sharp to blurred."""
    likelihood = problem.likelihood()
    fitted = likelihood.expected_power(best.state)
    measured = problem.spectra.power / problem.noise[:, None]
    fitted = fitted / problem.noise[:, None]
    defocus = np.abs(likelihood.defocus_um(best.focus))
    limits = np.quantile(defocus, [0.0, 1 / 3, 2 / 3, 1.0])
    zones = []
    for name, low, high in zip(("sharp", "middle", "blurred"), limits, limits[1:], strict=False):
        chosen = (defocus >= low) & (defocus <= high)
        zones.append(
            (
                f"{name}: defocus {low:.1f} to {high:.1f} um",
                np.exp(np.log(np.maximum(measured[chosen], 1e-9)).mean(axis=0)),
                np.exp(np.log(fitted[chosen]).mean(axis=0)),
            )
        )
    return tuple(zones)


def _spectrum_figure(spectra: tuple[tuple[str, Array, Array], ...]) -> Figure:
    """Measured and fitted power spectra by zone of the frame."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    used = slice(FIRST_RING, None)
    for number, (title, measured, fitted) in enumerate(spectra):
        axes.semilogy(FREQUENCY[used], measured[used], f"C{number}o", markersize=3, label=title)
        axes.semilogy(FREQUENCY[used], fitted[used], f"C{number}-", linewidth=1)
    axes.set(xlabel="frequency, cycles per pixel", ylabel="power / noise")
    axes.legend(title="points: measured, lines: fitted")
    return figure
