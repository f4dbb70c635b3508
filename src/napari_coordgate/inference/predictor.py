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
from torch import nn

from napari_coordgate.arrays import PixelArray, WritablePixelArray
from napari_coordgate.config import DeblurConfig, DeblurRuntime
from napari_coordgate.devices import (
    bfloat16_is_faster,
    free_device_memory,
    is_out_of_memory,
    resolve_device,
    to_device,
)
from napari_coordgate.errors import DeviceMemoryError, FrameMismatchWarning
from napari_coordgate.events import (
    Event,
    Finished,
    PlaneDone,
    Stopwatch,
    pluralize,
    raise_if_canceled,
)
from napari_coordgate.geometry import Window, tiles
from napari_coordgate.inference.alignment import FrameAlignment, align_to_frame
from napari_coordgate.inference.gating_maps import GatingMapCache
from napari_coordgate.inference.resampling import resampled
from napari_coordgate.io import Image, PlaneView, plane_indices
from napari_coordgate.model import Model
from napari_coordgate.networks import FEATURES_PER_PIXEL
from napari_coordgate.normalization import STRIP_BYTES, check_plane, convert_dtype, fit_normalizer

__all__ = ["Predictor", "output_dtype"]

Pixels = NDArray[Any]
Place = tuple[int, ...]
Check = Callable[[], object]

DEFAULT_RUNTIME = DeblurRuntime()

REUSED_BYTES = 2**25
"""Size below which a CPU's allocator reuses memory; larger arrays cost it half as much again."""

SAFE_PART = 0.25
"""Part of the free memory that a tile's features may take, and kept gating maps likewise."""


def output_dtype(image: PixelArray, config: DeblurConfig) -> np.dtype[Any]:
    """Pixel type of the result: float32, or the input's own where that is to be kept."""
    return image.dtype.newbyteorder("=") if config.keep_dtype else np.dtype(np.float32)


class Predictor:
    """A network on its device, with the gating maps it has computed so far.

    Threads may share one: while it computes for one of them, others read and write.

    Parameters
    ----------
    checkpoint : Checkpoint
        The trained network.
    config : DeblurConfig
        Tiles, precision, pixel type and device.

    Raises
    ------
    SettingsError
        If there is no such device.
    DeviceMemoryError
        If the device has not the memory for the network.
    """

    def __init__(
        self,
        checkpoint: Model,
        config: DeblurConfig,
        runtime: DeblurRuntime = DEFAULT_RUNTIME,
    ) -> None:
        self.checkpoint = checkpoint
        self.config = config
        self.runtime = runtime
        self.device = resolve_device(runtime.device)
        # A copy: the checkpoint's own network stays on the CPU.
        self.network = to_device(copy.deepcopy(checkpoint.network), self.device)
        self.bfloat16 = config.precision == "bfloat16" or (
            config.precision == "auto" and bfloat16_is_faster(self.device)
        )
        self._room = min(runtime.memory_gb * 1e9, SAFE_PART * free_device_memory(self.device))
        self._largest = math.inf
        self._maps = GatingMapCache(self.network, checkpoint.frame_shape, self.device, self._room)
        self._computing = threading.Lock()
        self._between_layers = _CancelHook()
        for module in self.network.modules():
            module.register_forward_pre_hook(self._between_layers)

    def events(
        self,
        image: Image,
        origin: tuple[int, int] | FrameAlignment | None = None,
        out: WritablePixelArray | None = None,
        cancel: threading.Event | None = None,
        first: Callable[[], Place] | None = None,
        only: slice = slice(None),
    ) -> Iterator[Event]:
        """Deblur an image, or only some of its planes, numbered in the order of `plane_indices`.

        The events are those of `deblur_events`, with errors raised.
        """
        try:
            yield from self._events(image, self._window(image, origin), out, cancel, first, only)
        except MemoryError:
            raise DeviceMemoryError(
                f"{image.name}: the memory holds not even what goes into the network and comes out "
                "of it; end other programs, or have the result written to a file."
            ) from None

    def _events(
        self,
        image: Image,
        shown: Window,
        out: WritablePixelArray | None,
        cancel: threading.Event | None,
        first: Callable[[], Place] | None,
        only: slice,
    ) -> Iterator[Event]:
        if out is None:
            out = np.empty(image.data.shape, output_dtype(image.data, self.config))
        work = list(self._tiles(shown.shape))
        every = list(plane_indices(image))
        indices = {_place(index): index for index in every[only]}
        stopwatch = Stopwatch("deblurring", len(work) * len(indices))
        done, all_tiles = 0, pluralize(stopwatch.total, "tile")

        def check() -> None:
            raise_if_canceled(cancel, f"Stopped after {done} of {all_tiles}.")

        for place in _nearest_first(indices, first):
            view, target = image.view(indices[place]), PlaneView(out, indices[place])
            numbers = ", ".join(map(str, place))
            name = f"{image.name}, plane {numbers}" if len(every) > 1 else image.name
            for _ in self._plane(view, target, name, shown, work, check):
                done += 1
                yield stopwatch.progress(done)
                if done % len(work):
                    check()
            yield PlaneDone(place)
            if done < stopwatch.total:
                check()
        count = pluralize(len(indices), "plane")
        message = f"Deblurred {image.name} ({count}, {stopwatch.seconds:.1f} s)."
        yield Finished("completed", message, result=out)

    def step(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Pieces in which a plane is written: what suits the chunks of its file.

        Parameters
        ----------
        shape : tuple of int
            (height, width) of the plane, in pixels.

        Returns
        -------
        tuple of int
            (height, width) of a tile without its halo; those at the end may be smaller.
        """
        first, _ = next(self._tiles(shape))
        return first.shape

    def _window(self, image: Image, origin: tuple[int, int] | FrameAlignment | None) -> Window:
        """Window of the frame that an image shows; warns unless its caller knows it already."""
        if isinstance(origin, FrameAlignment):
            return origin.window
        window, note = align_to_frame(image, self.checkpoint, origin)
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
        if self.runtime.tile is not None:
            return self.runtime.tile
        feature = 4 * self.checkpoint.config.network.base_channels
        affordable = math.sqrt(self._room / (FEATURES_PER_PIXEL * feature))
        fastest = max(math.sqrt(REUSED_BYTES / feature), 8 * self.halo)
        return max(int(min(affordable, fastest, self._largest)), self._smallest)

    @property
    def _smallest(self) -> int:
        """Side of the smallest tile that is more than its halo."""
        return 2 * self.halo + 4 * self.multiple

    def _tiles(self, shape: tuple[int, int]) -> Iterator[tuple[Window, Window]]:
        return tiles(shape, self.tile_size, self.halo, self.multiple)

    def _plane(
        self,
        plane: PlaneView,
        out: PlaneView,
        name: str,
        shown: Window,
        work: list[tuple[Window, Window]],
        check: Check,
    ) -> Iterator[None]:
        """Deblur one plane into ``out``; yields after each tile."""
        whole = (slice(None), slice(None))
        if plane.shape != shown.shape:
            pixels = plane[whole]
            check_plane(pixels, name)
            frame = PlaneView(resampled(pixels, shown.shape, name), whole)
            restored = np.empty(shown.shape, np.float32)
            yield from self._plane(frame, PlaneView(restored, whole), name, shown, work, check)
            out[whole] = convert_dtype(resampled(restored, plane.shape, name), out.dtype)
            return
        # A small one is read once, for its range and for its tiles.
        small = math.prod(plane.shape) * plane.dtype.itemsize <= STRIP_BYTES
        source: PixelArray = plane[whole] if small else plane
        scaling = fit_normalizer(source, self.checkpoint.config.scaling, name, check)
        image = Window.whole(plane.shape)
        for tile, window in work:
            scaled = scaling.normalize(source[window.within(image)])
            deblurred = self.scaled(scaled, _in_frame(window, shown), check)
            out[tile.within(image)] = scaling.denormalize(deblurred[tile.within(window)], out.dtype)
            yield

    def scaled(
        self, blurred: NDArray[np.float32], shown: Window, check: Check = bool
    ) -> NDArray[np.float32]:
        """Deblur one plane that is scaled already, as validation does: by tiles if need be.

        Where the memory does not suffice, the tiles become smaller, for good, unless
        their size is configured.

        Parameters
        ----------
        blurred : ndarray of float32, shape (H, W)
            Blurred image in the network's range.
        shown : Window
            Where it lies in the frame, of its shape.
        check : callable
            Called before each layer; what it raises ends the work.

        Returns
        -------
        ndarray of float32, shape (H, W)
            Deblurred image, scaled likewise.

        Raises
        ------
        DeviceMemoryError
            If the memory does not suffice; the message names a tile that may fit.
        """
        if max(shown.shape) <= self.tile_size:
            try:
                return self._computed(blurred, shown, check)
            except DeviceMemoryError:
                if not self._shrink(shown):
                    raise
            # Tried again out here, where the error no longer holds the tensors that did fit.
        whole, deblurred = Window.whole(shown.shape), np.empty(shown.shape, np.float32)
        for tile, window in self._tiles(shown.shape):
            part = self.scaled(blurred[window.within(whole)], _in_frame(window, shown), check)
            deblurred[tile.within(whole)] = part[tile.within(window)]
        return deblurred

    @torch.inference_mode()
    def _computed(
        self, scaled: NDArray[np.float32], place: Window, check: Check
    ) -> NDArray[np.float32]:
        """Network's output for a scaled tile (H, W) that lies at this window of the frame."""
        try:
            with (
                self._computing,
                torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16),
            ):
                self._between_layers.check = check
                coordinates, maps = self._maps.of(place)
                blurred = torch.from_numpy(np.ascontiguousarray(scaled)).to(self.device)
                restored = self.network(blurred[None, None], coordinates, maps)[0, 0]
                deblurred: NDArray[np.float32] = restored.float().cpu().numpy()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise self._too_large(place) from None
        return deblurred

    def _shrink(self, place: Window) -> bool:
        """Make tiles smaller than this window, in which memory ran out; whether that helps."""
        if self.runtime.tile is not None or max(place.shape) <= self._smallest:
            return False
        with self._computing:
            self._maps.disable()
            self._largest = min(self._largest, max(place.shape) // 2)
        return True

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


class _CancelHook:
    """Hook of a network's modules: a large tile takes seconds, in which a job may be canceled."""

    check: Check = bool

    def __call__(self, module: nn.Module, inputs: object) -> None:
        self.check()


def _in_frame(window: Window, shown: Window) -> Window:
    """Window of an image, in pixels of the frame of which the image shows a part."""
    return window._replace(y0=window.y0 + shown.y0, x0=window.x0 + shown.x0)


def _place(index: tuple[int | slice, ...]) -> Place:
    """Index of a plane over the axes other than Y and X."""
    return tuple(i for i in index if isinstance(i, int))


def _nearest_first(places: Iterable[Place], first: Callable[[], Place] | None) -> Iterator[Place]:
    """Places in their order; if it is said which is wanted, always the nearest to that one."""
    left = list(places)
    if first is None:
        yield from left
        return
    while left:
        nearest = min(left, key=partial(math.dist, first()))
        left.remove(nearest)
        yield nearest
