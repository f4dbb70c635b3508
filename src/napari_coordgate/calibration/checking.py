"""Check of images against the lens and the camera that they will be deblurred with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.calibration.focus_problem import FocusProblem
from napari_coordgate.calibration.reading import Images, as_images
from napari_coordgate.calibration.spectra import TILE, Array, TileSpectra, tile_spectra
from napari_coordgate.calibration.spectral_fit import FocusFit, SpectralLikelihood, tile_noise
from napari_coordgate.config import Camera, GaussianLens, Lens, Scaling, load_lens, measured_frame
from napari_coordgate.errors import ImageError, SettingsError
from napari_coordgate.geometry import Window, as_origin
from napari_coordgate.io import Image, PlaneIndex, plane_indices
from napari_coordgate.model import Model, as_model
from napari_coordgate.normalization import Normalizer
from napari_coordgate.optics import PSFField

Verdict = Literal["green", "amber", "red"]
Reference = Lens | GaussianLens | PSFField | Model | str | Path

MAX_PLANES = 10
"""Planes of a stack that are looked at."""

_MAX_TILES = 400
_MAX_WHOLE = 1024  # Side up to which a plane is read as a whole, pixels.
_BANDS = 16  # Of larger planes, this many bands of rows are read.
_MIN_SIDE = 2 * TILE
_PIXEL_SIZE_AMBER, _PIXEL_SIZE_RED = 0.02, 0.1
_NOISE_AMBER, _NOISE_RED = 2.0, 4.0
_OVER_RED, _OVER_AMBER, _UNDER_AMBER = 0.2, 0.15, 0.4  # Of `_BlurDifference`.
_SIGMA = 2.0
# How detail is spread over few scenes looks like a focus: measured with one plane of nuclei, the
# error bars are 2.5 times too small. Red then needs a larger difference, and some tiles.
_FEW_PLANES, _FEW_ERRORS, _MORE_FOR_FEW, _ENOUGH_TILES = 5, 2.5, 2.0, 16
_DRAWS = 60
_GAUSSIAN = "the lens is described by a Gaussian blur, without NA and wavelength"
_NAMES = ("a defocus", "a field curvature", "a tilt (y)", "a tilt (x)")
_SYSTEMATIC = 0.06
_SYSTEMATIC_DEPTHS = 0.1


class Finding(NamedTuple):
    """One thing that was checked.

    Attributes
    ----------
    subject : {"pixel size", "noise", "lens"}
        What was checked.
    verdict : {"green", "amber", "red"}
        Whether it fits, may not fit, or does not fit.
    message : str
        One sentence with numbers.
    measured, assumed : float
        Value in the images, and that of the lens or camera.
    standard_error : float
        Of the measured value; 0 if it is exact.
    """

    subject: Literal["pixel size", "noise", "lens"]
    verdict: Verdict
    message: str
    measured: float
    assumed: float
    standard_error: float = 0.0


@dataclass(frozen=True)
class Check:
    """Whether images fit the lens and the camera that they will be deblurred with.

    Attributes
    ----------
    findings : tuple of Finding
        What was checked.
    notes : tuple of str
        What could not be checked, and why.

    Examples
    --------
    >>> message = "The images have a pixel size of 0.65 um; the lens is for 0.325."
    >>> Check((Finding("pixel size", "red", message, 0.65, 0.325),)).verdict
    'red'
    """

    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Worst verdict of the findings."""
        verdicts = {finding.verdict for finding in self.findings}
        return "red" if "red" in verdicts else "amber" if "amber" in verdicts else "green"

    @property
    def lens_note(self) -> str:
        """Why the lens was not checked; empty if it was."""
        is_checked = any(finding.subject == "lens" for finding in self.findings)
        return "" if is_checked else "".join(self.notes[-1:])  # that about the lens is the last

    @property
    def message(self) -> str:
        """One line: what does not fit, or that all that was checked does."""
        problems = [f.message for f in self.findings if f.verdict == self.verdict != "green"]
        if problems:
            return " ".join(problems)
        if not self.findings:
            return "Nothing could be checked: " + " ".join(self.notes)
        return f"What was checked fits: {', '.join(f.subject for f in self.findings)}."


@dataclass(frozen=True, eq=False)
class _Assumed:
    """What images are checked against, as far as it is known; ``of`` names it in messages.

    The lens is None if its blur has no NA and wavelength; ``no_lens`` says why.
    """

    of: str
    lens: Lens | None
    no_lens: str
    frame_shape: tuple[int, int] | None
    pixel_size_um: float | None
    camera: Camera | None
    scaling: Scaling


def check(
    images: Images,
    reference: Reference,
    *,
    camera: Camera | None = None,
    axes: str | None = None,
    origin: tuple[int, int] | None = None,
) -> Check:
    """Check whether images fit a lens, PSF field or model, before they are deblurred with it.

    The pixel size is compared with that in the metadata. The noise, in the highest
    frequencies of the images, is compared with that of the camera. The power spectra of tiles
    are compared with the lens: does another field curvature, defocus or tilt explain much better
    how the blur varies over the frame? Red means that deblurring would sharpen too much or
    amplify noise, which makes an image worse than it was; amber means a smaller difference, or
    that it would stay blurred.

    Parameters
    ----------
    images : array, Image, str or Path, or sequence of them
        Blurred images or stacks, or their files; of many planes, ten are looked at.
    reference : Lens, GaussianLens, PSFField, Model, str or Path
        What they will be deblurred with, or the file of it.
    camera : Camera, optional
        Noise to expect; default: that a model was trained with.
    axes : str, optional
        Axes of the images, as letters of TCZYX and S, if they do not state them.
    origin : tuple of int, optional
        First frame pixel (y, x) of the images, if they are windows of the frame.

    Returns
    -------
    Check
        Verdict, message, findings with numbers, and what could not be checked.

    Raises
    ------
    ImageError
        If an image cannot be read.
    SettingsError
        If the reference is none of those.

    Examples
    --------
    >>> from napari_coordgate import check, load_lens
    >>> lens = load_lens("sample_data/lens.yaml")
    >>> check("sample_data/blurred/nuclei.tif", lens).verdict
    'green'
    >>> wrong = check("sample_data/blurred/nuclei.tif", lens.replace(field_curvature_um=14))
    >>> wrong.verdict
    'red'
    """
    assumed = _as_assumed(reference)
    if camera is not None:
        assumed = replace(assumed, camera=camera)
    planes = [(image, index) for image in as_images(images, axes) for index in plane_indices(image)]
    chosen = np.unique(np.linspace(0, len(planes) - 1, MAX_PLANES).astype(int))
    return check_planes([planes[i] for i in chosen], assumed, origin)


def check_window(image: Image, method: Model | PSFField, camera: Camera, window: Window) -> Check:
    """Check an image that shows a window of the frame, before deblurring.

    The camera is that of a deconvolution; a model has its own. A pixel size that fits is no
    finding, as it does not tell whether the lens fits.
    """
    assumed = _as_assumed(method)
    sizes = tuple(f for f in _pixel_size_findings([image], assumed) if f.verdict != "green")
    assumed = replace(assumed, pixel_size_um=None)
    if isinstance(method, PSFField):
        assumed = replace(assumed, camera=camera)
    if assumed.lens is None and not _states_noise(assumed.camera):
        noise = f"The noise was not checked: {assumed.of} states none."
        return Check(sizes, (noise, f"The lens was not checked: {assumed.no_lens}."))
    planes = [(image, index) for index in _sharpest_planes(image)]
    chosen = np.unique(np.linspace(0, len(planes) - 1, MAX_PLANES).astype(int))
    checked = check_planes([planes[i] for i in chosen], assumed, window.origin)
    return replace(checked, findings=(*sizes, *checked.findings))


def _states_noise(camera: Camera | None) -> bool:
    """Whether the noise of a camera is known."""
    return camera is not None and (camera.photons or camera.electrons_per_count) is not None


def _sharpest_planes(image: Image) -> Iterator[PlaneIndex]:
    """Planes to look at: of a z stack, only those in the middle, as others are out of focus."""
    z = image.axes.find("Z") if image.z_step_um is not None else -1
    for index in plane_indices(image):
        if z < 0 or index[z] == image.data.shape[z] // 2:
            yield index


def check_planes(
    planes: Sequence[tuple[Image, PlaneIndex]],
    assumed: _Assumed,
    origin: tuple[int, int] | None,
) -> Check:
    """Check a few planes of images."""
    notes: list[str] = []
    findings = list(_pixel_size_findings([image for image, _ in planes], assumed))
    try:
        spectra, ranges = _sampled_spectra(planes, assumed.scaling, origin)
        noise = tile_noise(spectra)
    except ImageError as error:
        return Check(tuple(findings), (f"Noise and lens were not checked: {error}",))
    camera = assumed.camera
    if camera is None or not _states_noise(camera):
        notes.append(f"The noise was not checked: {assumed.of} states none.")
    else:
        findings.append(_noise_finding(spectra, noise, ranges, camera, assumed.of))
    problem = _lens_problem(planes[0][0], assumed, origin)
    if problem:
        notes.append(f"The lens was not checked: {problem}")
        return Check(tuple(findings), tuple(notes))
    try:
        findings.append(_lens_finding(spectra, noise, assumed, planes[0][0].frame_shape))
    except ImageError:
        notes.append("The lens was not checked: the images have too little detail.")
    return Check(tuple(findings), tuple(notes))


def _as_assumed(reference: Reference) -> _Assumed:
    """What images are checked against, of a lens, PSF field or model, or the file of one."""
    if isinstance(reference, str | Path):
        suffix = Path(reference).suffix.lower()
        if suffix in (".yaml", ".yml"):
            reference = load_lens(reference)
        else:
            load = PSFField.load if suffix in (".tif", ".tiff") else as_model
            reference = load(reference)
    if isinstance(reference, Lens | GaussianLens):
        lens = reference if isinstance(reference, Lens) else None
        size = reference.pixel_size_um
        frame = measured_frame(reference)
        return _Assumed("the lens", lens, _GAUSSIAN, frame, size, None, Scaling())
    if isinstance(reference, PSFField):
        size = reference.pixel_size_um
        return _Assumed(
            "the PSF field",
            *_source_lens(reference),
            reference.frame_shape,
            size,
            None,
            Scaling(),
        )
    if isinstance(reference, Model):
        field = reference.psf_field
        return _Assumed(
            "the model",
            *((None, "the model states no lens") if field is None else _source_lens(field)),
            reference.frame_shape,
            reference.pixel_size_um,
            reference.config.camera,
            reference.config.scaling,
        )
    raise SettingsError(
        f"Images are checked against a Lens, PSFField or Model, got {type(reference).__name__}; "
        "pass one of them or its file."
    )


def _source_lens(psf_field: PSFField) -> tuple[Lens | None, str]:
    """Lens that a PSF field was computed from; None and why, if it has no pupil or was measured."""
    values = psf_field.source.get("lens")
    if not isinstance(values, dict):
        return None, "the PSF field was made of measured PSFs, whose NA and wavelength are unknown"
    if values.get("kind") != "pupil":
        return None, _GAUSSIAN
    return Lens(**values), ""


def _pixel_size_findings(images: Sequence[Image], assumed: _Assumed) -> Iterator[Finding]:
    """Finding about the pixel size that differs most, if sizes are known."""
    sizes = [size for image in images for size in image.pixel_size_um or ()]
    expected = assumed.pixel_size_um
    if not sizes or expected is None:
        return
    size = max(sizes, key=lambda value: abs(float(np.log(value / expected))))
    difference = abs(size / expected - 1.0)
    verdict: Verdict = "green"
    if difference > _PIXEL_SIZE_AMBER:
        verdict = "red" if difference > _PIXEL_SIZE_RED else "amber"
    message = f"The images have a pixel size of {size:.4g} um; {assumed.of} is for {expected:.4g}."
    yield Finding("pixel size", verdict, message, size, expected)


def _sampled_spectra(
    planes: Sequence[tuple[Image, PlaneIndex]], scaling: Scaling, origin: tuple[int, int] | None
) -> tuple[TileSpectra, list[Normalizer]]:
    """Spectra of some tiles of planes, with intensities scaled as for a network, by ranges.

    Planes that are nearly constant, such as dropped frames, are left out.
    """
    parts: list[TileSpectra] = []
    ranges: list[Normalizer] = []
    for image, index in planes:
        if min(image.frame_shape) < TILE:
            raise ImageError(f"{image.name} is smaller than {TILE} x {TILE} pixels.")
        bands = list(_bands(image, index))
        pixels = np.concatenate([band.ravel()[:: max(1, len(bands) // 4)] for _, band in bands])
        if not np.isfinite(pixels).all():
            raise ImageError(f"{image.name} has NaN or infinite pixels.")
        percentiles = (scaling.low_percentile, scaling.high_percentile)
        low, high = np.percentile(pixels.astype(np.float64), percentiles)
        if not high > low:
            continue
        y0, x0 = (0, 0) if origin is None else as_origin(origin)
        ranges.append(Normalizer(float(low), float(high)))
        scale = ranges[-1].normalize
        number = len(ranges) - 1
        parts += [tile_spectra(scale(band), (y0 + row, x0), number) for row, band in bands]
    if not parts:
        raise ImageError(f"{planes[0][0].name} has too few intensities.")
    spectra = TileSpectra.concatenate(parts)
    limit = min(len(spectra), _MAX_TILES)
    chosen = np.unique(np.linspace(0, len(spectra) - 1, limit).astype(np.intp))
    return spectra[chosen], ranges


def _bands(image: Image, index: PlaneIndex) -> Iterator[tuple[int, NDArray[np.generic]]]:
    """First row and pixels of parts of a plane: all of it, or bands of rows of a large one."""
    view = image.view(index)
    if max(view.shape) <= _MAX_WHOLE:
        yield 0, view[:, :]
        return
    for row in np.linspace(0, view.shape[0] - TILE, _BANDS).astype(int):
        yield int(row), view[int(row) : int(row) + TILE, :]


def _noise_finding(
    spectra: TileSpectra, noise: Array, ranges: Sequence[Normalizer], camera: Camera, of: str
) -> Finding:
    """Compare the variance of the noise with that of the camera, at the brightness of each tile."""
    cameras = [camera.for_range(*limits) for limits in ranges]
    assumed = np.array([one.photons for one in cameras], np.float64)
    read_noise = np.array([one.read_noise for one in cameras])
    photons = assumed[spectra.image]
    light = np.maximum(spectra.mean, 0.0) * photons + read_noise[spectra.image] ** 2
    ratio = float(np.median(noise / (light / photons**2)))
    expected = float(np.median(assumed))
    message = f"The noise is that of about {_rounded(expected / ratio)} photons in a bright pixel"
    verdict: Verdict = "green"
    if ratio > _NOISE_AMBER:
        verdict = "red" if ratio > _NOISE_RED else "amber"
        message += f"; {of} is for {_rounded(expected)}: noise will be amplified."
    elif ratio < 1.0 / _NOISE_RED:
        verdict = "amber"
        message += f"; {of} is for {_rounded(expected)}: detail will be lost."
    else:
        message += f", as {of} assumes ({_rounded(expected)})."
    return Finding("noise", verdict, message, expected / ratio, expected)


def _lens_problem(image: Image, assumed: _Assumed, origin: tuple[int, int] | None) -> str:
    """Why the lens cannot be checked; empty if it can."""
    if assumed.lens is None:
        return f"{assumed.no_lens}."
    if origin is None and assumed.frame_shape not in (None, image.frame_shape):
        return "the images are not the whole frame, and their origin is not known."
    if min(image.frame_shape) < _MIN_SIDE:
        return f"the images are smaller than {_MIN_SIDE} x {_MIN_SIDE} pixels."
    return ""


def _lens_finding(
    spectra: TileSpectra, noise: Array, assumed: _Assumed, shape: tuple[int, int]
) -> Finding:
    """Compare the blur over the frame with that of the lens."""
    assert assumed.lens is not None
    free = (0, 1, 2, 3)
    problem = FocusProblem.of(assumed.lens, spectra, assumed.frame_shape or shape, free, noise)
    held, likelihood = problem.held(), problem.likelihood()
    as_assumed = likelihood.fit(held, (), steps=15, tolerance=0.1)
    starts = (as_assumed.state, held * [0.0, 0.4, 0.0, 0.0])
    fits = [likelihood.fit(start, free, steps=25, tolerance=0.1) for start in starts]
    fit = min(fits, key=lambda fit: fit.loss)
    evidence = _Evidence.of(spectra)
    blur = _BlurDifference.of(problem, likelihood, held, fit, evidence)
    return _as_finding(blur, held, fit, assumed.of, evidence)


class _Evidence(NamedTuple):
    """How much image there is to check a lens with."""

    is_few: bool
    is_small: bool

    @classmethod
    def of(cls, spectra: TileSpectra) -> _Evidence:
        """Few planes, and few tiles of them that do not overlap."""
        cells = np.column_stack([spectra.image, spectra.corner // TILE])
        is_few = len(np.unique(spectra.image)) < _FEW_PLANES
        return cls(is_few, len(np.unique(cells, axis=0)) < _ENOUGH_TILES)


class _BlurDifference(NamedTuple):
    """How the assumed blur exceeds the measured one, and falls below it.

    Differences of the absolute defocus, in units of the depth of field, root mean square over the
    frame; with their standard errors, and those (4,) of the measured focus.
    """

    over: float
    under: float
    over_error: float
    under_error: float
    errors: Array

    @classmethod
    def of(
        cls,
        problem: FocusProblem,
        likelihood: SpectralLikelihood,
        held: Array,
        fit: FocusFit,
        evidence: _Evidence,
    ) -> _BlurDifference:
        """Difference between the focus that is assumed, and a fit."""
        depth = problem.depth_um
        relative = _SYSTEMATIC * fit.focus[1] * np.array([0.5, 1.0, 0.5, 0.5])
        systematic = np.diag(relative**2 + (_SYSTEMATIC_DEPTHS * depth) ** 2)
        scale = _FEW_ERRORS if evidence.is_few else 1.0
        covariance = scale**2 * fit.covariance + systematic
        draws = np.random.default_rng(0).multivariate_normal(fit.focus, covariance, _DRAWS)
        expected = np.abs(likelihood.defocus_um(held))
        found = np.stack([np.abs(likelihood.defocus_um(f)) for f in (fit.focus, *draws)])
        excess = (expected - found) / depth
        over = np.sqrt(np.mean(np.maximum(excess, 0.0) ** 2, axis=1))
        under = np.sqrt(np.mean(np.maximum(-excess, 0.0) ** 2, axis=1))
        return cls(
            float(over[0]),
            float(under[0]),
            float(over[1:].std()),
            float(under[1:].std()),
            np.sqrt(np.diag(covariance)),
        )


def _as_finding(
    blur: _BlurDifference, held: Array, fit: FocusFit, of: str, evidence: _Evidence
) -> Finding:
    """Verdict and message about a difference of the blur."""
    is_over = blur.over > _SIGMA * blur.over_error
    is_under = blur.under > _SIGMA * blur.under_error
    verdict: Verdict = "green"
    if blur.over > _OVER_RED * (_MORE_FOR_FEW if evidence.is_few else 1.0) and is_over:
        verdict = "amber" if evidence.is_small else "red"
    elif (blur.over > _OVER_AMBER and is_over) or (blur.under > _UNDER_AMBER and is_under):
        verdict = "amber"
    focus = fit.focus if fit.focus[1] * held[1] >= 0 else -fit.focus
    # The parameter that differs most is the one to name; curvatures count at the mean radius.
    difference = np.abs(focus - held) * np.array([1.0, 0.5, 0.5, 0.5])
    index = 1 if verdict == "green" else int(np.argmax(difference))
    name = _NAMES[index]
    message = (
        f"The images suggest {name} of {focus[index]:.1f} ± {blur.errors[index]:.1f} um; "
        f"{of} is for {held[index]:.1f}"
    )
    if verdict != "green" and abs(focus[index] - held[index]) < blur.errors[index]:
        seen = "sharper" if blur.over >= blur.under else "more blurred"
        message = f"The images are {seen} than {of} makes them"  # no parameter alone tells it
    if verdict == "green":
        message += ", which fits."
    elif blur.over >= blur.under:
        message += (
            ": edges will be over-sharpened." if index else ": images will be over-sharpened."
        )
    else:
        message += ": some blur will remain."
    if verdict != "green" and evidence.is_small:
        message = f"{message.rstrip('.')} (too little image to be sure)."
    measured, assumed, error = (float(x[index]) for x in (focus, held, blur.errors))
    return Finding("lens", verdict, message, measured, assumed, error)


def _rounded(photons: float) -> str:
    """Number of photons with three significant digits, such as 4,480."""
    return f"{float(f'{photons:.3g}'):,.10g}"
