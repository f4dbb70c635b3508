"""Deblurring with the universal model: any lens whose PSF field is given, any frame size."""

import copy
import math
import threading
from collections.abc import Generator, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from napari_coordgate.arrays import PixelArray, WritablePixelArray
from napari_coordgate.calibration.plane_noise import estimate_plane_camera, middle_of
from napari_coordgate.config import Camera, DeblurConfig, DeblurRuntime, Scaling
from napari_coordgate.deconvolution import IterationEnd
from napari_coordgate.devices import (
    free_device_memory,
    is_out_of_memory,
    resolve_device,
    to_device,
)
from napari_coordgate.errors import DeviceMemoryError
from napari_coordgate.geometry import Window, format_shape
from napari_coordgate.inference.predictor import (
    SAFE_FRACTION,
    WHOLE_PLANE,
    CancelHook,
    TiledDeblurrer,
)
from napari_coordgate.io.processing import Check
from napari_coordgate.networks import Noise, scene_coordinates, uncertainty_of
from napari_coordgate.normalization import (
    STRIP_BYTES,
    Normalizer,
    above_offset,
    fit_normalizer,
)
from napari_coordgate.optics import PSFField
from napari_coordgate.universal_model import UniversalModel

Float32 = NDArray[np.float32]

OVERLAP_RADII = 4
"""Overlap of tiles in units of the PSF's radius; measured: the difference is below the noise."""
LIMITS = 20.0, 100_000.0
"""Range of photons that the network is given."""
UNKNOWN_NOISE = Camera(photons=2000, read_noise=3)
"""Noise of a plane that is too small, or too rough, to measure it."""
_CHANNEL_ARRAYS, _KERNEL_ARRAYS = 6, 8
"""Arrays of the size of a tile per channel of the network and per kernel of the field; measured."""


class Result(NamedTuple):
    """Deblurred tile (H, W), scaled, and the logarithm of its expected error."""

    image: Float32
    log_error: Float32


class UniversalDeblurrer(TiledDeblurrer):
    """Deblurs planes of windows of the frame with the universal model; threads may share it."""

    multiple = 2
    scaling = Scaling()

    def __init__(
        self,
        psf_field: PSFField,
        model: UniversalModel,
        config: DeblurConfig,
        runtime: DeblurRuntime,
        lens_uncertainty: float | None = None,
    ) -> None:
        self.psf_field, self.model, self.camera = psf_field, model, config.camera
        self.runtime = runtime
        if lens_uncertainty is None:
            lens_uncertainty = uncertainty_of(psf_field)
        self.lens_uncertainty = lens_uncertainty
        self.overlap = OVERLAP_RADII * psf_field.radius + 16
        self.device = resolve_device(runtime.device)
        self.network = to_device(copy.deepcopy(model.network), self.device)
        self._memory = min(runtime.memory_gb * 1e9, SAFE_FRACTION * free_device_memory(self.device))
        self._lock = threading.Lock()
        self._cancel_hook = CancelHook()
        for module in self.network.modules():
            module.register_forward_pre_hook(self._cancel_hook)

    @property
    def tile_size(self) -> int:
        """Side of a tile with its overlap, as configured or as the memory allows."""
        if self.runtime.tile is not None:
            return self.runtime.tile
        network = self.model.config.network
        arrays = _CHANNEL_ARRAYS * network.base_channels + _KERNEL_ARRAYS * self.psf_field.rank
        return max(int(math.sqrt(self._memory / (4 * arrays))), 2 * self.overlap + 64)

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
        normalizer = self.normalizer_of(source, name, check, normalizer)
        camera, whole = self.noise_of(source, normalizer), Window.whole(window.shape)
        for tile, around in self.tiles(window.shape):
            scaled = normalizer.normalize(source[around.within(whole)])
            result = self.predict(scaled, around.shifted(window.origin), camera, check)
            part = result.image[tile.within(around)]
            target[tile.within(whole)] = normalizer.denormalize(part, target.dtype)
            yield
        return ()

    def normalizer_of(
        self,
        source: PixelArray,
        name: str,
        check: Check = bool,
        given: Normalizer | None = None,
    ) -> Normalizer:
        """Normalizer of a plane, by default from its percentiles."""
        normalizer = fit_normalizer(source, self.scaling, name, check, given)
        if self.psf_field.flat_field is not None:
            normalizer = above_offset(normalizer, self.camera)
        return normalizer

    def process_scaled(
        self, scaled: Float32, target: Result, camera: Camera, check: Check, window: Window
    ) -> Iterator[None]:
        """Deblur a scaled plane, with the logarithm of its error; yields after each tile."""
        whole = Window.whole(window.shape)
        for tile, around in self.tiles(window.shape):
            part = scaled[around.within(whole)]
            result = self.predict(part, around.shifted(window.origin), camera, check)
            for array, values in zip(target, result, strict=True):
                array[tile.within(whole)] = values[tile.within(around)]
            yield

    def deblur_scaled(self, scaled: Float32, window: Window) -> Float32:
        """Deblur a plane (h, w) whose intensities are normalized already, to 0 (dark) to 1."""
        camera = self.noise_of(scaled, Normalizer(0.0, 1.0))
        result = Result(np.empty_like(scaled), np.empty_like(scaled))
        for _ in self.process_scaled(scaled, result, camera, bool, window):
            pass
        return result.image

    def noise_of(self, plane: PixelArray, normalizer: Normalizer) -> Camera:
        """Noise of a plane in units of its scaled intensities: as configured, else estimated."""
        if self.camera.has_noise:
            return _within_limits(self.camera.for_range(*normalizer))
        scaled = normalizer.normalize(np.asarray(plane[middle_of(plane.shape)]))
        return _within_limits(estimate_plane_camera(scaled) or UNKNOWN_NOISE)

    @torch.inference_mode()
    def predict(
        self, scaled: Float32, window: Window, camera: Camera, check: Check = bool
    ) -> Result:
        """Deblurred window (H, W) of the frame of a scaled plane with this noise."""
        assert camera.photons is not None
        try:
            with self._lock:
                self._cancel_hook.check = check
                scene_window = self.psf_field.input_window(window)
                operator = self.psf_field.operator(
                    window, scene_window=scene_window, device=self.device
                )
                noise = Noise.of(camera.photons, camera.read_noise, self.device)
                coordinates = scene_coordinates(
                    self.model.config.network,
                    noise,
                    self.lens_uncertainty,
                    self.psf_field,
                    operator,
                )
                blurred = torch.from_numpy(np.ascontiguousarray(scaled)).to(self.device)
                result = self.network(blurred[None, None], coordinates, operator, noise)
                return Result(*(part[0, 0].cpu().numpy() for part in result))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise DeviceMemoryError(
                f"The {self.device.type} ran out of memory at a tile of "
                f"{format_shape(window.shape)} pixels; choose a tile of {max(window.shape) // 2}."
            ) from None


def _within_limits(camera: Camera) -> Camera:
    """Camera whose photons are in the range that the network can use."""
    photons = camera.photons or LIMITS[1]
    limited = min(max(photons, LIMITS[0]), LIMITS[1])
    return Camera(photons=limited, read_noise=camera.read_noise * limited / photons)
