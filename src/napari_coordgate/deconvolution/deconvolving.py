"""Deconvolution of images and stacks."""

import threading
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_coordgate.arrays import PixelArray, WritablePixelArray
from napari_coordgate.config import (
    Camera,
    Device,
    PSFMode,
    RichardsonLucyConfig,
    Scaling,
    WienerConfig,
)
from napari_coordgate.deconvolution.richardson_lucy import (
    IterationEnd,
    describe_ends,
    richardson_lucy_iterations,
)
from napari_coordgate.deconvolution.wiener import wiener_filter, wiener_iterations
from napari_coordgate.devices import is_out_of_memory
from napari_coordgate.errors import (
    DeviceMemoryError,
    FrameMismatchError,
    FrameMismatchWarning,
    ImageError,
    PSFError,
    SettingsError,
)
from napari_coordgate.events import Event, Note, pluralize, raise_if_canceled, run
from napari_coordgate.geometry import Window, as_origin, format_shape
from napari_coordgate.io import Image, PlaneView, as_image, process_planes
from napari_coordgate.io.image import check_square_pixels
from napari_coordgate.io.processing import Check, with_warnings
from napari_coordgate.normalization import Normalizer, above_offset, fit_normalizer
from napari_coordgate.optics import BlurOperator, PSFField, as_psf_field

DeconvolutionConfig = WienerConfig | RichardsonLucyConfig

Pixels = NDArray[Any]

WIENER = WienerConfig()
RICHARDSON_LUCY = RichardsonLucyConfig()
WHOLE_PLANE = (slice(None), slice(None))
PIXEL_SIZE_TOLERANCE = 0.02
"""Relative difference up to which two pixel sizes are considered the same."""


def richardson_lucy(
    image: PixelArray | Image,
    psf_field: PSFField | str | Path,
    num_iter: int = RICHARDSON_LUCY.num_iter,
    *,
    camera: Camera | None = None,
    total_variation: float | None = RICHARDSON_LUCY.total_variation,
    accelerate: bool = RICHARDSON_LUCY.accelerate,
    discrepancy: bool = RICHARDSON_LUCY.discrepancy,
    psf: PSFMode = RICHARDSON_LUCY.psf,
    scaling: Scaling | None = None,
    axes: str | None = None,
    origin: tuple[int, int] | None = None,
    device: Device = "auto",
    callback: Callable[[Event], None] | None = None,
    cancel: threading.Event | None = None,
) -> Pixels:
    """Richardson-Lucy deconvolution of an image with the PSF of each pixel.

    With a blur H and an image y, each iteration raises the likelihood of the scene x
    under Poisson noise:

        x <- x H^T(y / H x) / (H^T 1 (1 - v div(grad x / |grad x|))),

    with the weight v of the total variation. By default, v is 0.4 times the standard deviation of
    the noise of a bright pixel, relative to its brightness, from 0.002 to 0.04. The scene extends
    beyond the image as far as light reaches the image. Read noise of variance s^2 electrons is
    modeled as s^2 additional photons in y and in H x (Snyder et al., 1993).

    Parameters
    ----------
    image : array, shape (..., H, W), or Image
        Blurred image in its own units; the planes of a stack are processed one by one.
    psf_field : PSFField, str or Path
        Blur of the frame, or the file of it.
    num_iter : int
        Maximum number of iterations; without total variation, too many amplify the noise.
    camera : Camera, optional
        Noise of the image; by default it is measured in each plane, for the total variation.
    total_variation : float, optional
        Weight of the total variation, which suppresses noise, in [0, 0.25); 0 disables it. The
        default follows the noise.
    accelerate : bool
        Extrapolate from the two previous iterations, which converges faster.
    discrepancy : bool
        Stop when the residual is as small as the noise; needs ``camera`` with photons.
    psf : {"field", "mean"}
        Use the PSF of each pixel, or the mean PSF for all pixels.
    scaling : Scaling, optional
        Percentiles that correspond to zero and full brightness. The lower one is the
        camera's offset, which the lens does not blur.
    axes : str, optional
        Axes of the array, as letters of TCZYX and S (samples); by default those of an
        `Image`, or the last letters of TCZYX.
    origin : tuple of int, optional
        First frame pixel (y, x) of the image, if it is a window of the frame.
    device : {"auto", "cpu", "cuda", "mps"}
        Device to compute on.
    callback : callable, optional
        Called with each event of `deconvolve_events`.
    cancel : threading.Event, optional
        Set it from another thread to stop the work.

    Returns
    -------
    ndarray of float32, shape of ``image``
        Deconvolved image in the units of the input, not below the camera's offset.

    Raises
    ------
    SettingsError
        If a setting is invalid, or ``discrepancy`` is set without a camera.
    FrameMismatchError
        If the image is neither the frame nor a given window of it.
    ImageError
        If a plane is constant, contains NaN, or is smaller than 2 x 2 pixels.
    PSFError
        If the PSF field is invalid, so that the result would contain NaN.
    DeviceMemoryError
        If the memory is too small.
    CanceledError
        If canceled.

    Warns
    -----
    FrameMismatchWarning
        If the pixel sizes of the image and of the PSF field differ.

    References
    ----------
    W. H. Richardson, J. Opt. Soc. Am. 62, 55 (1972). L. B. Lucy, Astron. J. 79, 745 (1974).
    Y. Nesterov, Soviet Math. Dokl. 27, 372 (1983): acceleration.
    N. Dey et al., Microsc. Res. Tech. 69, 260 (2006): total variation.
    M. Bertero and P. Boccacci, Astron. Astrophys. 437, 369 (2005): borders.
    D. L. Snyder, A. M. Hammoud and R. L. White, J. Opt. Soc. Am. A 10, 1014 (1993): read noise.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_coordgate import GaussianLens, PSFField, richardson_lucy
    >>> psf_field = PSFField.from_lens(GaussianLens(), (64, 64))
    >>> sharp = 1000 * np.eye(64)
    >>> blurred = psf_field.blur(sharp)
    >>> restored = richardson_lucy(blurred, psf_field, num_iter=20)
    >>> bool(abs(restored - sharp).mean() < abs(blurred - sharp).mean())
    True
    """
    config = RichardsonLucyConfig(
        psf=psf,
        num_iter=num_iter,
        total_variation=total_variation,
        accelerate=accelerate,
        discrepancy=discrepancy,
    )
    return deconvolve(
        image,
        psf_field,
        config,
        camera=camera,
        scaling=scaling,
        axes=axes,
        origin=origin,
        device=device,
        callback=callback,
        cancel=cancel,
    )


def wiener(
    image: PixelArray | Image,
    psf_field: PSFField | str | Path,
    regularization: float = WIENER.regularization,
    *,
    num_iter: int = WIENER.num_iter,
    psf: PSFMode = WIENER.psf,
    scaling: Scaling | None = None,
    axes: str | None = None,
    origin: tuple[int, int] | None = None,
    device: Device = "auto",
    callback: Callable[[Event], None] | None = None,
    cancel: threading.Event | None = None,
) -> Pixels:
    """Wiener deconvolution of an image with the PSF of each pixel.

    With a blur H, an image y of mean m and a noise-to-signal power ratio r, the estimate is

        x = m + argmin_d |H d - (y - H m)|^2 + r |d|^2.

    For the PSF of each pixel it is the solution of (H^T H + r) d = H^T (y - H m) by
    conjugate gradients, over the part of the scene that contributes light to the image. For
    the mean PSF it is the filter conj(h) / (|h|^2 + r) in Fourier space, with the image
    mirrored at its border.

    Parameters
    ----------
    image, psf_field, psf, scaling, axes, origin, device, callback, cancel
        As for `richardson_lucy`.
    regularization : float
        Ratio of noise power to signal power; larger values are smoother.
    num_iter : int
        Maximum number of conjugate gradient iterations; the mean PSF needs none.

    Returns
    -------
    ndarray of float32, shape of ``image``
        Deconvolved image in the units of the input.

    Raises
    ------
    CoordGateError
        As for `richardson_lucy`.

    References
    ----------
    N. Wiener, "Extrapolation, Interpolation, and Smoothing of Stationary Time Series", 1949.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_coordgate import GaussianLens, PSFField, wiener
    >>> psf_field = PSFField.from_lens(GaussianLens(), (64, 64))
    >>> sharp = 1000 * np.eye(64)
    >>> blurred = psf_field.blur(sharp)
    >>> restored = wiener(blurred, psf_field, regularization=0.01)
    >>> bool(abs(restored - sharp).mean() < abs(blurred - sharp).mean())
    True
    """
    config = WienerConfig(psf=psf, regularization=regularization, num_iter=num_iter)
    return deconvolve(
        image,
        psf_field,
        config,
        scaling=scaling,
        axes=axes,
        origin=origin,
        device=device,
        callback=callback,
        cancel=cancel,
    )


def deconvolve(
    image: PixelArray | Image,
    psf_field: PSFField | str | Path,
    config: DeconvolutionConfig,
    *,
    camera: Camera | None = None,
    scaling: Scaling | None = None,
    axes: str | None = None,
    origin: tuple[int, int] | None = None,
    device: Device = "auto",
    callback: Callable[[Event], None] | None = None,
    cancel: threading.Event | None = None,
) -> Pixels:
    """Deconvolve an image by the method of a configuration.

    Parameters
    ----------
    image, psf_field, camera, scaling, axes, origin, device, callback, cancel
        As for `richardson_lucy`.
    config : WienerConfig or RichardsonLucyConfig
        Method and its settings.

    Returns
    -------
    ndarray of float32, shape of ``image``
        Deconvolved image in the units of the input.

    Raises
    ------
    CoordGateError
        As for `richardson_lucy`.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_coordgate import GaussianLens, PSFField, WienerConfig, deconvolve
    >>> psf_field = PSFField.from_lens(GaussianLens(), (64, 64))
    >>> deconvolve(np.eye(64), psf_field, WienerConfig(psf="mean")).shape
    (64, 64)
    """
    events = deconvolve_events(
        image,
        psf_field,
        config,
        camera=camera,
        scaling=scaling,
        axes=axes,
        origin=origin,
        device=device,
        cancel=cancel,
    )
    return run(events, callback)


def deconvolve_events(
    image: PixelArray | Image,
    psf_field: PSFField | str | Path,
    config: DeconvolutionConfig,
    *,
    camera: Camera | None = None,
    scaling: Scaling | None = None,
    axes: str | None = None,
    origin: tuple[int, int] | None = None,
    device: Device = "auto",
    out: Pixels | None = None,
    cancel: threading.Event | None = None,
) -> Generator[Event, None, Pixels]:
    """Generator form of `deconvolve`, with the same parameters and errors.

    Parameters
    ----------
    out : ndarray, shape of ``image``, optional
        Array for the result, for example a memory map.

    Yields
    ------
    Progress
        After each iteration.
    PlaneDone
        After each plane.
    Note
        At the end, the iterations of Richardson-Lucy, and whether the noise was reached.

    Returns
    -------
    ndarray, shape of ``image``
        Deconvolved image in the units of the input; ``out`` if given.
    """
    image, psf_field = as_image(image, axes), as_psf_field(psf_field)
    deconvolver = Deconvolver(psf_field, config, camera=camera, scaling=scaling, device=device)
    _check_frame(image, psf_field, origin)
    window = Window(*as_origin(origin or (0, 0)), *image.frame_shape)
    result = np.empty(image.data.shape, np.float32) if out is None else out
    ends: list[IterationEnd] = []

    def process(
        source: PlaneView, target: PlaneView, name: str, check: Check
    ) -> Generator[None, None, None]:
        ends.extend((yield from deconvolver.process(source, target, name, check, window)))

    steps, unit = deconvolver.steps(window.shape), deconvolver.unit
    yield from with_warnings(process_planes(image, result, process, steps, unit, cancel=cancel))
    if ends:
        yield Note(f"{image.name}: {describe_ends(ends)}.")
    return result


class Deconvolver:
    """Deconvolves planes of windows of the frame; threads may share it."""

    unit = "iteration"

    def __init__(
        self,
        psf_field: PSFField,
        config: DeconvolutionConfig,
        *,
        camera: Camera | None = None,
        scaling: Scaling | None = None,
        device: Device = "auto",
    ) -> None:
        self.psf_field, self.config, self.camera = psf_field, _as_method(config), camera
        self.scaling, self._device = scaling or Scaling(), device
        if isinstance(config, RichardsonLucyConfig):
            config.check_camera(camera)
        self._lock = threading.Lock()
        self._latest: tuple[Window, BlurOperator] | None = None

    def steps(self, shape: tuple[int, int]) -> int:
        """Maximum number of iterations for a plane."""
        return self.config.num_iter

    def tile_shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Shape in which a plane (height, width) is written: as a whole."""
        return shape

    def process(
        self,
        source: PixelArray,
        target: WritablePixelArray,
        name: str,
        check: Check,
        window: Window,
        normalizer: Normalizer | None = None,
    ) -> Generator[None, None, Sequence[IterationEnd]]:
        """Deconvolve a plane that shows this window of the frame; yields after each iteration.

        Returns how the iterations of Richardson-Lucy ended; nothing for another method.
        """
        plane = source[WHOLE_PLANE]
        normalizer = fit_normalizer(plane, self.scaling, name, check, normalizer)
        if self.psf_field.flat_field is not None:
            normalizer = above_offset(normalizer, self.camera)
        scaled, estimate = normalizer.normalize(plane), torch.empty(0)
        blur, camera = self._blur_operator(window), self.camera
        if camera is not None:
            camera = camera.for_range(normalizer.low, normalizer.high)
        ends: list[IterationEnd] = []
        for latest in _iterations(scaled, self.psf_field, blur, self.config, camera, ends):
            estimate = latest
            yield
        target[WHOLE_PLANE] = normalizer.denormalize(_as_finite(estimate, name), target.dtype)
        return ends

    def _blur_operator(self, window: Window) -> BlurOperator:
        """Blur of a window, computed once for successive planes."""
        with self._lock:
            if self._latest is None or self._latest[0] != window:
                blur = _blur_operator(self.psf_field, self.config, window, self._device)
                self._latest = window, blur
            return self._latest[1]


def deconvolve_scaled(
    image: NDArray[Any],
    psf_field: PSFField,
    config: DeconvolutionConfig,
    *,
    camera: Camera | None = None,
    origin: tuple[int, int] = (0, 0),
    device: Device = "auto",
    cancel: threading.Event | None = None,
) -> NDArray[np.float32]:
    """Deconvolve a plane (h, w) whose intensities are normalized already, to 0 (dark) to 1."""
    scaled = np.asarray(image, np.float32)
    if scaled.ndim != 2 or not scaled.size or not np.isfinite(scaled).all():
        raise ImageError(
            "Deconvolution needs an image of shape (h, w) without NaN or infinite pixels, got "
            f"shape {scaled.shape}."
        )
    blur = _blur_operator(psf_field, config, Window(*origin, *scaled.shape), device)
    estimate = torch.empty(0)
    for latest in _iterations(scaled, psf_field, blur, config, camera):
        raise_if_canceled(cancel, "Stopped while deconvolving.")
        estimate = latest
    return _as_finite(estimate, "The image")


def _blur_operator(
    psf_field: PSFField, config: DeconvolutionConfig, window: Window, device: Device
) -> BlurOperator:
    """Blur of all of the scene that contributes light to a window of the frame.

    The scene beyond the window is estimated together with the image, which avoids ringing at
    the border (Bertero and Boccacci, Astronomy & Astrophysics 437, 369, 2005).
    """
    if config.psf == "mean":
        psf_field = psf_field.with_mean_psf()
    scene_window = psf_field.input_window(window)
    return psf_field.operator(window, scene_window=scene_window, device=device)


def _iterations(
    scaled: NDArray[np.float32],
    psf_field: PSFField,
    blur: BlurOperator,
    config: DeconvolutionConfig,
    camera: Camera | None,
    ends: list[IterationEnd] | None = None,
) -> Iterator[Tensor]:
    """Estimate (h, w) after each iteration of the method; ``ends`` takes how they ended."""
    try:
        if isinstance(config, WienerConfig) and config.psf == "mean":
            mean_psf = psf_field.kernels[0]
            flat = scaled if blur.gain is None else scaled / blur.gain.cpu().numpy()
            yield wiener_filter(flat, mean_psf, config.regularization, blur.device)
        elif isinstance(config, WienerConfig):
            yield from wiener_iterations(scaled, blur, config)
        else:
            yield from richardson_lucy_iterations(scaled, blur, config, camera, ends)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceMemoryError(
            f"Not enough memory to deconvolve {format_shape(blur.window.shape)} pixels; "
            "deconvolve windows of the image, or choose a device with more memory."
        ) from None


def _as_finite(estimate: Tensor, name: str) -> NDArray[np.float32]:
    """Estimate as an array; NaN or infinite pixels are an error rather than a result."""
    deconvolved: NDArray[np.float32] = estimate.cpu().numpy()
    bad = int(deconvolved.size - np.isfinite(deconvolved).sum())
    if bad:
        raise PSFError(
            f"{name}: deconvolution gave {pluralize(bad, 'pixel')} of NaN or infinity; the PSF "
            "field is probably invalid, for example of negative PSFs. Create it again."
        )
    return deconvolved


def _as_method(config: Any) -> DeconvolutionConfig:
    """Settings of a method, checked."""
    if isinstance(config, WienerConfig | RichardsonLucyConfig):
        return config
    raise SettingsError(
        f"config must be a WienerConfig or RichardsonLucyConfig, got {type(config).__name__}; "
        "pass e.g. config=WienerConfig()."
    )


def _check_frame(image: Image, psf_field: PSFField, origin: tuple[int, int] | None) -> None:
    """Check that an image without origin is the whole frame; warn if pixel sizes differ."""
    frame = Window.whole(psf_field.frame_shape)
    is_window = frame.contains(Window(0, 0, *image.frame_shape))
    if not is_window or (origin is None and image.frame_shape != frame.shape):
        advice = "give the origin of the image in the frame, or " if is_window else ""
        raise FrameMismatchError(
            f"{image.name} is {format_shape(image.frame_shape)} pixels, but the PSF field's frame "
            f"is {format_shape(frame.shape)}; {advice}create a PSF field for its size."
        )
    own_um, field_um = image.pixel_size_um, psf_field.pixel_size_um
    check_square_pixels(image, field_um, "PSF field")
    if own_um and field_um and not np.allclose(own_um, field_um, rtol=PIXEL_SIZE_TOLERANCE, atol=0):
        warnings.warn(
            f"{image.name} has a pixel size of {own_um} um, but the PSF field has {field_um} um: "
            "the blur may differ.",
            FrameMismatchWarning,
            stacklevel=2,
        )
