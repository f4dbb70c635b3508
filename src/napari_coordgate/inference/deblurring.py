"""Deblurring of images and stacks with a trained model, or by deconvolution."""

import threading
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.arrays import PixelArray, WritablePixelArray
from napari_coordgate.config import Camera, DeblurConfig, DeblurRuntime, Device, as_settings
from napari_coordgate.deconvolution import IterationEnd, describe_ends
from napari_coordgate.errors import DeviceMemoryError, FrameMismatchWarning, LensMismatchWarning
from napari_coordgate.events import Event, Note, run
from napari_coordgate.geometry import Window
from napari_coordgate.inference.alignment import FrameAlignment, align_to_frame, resample
from napari_coordgate.inference.channels import (
    AnyDeblurrer,
    deblurrer_of_plane,
    find_mismatches,
)
from napari_coordgate.inference.intensity import IntensityRanges
from napari_coordgate.inference.methods import AnyBlur, AnyMethod, DeblurMethod
from napari_coordgate.inference.predictor import WHOLE_PLANE
from napari_coordgate.io import Image, PlaneView, StackIndex, as_image, process_planes
from napari_coordgate.io.processing import Check, with_warnings
from napari_coordgate.model import Model
from napari_coordgate.normalization import check_plane, convert_dtype
from napari_coordgate.optics import PSFField

Pixels = NDArray[Any]

CONFIG = DeblurConfig()
RUNTIME = DeblurRuntime()


def deblur(
    image: PixelArray | Image,
    model: AnyMethod | Mapping[str, AnyMethod],
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
) -> Pixels:
    """Deblur an image, or each plane of a stack, with the blur of its lens or a trained model.

    With a PSF field or a lens, the image is deconvolved by the universal model, a network that
    serves every lens and needs no training, or as ``config.deconvolution`` says. A model that was
    trained for one lens needs neither.

    Parameters
    ----------
    image : array, shape (..., H, W), or Image
        Blurred image in its own units. Of a dask, zarr or similar array, one plane is
        loaded at a time, or one window of a large plane.
    model : Model, UniversalModel, PSFField, Lens, GaussianLens, str or Path; or mapping
        ``"universal"``, ``"richardson-lucy"``, ``"wiener"`` or another universal model, together
        with ``psf_field``; or a model trained for this lens; or the blur of the lens alone, for
        the default method. Of models and blur also the file. Or a mapping of the names (or
        numbers) of channels to those of each. A lens is used at the emission wavelength that the
        image states for each channel.
    psf_field : PSFField, Lens, GaussianLens, str or Path, optional
        PSF field of the lens, or the lens, of which a PSF field for the frame of the image is
        made; or the file of either.
    camera : Camera, optional
        Noise of the image, instead of that of ``config``. The universal model estimates it from
        the image if it is not known.
    axes : str, optional
        Axes of the array, as letters of TCZYX and S (samples); by default those of an
        `Image`, or the last letters of TCZYX.
    origin : tuple of int, optional
        First frame pixel (y, x) of the image, if it is a window of the frame (a region of
        interest of the camera) and not the whole frame.
    config : DeblurConfig
        Precision and pixel type of the result; method of deconvolution and camera noise.
    runtime : DeblurRuntime
        Device, tile size and memory; they do not change the result.
    device : {"auto", "cpu", "cuda", "mps"}, optional
        Device to compute on, instead of the one of ``runtime``.
    callback : callable, optional
        Called with each event of `deblur_events`.
    cancel : threading.Event, optional
        Set it from another thread to stop the work.

    Returns
    -------
    ndarray, shape of ``image``
        Deblurred image in the units of the input; float32, or the pixel type of the input
        if ``config.keep_dtype`` is set.

    Raises
    ------
    FrameMismatchError
        If the image is neither the frame nor a given window of it.
    ImageError
        If a plane is constant, contains NaN, or is smaller than 2 x 2 pixels.
    ModelError, PSFError
        If the model or the PSF field cannot be read.
    SettingsError
        If deconvolution is set for a model, a method lacks the blur of the lens, or its camera
        noise is needed and unknown.
    DeviceMemoryError
        If the memory is too small; the message suggests a tile size.
    OutputError
        If the result has NaN or infinite pixels.
    CanceledError
        If canceled.

    Warns
    -----
    FrameMismatchWarning
        If the image shows the frame at another size (it is resampled to the frame,
        deblurred, and resampled back), or if its pixel size differs from that of the model
        or PSF field.
    ResultRangeWarning
        If the result is far outside the range of the image.
    LensMismatchWarning
        If the noise or the blur in the image contradicts the model or PSF field, so that the
        result is probably worse than the image, see `check`; with ``runtime.strict``, a
        LensMismatchError.

    References
    ----------
    S. Howard, P. Norreys and A. Döpp, "CoordGate: Efficiently computing spatially-varying
    convolutions in convolutional neural networks".

    Examples
    --------
    >>> from napari_coordgate import deblur, read_image
    >>> image = read_image("sample_data/blurred/nuclei.tif")
    >>> corner = image.data[0, :48, :48]
    >>> deblur(corner, "sample_data/starter.safetensors", origin=(0, 0)).shape
    (48, 48)

    With the PSF field of the lens, or the lens itself, and no training:

    >>> from napari_coordgate import DeblurConfig, PSFField, load_lens
    >>> psf_field = PSFField.from_lens(load_lens("sample_data/lens.yaml"), (256, 256))
    >>> deblur(corner, psf_field, origin=(0, 0)).shape
    (48, 48)
    >>> config = DeblurConfig(deconvolution={"method": "richardson-lucy", "num_iter": 5})
    >>> deblur(corner, psf_field, origin=(0, 0), config=config).shape
    (48, 48)
    """
    events = deblur_events(
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


def deblur_events(
    image: PixelArray | Image,
    model: AnyMethod | Mapping[str, AnyMethod],
    *,
    psf_field: AnyBlur | None = None,
    camera: Camera | None = None,
    axes: str | None = None,
    origin: tuple[int, int] | FrameAlignment | None = None,
    config: DeblurConfig = CONFIG,
    runtime: DeblurRuntime = RUNTIME,
    device: Device | None = None,
    out: Pixels | None = None,
    first: Callable[[], StackIndex] | None = None,
    cancel: threading.Event | None = None,
) -> Generator[Event, None, Pixels]:
    """Generator form of `deblur`, with the same parameters, warnings and errors.

    Parameters
    ----------
    origin : tuple of int or FrameAlignment, optional
        As for `deblur`, or the result of `align_to_frame`, which suppresses the warning.
    out : ndarray, shape of ``image``, optional
        Array for the result, for example a memory map; it is filled tile by tile.
    first : callable, optional
        Returns the index, over the axes other than Y and X, of the plane to prioritize, such
        as the one on display. Called before each plane; the nearest remaining one is next.

    Yields
    ------
    Progress
        After each tile, or each iteration of a deconvolution.
    PlaneDone
        After each plane.
    Note
        At the end, why the lens was not checked, if it was not.

    Returns
    -------
    ndarray, shape of ``image``
        Deblurred image, as for `deblur`; ``out`` if given.
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
        mismatch = find_mismatches(image, reference, deblurrer, config.camera, window, runtime)
    if mismatch.message:
        warnings.warn(mismatch.message, LensMismatchWarning, stacklevel=2)
    with memory_errors(image):
        result = (
            np.empty(image.data.shape, output_dtype(image.data, config)) if out is None else out
        )
    ranges = IntensityRanges(image, config, deblurrer.scaling)
    planes = deblur_planes(
        deblurrer, image, result, window, ranges=ranges, first=first, cancel=cancel
    )
    yield from with_warnings(planes)
    if mismatch.note:
        yield Note(mismatch.note)
    return result


def window_of(
    image: Image,
    reference: Model | PSFField,
    origin: tuple[int, int] | FrameAlignment | None,
    config: DeblurConfig,
) -> Window:
    """Window of the frame that an image shows; warns if it is resampled, or of other pixel size."""
    if isinstance(origin, FrameAlignment):
        return origin.window
    alignment = align_to_frame(image, reference, origin, whole_frame=config.whole_frame)
    if alignment.note:
        warnings.warn(alignment.note, FrameMismatchWarning, stacklevel=3)
    return alignment.window


def output_dtype(image: PixelArray, config: DeblurConfig) -> np.dtype[Any]:
    """Pixel type of the result: float32, or that of the input if configured."""
    return image.dtype.newbyteorder("=") if config.keep_dtype else np.dtype(np.float32)


def deblur_planes(
    deblurrer: AnyDeblurrer,
    image: Image,
    out: WritablePixelArray,
    window: Window,
    *,
    ranges: IntensityRanges | None = None,
    only: slice = slice(None),
    first: Callable[[], StackIndex] | None = None,
    cancel: threading.Event | None = None,
) -> Generator[Event]:
    """Deblur planes of an image, which shows this window of the frame, into ``out``.

    ``ranges`` are by default those of each plane. ``only`` selects planes in the order of
    `plane_indices`; ``first`` is as in `deblur_events`.
    """
    ends: list[IterationEnd] = []

    def process(
        source: PlaneView, target: PlaneView, name: str, check: Check
    ) -> Generator[None, None, None]:
        of_plane = deblurrer_of_plane(deblurrer, source.index)
        given = name, check, window, None if ranges is None else ranges.of(source)
        with memory_errors(image):
            if source.shape == window.shape:
                ends.extend((yield from of_plane.process(source, target, *given)))
                return
            pixels = source[WHOLE_PLANE]
            check_plane(pixels, name)
            plane, deblurred = resample(pixels, window.shape, name), np.empty(window.shape, "f4")
            ends.extend((yield from of_plane.process(plane, deblurred, *given)))
            pixels = resample(deblurred, source.shape, name)
            target[WHOLE_PLANE] = convert_dtype(pixels, target.dtype)

    steps = deblurrer.steps(window.shape)
    yield from process_planes(
        image, out, process, steps, deblurrer.unit, only=only, first=first, cancel=cancel
    )
    if ends and (text := describe_ends(ends)):
        yield Note(f"{image.name}: {text}.")


@contextmanager
def memory_errors(image: Image) -> Iterator[None]:
    """Convert `MemoryError` to an error for the user."""
    try:
        yield
    except MemoryError:
        raise DeviceMemoryError(
            f"{image.name}: not enough memory for the image and its result; close other programs, "
            "or write the result to a file."
        ) from None
