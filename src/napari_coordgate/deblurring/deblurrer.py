"""A trained network at work on the planes and tiles of images."""

import copy
import math
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.transform import resize

from napari_coordgate.checkpoint import Checkpoint
from napari_coordgate.config import DeblurConfig
from napari_coordgate.coordinates import Window, frame_coordinates, tiles
from napari_coordgate.deblurring.gates import KeptMaps
from napari_coordgate.deblurring.placement import Placement, placement
from napari_coordgate.devices import is_out_of_memory, resolve_device, to_device
from napari_coordgate.errors import DeviceMemoryError, FrameMismatchWarning
from napari_coordgate.images import Image, PixelArray, planes
from napari_coordgate.intensities import cast, check_plane, intensity_range
from napari_coordgate.networks import FEATURES_A_PIXEL
from napari_coordgate.progress import (
    Event,
    Finished,
    PlaneDone,
    Stopwatch,
    counted,
    raise_if_cancelled,
)

__all__ = ["Deblurrer", "output_dtype"]

Pixels = NDArray[Any]
Place = tuple[int, ...]

REUSED_BYTES = 2**25
"""Size below which a CPU's allocator reuses memory; larger arrays cost it half as much again."""


def output_dtype(image: PixelArray, config: DeblurConfig) -> np.dtype[Any]:
    """Pixel type of the result: float32, or the input's own where that is to be kept."""
    return image.dtype.newbyteorder("=") if config.keep_dtype else np.dtype(np.float32)


class Deblurrer:
    """A network on its device, with the gating maps it has computed so far.

    Parameters
    ----------
    checkpoint : Checkpoint
        The trained network.
    config : DeblurConfig
        Tiles, pixel type and device.
    """

    def __init__(self, checkpoint: Checkpoint, config: DeblurConfig) -> None:
        self.checkpoint = checkpoint
        self.config = config
        self.device = resolve_device(config.device)
        # A copy: the checkpoint's own network stays on the CPU.
        self.network = to_device(copy.deepcopy(checkpoint.network), self.device)
        self._maps = KeptMaps(self.network, config.memory_gb)

    def events(
        self,
        image: Image,
        origin: tuple[int, int] | Placement | None = None,
        out: Pixels | None = None,
        cancel: threading.Event | None = None,
        first: Callable[[], Place] | None = None,
    ) -> Iterator[Event]:
        """Deblur an image; the events are those of `deblur_events`, with errors raised."""
        shown = self._window(image, origin)
        if out is None:
            out = np.empty(image.data.shape, output_dtype(image.data, self.config))
        work = list(tiles(shown.shape, self.tile_size, self.halo, self.multiple))
        indices = {_place(index): index for index in planes(image)}
        stopwatch = Stopwatch("deblurring", len(work) * len(indices))
        done, all_tiles = 0, counted(stopwatch.total, "tile")
        for place in _as_wanted(indices, first):
            index = indices[place]
            numbers = ", ".join(map(str, place))
            name = f"{image.name}, plane {numbers}" if len(indices) > 1 else image.name
            for _ in self._plane(image.plane(index), name, shown, work, out[index]):
                done += 1
                yield stopwatch.progress(done)
                if done % len(work):
                    raise_if_cancelled(cancel, f"Stopped after {done} of {all_tiles}.")
            yield PlaneDone(place)
            if done < stopwatch.total:
                raise_if_cancelled(cancel, f"Stopped after {done} of {all_tiles}.")
        count = counted(len(indices), "plane")
        message = f"Deblurred {image.name} ({count}, {stopwatch.seconds:.1f} s)."
        yield Finished("completed", message, result=out)

    def _window(self, image: Image, origin: tuple[int, int] | Placement | None) -> Window:
        """Window of the frame that an image shows; warns unless its caller knows it already."""
        if isinstance(origin, Placement):
            return origin.window
        window, note = placement(image, self.checkpoint, origin)
        if note:
            warnings.warn(note, FrameMismatchWarning, stacklevel=2)
        return window

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
        for tile, deblurred in self._restored(
            lambda window: scaling.scale(plane[window.within(whole)]), shown, work
        ):
            out[tile.within(whole)] = scaling.restore(deblurred, out.dtype)
            yield

    def scaled(self, blurred: NDArray[np.float32], shown: Window) -> NDArray[np.float32]:
        """Deblur one plane that is scaled already, as validation does: by tiles if need be.

        Parameters
        ----------
        blurred : ndarray of float32, shape (H, W)
            Blurred image in the network's range.
        shown : Window
            Where it lies in the frame, of its shape.

        Returns
        -------
        ndarray of float32, shape (H, W)
            Deblurred image, scaled likewise.

        Raises
        ------
        DeviceMemoryError
            If the memory does not suffice; the message names a tile that may fit.
        """
        whole, deblurred = Window.whole(shown.shape), np.empty(shown.shape, np.float32)
        work = tiles(shown.shape, self.tile_size, self.halo, self.multiple)
        for tile, restored in self._restored(lambda part: blurred[part.within(whole)], shown, work):
            deblurred[tile.within(whole)] = restored
        return deblurred

    def _restored(
        self,
        scaled: Callable[[Window], NDArray[np.float32]],
        shown: Window,
        work: Iterable[tuple[Window, Window]],
    ) -> Iterator[tuple[Window, NDArray[np.float32]]]:
        """Each tile of an image, deblurred; ``scaled`` gives a window of the image."""
        for tile, window in work:
            restored = self._tile(scaled(window), _in_frame(window, shown))
            yield tile, restored[tile.within(window)]

    @torch.inference_mode()
    def _tile(self, scaled: NDArray[np.float32], place: Window) -> NDArray[np.float32]:
        """Network's output for a scaled tile (H, W) that lies at this window of the frame."""
        try:
            array = frame_coordinates(self.checkpoint.frame_shape, place)
            coordinates = torch.from_numpy(array)[None].to(self.device)
            blurred = torch.from_numpy(np.ascontiguousarray(scaled)).to(self.device)
            maps = self._maps.of(place, coordinates)
            restored = self.network(blurred[None, None], coordinates, maps)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise self._too_large(place) from None
        deblurred: NDArray[np.float32] = restored[0, 0].cpu().numpy()
        return deblurred

    def _too_large(self, place: Window) -> DeviceMemoryError:
        """Error that names a tile which may fit where this window did not."""
        smaller = max(place.shape) // 2
        if smaller < 2 * self.halo + self.multiple:
            advice = "no smaller tile is possible: choose a device with more memory"
        else:
            advice = f"choose a tile of {smaller}"
        return DeviceMemoryError(
            f"The {self.device.type} ran out of memory at a tile of "
            f"{place.height}x{place.width} pixels; {advice}."
        )


def _in_frame(window: Window, shown: Window) -> Window:
    """Window of an image, in pixels of the frame of which the image shows a part."""
    return window._replace(y0=window.y0 + shown.y0, x0=window.x0 + shown.x0)


def _place(index: tuple[int | slice, ...]) -> Place:
    """Index of a plane over the axes other than Y and X."""
    return tuple(i for i in index if isinstance(i, int))


def _as_wanted(places: Iterable[Place], first: Callable[[], Place] | None) -> Iterator[Place]:
    """Places in their order; if it is said which is wanted, always the nearest to that one."""
    left = list(places)
    if first is None:
        yield from left
        return
    while left:
        nearest = min(left, key=partial(math.dist, first()))
        left.remove(nearest)
        yield nearest
