"""Deblur images with a trained network: whole, or tile by tile."""

import threading
import warnings
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.transform import resize
from torch import Tensor

from napari_coordgate.checkpoint import Checkpoint, load_checkpoint
from napari_coordgate.config import DeblurConfig
from napari_coordgate.coordinates import Window, frame_coordinates, tiles
from napari_coordgate.devices import is_out_of_memory, resolve_device, to_device
from napari_coordgate.errors import (
    CancelledError,
    DeviceMemoryError,
    FrameMismatchError,
    FrameMismatchWarning,
    ImageError,
)
from napari_coordgate.images import Image, planes
from napari_coordgate.intensities import cast, check_plane, intensity_range
from napari_coordgate.networks import GatingMaps
from napari_coordgate.progress import Event, Finished, Stopwatch, finish, reporting_end

__all__ = ["Deblurrer", "deblur", "deblur_events", "gating_maps", "output_dtype"]

Pixels = NDArray[Any]

DEFAULTS = DeblurConfig()
FEATURES_A_PIXEL = 10
"""Feature maps at full resolution that are in memory at once, gating maps included; measured."""
REUSED_BYTES = 2**25
"""Size below which a CPU's allocator reuses memory; larger arrays cost it half as much again."""
SAME_VIEW = 0.02
"""Relative difference up to which two fields of view are the same."""


def deblur(
    image: Pixels | Image,
    checkpoint: str | Path | Checkpoint,
    *,
    axes: str | None = None,
    origin: tuple[int, int] | None = None,
    config: DeblurConfig = DEFAULTS,
    cancel: threading.Event | None = None,
) -> Pixels:
    """Deblur an image, or each plane of a stack.

    Parameters
    ----------
    image : ndarray, shape (..., H, W), or Image
        Blurred image in its own units.
    checkpoint : str, Path or Checkpoint
        The trained network.
    axes : str, optional
        Letters of TCZYX and S for the array's axes; the last of TCZYX when not given.
    origin : tuple of int, optional
        The image is the window of the trained frame that begins at this pixel
        (a region of interest of the camera), not the whole frame.
    config : DeblurConfig
        Tiles, pixel type and device.
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
    CancelledError
        If cancelled.

    Warns
    -----
    FrameMismatchWarning
        If the image shows the frame at another size: it is resampled to the
        frame, deblurred, and resampled back.
    """
    events = deblur_events(
        image, checkpoint, axes=axes, origin=origin, config=config, cancel=cancel
    )
    result: Pixels = finish(events).result
    return result


def deblur_events(
    image: Pixels | Image,
    checkpoint: str | Path | Checkpoint,
    *,
    axes: str | None = None,
    origin: tuple[int, int] | None = None,
    config: DeblurConfig = DEFAULTS,
    out: Pixels | None = None,
    cancel: threading.Event | None = None,
) -> Generator[Event]:
    """Deblur an image as a job of events; see `deblur` for what is not said here.

    Parameters
    ----------
    image, checkpoint, axes, origin, config, cancel
        As for `deblur`.
    out : ndarray, shape of ``image``, optional
        Where to write, for example a memory-mapped file.

    Yields
    ------
    Progress
        After each tile.
    Finished
        Once, at the end. If completed, its result is the deblurred array.
    """

    def events() -> Iterator[Event]:
        known = image if isinstance(image, Image) else _named_axes(np.asarray(image), axes)
        model = checkpoint if isinstance(checkpoint, Checkpoint) else load_checkpoint(checkpoint)
        yield from Deblurrer(model, config).events(known, origin, out, cancel)

    return reporting_end(events())


def output_dtype(image: Pixels, config: DeblurConfig) -> np.dtype[Any]:
    """Pixel type of the result: float32, or the input's own where that is to be kept."""
    return image.dtype.newbyteorder("=") if config.keep_dtype else np.dtype(np.float32)


def gating_maps(
    checkpoint: str | Path | Checkpoint, window: Window | None = None
) -> dict[str, NDArray[np.float32]]:
    """Gating maps that a network has learned, as images.

    Parameters
    ----------
    checkpoint : str, Path or Checkpoint
        The trained network.
    window : Window, optional
        Part of the frame; all of it when not given.

    Returns
    -------
    dict of str to ndarray, shape (n_c, h, w)
        Maps of each gate, at its level's resolution. ``"down 1"`` stands before
        the first down-sampling, ``"up 1"`` after the last up-sampling, both at
        full resolution; ``"down 2"`` at half of it. Empty for a network without gates.
    """
    model = checkpoint if isinstance(checkpoint, Checkpoint) else load_checkpoint(checkpoint)
    coordinates = torch.from_numpy(frame_coordinates(model.frame_shape, window))[None]
    maps = model.network.gating_maps(coordinates)
    return {
        f"{place} {level}": gate[0].numpy()
        for place, gates in maps._asdict().items()
        for level, gate in enumerate(gates, start=1)
    }


class Deblurrer:
    """A network on its device, with the gating maps it has computed so far.

    Parameters
    ----------
    checkpoint : Checkpoint
        The trained network.
    config : DeblurConfig
        Tiles, pixel type and device.
    """

    def __init__(self, checkpoint: Checkpoint, config: DeblurConfig = DEFAULTS) -> None:
        self.checkpoint = checkpoint
        self.config = config
        self.device = resolve_device(config.device)
        self.network = to_device(checkpoint.network, self.device)
        self._maps: dict[Window, GatingMaps | None] = {}
        self._used = False

    def events(
        self,
        image: Image,
        origin: tuple[int, int] | None = None,
        out: Pixels | None = None,
        cancel: threading.Event | None = None,
    ) -> Iterator[Event]:
        """Deblur an image; the events are those of `deblur_events`, with errors raised."""
        shown = self._window_shown(image, origin)
        if out is None:
            out = np.empty(image.data.shape, output_dtype(image.data, self.config))
        work = list(tiles(shown.shape, self.tile_size, self.halo, self.multiple))
        places = list(planes(image))
        # Of a single image's maps there is no second use.
        again = self._used or len(places) > 1
        self._keep_maps([_in_frame(window, shown) for _, window in work if again])
        self._used = True
        stopwatch = Stopwatch("deblurring", len(work) * len(places))
        done = 0
        for place in places:
            name = image.name if len(places) == 1 else f"{image.name}, plane {_numbers(place)}"
            for _ in self._plane(image.data[place], name, shown, work, out[place]):
                done += 1
                yield stopwatch.progress(done)
                if cancel is not None and cancel.is_set() and done < stopwatch.total:
                    raise CancelledError(f"Stopped after {done} of {stopwatch.total} tiles.")
        count = f"{len(places)} planes" if len(places) > 1 else "1 plane"
        message = f"Deblurred {image.name} ({count}, {stopwatch.seconds:.1f} s)."
        yield Finished("completed", message, result=out)

    @property
    def halo(self) -> int:
        """Margin that makes a tile equal to the whole."""
        return self.network.receptive_radius

    @property
    def multiple(self) -> int:
        """Pixels to whose multiples tiles snap."""
        return self.checkpoint.config.network.multiple

    @property
    def tile_size(self) -> int:
        """Side of a tile with its halo, as configured or as the memory allows."""
        if self.config.tile is not None:
            return self.config.tile
        feature = 4 * self.checkpoint.config.network.base_channels
        affordable = np.sqrt(self.config.memory_gb * 1e9 / (FEATURES_A_PIXEL * feature))
        fastest = max(np.sqrt(REUSED_BYTES / feature), 8 * self.halo)
        return max(int(min(affordable, fastest)), 2 * self.halo + 4 * self.multiple)

    def _window_shown(self, image: Image, origin: tuple[int, int] | None) -> Window:
        """Window of the frame that the image shows, in frame pixels."""
        frame = Window.whole(self.checkpoint.frame_shape)
        shape = image.frame_shape
        if origin is not None:
            window = Window(*origin, *shape)
            if not frame.contains(window):
                raise FrameMismatchError(
                    f"{image.name}: a window of {_size(shape)} pixels at {origin} leaves the "
                    f"trained frame of {_size(frame.shape)}; correct the origin."
                )
            return window
        if shape == frame.shape:
            return frame
        if not self._same_view(image):
            raise FrameMismatchError(
                f"{image.name} is {_size(shape)} pixels, but the network serves a frame of "
                f"{_size(frame.shape)}; state the origin of the window that it shows, or train a "
                "network for this frame."
            )
        warnings.warn(
            f"{image.name} is {_size(shape)} pixels and is taken for the whole frame of "
            f"{_size(frame.shape)} at another size: it is resampled for the network and back.",
            FrameMismatchWarning,
            stacklevel=2,
        )
        return frame

    def _same_view(self, image: Image) -> bool:
        """Whether an image may show the whole frame at another size."""
        scales = np.divide(image.frame_shape, self.checkpoint.frame_shape)
        rounding = 1 / min(*image.frame_shape, *self.checkpoint.frame_shape)
        if abs(scales[0] / scales[1] - 1) > rounding:
            return False
        if image.pixel_size_um is None or self.checkpoint.pixel_size_um is None:
            return True
        pixels = np.divide(image.pixel_size_um, self.checkpoint.pixel_size_um)
        return bool(np.all(np.abs(scales * pixels - 1) < SAME_VIEW))

    def _plane(
        self,
        plane: Pixels,
        name: str,
        shown: Window,
        work: list[tuple[Window, Window]],
        out: Pixels,
    ) -> Iterator[None]:
        """Deblur one plane into ``out``; yields after each tile."""
        check_plane(plane, name)
        if plane.shape != shown.shape:
            frame = resize(plane.astype(np.float32), shown.shape, order=3, mode="symmetric")
            restored = np.empty(shown.shape, np.float32)
            yield from self._plane(frame, name, shown, work, restored)
            out[...] = cast(resize(restored, plane.shape, order=3, mode="symmetric"), out.dtype)
            return
        scaling = intensity_range(plane, self.checkpoint.config.scaling, name)
        whole = Window.whole(plane.shape)
        for tile, window in work:
            blurred = torch.from_numpy(scaling.scale(plane[window.within(whole)]))
            deblurred = self._tile(blurred, _in_frame(window, shown))[tile.within(window)]
            out[tile.within(whole)] = scaling.restore(deblurred, out.dtype)
            yield

    @torch.inference_mode()
    def _tile(self, blurred: Tensor, place: Window) -> NDArray[np.float32]:
        """Network's output for a scaled tile (H, W) that lies at this window of the frame."""
        try:
            array = frame_coordinates(self.checkpoint.frame_shape, place)
            coordinates = torch.from_numpy(array)[None].to(self.device)
            maps = self._maps_of(place, coordinates)
            restored = self.network(blurred[None, None].to(self.device), coordinates, maps)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise DeviceMemoryError(
                f"The {self.device.type} ran out of memory at a tile of {_size(place.shape)} "
                f"pixels; choose a tile of {max(place.shape) // 2}."
            ) from None
        deblurred: NDArray[np.float32] = restored[0, 0].cpu().numpy()
        return deblurred

    def _keep_maps(self, windows: list[Window]) -> None:
        """Gating maps of these windows will be kept, if all of them fit the memory."""
        pixels = sum(window.height * window.width for window in windows)
        gated = self.network.config.channels[:-1]
        channels = sum(2 * n / 4**level for level, n in enumerate(gated))
        fits = 4 * channels * pixels <= self.config.memory_gb * 1e9
        self._maps = {window: self._maps.get(window) for window in windows if fits}

    def _maps_of(self, window: Window, coordinates: Tensor) -> GatingMaps:
        """Gating maps of a window, computed once if they are kept."""
        maps = self._maps.get(window) or self.network.gating_maps(coordinates)
        if window in self._maps:
            self._maps[window] = maps
        return maps


def _in_frame(window: Window, shown: Window) -> Window:
    """Window of an image, in pixels of the frame of which the image shows a part."""
    return window._replace(y0=window.y0 + shown.y0, x0=window.x0 + shown.x0)


def _named_axes(array: Pixels, axes: str | None) -> Image:
    """Image of an array; without axes, the last letters of TCZYX."""
    if axes is None:
        if not 2 <= array.ndim <= 5:
            raise ImageError(
                f"An array of shape {array.shape} is no image; give (H, W), or up to three axes "
                "before these."
            )
        axes = "TCZYX"[-array.ndim :]
    return Image(array, axes)


def _numbers(place: tuple[int | slice, ...]) -> str:
    return ", ".join(str(i) for i in place if isinstance(i, int))


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}x{shape[1]}"
