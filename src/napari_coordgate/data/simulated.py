"""Pairs of sharp images and the blur that a PSF field makes of them."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from napari_coordgate.config import TrainingConfig
from napari_coordgate.data.planes import Plane
from napari_coordgate.data.sampling import Batch, RngStream, Sample, WindowSampler, random_stream
from napari_coordgate.geometry import Window, mirror_indices
from napari_coordgate.normalization import Normalizer
from napari_coordgate.optics import PSFField
from napari_coordgate.simulation import add_camera_noise

__all__ = ["SimulatedPairs"]

Float32 = NDArray[np.float32]


class SimulatedPairs(Dataset[Sample]):
    """Pairs of sharp images and the blur that a PSF field makes of them.

    Parameters
    ----------
    sharp : sequence of Plane
        Sharp images, of any sizes.
    ranges : sequence of IntensityRange
        Their intensity ranges.
    field : PSFField
        The blur.
    config : TrainingConfig
        Sampling, border, augmentation, camera and seed.
    validation : bool
        Instead of random windows: sample n is image n, neither turned nor
        brightened, over as much of the frame as it fills.
    """

    def __init__(
        self,
        sharp: Sequence[Plane],
        ranges: Sequence[Normalizer],
        field: PSFField,
        config: TrainingConfig,
        *,
        validation: bool = False,
    ) -> None:
        self.sharp = sharp
        self.ranges = ranges
        self.field = field
        self.config = config
        self.validation = validation
        self.frame_shape = field.frame_shape
        self.sampler = WindowSampler(field.frame_shape, config, validation=validation)

    def __len__(self) -> int:
        """Count the sharp images."""
        return len(self.sharp)

    def __getitem__(self, number: int) -> Sample:
        """Sample of this number; it depends on the seed and the number alone."""
        rng, chosen = self.sampler.draw(number, len(self))
        image = self.sharp[chosen].read()
        window = self.sampler.window(rng, image.shape)
        augment = self.config.augment and not self.validation
        turned = augment and bool(rng.integers(2))
        around = window.expanded(self.field.radius)
        shape = around.shape[::-1] if turned else around.shape
        rows, columns = (
            _crop(rng, wanted, given) for wanted, given in zip(shape, image.shape, strict=True)
        )
        scene = self.ranges[chosen].normalize(image[np.ix_(rows, columns)])
        scene = scene.T if turned else scene
        if augment:
            scene = scene[:: rng.choice((-1, 1)), :: rng.choice((-1, 1))]
        if self.config.border == "mirror":
            scene = _mirrored_at_frame(scene, around, self.frame_shape)
        return Sample(np.ascontiguousarray(scene) * self.sampler.gain(rng), None, window)

    def to_batch(self, samples: Sequence[Sample], device: torch.device, number: int) -> Batch:
        """Blur samples on a device.

        Parameters
        ----------
        samples : sequence of Sample
            Samples of one window shape.
        device : torch.device
            Where the training runs.
        number : int
            Number of the first sample, of which the others are the next ones. The camera's
            noise of each follows from its own, so that it is the same in any batch.

        Returns
        -------
        Batch
            The pairs.
        """
        radius = self.field.radius
        scenes = torch.from_numpy(np.stack([sample.sharp for sample in samples])).to(device)
        windows = [sample.window for sample in samples]
        blurred = self.field.blur_patches(scenes, [window.origin for window in windows])
        if self.config.camera.photons is not None:  # else each step would copy the batch
            exposed = (
                add_camera_noise(image, self.config.camera, self._noise_seed(number + place))
                for place, image in enumerate(blurred)
            )
            blurred = torch.stack(list(exposed))
        height, width = windows[0].shape
        sharp = scenes[:, radius : radius + height, radius : radius + width]
        return self.sampler.batch(sharp, blurred, windows)

    def _noise_seed(self, number: int) -> int:
        stream = RngStream.VALIDATION_NOISE if self.validation else RngStream.NOISE
        return int(random_stream(self.config.seed, stream, number).integers(2**62))


def _crop(rng: np.random.Generator, wanted: int, given: int) -> NDArray[np.int64]:
    """Pixels of a random run along one axis; a longer run than given is mirrored on both sides."""
    spare = given - wanted
    start = int(rng.integers(spare + 1)) if spare >= 0 else spare // 2
    return mirror_indices(start, wanted, given)


def _mirrored_at_frame(scene: Float32, around: Window, frame_shape: tuple[int, int]) -> Float32:
    """Scene whose part beyond the frame's border mirrors the part within."""
    inside = around.clipped(frame_shape)
    rows = mirror_indices(around.y0 - inside.y0, around.height, inside.height)
    columns = mirror_indices(around.x0 - inside.x0, around.width, inside.width)
    return scene[inside.within(around)][np.ix_(rows, columns)]
