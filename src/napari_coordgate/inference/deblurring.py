"""Deblurring as users call it: an array back, or a job of events."""

import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from napari_coordgate.arrays import WritablePixelArray
from napari_coordgate.config import DeblurConfig, DeblurRuntime, Device
from napari_coordgate.events import Event, finish, reporting_end
from napari_coordgate.inference.alignment import FrameAlignment
from napari_coordgate.inference.predictor import Predictor
from napari_coordgate.io import Image, PixelArray, as_image
from napari_coordgate.model import Model

__all__ = ["deblur", "deblur_events"]

Pixels = NDArray[Any]

DEFAULTS, DEFAULT_RUNTIME = DeblurConfig(), DeblurRuntime()


def deblur(
    image: PixelArray | Image,
    checkpoint: str | Path | Model,
    *,
    axes: str | None = None,
    origin: tuple[int, int] | None = None,
    config: DeblurConfig = DEFAULTS,
    runtime: DeblurRuntime = DEFAULT_RUNTIME,
    device: Device | None = None,
    cancel: threading.Event | None = None,
) -> Pixels:
    """Deblur an image, or each plane of a stack.

    Parameters
    ----------
    image : array, shape (..., H, W), or Image
        Blurred image in its own units. Of an array of dask, zarr and the like, one
        plane is loaded at a time, or one window of a large plane.
    checkpoint : str, Path or Checkpoint
        The trained network.
    axes : str, optional
        Letters of TCZYX and S for the array's axes; when not given, an `Image`'s
        own, or the last of TCZYX.
    origin : tuple of int, optional
        The image is the window of the trained frame that begins at this pixel
        (a region of interest of the camera), not the whole frame.
    config : DeblurConfig
        Precision and pixel type.
    runtime : DeblurRuntime
        Device, tiles and memory.
    device : {"auto", "cpu", "cuda", "mps"}, optional
        Device, instead of that of ``runtime``.
    cancel : threading.Event, optional
        Once set, the work ends.

    Returns
    -------
    ndarray, shape of ``image``
        Deblurred image in the input's units; float32 unless configured otherwise.

    Raises
    ------
    FrameMismatchError
        If the image is neither the frame nor a declared window of it.
    ImageError
        If a plane holds nothing to work with.
    CheckpointError
        If the checkpoint cannot be read.
    DeviceMemoryError
        If the memory does not suffice; the message names a tile that may fit.
    CanceledError
        If canceled.

    Warns
    -----
    FrameMismatchWarning
        If the image shows the frame at another size: it is resampled to the
        frame, deblurred, and resampled back. Also if its pixels are known to be
        of another size than the frame's.
    """
    events = deblur_events(
        image,
        checkpoint,
        axes=axes,
        origin=origin,
        config=config,
        runtime=runtime,
        device=device,
        cancel=cancel,
    )
    result: Pixels = finish(events).result
    return result


def deblur_events(
    image: PixelArray | Image,
    checkpoint: str | Path | Model,
    *,
    axes: str | None = None,
    origin: tuple[int, int] | FrameAlignment | None = None,
    config: DeblurConfig = DEFAULTS,
    runtime: DeblurRuntime = DEFAULT_RUNTIME,
    device: Device | None = None,
    out: WritablePixelArray | None = None,
    cancel: threading.Event | None = None,
    first: Callable[[], tuple[int, ...]] | None = None,
) -> Generator[Event]:
    """Deblur an image as a job of events; see `deblur` for what is not said here.

    Parameters
    ----------
    image, checkpoint, axes, config, runtime, device, cancel
        As for `deblur`.
    origin : tuple of int or Placement, optional
        As for `deblur`; or where the image lies as `placement` told it to the caller,
        who then needs no warning.
    out : array, shape of ``image``, optional
        Where to write, for example a memory-mapped file or an array of zarr; it is filled
        window by window.
    first : callable, optional
        Asked before each plane for the one wanted most, say the one on view: its
        index over the axes other than Y and X. The nearest that is left is next.

    Yields
    ------
    Progress
        After each tile.
    PlaneDone
        After each plane.
    Finished
        Once, at the end. If completed, its result is the deblurred array.
    """

    def events() -> Iterator[Event]:
        known = as_image(image, axes)
        model = checkpoint if isinstance(checkpoint, Model) else Model.load(checkpoint)
        yield from Predictor(model, config, runtime.on(device)).events(
            known, origin, out, cancel, first
        )

    return reporting_end(events())
