"""Training on blurred images alone: their noise, and their sharpest parts as sources."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from napari_coordgate.calibration.plane_noise import estimate_plane_camera
from napari_coordgate.config import Camera, Scaling, TrainingConfig
from napari_coordgate.data.held_out import BlurredWindows
from napari_coordgate.data.pairs import Pairs, source_pairs
from napari_coordgate.data.planes import Images, Plane, usable_planes, warn_of_unused
from napari_coordgate.data.sources import Source, check_enough, sharp_window
from napari_coordgate.data.universal import network_inputs
from napari_coordgate.errors import FrameMismatchError, ImageError, SettingsError
from napari_coordgate.events import Event, Stopwatch, raise_if_canceled
from napari_coordgate.geometry import Window, format_shape
from napari_coordgate.networks import uncertainty_of
from napari_coordgate.normalization import Normalizer, above_offset
from napari_coordgate.optics import PSFField
from napari_coordgate.universal_model import UniversalModel

Float32 = NDArray[np.float32]
Clean = Callable[[Float32, Window, Camera], Float32]
"""Deblurs a window of the frame of a scaled image with this noise."""

MIN_CONTRAST = 0.2
"""Contrast of a sharp part, relative to that of its image, below which it is background."""
MAX_SOURCES, MAX_SIDE = 64, 256
"""Largest number of sources, and their largest side, pixels: more would take long to clean."""
MEASURED = 3
"""Number of sources in which the noise that is left is measured."""


@dataclass(frozen=True)
class OwnImages:
    """Blurred images of one lens, their noise, and their sources."""

    planes: Sequence[Plane]
    ranges: Sequence[Normalizer]
    cameras: Sequence[Camera]
    """Noise of each image in units of its range."""
    sources: Sequence[Source]
    psf_field: PSFField

    @property
    def camera(self) -> Camera:
        """Noise of a typical image: the median of the photons and of the read noise."""
        photons, read_noise = (
            float(np.median([getattr(camera, name) for camera in self.cameras]))
            for name in ("photons", "read_noise")
        )
        return Camera(photons=photons, read_noise=read_noise)

    def windows(self, window_size: int, seed: int) -> BlurredWindows:
        """Random windows of all images, some of whose photons are held out."""
        return BlurredWindows(
            self.planes, self.ranges, self.cameras, self.psf_field, window_size, seed
        )


def universal_cleaner(
    model: UniversalModel, psf_field: PSFField, uncertainty: float | None = None
) -> Clean:
    """Clean by a universal model; the uncertainty of the lens is that of its calibration."""
    relative_error = uncertainty_of(psf_field) if uncertainty is None else uncertainty

    @torch.inference_mode()
    def clean(scaled: Float32, window: Window, camera: Camera) -> Float32:
        blurred = torch.from_numpy(np.ascontiguousarray(scaled, np.float32))
        inputs = network_inputs(
            blurred, window, camera, psf_field, relative_error, model.config.network
        )
        image: Float32 = model.network(*inputs).image[0, 0].numpy()
        return image

    return clean


def uncleaned(scaled: Float32, window: Window, camera: Camera) -> Float32:
    """Leave an image as it is, for estimates of the cost of a training."""
    return scaled


def own_images_events(
    blurred: Images,
    psf_field: PSFField | None,
    camera: Camera,
    clean: Clean,
    scaling: Scaling | None = None,
    cancel: threading.Event | None = None,
) -> Generator[Event, None, OwnImages]:
    """Read blurred images, measure their noise unless it is known, and clean their sharp parts."""
    if psf_field is None:
        raise SettingsError(
            "Training on blurred images alone needs the PSF field of their lens; give one "
            "(psf_field, --psf), such as calibrate_images measures from the same images."
        )
    window = sharp_window(psf_field)
    found = yield from usable_planes(blurred, scaling or Scaling(), cancel)
    planes, ranges = _whole_frames(*found, psf_field.frame_shape)
    if psf_field.flat_field is not None:
        ranges = [above_offset(one, camera) for one in ranges]
    cameras = yield from _noise_events(planes, ranges, camera, cancel)
    sources: list[Source] = []
    finder = _SourceFinder(psf_field, window, clean)
    chosen = np.linspace(0, len(planes) - 1, min(len(planes), MAX_SOURCES)).round().astype(int)
    stopwatch = Stopwatch("cleaning sharp parts", len(chosen))
    for number, i in enumerate(chosen):
        raise_if_canceled(cancel, "Stopped while reading the images; nothing was written.")
        source = finder.source(ranges[i].normalize(planes[i].read()), ranges[i], cameras[i], number)
        sources += [] if source is None else [source]
        yield stopwatch.progress(number + 1)
    check_enough(sources, len(chosen))
    return OwnImages(planes, ranges, cameras, sources, psf_field)


def prepare_own_pairs(
    config: TrainingConfig,
    blurred: Images,
    psf_field: PSFField | None,
    clean: Clean | None = None,
    cancel: threading.Event | None = None,
) -> Generator[Event, None, tuple[TrainingConfig, Pairs, Pairs]]:
    """Training and validation pairs of blurred images alone, and the recipe with their noise.

    By default, sources are cleaned by the universal model that is shipped.
    """
    if clean is None and psf_field is not None:
        clean = universal_cleaner(UniversalModel.load(), psf_field)
    own = yield from own_images_events(
        blurred, psf_field, config.camera, clean or uncleaned, config.scaling, cancel
    )
    if not config.camera.has_noise:
        config = config.model_copy(update={"camera": own.camera})
    windows = own.windows(config.window_size, config.seed)
    return config, *source_pairs(config, own.sources, own.psf_field, windows)


def _whole_frames(
    planes: Sequence[Plane], ranges: Sequence[Normalizer], frame: tuple[int, int]
) -> tuple[list[Plane], list[Normalizer]]:
    """Planes of the shape of the frame, and their ranges; warns of others, an error if all are."""
    lines = [
        f"{plane.name} is {format_shape(plane.shape)} pixels, but the frame of the PSF field "
        f"is {format_shape(frame)}; give whole frames, or the PSF field of their frame."
        for plane in planes
        if plane.shape != frame
    ]
    if len(lines) == len(planes):
        raise FrameMismatchError(lines[0])
    warn_of_unused(lines, len(planes) - len(lines))
    whole = [n for n, plane in enumerate(planes) if plane.shape == frame]
    return [planes[n] for n in whole], [ranges[n] for n in whole]


def _noise_events(
    planes: Sequence[Plane],
    ranges: Sequence[Normalizer],
    camera: Camera,
    cancel: threading.Event | None,
) -> Generator[Event, None, list[Camera]]:
    """Noise of each image: that of the camera if it is known, else measured in the image."""
    if camera.has_noise:
        return [camera.for_range(*one) for one in ranges]
    cameras: list[Camera | None] = []
    stopwatch = Stopwatch("measuring noise", len(planes))
    for number, (plane, one) in enumerate(zip(planes, ranges, strict=True)):
        raise_if_canceled(cancel, "Stopped while reading the images; nothing was written.")
        cameras.append(estimate_plane_camera(one.normalize(plane.read())))
        yield stopwatch.progress(number + 1)
    known = [one for one in cameras if one is not None]
    if not known:
        raise ImageError(
            "The noise cannot be measured in these images; give that of the camera: the photons of "
            "a bright pixel (photons), or the electrons of a gray value (electrons_per_count)."
        )
    typical = sorted(known, key=lambda one: one.photons or 0)[len(known) // 2]
    return [one or typical for one in cameras]


class _SourceFinder:
    """Cleans the sharp parts of images, and measures what is left of their noise."""

    def __init__(self, psf_field: PSFField, sharp: Window, clean: Clean) -> None:
        self.psf_field, self.sharp, self.clean = psf_field, sharp, clean
        self._mean = psf_field.with_mean_psf()
        self._shares: list[float] = []

    def source(self, scaled: Float32, one: Normalizer, camera: Camera, index: int) -> Source | None:
        """Cleaned sharp part of a scaled image; None if it is background."""
        frame = self.psf_field.frame_shape
        window = self._part(np.random.default_rng(index))
        around = window.expanded(2 * self.psf_field.radius).clipped(frame)
        scaled = scaled[around.within(Window.whole(frame))]
        cleaned = self.clean(scaled, around, camera)
        image = cleaned[window.within(around)]
        low, high = np.percentile(image, [1, 99.8])
        if high - low < MIN_CONTRAST:
            return None
        if len(self._shares) < MEASURED:
            self._shares.append(self._noise_share(scaled, cleaned, around, camera))
        assert camera.photons is not None
        total = (camera.photons + camera.read_noise**2) / camera.photons**2
        return Source(one.denormalize(image), one, float(np.mean(self._shares)) * total)

    def _part(self, rng: np.random.Generator) -> Window:
        """Part of the sharp window, random if that is large."""
        height, width = (min(n, MAX_SIDE) for n in self.sharp.shape)
        y0 = self.sharp.y0 + int(rng.integers(self.sharp.height - height + 1))
        x0 = self.sharp.x0 + int(rng.integers(self.sharp.width - width + 1))
        return Window(y0, x0, height, width)

    def _noise_share(
        self, scaled: Float32, cleaned: Float32, around: Window, camera: Camera
    ) -> float:
        """Part of an image's noise variance that is left once it is cleaned and blurred again.

        More noise of the same kind shows what both let through.
        """
        assert camera.photons is not None
        dark = camera.read_noise**2 / camera.photons
        variance = (np.maximum(scaled, 0) + dark + 1 / camera.photons) / camera.photons
        noise = np.random.default_rng(0).normal(size=scaled.shape) * np.sqrt(variance)
        change = self.clean(scaled + noise.astype(np.float32), around, camera) - cleaned
        again = self._mean.blur(change, origin=around.origin, window=around)
        return float(np.square(again).mean() / variance.mean())
