"""Ready-made pairs: the same scene measured sharp and blurred, pixel on pixel."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from napari_coordgate.config import TrainingConfig
from napari_coordgate.data.planes import Plane
from napari_coordgate.data.sampling import Batch, Sample, WindowSampler
from napari_coordgate.geometry import Window
from napari_coordgate.normalization import Normalizer

__all__ = ["MeasuredPairs"]


class MeasuredPairs(Dataset[Sample]):
    """Ready-made pairs: the same scene measured sharp and blurred, pixel on pixel.

    Parameters
    ----------
    sharp, blurred : sequence of Plane, of one length
        Whole frames, in one order.
    ranges : sequence of IntensityRange
        Intensity ranges of the *blurred* images, which scale both.
    frame_shape : tuple of int
        (height, width) of the frame, in pixels.
    config : TrainingConfig
        Sampling and seed; pairs are never turned, for the blur belongs to its place.
    validation : bool
        Instead of random windows: sample n is pair n, whole.
    """

    def __init__(
        self,
        sharp: Sequence[Plane],
        blurred: Sequence[Plane],
        ranges: Sequence[Normalizer],
        frame_shape: tuple[int, int],
        config: TrainingConfig,
        *,
        validation: bool = False,
    ) -> None:
        self.sharp = sharp
        self.blurred = blurred
        self.ranges = ranges
        self.frame_shape = frame_shape
        self.sampler = WindowSampler(frame_shape, config, validation=validation)

    def __len__(self) -> int:
        """Count the pairs."""
        return len(self.sharp)

    def __getitem__(self, number: int) -> Sample:
        """Sample of this number; it depends on the seed and the number alone."""
        rng, chosen = self.sampler.draw(number, len(self))
        window = self.sampler.window(rng, self.frame_shape)
        inside = window.within(Window.whole(self.frame_shape))
        gain = self.sampler.gain(rng)
        sharp, blurred = (
            self.ranges[chosen].normalize(plane.read()[inside]) * gain
            for plane in (self.sharp[chosen], self.blurred[chosen])
        )
        return Sample(sharp, blurred, window)

    def to_batch(self, samples: Sequence[Sample], device: torch.device, number: int) -> Batch:
        """Move samples to a device, as `SimulatedPairs.to_batch` but with nothing to simulate."""
        sharp, blurred = (
            torch.from_numpy(np.stack(images)).to(device)
            for images in zip(*((sample.sharp, sample.blurred) for sample in samples), strict=True)
        )
        return self.sampler.batch(sharp, blurred, [sample.window for sample in samples])
