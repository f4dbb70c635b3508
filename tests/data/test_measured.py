"""Laws of pairs that were measured."""

import numpy as np
import torch

from napari_coordgate.config import CGUNetConfig, TrainingConfig
from napari_coordgate.data import MeasuredPairs, find_planes
from napari_coordgate.geometry import Window
from napari_coordgate.normalization import Normalizer

FRAME = (40, 32)
CONFIG = TrainingConfig(network=CGUNetConfig(depth=2), window_size=16, gain=1.0, augment=True)
SHARP = np.random.default_rng(0).random((3, *FRAME), dtype=np.float32)
BLURRED = -SHARP
RANGES = [Normalizer(-1.0, 1.0), Normalizer(-2.0, 0.0), Normalizer(0.0, 4.0)]


def pairs_of(config: TrainingConfig = CONFIG, *, validation: bool = False) -> MeasuredPairs:
    planes = find_planes(SHARP), find_planes(BLURRED)
    return MeasuredPairs(*planes, RANGES, config, validation=validation)


def test_pairs_are_aligned_and_never_turned() -> None:
    pairs = pairs_of()
    for number in range(30):
        sample = pairs.sample(number)
        _, chosen = pairs.sampler.draw(number, len(pairs))
        inside = sample.window.within(Window.whole(FRAME))
        assert np.array_equal(sample.sharp, RANGES[chosen].normalize(SHARP[chosen][inside]))
        assert sample.blurred is not None
        assert np.array_equal(sample.blurred, RANGES[chosen].normalize(BLURRED[chosen][inside]))


def test_both_images_of_a_pair_are_brightened_alike() -> None:
    plain, brightened = pairs_of(), pairs_of(CONFIG.model_copy(update={"gain": 3.0}))
    for number in range(5):
        one, other = plain.sample(number), brightened.sample(number)
        assert one.blurred is not None
        assert other.blurred is not None
        factor = other.sharp.sum() / one.sharp.sum()
        assert 1 / 3 <= factor <= 3
        np.testing.assert_allclose(other.sharp, one.sharp * factor, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(other.blurred, one.blurred * factor, rtol=1e-4, atol=1e-6)


def test_validation_pairs_are_whole_and_in_order() -> None:
    pairs = pairs_of(validation=True)
    for number in range(3):
        sample = pairs.sample(number)
        assert sample.window == Window.whole(FRAME)
        assert np.array_equal(sample.sharp, RANGES[number].normalize(SHARP[number]))


def test_a_batch_holds_its_samples() -> None:
    pairs = pairs_of()
    samples = [pairs.sample(number) for number in range(4)]
    batch = pairs.to_batch(samples, torch.device("cpu"), 0)
    assert batch.sharp.shape == batch.blurred.shape == batch.weights.shape == (4, 1, 16, 16)
    assert batch.coordinates.shape == (4, 2, 16, 16)
    for number, sample in enumerate(samples):
        assert np.array_equal(batch.sharp[number, 0], sample.sharp)
        assert sample.blurred is not None
        assert np.array_equal(batch.blurred[number, 0], sample.blurred)
