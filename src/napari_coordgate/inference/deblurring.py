"""Deblurring of images and stacks with a trained model."""

import math
import threading
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.arrays import PixelArray, WritablePixelArray
from napari_coordgate.config import DeblurConfig, DeblurRuntime, Device, as_settings
from napari_coordgate.errors import DeviceMemoryError, FrameMismatchWarning
from napari_coordgate.events import Event, PlaneDone, Stopwatch, pluralize, raise_if_canceled, run
from napari_coordgate.geometry import Window
from napari_coordgate.inference.alignment import FrameAlignment, align_to_frame, resample
from napari_coordgate.inference.predictor import Check, Float32, Predictor
from napari_coordgate.io import Image, PlaneView, StackIndex, as_image, plane_indices, stack_index
from napari_coordgate.model import Model, as_model
from napari_coordgate.normalization import STRIP_BYTES, check_plane, convert_dtype, fit_normalizer

Pixels = NDArray[Any]

CONFIG = DeblurConfig()
RUNTIME = DeblurRuntime()
WHOLE_PLANE = (slice(None), slice(None))


def deblur(
    image: PixelArray | Image,
    model: str | Path | Model,
    *,
    axes: str | None = None,
    origin: tuple[int, int] | None = None,
    config: DeblurConfig = CONFIG,
    runtime: DeblurRuntime = RUNTIME,
    device: Device | None = None,
    callback: Callable[[Event], None] | None = None,
    cancel: threading.Event | None = None,
) -> Pixels:
    """Deblur an image, or each plane of a stack, with a trained model.

    Parameters
    ----------
    image : array, shape (..., H, W), or Image
        Blurred image in its own units. Of a dask, zarr or similar array, one plane is
        loaded at a time, or one window of a large plane.
    model : str, Path or Model
        Trained model, or the file of one.
    axes : str, optional
        Axes of the array, as letters of TCZYX and S (samples); by default those of an
        `Image`, or the last letters of TCZYX.
    origin : tuple of int, optional
        First frame pixel (y, x) of the image, if it is a window of the model's frame (a
        region of interest of the camera) and not the whole frame.
    config : DeblurConfig
        Precision and pixel type of the result.
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
    ModelError
        If the model cannot be read.
    DeviceMemoryError
        If the memory is too small; the message suggests a tile size.
    CanceledError
        If canceled.

    Warns
    -----
    FrameMismatchWarning
        If the image shows the frame at another size (it is resampled to the frame,
        deblurred, and resampled back), or if its pixel size differs from the model's.

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
    """
    events = deblur_events(
        image,
        model,
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
    model: str | Path | Model,
    *,
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
        After each tile.
    PlaneDone
        After each plane.

    Returns
    -------
    ndarray, shape of ``image``
        Deblurred image, as for `deblur`; ``out`` if given.
    """
    image = as_image(image, axes)
    model = as_model(model)
    config = as_settings(config, DeblurConfig, "config")
    runtime = as_settings(runtime, DeblurRuntime, "runtime").on(device)
    predictor = Predictor(model, config, runtime)
    if isinstance(origin, FrameAlignment):
        window = origin.window
    else:
        window, note = align_to_frame(image, model, origin)
        if note:
            warnings.warn(note, FrameMismatchWarning, stacklevel=2)
    with _memory_errors(image):
        result = (
            np.empty(image.data.shape, output_dtype(image.data, config)) if out is None else out
        )
    yield from deblur_planes(predictor, image, result, window, first=first, cancel=cancel)
    return result


def output_dtype(image: PixelArray, config: DeblurConfig) -> np.dtype[Any]:
    """Pixel type of the result: float32, or that of the input if configured."""
    return image.dtype.newbyteorder("=") if config.keep_dtype else np.dtype(np.float32)


def deblur_planes(
    predictor: Predictor,
    image: Image,
    out: WritablePixelArray,
    window: Window,
    *,
    only: slice = slice(None),
    first: Callable[[], StackIndex] | None = None,
    cancel: threading.Event | None = None,
) -> Generator[Event]:
    """Deblur planes of an image, which shows this window of the frame, into ``out``.

    ``only`` selects planes in the order of `plane_indices`; ``first`` is as in `deblur_events`.
    """
    all_planes = list(plane_indices(image))
    indices = {stack_index(index): index for index in all_planes[only]}
    tiles = predictor.tiles(window.shape)
    stopwatch = Stopwatch("deblurring", len(tiles) * len(indices))
    done, total = 0, pluralize(stopwatch.total, "tile")

    def check() -> None:
        raise_if_canceled(cancel, f"Stopped after {done} of {total}.")

    for index in _nearest_first(indices, first):
        source, target = image.view(indices[index]), PlaneView(out, indices[index])
        numbers = ", ".join(map(str, index))
        name = f"{image.name}, plane {numbers}" if len(all_planes) > 1 else image.name
        with _memory_errors(image):
            for _ in _deblur_plane(predictor, source, target, name, window, tiles, check):
                done += 1
                yield stopwatch.progress(done)
                if done % len(tiles):
                    check()
        yield PlaneDone(index)
        if done < stopwatch.total:
            check()


def _deblur_plane(
    predictor: Predictor,
    source: PlaneView,
    target: PlaneView,
    name: str,
    window: Window,
    tiles: Iterable[tuple[Window, Window]],
    check: Check,
) -> Iterator[None]:
    """Deblur one plane tile by tile; yields after each tile."""
    plane: PixelArray = source
    out: PlaneView | Float32 = target
    is_resampled = source.shape != window.shape
    if is_resampled:
        pixels = source[WHOLE_PLANE]
        check_plane(pixels, name)
        plane, out = resample(pixels, window.shape, name), np.empty(window.shape, np.float32)
    elif math.prod(source.shape) * source.dtype.itemsize <= STRIP_BYTES:
        plane = source[WHOLE_PLANE]  # read only once for both passes
    normalizer = fit_normalizer(plane, predictor.model.config.scaling, name, check)
    whole = Window.whole(window.shape)
    for tile, around in tiles:
        scaled = normalizer.normalize(plane[around.within(whole)])
        deblurred = predictor.predict(
            scaled, around.shifted(window.origin), tile.shifted(window.origin), check
        )
        out[tile.within(whole)] = normalizer.denormalize(deblurred, out.dtype)
        yield
    if is_resampled:
        target[WHOLE_PLANE] = convert_dtype(
            resample(out[WHOLE_PLANE], source.shape, name), target.dtype
        )


@contextmanager
def _memory_errors(image: Image) -> Iterator[None]:
    """Convert `MemoryError` to an error for the user."""
    try:
        yield
    except MemoryError:
        raise DeviceMemoryError(
            f"{image.name}: not enough memory for the image and its result; close other programs, "
            "or write the result to a file."
        ) from None


def _nearest_first(
    indices: Iterable[StackIndex], first: Callable[[], StackIndex] | None
) -> Iterator[StackIndex]:
    """Plane indices in their order, or each time the remaining one nearest to ``first()``."""
    remaining = list(indices)
    if first is None:
        yield from remaining
        return
    while remaining:
        nearest = min(remaining, key=partial(math.dist, first()))
        remaining.remove(nearest)
        yield nearest
