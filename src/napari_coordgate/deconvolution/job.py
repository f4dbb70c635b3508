"""Deconvolution as users call it: an array back, or a job of events."""

import threading
import warnings
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_coordgate.config import Camera, Device, RichardsonLucyConfig, Scaling, WienerConfig
from napari_coordgate.deconvolution.blur import Blur, within_memory
from napari_coordgate.deconvolution.richardson_lucy import richardson_lucy_steps
from napari_coordgate.deconvolution.wiener import wiener_steps
from napari_coordgate.errors import FrameMismatchError, FrameMismatchWarning
from napari_coordgate.events import (
    Event,
    Finished,
    PlaneDone,
    Stopwatch,
    finish,
    pluralize,
    raise_if_canceled,
    reporting_end,
)
from napari_coordgate.geometry import Window
from napari_coordgate.io import Image, PixelArray, as_image, plane_indices
from napari_coordgate.normalization import fit_normalizer
from napari_coordgate.optics import PSFField

__all__ = ["AnyClassical", "deconvolve", "deconvolve_events"]

AnyClassical = WienerConfig | RichardsonLucyConfig

Pixels = NDArray[Any]

SAME_PIXEL = 0.02
"""Relative difference up to which two sizes of a pixel are the same."""


def deconvolve(
    image: PixelArray | Image,
    field: PSFField,
    config: AnyClassical,
    *,
    axes: str | None = None,
    origin: tuple[int, int] | None = None,
    scaling: Scaling | None = None,
    camera: Camera | None = None,
    device: Device = "auto",
    cancel: threading.Event | None = None,
) -> Pixels:
    """Deconvolve an image, or each plane of a stack, by a classical method.

    Parameters
    ----------
    image : array, shape (..., H, W), or Image
        Blurred image in its own units.
    field : PSFField
        The blur of the frame.
    config : WienerConfig or RichardsonLucyConfig
        The method.
    axes : str, optional
        Letters of TCZYX and S for the array's axes; when not given, an `Image`'s
        own, or the last of TCZYX.
    origin : tuple of int, optional
        The image is the window of the frame that begins at this pixel, not the whole.
    scaling : Scaling, optional
        Percentiles that are no and full brightness; the lower one is taken for the
        camera's offset, which the lens does not blur.
    camera : Camera, optional
        Noise of the image, for Richardson-Lucy.
    device : {"auto", "cpu", "cuda", "mps"}
        Where to compute.
    cancel : threading.Event, optional
        Once set, the work ends.

    Returns
    -------
    ndarray of float32, shape of ``image``
        Deconvolved image in the input's units.

    Raises
    ------
    FrameMismatchError
        If the image is neither the frame nor a declared window of it.
    ImageError
        If a plane holds nothing to work with.
    SettingsError
        If the method needs a camera that was not given.
    DeviceMemoryError
        If the memory does not suffice.
    CanceledError
        If canceled.

    Warns
    -----
    FrameMismatchWarning
        If the image's pixels are known to be of another size than the PSF field's.
    """
    events = deconvolve_events(
        image,
        field,
        config,
        axes=axes,
        origin=origin,
        scaling=scaling,
        camera=camera,
        device=device,
        cancel=cancel,
    )
    result: Pixels = finish(events).result
    return result


def deconvolve_events(
    image: PixelArray | Image,
    field: PSFField,
    config: AnyClassical,
    *,
    axes: str | None = None,
    origin: tuple[int, int] | None = None,
    scaling: Scaling | None = None,
    camera: Camera | None = None,
    device: Device = "auto",
    out: Pixels | None = None,
    cancel: threading.Event | None = None,
) -> Generator[Event]:
    """Deconvolve an image as a job of events; see `deconvolve` for what is not said here.

    Parameters
    ----------
    image, field, config, axes, origin, scaling, camera, device, cancel
        As for `deconvolve`.
    out : ndarray, shape of ``image``, optional
        Where to write, for example a memory-mapped file.

    Yields
    ------
    Progress
        After each iteration.
    PlaneDone
        After each plane.
    Finished
        Once, at the end. If completed, its result is the deconvolved array.
    """

    def restored(scaled: NDArray[np.float32], blur: Blur) -> Iterator[Tensor]:
        if isinstance(config, WienerConfig):
            return within_memory(wiener_steps(scaled, blur, config), blur.image)
        return within_memory(richardson_lucy_steps(scaled, blur, config, camera), blur.image)

    def events() -> Iterator[Event]:
        known = as_image(image, axes)
        _check_frame(known, field, origin)
        window = Window(*(origin or (0, 0)), *known.frame_shape)
        blur = Blur(field, config.psf, window, device)
        result = np.empty(known.data.shape, np.float32) if out is None else out
        indices = list(plane_indices(known))
        stopwatch = Stopwatch("deconvolving", len(indices) * config.num_iter)
        for number, index in enumerate(indices):
            plane = known.plane(index)
            brightness = fit_normalizer(plane, scaling or Scaling(), known.name)
            latest = torch.empty(0)
            for step, estimate in enumerate(restored(brightness.normalize(plane), blur), start=1):
                raise_if_canceled(cancel, f"Stopped after {pluralize(number, 'plane')}.")
                latest = estimate
                yield stopwatch.progress(number * config.num_iter + step)
            result[index] = brightness.denormalize(latest.cpu().numpy(), result.dtype)
            yield stopwatch.progress((number + 1) * config.num_iter)
            yield PlaneDone(tuple(i for i in index if isinstance(i, int)))
        count = pluralize(len(indices), "plane")
        message = f"Deconvolved {known.name} ({count}, {stopwatch.seconds:.1f} s)."
        yield Finished("completed", message, result=result)

    return reporting_end(events())


def _check_frame(image: Image, field: PSFField, origin: tuple[int, int] | None) -> None:
    """Make sure that an image whose place is not told is the whole frame; compare pixel sizes."""
    if origin is None and tuple(image.frame_shape) != field.frame_shape:
        own, wanted = ("x".join(map(str, s)) for s in (image.frame_shape, field.frame_shape))
        raise FrameMismatchError(
            f"{image.name} is {own} pixels, but the PSF field's frame is {wanted}; name the frame "
            "pixel at which the image begins, or make a PSF field for its size."
        )
    own_um, field_um = image.pixel_size_um, field.pixel_size_um
    if own_um and field_um and not np.allclose(own_um, field_um, rtol=SAME_PIXEL, atol=0):
        warnings.warn(
            f"{image.name} has pixels of {own_um} um, but the PSF field is of {field_um} um: the "
            "blur may be another.",
            FrameMismatchWarning,
            stacklevel=2,
        )
