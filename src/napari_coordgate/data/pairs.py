"""Pairs of sharp and blurred images: simulated, or measured."""

import threading
import warnings
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from napari_coordgate.config import Camera, TrainingConfig
from napari_coordgate.data.held_out import BlurredWindows
from napari_coordgate.data.pairing import describe_pairs, find_pairs
from napari_coordgate.data.planes import (
    Images,
    Plane,
    compute_ranges,
    find_planes,
    find_ranges,
    usable_planes,
    warn_of_unused,
)
from napari_coordgate.data.sampling import Batch, RngStream, Sample, WindowSampler, random_stream
from napari_coordgate.data.sources import Source, remaining_noise
from napari_coordgate.data.unpaired import UnpairedBatch, Weights, unpaired_batch
from napari_coordgate.errors import SettingsError, TrainingImagesWarning
from napari_coordgate.events import Event, Note, run
from napari_coordgate.geometry import Window, mirror_indices
from napari_coordgate.normalization import Normalizer
from napari_coordgate.optics import PSFField
from napari_coordgate.simulation import NO_NOISE, add_camera_noise

Float32 = NDArray[np.float32]
Pair = tuple[Tensor, Tensor, Tensor]

DEFAULTS = TrainingConfig()
UNPAIRED_EVERY = 4
"""Samples beside each window of a blurred image; these windows are large."""
ONE_IMAGE = (
    "Only 1 image can be trained on: it has to validate itself, so the validation says nothing "
    "about other images; give more images, or others to validate on (validation, --validation)."
)


class Pairs(Dataset[Pair], ABC):
    """Pairs of sharp and blurred images, with the frame coordinates of their pixels.

    An item is made in two parts: `sample` reads images on the CPU, in any process, and
    `to_batch` blurs many samples at once on the device of the training.
    """

    sharp: Sequence[Plane]
    ranges: Sequence[Normalizer]
    frame_shape: tuple[int, int]
    sampler: WindowSampler
    camera: Camera
    """Noise of the blurred images, in electrons: the median over images in counts."""

    @abstractmethod
    def __len__(self) -> int:
        """Count the images."""

    @abstractmethod
    def sample(self, index: int) -> Sample:
        """Sample of an index, which may exceed the number of images: each epoch differs."""

    @abstractmethod
    def to_batch(self, samples: Sequence[Sample], device: torch.device, index: int) -> Batch:
        """Pairs of consecutive samples of one window shape, the first of this index."""

    def __getitem__(self, index: int) -> Pair:
        """Sharp (1, h, w), blurred (1, h, w) and coordinates (2, h, w) of an index."""
        batch = self.to_batch([self.sample(index)], torch.device("cpu"), index)
        return batch.sharp[0], batch.blurred[0], batch.coordinates[0]

    def __iter__(self) -> Iterator[Pair]:
        """Iterate over the items of one epoch."""
        return (self[index] for index in range(len(self)))


class Samples(Dataset[Sample]):
    """Samples of pairs, for a data loader."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs

    def __getitem__(self, index: int) -> Sample:
        """Sample of an index."""
        return self.pairs.sample(index)


class SimulatedPairs(Pairs):
    """Dataset of sharp images, blurred by a PSF field, and frame coordinates.

    Each item is a random window of the frame: a sharp image is cropped, flipped, rotated,
    brightened and blurred as the window's position demands, and camera noise is added. An
    item depends on the seed and its index alone; indices beyond the length are further epochs.

    Parameters
    ----------
    sharp : path, ndarray of shape (..., H, W), Image, or sequence of these
        Sharp images of any size; a folder means all images in it.
    psf_field : PSFField
        Blur of the lens.
    config : TrainingConfig
        Sampling, augmentation, camera, intensity scaling and seed.
    ranges : sequence of Normalizer, optional
        Intensity range of each image; by default, computed from the images.
    variances : sequence of float, optional
        Variance of the noise that bright pixels of each image, scaled, have once they are blurred;
        so much less is added.
    windows : BlurredWindows, optional
        Blurred images to judge the network by as well.
    validation : bool
        Item n is image n, not augmented, over as much of the frame as it fills.

    Raises
    ------
    ImageError
        If an image cannot be read, or is constant.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_coordgate import GaussianLens, PSFField, SimulatedPairs, TrainingConfig
    >>> sharp = np.random.default_rng(0).random((3, 64, 64))
    >>> psf_field = PSFField.from_lens(GaussianLens(), (48, 48))
    >>> pairs = SimulatedPairs(sharp, psf_field, TrainingConfig(window_size=32))
    >>> for sharp, blurred, coordinates in pairs:
    ...     print(tuple(sharp.shape), tuple(blurred.shape), tuple(coordinates.shape))
    (1, 32, 32) (1, 32, 32) (2, 32, 32)
    (1, 32, 32) (1, 32, 32) (2, 32, 32)
    (1, 32, 32) (1, 32, 32) (2, 32, 32)
    """

    def __init__(
        self,
        sharp: Images | Sequence[Plane],
        psf_field: PSFField,
        config: TrainingConfig = DEFAULTS,
        *,
        ranges: Sequence[Normalizer] | None = None,
        variances: Sequence[float] | None = None,
        windows: BlurredWindows | None = None,
        validation: bool = False,
    ) -> None:
        self.sharp = find_planes(sharp)
        self.variances, self.windows = variances, windows
        self.ranges = run(compute_ranges(self.sharp, config.scaling)) if ranges is None else ranges
        self.psf_field = psf_field
        self.config = config
        self.validation = validation
        self.frame_shape = psf_field.frame_shape
        self.camera = _typical(config.camera, self.ranges)
        self.sampler = WindowSampler(psf_field.frame_shape, config, validation=validation)

    def __len__(self) -> int:
        """Count the sharp images."""
        return len(self.sharp)

    def sample(self, index: int) -> Sample:
        """Sharp scene of an index: a window and its margin, augmented but not yet blurred."""
        rng, chosen = self.sampler.draw(index, len(self))
        image = self.sharp[chosen].read()
        window = self.sampler.window(rng, image.shape)
        augment = self.config.augment and not self.validation
        transpose = augment and bool(rng.integers(2))
        around = window.expanded(self.psf_field.radius)
        shape = around.shape[::-1] if transpose else around.shape
        rows, columns = (
            _crop(rng, length, given) for length, given in zip(shape, image.shape, strict=True)
        )
        scene = self.ranges[chosen].normalize(image[np.ix_(rows, columns)])
        scene = scene.T if transpose else scene
        if augment:
            scene = scene[:: rng.choice((-1, 1)), :: rng.choice((-1, 1))]
        if self.config.border == "mirror":
            scene = _mirrored_at_frame(scene, around, self.frame_shape)
        camera, gain = self.config.camera.for_range(*self.ranges[chosen]), self.sampler.gain(rng)
        if self.variances is not None:
            camera = remaining_noise(camera, float(gain) ** 2 * self.variances[chosen])
        radius = self.psf_field.radius
        corner = int(rows[radius]), int(columns[radius])
        return Sample(np.ascontiguousarray(scene) * gain, None, window, camera, corner)

    def to_batch(self, samples: Sequence[Sample], device: torch.device, index: int) -> Batch:
        """Blur consecutive samples on a device; the noise of each depends on its own index."""
        radius = self.psf_field.radius
        scenes = torch.from_numpy(np.stack([sample.sharp for sample in samples])).to(device)
        windows = [sample.window for sample in samples]
        blurred = self.psf_field.blur_patches(scenes, [window.origin for window in windows])
        if self.config.camera.has_noise:  # else each step would copy the batch
            noisy = (
                add_camera_noise(image, sample.camera or NO_NOISE, self._noise_seed(index + offset))
                for offset, (image, sample) in enumerate(zip(blurred, samples, strict=True))
            )
            blurred = torch.stack(list(noisy))
        height, width = windows[0].shape
        sharp = scenes[:, radius : radius + height, radius : radius + width]
        batch = self.sampler.batch(sharp, blurred, windows)
        return batch._replace(unpaired=self._unpaired(len(samples), device, index))

    def _unpaired(self, samples: int, device: torch.device, index: int) -> UnpairedBatch | None:
        """Windows of blurred images beside every few samples."""
        indices = [i for i in range(index, index + samples) if i % UNPAIRED_EVERY == 0]
        config = self.config
        if self.windows is None or not indices:
            return None
        if not config.held_out_weight and not config.equivariance_weight:
            return None
        each = UNPAIRED_EVERY / samples
        weights = Weights(config.held_out_weight * each, config.equivariance_weight * each)
        return unpaired_batch(self.windows, indices, device, weights)

    def _noise_seed(self, index: int) -> int:
        stream = RngStream.VALIDATION_NOISE if self.validation else RngStream.NOISE
        return int(random_stream(self.config.seed, stream, index).integers(2**62))


def _typical(camera: Camera, ranges: Sequence[Normalizer]) -> Camera:
    """Camera of an image of the median photons and read noise."""
    if camera.photons is not None or not camera.has_noise or not ranges:
        return camera
    cameras = [camera.for_range(*one) for one in ranges]
    photons, read_noise = (
        float(np.median([getattr(one, name) for one in cameras]))
        for name in ("photons", "read_noise")
    )
    return Camera(photons=photons, read_noise=read_noise)


def _crop(rng: np.random.Generator, length: int, given: int) -> NDArray[np.int64]:
    """Indices of a random range along one axis; a range longer than given is mirrored."""
    spare = given - length
    start = int(rng.integers(spare + 1)) if spare >= 0 else spare // 2
    return mirror_indices(start, length, given)


def _mirrored_at_frame(scene: Float32, around: Window, frame_shape: tuple[int, int]) -> Float32:
    """Scene whose part beyond the frame is replaced by the mirrored part inside."""
    inside = around.clipped(frame_shape)
    rows = mirror_indices(around.y0 - inside.y0, around.height, inside.height)
    columns = mirror_indices(around.x0 - inside.x0, around.width, inside.width)
    return scene[inside.within(around)][np.ix_(rows, columns)]


class MeasuredPairs(Pairs):
    """Measured pairs: the same scene, sharp and blurred, pixel on pixel.

    They are never flipped or rotated, because the blur belongs to its position. ``ranges``
    are those of the blurred images, and scale both images.
    """

    def __init__(
        self,
        sharp: Sequence[Plane],
        blurred: Sequence[Plane],
        ranges: Sequence[Normalizer],
        config: TrainingConfig,
        *,
        validation: bool = False,
    ) -> None:
        self.sharp = sharp
        self.blurred = blurred
        self.ranges = ranges
        self.frame_shape = sharp[0].shape
        self.camera = _typical(config.camera, ranges)
        self.sampler = WindowSampler(self.frame_shape, config, validation=validation)

    def __len__(self) -> int:
        """Count the pairs."""
        return len(self.sharp)

    def sample(self, index: int) -> Sample:
        """Window of a measured pair."""
        rng, chosen = self.sampler.draw(index, len(self))
        window = self.sampler.window(rng, self.frame_shape)
        inside = window.within(Window.whole(self.frame_shape))
        gain = self.sampler.gain(rng)
        sharp, blurred = (
            self.ranges[chosen].normalize(plane.read()[inside]) * gain
            for plane in (self.sharp[chosen], self.blurred[chosen])
        )
        return Sample(sharp, blurred, window, corner=window.origin)

    def to_batch(self, samples: Sequence[Sample], device: torch.device, index: int) -> Batch:
        """Move samples to a device."""
        sharp, blurred = (
            torch.from_numpy(np.stack(images)).to(device)
            for images in zip(*((sample.sharp, sample.blurred) for sample in samples), strict=True)
        )
        return self.sampler.batch(sharp, blurred, [sample.window for sample in samples])


def prepare_pairs(
    config: TrainingConfig,
    sharp: Images,
    psf_field: PSFField | None,
    blurred: Images | None,
    validation: Images | None = None,
    cancel: threading.Event | None = None,
) -> Generator[Event, None, tuple[Pairs, Pairs]]:
    """Read every image once, and split them into training and validation pairs.

    Images that cannot be used are passed over with a warning. A single image serves for both
    with a warning; its validation says nothing about other images.
    """
    if (psf_field is None) == (blurred is None):
        raise SettingsError("Give either a PSF field or measured blurred images.")
    if blurred is not None:
        if validation is not None:
            raise SettingsError(
                "Measured pairs are validated on a fraction of themselves; omit validation."
            )
        return (yield from _measured(config, sharp, blurred, cancel))
    assert psf_field is not None
    planes, ranges = yield from usable_planes(sharp, config.scaling, cancel)
    if validation is None:
        train, val = _split(len(planes), config)
    else:
        count = len(planes)
        others, more = yield from usable_planes(validation, config.scaling, cancel)
        planes, ranges = planes + others, ranges + more
        train, val = list(range(count)), list(range(count, len(planes)))
    return _pair_of(
        SimulatedPairs(
            [planes[n] for n in part],
            psf_field,
            config,
            ranges=[ranges[n] for n in part],
            validation=part is val,
        )
        for part in (train, val)
    )


def source_pairs(
    config: TrainingConfig,
    sources: Sequence[Source],
    psf_field: PSFField,
    windows: BlurredWindows,
) -> tuple[Pairs, Pairs]:
    """Training and validation pairs of the sharp parts of blurred images."""
    train, val = _split(len(sources), config)
    return _pair_of(
        SimulatedPairs(
            [sources[n].image for n in part],
            psf_field,
            config,
            ranges=[sources[n].range for n in part],
            variances=[sources[n].variance for n in part],
            windows=None if part is val else windows,
            validation=part is val,
        )
        for part in (train, val)
    )


def _measured(
    config: TrainingConfig,
    sharp: Images,
    blurred: Images,
    cancel: threading.Event | None,
) -> Generator[Event, None, tuple[Pairs, Pairs]]:
    found, passed_over = find_pairs(sharp, blurred)
    if note := describe_pairs(found):
        yield Note(note)
    both = [plane for pair in found for plane in pair]
    ranges, messages = yield from find_ranges(both, config.scaling, cancel)
    pairs = [
        (*pair, between)
        for pair, between, other in zip(found, ranges[1::2], ranges[::2], strict=True)
        if between is not None and other is not None
    ]
    warn_of_unused([*passed_over, *messages], len(pairs))
    train, val = _split(len(pairs), config)
    return _pair_of(
        MeasuredPairs(
            [pairs[n][0] for n in part],
            [pairs[n][1] for n in part],
            [pairs[n][2] for n in part],
            config,
            validation=part is val,
        )
        for part in (train, val)
    )


def _pair_of(pairs: Iterator[Pairs]) -> tuple[Pairs, Pairs]:
    train, val = pairs
    return train, val


def _split(images: int, config: TrainingConfig) -> tuple[list[int], list[int]]:
    """Indices of training and validation images; a single image is in both, with a warning."""
    if images == 1:
        warnings.warn(ONE_IMAGE, TrainingImagesWarning, stacklevel=2)
    indices: list[int] = random_stream(config.seed, RngStream.SPLIT).permutation(images).tolist()
    count = max(1, round(config.validation_fraction * images))
    count = min(count, max(1, images - 1))
    return indices[count:] or list(indices), indices[:count]
