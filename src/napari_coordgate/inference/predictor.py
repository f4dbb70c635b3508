"""Tile-wise prediction with a trained model."""

import copy
import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_coordgate.arrays import PixelArray, WritablePixelArray
from napari_coordgate.config import DeblurConfig, DeblurRuntime, Scaling
from napari_coordgate.deconvolution import IterationEnd
from napari_coordgate.devices import (
    bfloat16_is_faster,
    free_device_memory,
    is_out_of_memory,
    resolve_device,
    to_device,
)
from napari_coordgate.errors import DeviceMemoryError
from napari_coordgate.geometry import Window, format_shape, frame_coordinates, tiles
from napari_coordgate.io.processing import Check
from napari_coordgate.model import Model
from napari_coordgate.networks import FEATURES_PER_PIXEL, Network
from napari_coordgate.normalization import STRIP_BYTES, Normalizer, fit_normalizer

Float32 = NDArray[np.float32]

RUNTIME = DeblurRuntime()

WHOLE_PLANE = (slice(None), slice(None))
REUSED_BYTES = 2**25
"""Size up to which a CPU's allocator reuses memory; larger arrays make it 1.5 times slower."""

SAFE_FRACTION = 0.25
"""Fraction of the free memory for the features of a tile; cached gating maps take as much."""


class TiledDeblurrer(ABC):
    """What deblurs planes tile by tile."""

    unit = "tile"
    overlap: int
    """Pixels by which the window of a tile is larger on each side."""
    multiple: int
    """Windows start at multiples of this many pixels."""

    @property
    @abstractmethod
    def tile_size(self) -> int:
        """Side of a tile with its overlap, as configured or as the memory allows."""

    def tiles(self, shape: tuple[int, int]) -> list[tuple[Window, Window]]:
        """Tiles that cover a plane (height, width), each with the window that adds the overlap."""
        return list(tiles(shape, self.tile_size, self.overlap, self.multiple))

    def tile_shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Shape of most tiles of a plane (height, width) without overlap, a good chunk shape."""
        tile, _ = self.tiles(shape)[0]
        return tile.shape

    def steps(self, shape: tuple[int, int]) -> int:
        """Number of tiles of a plane (height, width)."""
        return len(self.tiles(shape))


class Predictor(TiledDeblurrer):
    """Deblurs planes tile by tile with a model's network on a device.

    Threads may share a predictor: the network computes for one at a time, while others read and
    write.
    """

    def __init__(
        self, model: Model, config: DeblurConfig, runtime: DeblurRuntime = RUNTIME
    ) -> None:
        self.model = model
        self.runtime = runtime
        self.device = resolve_device(runtime.device)
        # A copy: the model's own network stays on the CPU.
        self.network = to_device(copy.deepcopy(model.network), self.device)
        self.overlap = self.network.receptive_radius
        self.multiple = self.network.multiple
        self._bfloat16 = config.precision == "bfloat16" or (
            config.precision == "auto" and bfloat16_is_faster(self.device)
        )
        self._memory = min(runtime.memory_gb * 1e9, SAFE_FRACTION * free_device_memory(self.device))
        self._max_tile = math.inf
        self._maps = GatingMapCache(self.network, model.frame_shape, self.device, self._memory)
        self._lock = threading.Lock()
        self._cancel_hook = CancelHook()
        for module in self.network.modules():
            module.register_forward_pre_hook(self._cancel_hook)

    @property
    def scaling(self) -> Scaling:
        """Percentiles that are scaled to 0 and 1."""
        return self.model.config.scaling

    @property
    def tile_size(self) -> int:
        """Side of a tile with its overlap, as configured or as the memory allows."""
        if self.runtime.tile is not None:
            return self.runtime.tile
        feature_bytes = 4 * self.model.config.network.features
        affordable = math.sqrt(self._memory / (FEATURES_PER_PIXEL * feature_bytes))
        fastest = max(math.sqrt(REUSED_BYTES / feature_bytes), 8 * self.overlap)
        return max(int(min(affordable, fastest, self._max_tile)), self._min_tile)

    @property
    def _min_tile(self) -> int:
        """Side of the smallest tile that is larger than its overlap."""
        return 2 * self.overlap + 4 * self.multiple

    def process(
        self,
        source: PixelArray,
        target: WritablePixelArray,
        name: str,
        check: Check,
        window: Window,
        normalizer: Normalizer | None = None,
    ) -> Generator[None, None, Sequence[IterationEnd]]:
        """Deblur a plane that shows this window of the frame; yields after each tile."""
        if math.prod(source.shape) * source.dtype.itemsize <= STRIP_BYTES:
            source = source[WHOLE_PLANE]  # read only once for both passes
        normalizer = fit_normalizer(source, self.scaling, name, check, normalizer)
        whole = Window.whole(window.shape)
        for tile, around in self.tiles(window.shape):
            scaled = normalizer.normalize(source[around.within(whole)])
            deblurred = self.predict(
                scaled, around.shifted(window.origin), tile.shifted(window.origin), check
            )
            target[tile.within(whole)] = normalizer.denormalize(deblurred, target.dtype)
            yield
        return ()

    def predict(
        self, scaled: Float32, window: Window, tile: Window | None = None, check: Check = bool
    ) -> Float32:
        """Deblurred tile of a scaled plane (H, W) that shows this window of the frame.

        The tile is a part of the window, by default all of it. If it does not fit into memory,
        it is split, and later tiles are smaller, unless their size is configured. ``check`` is
        called before each layer and may raise to cancel.
        """
        tile = tile or window
        if max(window.shape) <= self.tile_size:
            try:
                return self._forward(scaled, window, check)[tile.within(window)]
            except DeviceMemoryError:
                if not self._shrink_tiles(window):
                    raise
            # Split after the except block, when the error no longer keeps the tensors alive.
        deblurred = np.empty(tile.shape, np.float32)
        whole = Window.whole(window.shape)
        offset = window.y0 - tile.y0, window.x0 - tile.x0
        for part, around in self.tiles(window.shape):
            target = part.shifted(offset).clipped(tile.shape)
            if min(target.shape) > 0:
                deblurred[target.within(Window.whole(tile.shape))] = self.predict(
                    scaled[around.within(whole)],
                    around.shifted(window.origin),
                    target.shifted(tile.origin),
                    check,
                )
        return deblurred

    @torch.inference_mode()
    def _forward(self, scaled: Float32, window: Window, check: Check) -> Float32:
        """Output of the network for a scaled window (H, W) of the frame."""
        try:
            with (
                self._lock,
                torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16),
            ):
                self._cancel_hook.check = check
                coordinates, maps = self._maps.get(window)
                blurred = torch.from_numpy(np.ascontiguousarray(scaled)).to(self.device)
                output = self.network(blurred[None, None], coordinates, maps)[0, 0]
                deblurred: Float32 = output.float().cpu().numpy()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise self._memory_error(window) from None
        return deblurred

    def _shrink_tiles(self, window: Window) -> bool:
        """Halve the tile size after memory ran out for a window; False if it cannot be reduced."""
        if self.runtime.tile is not None or max(window.shape) <= self._min_tile:
            return False
        with self._lock:
            self._maps.disable()
            self._max_tile = min(self._max_tile, max(window.shape) // 2)
        return True

    def _memory_error(self, window: Window) -> DeviceMemoryError:
        """Error that suggests a tile size for a window that does not fit into memory."""
        smaller = max(window.shape) // 2
        if smaller < 2 * self.overlap + self.multiple:
            advice = "no smaller tile is possible: choose a device with more memory"
        else:
            advice = f"choose a tile of {smaller}"
        return DeviceMemoryError(
            f"The {self.device.type} ran out of memory at a tile of "
            f"{format_shape(window.shape)} pixels; {advice}."
        )


class GatingMapCache:
    """Cache of the coordinates and gating maps of windows, in a limited number of bytes."""

    def __init__(
        self,
        network: Network,
        frame_shape: tuple[int, int],
        device: torch.device,
        free_bytes: float,
    ) -> None:
        self.network = network
        self.frame_shape = frame_shape
        self.device = device
        self.free_bytes = free_bytes
        self._used_once: set[Window] = set()
        self._cached: dict[Window, tuple[Tensor, tuple[Tensor, ...]]] = {}

    def get(self, window: Window) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Coordinates (1, 2, H, W) and gating maps of a window; cached from the second use on."""
        if window in self._cached:
            return self._cached[window]
        array = frame_coordinates(self.frame_shape, window)
        coordinates = torch.from_numpy(array)[None].to(self.device)
        maps = self.network.coordinate_maps(coordinates)
        size = coordinates.nbytes + sum(values.nbytes for values in maps)
        # Tiles of a single image use each map only once: caching them would waste memory.
        if window in self._used_once and size <= self.free_bytes:
            self._cached[window] = coordinates, maps
            self.free_bytes -= size
        self._used_once.add(window)
        return coordinates, maps

    def disable(self) -> None:
        """Drop all maps and stop caching, to save memory."""
        self._cached.clear()
        self.free_bytes = 0


class CancelHook:
    """Forward pre-hook of all layers, to cancel a job within a tile, which can take seconds."""

    check: Check = bool

    def __call__(self, module: nn.Module, inputs: object) -> None:
        """Raise if canceled."""
        self.check()
