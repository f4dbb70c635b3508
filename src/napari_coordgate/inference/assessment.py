"""Deblurring with a verdict: where the result can be trusted, and where not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.arrays import PixelArray
from napari_coordgate.calibration.plane_noise import estimate_plane_camera
from napari_coordgate.config import (
    Camera,
    DeblurConfig,
    DeblurRuntime,
    Device,
    Scaling,
    as_settings,
)
from napari_coordgate.events import Event, Note, run
from napari_coordgate.geometry import Window
from napari_coordgate.inference.alignment import FrameAlignment, resample
from napari_coordgate.inference.channels import ChannelDeblurrer, check_channels
from napari_coordgate.inference.deblurrers import Deblurrer
from napari_coordgate.inference.deblurring import memory_errors, output_dtype, window_of
from napari_coordgate.inference.intensity import IntensityRanges
from napari_coordgate.inference.methods import AnyBlur, AnyMethod, DeblurMethod
from napari_coordgate.inference.mismatch import strict_error
from napari_coordgate.inference.predictor import WHOLE_PLANE
from napari_coordgate.inference.universal import UNKNOWN_NOISE, Result, UniversalDeblurrer
from napari_coordgate.io import Image, PlaneView, StackIndex, as_image, process_planes
from napari_coordgate.io.processing import Check
from napari_coordgate.model import Model
from napari_coordgate.normalization import Normalizer, check_plane, convert_dtype, fit_normalizer
from napari_coordgate.optics import PSFField
from napari_coordgate.trust import (
    PlaneSummary,
    Residual,
    TrustCalibration,
    TrustFinding,
    TrustVerdict,
    blur_again,
    contradiction_map,
    detail_map,
    expected_gain_db,
    verdict_of,
)

Pixels = NDArray[Any]
Float32 = NDArray[np.float32]

CONFIG, RUNTIME, SCALING = DeblurConfig(), DeblurRuntime(), Scaling()

_NO_ERROR = "The error was not predicted: only the universal model does."
_UNCALIBRATED = (
    "The error map is not calibrated for this model: compare places with it, not with a scale."
)
_NO_BLUR = "The contradiction was not computed: the model does not state the blur of its lens."
_RESAMPLED = "The contradiction was not computed: the image is resampled to the frame."
_NO_PIXEL_SIZE = "The finest detail was not mapped: neither image nor lens state a pixel size."
_NOT_CHECKED = "Lens and noise were not checked: the check is turned off."


@dataclass(frozen=True, eq=False, repr=False)
class DeblurResult:
    """Deblurred image, and where it can be trusted.

    Attributes
    ----------
    image : ndarray
        Deblurred image, as `deblur` returns it.
    error_map : ndarray of float32, shape of ``image``, or None
        Bound of the absolute error of each pixel, in the units of the image, that 90 % of the
        pixels keep in images like those of the calibration; None if the method predicts no error.
    contradiction_map : ndarray of float32, shape of ``image``, or None
        Contradiction with the image around each pixel, relative to the largest that noise alone
        explains: above 1 the image denies the result. None if the blur is not known.
    detail_um : ndarray of float32, shape of ``image``, or None
        Period of the finest detail that survives the blur and the noise, um; None if the pixel
        size is not known.
    verdict : TrustVerdict
        Green, amber or red, with reasons and what to do.

    Examples
    --------
    >>> import numpy as np
    >>> result = DeblurResult(np.zeros((8, 8)), None, None, None, TrustVerdict(()))
    >>> result
    DeblurResult(image (8, 8), verdict green)
    """

    image: Pixels
    error_map: Float32 | None
    contradiction_map: Float32 | None
    detail_um: Float32 | None
    verdict: TrustVerdict

    def __repr__(self) -> str:
        return f"DeblurResult(image {self.image.shape}, verdict {self.verdict.color})"


class TrustArrays(NamedTuple):
    """Arrays for the image and its maps, of the shape of the image; None: not wanted or known."""

    image: Any
    error_map: Any = None
    contradiction_map: Any = None
    detail_um: Any = None


def assess(
    image: PixelArray | Image,
    model: AnyMethod | Mapping[str, AnyMethod] = "universal",
    *,
    psf_field: AnyBlur | None = None,
    camera: Camera | None = None,
    axes: str | None = None,
    origin: tuple[int, int] | None = None,
    config: DeblurConfig = CONFIG,
    runtime: DeblurRuntime = RUNTIME,
    device: Device | None = None,
    callback: Callable[[Event], None] | None = None,
    cancel: threading.Event | None = None,
) -> DeblurResult:
    """Deblur an image, and say where the result can be trusted.

    Three parts make the verdict, and see different things: the check of the lens and the noise
    before deblurring; the contradiction of the result, blurred again, with the image; and the
    error that the universal model predicts. The image is deblurred once, as by `deblur`.

    Parameters
    ----------
    image, model, psf_field, camera, axes, origin, config, runtime, device, callback, cancel
        As for `deblur`. With ``runtime.check`` turned off, lens and noise are not checked.

    Returns
    -------
    DeblurResult
        Deblurred image, error map, contradiction map, finest detail in um, and the verdict.

    Raises
    ------
    CoordGateError
        As for `deblur`; with ``runtime.strict``, a LensMismatchError if the check is red.

    Warns
    -----
    FrameMismatchWarning
        As for `deblur`.

    References
    ----------
    Y. Romano, E. Patterson and E. Candès, "Conformalized quantile regression", NeurIPS (2019).

    Examples
    --------
    >>> from napari_coordgate import assess, read_image
    >>> image = read_image("sample_data/blurred/nuclei.tif")
    >>> corner = image.data[0, :64, :64]
    >>> result = assess(corner, "sample_data/starter.safetensors", origin=(0, 0))
    >>> result.image.shape, result.contradiction_map.shape
    ((64, 64), (64, 64))
    """
    events = assess_events(
        image,
        model,
        psf_field=psf_field,
        camera=camera,
        axes=axes,
        origin=origin,
        config=config,
        runtime=runtime,
        device=device,
        cancel=cancel,
    )
    return run(events, callback)


def assess_events(
    image: PixelArray | Image,
    model: AnyMethod | Mapping[str, AnyMethod] | DeblurMethod = "universal",
    *,
    psf_field: AnyBlur | None = None,
    camera: Camera | None = None,
    axes: str | None = None,
    origin: tuple[int, int] | FrameAlignment | None = None,
    config: DeblurConfig = CONFIG,
    runtime: DeblurRuntime = RUNTIME,
    device: Device | None = None,
    out: Pixels | None = None,
    create_map: Callable[[str], Any] | None = None,
    first: Callable[[], StackIndex] | None = None,
    cancel: threading.Event | None = None,
) -> Generator[Event, None, DeblurResult]:
    """Generator form of `assess`, with the same parameters, warnings and errors.

    Parameters
    ----------
    model : AnyMethod or DeblurMethod, optional
        As for `assess`, or a method with its files loaded.
    out : ndarray, shape of ``image``, optional
        Array for the deblurred image, for example a memory map; it is filled plane by plane.
    create_map : callable, optional
        Called with the name of each map that there will be (``"error_map"``,
        ``"contradiction_map"``, ``"detail_um"``); returns an array of float32 for it.
    first : callable, optional
        As for `deblur_events`.

    Yields
    ------
    Progress
        After each tile, or each iteration of a deconvolution.
    PlaneDone
        After each plane.

    Returns
    -------
    DeblurResult
        As for `assess`.
    """
    image = as_image(image, axes)
    config = as_settings(config, DeblurConfig, "config")
    if camera is not None:
        config = config.replace(camera=as_settings(camera, Camera, "camera"))
    runtime = as_settings(runtime, DeblurRuntime, "runtime").on(device)
    method = DeblurMethod.of(model, psf_field, config, runtime)
    reference, deblurrer = method.prepare_channels(image, origin, cancel)
    window = window_of(image, reference, origin, config)
    with memory_errors(image):
        checked = check_channels(image, reference, deblurrer, config.camera, window, runtime)
        axis: int | None = None
        if isinstance(deblurrer, ChannelDeblurrer):
            channels, axis = deblurrer.channels, deblurrer.axis
        else:
            channels = [(reference, deblurrer)]
        assessors = [_Assessor.of(*channel, image, window, config) for channel in channels]
        result = _allocated(assessors, image, config, out, create_map)
    if runtime.strict and checked is not None and checked.verdict == "red":
        raise strict_error(f"{image.name}: {checked.message}")
    planes: list[PlaneSummary] = []

    def process(source: PlaneView, target: PlaneView, name: str, check: Check) -> Iterator[None]:
        with memory_errors(image):
            number = 0 if axis is None else source.index[axis]
            assert isinstance(number, int)
            assessed = assessors[number].process(source, target, result, name, check)
            planes.append((yield from assessed))

    steps = deblurrer.steps(window.shape)
    far: list[TrustFinding] = []
    for event in process_planes(
        image, result.image, process, steps, deblurrer.unit, first=first, cancel=cancel
    ):
        if isinstance(event, Note) and event.is_warning:
            far.append(TrustFinding("range", "red", event.text))
        else:
            yield event
    stated = dict.fromkeys(note for assessor in assessors for note in assessor.notes)
    notes = tuple(stated) if checked is not None else (_NOT_CHECKED, *stated)
    is_measured = isinstance(reference, Model) or is_measured_blur(reference)
    verdict = verdict_of(checked, planes, notes, is_measured=is_measured)
    return DeblurResult(*result, TrustVerdict((*far, *verdict.findings), verdict.notes))


def is_measured_blur(psf_field: PSFField) -> bool:
    """Whether a PSF field is of measured PSFs, or of a calibrated lens."""
    lens = psf_field.source.get("lens")
    return lens is None or bool(lens.get("calibration"))


def _allocated(
    assessors: Sequence[_Assessor],
    image: Image,
    config: DeblurConfig,
    out: Pixels | None,
    create_map: Callable[[str], Any] | None,
) -> TrustArrays:
    """Arrays for the result, and for the maps that there will be of any channel."""
    shape = image.data.shape
    if out is None:
        out = np.empty(shape, output_dtype(image.data, config))
    create = create_map or (lambda name: np.zeros(shape, np.float32))  # of copied planes 0
    wanted = {name for assessor in assessors for name, has in assessor.maps.items() if has}
    names = TrustArrays._fields[1:]
    return TrustArrays(out, *(create(name) if name in wanted else None for name in names))


@dataclass(frozen=True, eq=False)
class _Assessor:
    """Deblurs planes that show a window of the frame, and computes their maps."""

    deblurrer: Deblurrer
    psf_field: PSFField | None
    """Blur for the contradiction; None if it is not known, or the image is resampled."""
    window: Window
    camera: Camera
    calibration: TrustCalibration | None
    pixel_size_um: float | None
    is_resampled: bool
    ranges: IntensityRanges

    @classmethod
    def of(
        cls,
        reference: Model | PSFField,
        deblurrer: Deblurrer,
        image: Image,
        window: Window,
        config: DeblurConfig,
    ) -> _Assessor:
        psf_field = reference.psf_field if isinstance(reference, Model) else reference
        pixel_size_um = None if psf_field is None else psf_field.pixel_size_um
        if image.pixel_size_um is not None:
            pixel_size_um = float(np.mean(image.pixel_size_um))
        trust = deblurrer.model.trust if isinstance(deblurrer, UniversalDeblurrer) else None
        camera = config.camera
        if isinstance(reference, Model) and not camera.has_noise:
            camera = reference.config.camera  # what the network was trained for
        return cls(
            deblurrer,
            psf_field,
            window,
            camera,
            trust,
            pixel_size_um,
            image.frame_shape != window.shape,
            IntensityRanges(image, config, deblurrer.scaling),
        )

    @property
    def maps(self) -> dict[str, bool]:
        """Whether there will be each map."""
        is_compared = self.psf_field is not None and not self.is_resampled
        return {
            "error_map": isinstance(self.deblurrer, UniversalDeblurrer),
            "contradiction_map": is_compared,
            "detail_um": is_compared and self.pixel_size_um is not None,
        }

    @property
    def notes(self) -> tuple[str, ...]:
        """What cannot be judged, and why."""
        maps, notes = self.maps, []
        if self.is_resampled:
            notes.append(_RESAMPLED)
        elif self.psf_field is None:
            notes.append(_NO_BLUR)
        elif not maps["detail_um"]:
            notes.append(_NO_PIXEL_SIZE)
        if not maps["error_map"]:
            notes.append(_NO_ERROR)
        elif self.calibration is None:
            notes.append(_UNCALIBRATED)
        return tuple(notes)

    def process(
        self, source: PlaneView, target: PlaneView, arrays: TrustArrays, name: str, check: Check
    ) -> Generator[None, None, PlaneSummary]:
        """Deblur a plane into the target and fill its part of the maps; yields after each step."""
        pixels = source[WHOLE_PLANE]
        check_plane(pixels, name)
        shape = self.window.shape
        plane = resample(pixels, shape, name) if self.is_resampled else pixels
        deblurred = yield from self._deblur(plane, name, check, self.ranges.of(source))
        maps, summary = self._maps(deblurred, name)
        image = deblurred.normalizer.denormalize(deblurred.image)
        target[WHOLE_PLANE] = self._at_size(image, pixels.shape, name)
        for array, values in zip(arrays[1:], maps.values(), strict=True):
            if array is None or values is None:
                continue
            array[source.index] = convert_dtype(
                self._at_size(values, pixels.shape, name), array.dtype
            )
        return summary

    def _at_size(self, values: Float32, shape: tuple[int, int], name: str) -> Float32:
        """Values of the window at the size of the image."""
        return resample(values, shape, name) if self.is_resampled else values

    def _deblur(
        self, plane: Pixels, name: str, check: Check, given: Normalizer | None
    ) -> Generator[None, None, _DeblurredPlane]:
        """Deblur a plane of the window's shape; yields after each step."""
        deblurrer = self.deblurrer
        if isinstance(deblurrer, UniversalDeblurrer):
            normalizer = deblurrer.normalizer_of(plane, name, check, given)
            camera, scaled = deblurrer.noise_of(plane, normalizer), normalizer.normalize(plane)
            result = Result(np.empty_like(scaled), np.empty_like(scaled))
            yield from deblurrer.process_scaled(scaled, result, camera, check, self.window)
            return _DeblurredPlane(scaled, result.image, result.log_error, camera, normalizer)
        image = np.empty(plane.shape, np.float32)
        yield from deblurrer.process(plane, image, name, check, self.window, given)
        normalizer = fit_normalizer(plane, SCALING, name, check)
        scaled = normalizer.normalize(plane)
        if self.camera.has_noise:
            camera = self.camera.for_range(*normalizer)
        else:
            camera = estimate_plane_camera(scaled) or UNKNOWN_NOISE
        return _DeblurredPlane(scaled, normalizer.normalize(image), None, camera, normalizer)

    def _maps(
        self, plane: _DeblurredPlane, name: str
    ) -> tuple[dict[str, Float32 | None], PlaneSummary]:
        """Maps of a plane in the order of `TrustArrays`, and its summary."""
        maps: dict[str, Float32 | None] = dict.fromkeys(self.maps)
        wanted, calibration = self.maps, self.calibration or TrustCalibration()
        share = gain_db = None
        if plane.log_error is not None:
            bound = calibration.bound(plane.log_error)
            maps["error_map"] = bound * np.float32(plane.normalizer.high - plane.normalizer.low)
            change = float(np.mean(np.square(plane.image - plane.blurred)))
            error = calibration.rms_factor**2 * float(np.mean(np.square(bound)))
            gain_db = expected_gain_db(change, error)
        if wanted["contradiction_map"]:
            assert self.psf_field is not None
            reblurred = blur_again(self.psf_field, plane.image, self.window)
            residual = Residual.of(plane.blurred, plane.image, plane.camera, reblurred)
            compared = contradiction_map(residual, calibration.tolerance)
            maps["contradiction_map"] = compared
            share = float(np.mean(compared > 1))
        if wanted["detail_um"]:
            assert self.psf_field is not None and self.pixel_size_um is not None
            periods = detail_map(plane.image, self.psf_field, plane.camera, self.window)
            maps["detail_um"] = periods * np.float32(self.pixel_size_um)
        return maps, PlaneSummary(name, share, gain_db)


class _DeblurredPlane(NamedTuple):
    """Plane (h, w) before and after deblurring, scaled, with its noise."""

    blurred: Float32
    image: Float32
    log_error: Float32 | None
    camera: Camera
    normalizer: Normalizer
