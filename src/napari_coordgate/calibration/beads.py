"""Calibration of a lens with an image of beads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from napari_coordgate.arrays import PixelArray
from napari_coordgate.calibration.beads_detection import (
    Beads,
    FilterBank,
    drop_reasons,
    estimate_background,
    estimate_noise_level,
    find_beads,
    saturation_level,
    signals_at,
)
from napari_coordgate.calibration.beads_figures import (
    beads_figure,
    residual_figure,
    width_figure,
)
from napari_coordgate.calibration.beads_fitting import (
    UNLIKE,
    Aperture,
    BeadImages,
    BeadsFitter,
    FittedBeads,
    expected_parameters,
    is_doubtful,
)
from napari_coordgate.calibration.beads_noise import CountNoise
from napari_coordgate.calibration.beads_residual import Residual
from napari_coordgate.calibration.beads_widths import gaussian_widths
from napari_coordgate.calibration.lens_fit import ACCURACY, LensFit
from napari_coordgate.calibration.lens_parameters import PARAMETERS, as_named, lens_with
from napari_coordgate.calibration.reading import plane_positions
from napari_coordgate.calibration.report import Section
from napari_coordgate.config import (
    BeadsConfig,
    Camera,
    GaussianLens,
    Lens,
    LensCalibration,
    PSFFieldConfig,
    load_lens,
)
from napari_coordgate.errors import ImageError, PSFError, SettingsError
from napari_coordgate.events import Event, run
from napari_coordgate.io import Image, as_image, calibration_facts
from napari_coordgate.optics import PSFField
from napari_coordgate.optics.flat_field import gain_of, gain_series

Array = NDArray[np.float64]

DEFAULTS = BeadsConfig()
MIN_SIDE = 32
PRIOR_PART = 0.7
"""Standard error, relative to what was expected before, above which a value is not measured."""


@dataclass(frozen=True, eq=False, kw_only=True)
class BeadFit(LensFit):
    """Lens that was fitted to an image of beads, with its error bars.

    Attributes
    ----------
    lens, frame_shape, standard_errors, notes
        As of a `LensFit`.
    beads : Beads
        All beads that were detected: position, why it is not used or how it compares to the lens.
    reduced_deviance : float
        Deviance, relative to that of noise alone, of beads from a lens that was fitted to the
        others: 1 if the lens describes them.
    covariance : ndarray, shape (13, 13)
        Covariance of the parameters, in the order of ``standard_errors``.
    fitted : FittedBeads
        Windows around the beads, and the model of them.
    flat_field : ndarray, shape (H, W), or None
        Gain of each pixel, if it was given.

    Examples
    --------
    >>> from napari_coordgate import calibrate_beads, read_image
    >>> fit = calibrate_beads(read_image("sample_data/blurred/beads.tif"), "sample_data/lens.yaml")
    >>> fit.beads.summary()
    '49 of 49 beads used'
    >>> fit.save("lens.yaml")
    >>> fit.report("lens.html")
    """

    beads: Beads
    reduced_deviance: float
    covariance: Array
    fitted: FittedBeads
    flat_field: Array | None = None

    @property
    def residual(self) -> Residual:
        """What the lens cannot describe of the beads: of rank 0 if it was rejected."""
        return self.fitted.residual

    def psf_field(
        self, frame_shape: tuple[int, int] | None = None, config: PSFFieldConfig = ACCURACY
    ) -> PSFField:
        """PSF field of the lens, its residual and flat field; by default on the measured frame."""
        field = self.residual.added_to(super().psf_field(frame_shape, config))
        if self.flat_field is None:
            return field
        series = gain_series(self.flat_field, self.frame_shape)
        return field.with_flat_field(gain_of(series, field.frame_shape))

    def _sections(self) -> list[Section]:
        """Parts of the report, in their order."""
        table, *rest = super()._sections()
        lines = (
            f"{self.beads.summary()}.",
            f"Deviance of held-out beads, relative to noise alone: {self.reduced_deviance:.2f}.",
        )
        return [replace(table, lines=(*lines, *table.lines)), *rest]

    def _figures(self) -> dict[str, Figure]:
        """Figures of the report by their titles."""
        kept = len(self.residual.images) > 0
        return {
            "Beads | model | residual in standard deviations": beads_figure(
                self.fitted.windows, self.fitted.evaluation
            ),
            "Width of each bead, measured and of the lens": width_figure(
                self.beads, self.frame_shape
            ),
            **super()._figures(),
            **({"Residual of the lens": residual_figure(self.residual)} if kept else {}),
        }


def detect_beads(
    image: PixelArray | Image,
    lens: Lens | str | Path,
    *,
    bead_diameter_um: float = 0.0,
    config: BeadsConfig = DEFAULTS,
    axes: str | None = None,
    cancel: threading.Event | None = None,
) -> Beads:
    """Detect beads in an image, and say which can be used for a calibration.

    Parameters
    ----------
    image : array, shape (H, W) or (Z, H, W), or Image
        Image of beads in front of a dark background.
    lens : Lens, str or Path
        The lens, or the YAML file of it: its aperture, wavelength and pixel size are used.
    bead_diameter_um : float
        Diameter of the beads, um; 0 for points.
    config : BeadsConfig
        Threshold of the detection.
    axes : str, optional
        Axes of the array, as letters of TCZYX.
    cancel : threading.Event, optional
        Set it from another thread to stop the work.

    Returns
    -------
    Beads
        Positions, signal, and why some cannot be used: saturated, overlapping, at the border.

    Raises
    ------
    ImageError
        If the image has colors, several channels or times, or is constant or too small.
    SettingsError, PSFError
        If the lens is not described by its aperture.
    CanceledError
        If canceled.

    Examples
    --------
    >>> from napari_coordgate import detect_beads, read_image
    >>> image = read_image("sample_data/blurred/beads.tif")
    >>> beads = detect_beads(image, "sample_data/lens.yaml")
    >>> int(beads.kept.sum())
    49
    """
    lens = _as_lens(lens)
    planes, saturation, _ = _planes_of(as_image(image, axes))
    bank = FilterBank.of(lens, _frame_shape(planes), _check_diameter(bead_diameter_um))
    return find_beads(planes, bank, config.threshold, saturation, cancel)[0]


def calibrate_beads(
    image: PixelArray | Image,
    lens: Lens | str | Path,
    *,
    bead_diameter_um: float = 0.0,
    z_um: float | Sequence[float] | None = None,
    camera: Camera | None = None,
    flat_field: ArrayLike | None = None,
    config: BeadsConfig = DEFAULTS,
    axes: str | None = None,
    beads: ArrayLike | None = None,
    callback: Callable[[Event], None] | None = None,
    cancel: threading.Event | None = None,
) -> BeadFit:
    """Measure a lens with an image of sparse beads, or with a few planes of it at known z.

    The parameters of the lens are those of maximum likelihood, given the image: defocus, field
    curvature, tilt, axis, and aberrations. Beads that are saturated, overlap, or differ from the
    model much more than most are not used.

    Parameters
    ----------
    image : array, shape (H, W) or (Z, H, W), or Image
        Image of the whole frame: beads in front of a dark background.
    lens : Lens, str or Path
        The lens, or the YAML file of it: its aperture, wavelength, pixel size and refractive index
        are used. All else is measured.
    bead_diameter_um : float
        Diameter of the beads, um; 0 for points.
    z_um : float or sequence of float, optional
        Distance of the planes of a stack, or the defocus that each adds, um; default: the step
        that the file states. With a distance, the lens is that of the plane in the middle.
    camera : Camera, optional
        Noise of the camera, with ``electrons_per_count``; by default it is estimated from the
        image.
    flat_field : array_like, shape (H, W), optional
        Gain of each pixel of the frame, as `estimate_flat_field` measures it. The light of the
        beads is multiplied by it, as is the blur of ``fit.psf_field()``.
    config : BeadsConfig
        Threshold of the detection, and settings of the fit.
    axes : str, optional
        Axes of the array, as letters of TCZYX.
    beads : array_like, shape (N, 2), optional
        Frame pixels (row, column) of the beads to use; by default those of `detect_beads`.
    callback : callable, optional
        Called with each `Progress` event.
    cancel : threading.Event, optional
        Set it from another thread to stop the work.

    Returns
    -------
    BeadFit
        The lens with error bars, and each bead compared to it.

    Raises
    ------
    ImageError
        If there are too few beads that can be used, the distance of planes is not known, or the
        image has colors, several channels or times, or is constant or too small.
    SettingsError, PSFError
        If the lens is not described by its aperture, a setting is out of range, or the flat field
        is not that of the frame.
    CanceledError
        If canceled.

    References
    ----------
    D. L. Snyder, A. M. Hammoud and R. L. White, J. Opt. Soc. Am. A 10, 1014 (1993): read noise.
    G. H. Golub and V. Pereyra, SIAM J. Numer. Anal. 10, 413 (1973): linear parameters.

    Examples
    --------
    >>> from napari_coordgate import calibrate_beads, load_lens, read_image
    >>> image = read_image("sample_data/blurred/beads.tif")
    >>> fit = calibrate_beads(image, "sample_data/lens.yaml")
    >>> error = fit.standard_errors["field_curvature_um"]
    >>> abs(fit.lens.field_curvature_um - 8) < 4 * error < 1
    True
    """
    events = calibrate_beads_events(
        image,
        lens,
        bead_diameter_um=bead_diameter_um,
        z_um=z_um,
        camera=camera,
        flat_field=flat_field,
        config=config,
        axes=axes,
        beads=beads,
        cancel=cancel,
    )
    return run(events, callback)


def calibrate_beads_events(
    image: PixelArray | Image,
    lens: Lens | str | Path,
    *,
    bead_diameter_um: float = 0.0,
    z_um: float | Sequence[float] | None = None,
    camera: Camera | None = None,
    flat_field: ArrayLike | None = None,
    config: BeadsConfig = DEFAULTS,
    axes: str | None = None,
    beads: ArrayLike | None = None,
    cancel: threading.Event | None = None,
) -> Generator[Event, None, BeadFit]:
    """Generator form of `calibrate_beads`, with the same parameters and errors.

    Yields
    ------
    Progress
        After each step of the fit.

    Returns
    -------
    BeadFit
        The lens with error bars, and each bead compared to it.
    """
    lens = _as_lens(lens)
    opened = as_image(image, axes)
    planes, saturation, darkest = _planes_of(opened)
    z = plane_positions(opened, z_um)
    gain = None if flat_field is None else _smooth_gain(flat_field, opened.frame_shape)
    images = BeadImages(planes, z, _check_diameter(bead_diameter_um), opened.name, gain)
    background, deviation = estimate_background(planes[0]), estimate_noise_level(planes[0])
    noise = CountNoise.of(camera, float(np.median(background)), deviation, darkest)
    bank = FilterBank.of(lens, _frame_shape(planes), images.diameter_um)
    if beads is None:
        found, signals = find_beads(planes, bank, config.threshold, saturation, cancel)
    else:
        found, signals = _given_beads(beads, planes, bank, saturation)
    fitter = BeadsFitter(images, lens, found, signals, noise, config, cancel)
    fitted = yield from fitter.fit(bank)
    fit = _as_fit(lens, opened, found, fitted, gain)
    yield fitter.progress.completed()
    return fit


def _as_lens(lens: Any) -> Lens:
    """Lens that is given as such or by its file, and described by its aperture."""
    if isinstance(lens, str | Path):
        lens = load_lens(lens)
    if isinstance(lens, Lens):
        return lens
    if isinstance(lens, GaussianLens):
        raise PSFError(
            "Beads measure a lens of known aperture, not a Gaussian one; give its na, "
            "wavelength_nm and pixel_size_um."
        )
    raise PSFError(f"Expected a lens, got {type(lens).__name__}; pass a Lens or its YAML file.")


def _planes_of(image: Image) -> tuple[Array, float, float]:
    """Planes (P, H, W) of an image of beads, its saturation level and its darkest count."""
    if "S" in image.axes:
        raise ImageError(f"{image.name} has colors; use the image of one channel.")
    for letter, name in (("T", "times"), ("C", "channels")):
        if letter in image.axes and image.data.shape[image.axes.index(letter)] > 1:
            raise ImageError(f"{image.name} has several {name}; select one.")
    pixels = image.pixels.reshape(-1, *image.frame_shape)
    if min(image.frame_shape) < MIN_SIDE:
        raise ImageError(
            f"{image.name} has {image.frame_shape[0]}x{image.frame_shape[1]} pixels, too few to "
            "measure a lens; use the image of the whole frame."
        )
    planes = pixels.astype(np.float64)
    if not np.isfinite(planes).all():
        raise ImageError(f"{image.name} contains NaN or infinite pixels; export it again.")
    if (planes.max((1, 2)) == planes.min((1, 2))).any():
        raise ImageError(f"{image.name} is constant; use an image of beads.")
    return planes, saturation_level(pixels), float(planes.min())


def _frame_shape(planes: Array) -> tuple[int, int]:
    height, width = planes.shape[1:]
    return height, width


def _check_diameter(diameter_um: float) -> float:
    if not 0.0 <= diameter_um < 100.0:
        raise SettingsError(f"bead_diameter_um must be from 0 to 100, got {diameter_um}.")
    return float(diameter_um)


def _smooth_gain(flat_field: ArrayLike, frame_shape: tuple[int, int]) -> Array:
    """Smooth gain (H, W) of mean 1; PSFError if it is not one of the frame."""
    return gain_of(gain_series(flat_field, frame_shape), frame_shape)


def _given_beads(
    positions: ArrayLike, planes: Array, bank: FilterBank, saturation: float
) -> tuple[Beads, Array]:
    """Beads at given positions, and the signal (N, P, R) that each filter sees of them."""
    points = np.asarray(positions, np.float64)
    shape = np.array(planes.shape[1:])
    if points.ndim != 2 or points.shape[1:] != (2,) or not np.isfinite(points).all():
        raise SettingsError(
            f"beads must have shape (N, 2), got {points.shape}; give the row and column of each."
        )
    if ((points < -0.5) | (points > shape - 0.5)).any():
        raise SettingsError("Some beads are outside the image; give their rows and columns in it.")
    signals = signals_at(planes, bank, points)
    by_filter = signals.max(1, initial=0.0)
    cores = bank.cores_px[by_filter.argmax(1)]
    dropped = drop_reasons(points, cores, planes, saturation)
    return Beads.detected(points, by_filter.max(1), cores, dropped), signals


def _as_fit(
    lens: Lens, image: Image, found: Beads, fitted: FittedBeads, flat_field: Array | None
) -> BeadFit:
    """Result for users."""
    errors = {name: float(v) for name, v in as_named(np.sqrt(fitted.covariance.diagonal())).items()}
    notes = tuple(_notes(lens, fitted, errors))
    calibration = LensCalibration(
        method="beads",
        standard_errors={name: float(f"{error:.4g}") for name, error in errors.items()},
        date=date.today().isoformat(),
        images=image.name,
        notes=notes,
        **calibration_facts(image),
    )
    measured = lens_with(lens, fitted.vector, digits=6).replace(calibration=calibration)
    return BeadFit(
        lens=measured,
        frame_shape=image.frame_shape,
        standard_errors=errors,
        notes=notes,
        beads=_compared(found, fitted),
        reduced_deviance=fitted.held_out_deviance,
        covariance=fitted.covariance,
        fitted=fitted,
        flat_field=flat_field,
    )


def _notes(lens: Lens, fitted: FittedBeads, errors: dict[str, float]) -> list[str]:
    """What the images cannot tell."""
    notes = []
    if len(fitted.windows.z_um) == 1:
        notes.append(
            "One plane cannot tell the sign of the defocus: defocus, field curvature, tilt, "
            "astigmatism and spherical aberration may all have the opposite sign, with the same "
            "PSFs. Planes at known z tell it."
        )
    expected = dict(zip(PARAMETERS, expected_parameters(lens)[1], strict=True))
    vague = [name for name in PARAMETERS if errors[name] > PRIOR_PART * expected[name]]
    if vague:
        notes.append(f"These images hardly tell: {', '.join(vague)}.")
    if not fitted.noise.known:
        notes.append("The noise of the camera was estimated from this image.")
    if fitted.aperture.is_other:
        notes.append(_aperture_note(fitted.aperture))
    notes.append(fitted.residual.note())
    if is_doubtful(fitted.dropped, fitted.held_out_deviance):
        unlike = fitted.dropped.count(UNLIKE)
        notes.append(
            f"Such a lens does not describe the beads: {unlike} are unlike the model, and the "
            f"deviance of the others is {fitted.held_out_deviance:.1f} (1: noise alone). Check the "
            "NA, the wavelength, the pixel size and the diameter of the beads: the values depend "
            "on them, more than the error bars, which are those of the scatter of the beads."
        )
    return notes


def _aperture_note(aperture: Aperture) -> str:
    """What the beads suggest instead of the NA of the lens."""
    return (
        f"The beads suggest an NA of {aperture.na:.3f} ± {aperture.standard_error:.1g}; the lens "
        f"says {aperture.given:g}. A wrong wavelength, pixel size or diameter of the beads, or an "
        "aperture that is not evenly lit, looks the same. Correct what is wrong and measure again: "
        "the values depend on it."
    )


def _compared(found: Beads, fitted: FittedBeads) -> Beads:
    """Beads with what the fit found for each that was used."""
    used = np.array([not reason for reason in fitted.dropped])
    at, windows, gain = fitted.evaluation, fitted.windows, fitted.noise.gain
    positions = found.positions.copy()
    positions[used] = (windows.centers + at.state.shift).numpy()
    background = fitted.noise.counts(at.state.background.mean(1).numpy())
    values = {
        "photons": at.state.amplitude.numpy() * (1.0 if fitted.noise.known else gain),
        "background": background,
        "width_px": gaussian_widths(windows.counts - at.others, windows.used),
        "model_width_px": gaussian_widths(at.expected - at.others, windows.used),
        "deviance": fitted.deviance,
    }
    columns = {}
    for name, of_used in values.items():
        columns[name] = np.full(len(used), np.nan)
        columns[name][used] = of_used
    return replace(found, positions=positions, dropped=fitted.dropped, **columns)
