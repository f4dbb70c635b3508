"""Laws of pairs that are made by blurring."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from napari_coordgate.config import Camera, CGUNetConfig, GaussianLens, TrainingConfig
from napari_coordgate.data import Sample, Samples, SimulatedPairs, find_planes
from napari_coordgate.geometry import Window, frame_coordinates
from napari_coordgate.normalization import Normalizer
from napari_coordgate.optics import PSFField

FRAME = (40, 32)
FIELD = PSFField.from_lens(GaussianLens(sigma_center_px=0.5, sigma_edge_px=1.5), FRAME)
MARGIN = FIELD.radius
AROUND = Window.whole(FRAME).expanded(MARGIN)
CPU = torch.device("cpu")
UNIT = Normalizer(0.0, 1.0)
PARTS = (slice(0, 2), slice(2, 3), slice(3, 5))

Pixels = NDArray[np.floating]


def scene(shape: tuple[int, int], seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def pairs_of(*images: Pixels, validation: bool = False, **changes: Any) -> SimulatedPairs:
    """Pairs as unvaried as possible, but for the changes."""
    plain: dict[str, Any] = {"augment": False, "gain": 1.0, "window_size": 16}
    config = TrainingConfig(network=CGUNetConfig(depth=2), **{**plain, **changes})
    planes = find_planes(list(images))
    return SimulatedPairs(planes, FIELD, config, ranges=[UNIT] * len(planes), validation=validation)


def blurred_and_sharp(pairs: SimulatedPairs, sample: Sample) -> tuple[Tensor, Tensor]:
    batch = pairs.to_batch([sample], CPU, 0)
    return batch.blurred[0, 0], batch.sharp[0, 0]


def equal(one: Sample, other: Sample) -> bool:
    return one.window == other.window and np.array_equal(one.sharp, other.sharp)


# The pair


def test_a_window_is_cut_out_of_the_blur_of_the_whole_scene() -> None:
    image = scene(AROUND.shape)
    whole = torch.from_numpy(FIELD.blur(image, origin=AROUND.origin))
    pairs = pairs_of(image, sampling="frame")
    blurred, sharp = blurred_and_sharp(pairs, pairs.sample(0))
    torch.testing.assert_close(blurred, whole, rtol=0, atol=1e-5)
    torch.testing.assert_close(sharp, torch.from_numpy(image)[MARGIN:-MARGIN, MARGIN:-MARGIN])
    for number in range(20):
        sample = pairs_of(image).sample(number)
        inside = sample.window.within(Window.whole(FRAME))
        around = sample.window.expanded(MARGIN)
        placed = Sample(image[around.within(AROUND)], None, sample.window)
        blurred, _ = blurred_and_sharp(pairs, placed)
        torch.testing.assert_close(blurred, whole[inside], rtol=0, atol=1e-5)


def test_a_window_shows_any_part_of_an_image_with_the_scene_around_it() -> None:
    image = np.arange(60 * 70, dtype=np.float32).reshape(60, 70) / 4200
    pairs = pairs_of(image)
    corners = set()
    for number in range(200):
        shown = pairs.sample(number).sharp
        y, x = divmod(round(float(shown[0, 0]) * 4200), 70)
        side = 16 + 2 * MARGIN
        np.testing.assert_allclose(shown, image[y : y + side, x : x + side], atol=1e-6)
        corners.add((y, x))
    assert len(corners) > 150
    assert {y for y, _ in corners} == set(range(60 - side + 1))


@pytest.mark.parametrize("sampling", ["window", "frame"])
def test_at_a_mirrored_border_the_blur_is_that_of_the_mirrored_frame(sampling: str) -> None:
    pairs = pairs_of(scene((70, 60)), border="mirror", sampling=sampling)
    touching = 0
    for number in range(20):
        sample = pairs.sample(number)
        around = sample.window.expanded(MARGIN)
        inside = around.clipped(FRAME)
        touching += inside != around
        blurred, _ = blurred_and_sharp(pairs, sample)
        # Without pixels beyond the frame, the field mirrors the border.
        image = sample.sharp[inside.within(around)]
        expected = FIELD.blur(image, origin=inside.origin, window=sample.window)
        torch.testing.assert_close(blurred, torch.from_numpy(expected), rtol=0, atol=1e-5)
    assert touching


def test_a_mirrored_frame_is_blurred_as_in_use() -> None:
    image = scene(FRAME)
    pairs = pairs_of(image, border="mirror", validation=True)
    blurred, sharp = blurred_and_sharp(pairs, pairs.sample(0))
    torch.testing.assert_close(blurred, torch.from_numpy(FIELD.blur(image)), rtol=0, atol=1e-5)
    assert np.array_equal(sharp, image)


def test_flips_come_before_the_blur() -> None:
    square = max(AROUND.shape)
    image = scene((square, square))
    pairs = pairs_of(image, augment=True, sampling="frame")
    rows, columns = slice(0, AROUND.height), slice(0, AROUND.width)
    ways = [
        [turned[::rng, ::across] for rng in (1, -1) for across in (1, -1)]
        for turned in (image, image.T)
    ]
    seen = set()
    for number in range(60):
        sample = pairs.sample(number)
        blurred, _ = blurred_and_sharp(pairs, sample)
        expected = FIELD.blur(sample.sharp, origin=AROUND.origin)
        torch.testing.assert_close(blurred, torch.from_numpy(expected), rtol=0, atol=1e-5)
        for turn, flips in enumerate(ways):
            for flip, whole in enumerate(flips):
                crops = np.lib.stride_tricks.sliding_window_view(whole, AROUND.shape)
                if (crops[:, :, rows, columns] == sample.sharp).all(axis=(2, 3)).any():
                    seen.add((turn, flip))
    assert len(seen) == 8


@pytest.mark.parametrize("shape", [(5, 60), (11, 13), (1, 2)])
def test_an_image_smaller_than_the_window_is_mirrored(shape: tuple[int, int]) -> None:
    image = scene(shape)
    for augment in (False, True):
        sample = pairs_of(image, augment=augment).sample(0)
        assert sample.sharp.shape == (16 + 2 * MARGIN, 16 + 2 * MARGIN)
        assert set(np.unique(sample.sharp)) <= set(np.unique(image))
    validated = pairs_of(image, validation=True).sample(0)
    assert validated.window.shape == (min(shape[0], FRAME[0]), min(shape[1], FRAME[1]))


def test_intensities_are_scaled_by_their_image_and_brightened_together() -> None:
    image = scene((70, 60)) * 1000 + 500
    config = TrainingConfig(window_size=16, augment=False, gain=2.0)
    planes = find_planes(image)
    brightened = SimulatedPairs(planes, FIELD, config, ranges=[Normalizer(500, 1500)])
    plain = pairs_of((image - 500) / 1000)
    for number in range(5):
        one, other = brightened.sample(number), plain.sample(number)
        factors = one.sharp / other.sharp
        assert 0.5 <= factors.mean() <= 2
        np.testing.assert_allclose(factors, factors.mean(), rtol=1e-2)


# Repetition


def test_a_sample_follows_from_seed_and_number() -> None:
    images = [scene((50, 60), seed) for seed in range(3)]
    one, again = pairs_of(*images, augment=True), pairs_of(*images, augment=True)
    other = pairs_of(*images, augment=True, seed=1)
    for number in (5, 0, 17):
        assert equal(one.sample(number), again.sample(number))
        assert not equal(one.sample(number), other.sample(number))
        assert not equal(one.sample(number), one.sample(number + 3))


def test_validation_samples_are_neither_turned_nor_brightened() -> None:
    image = scene(AROUND.shape)
    pairs = pairs_of(image, augment=True, gain=3.0, validation=True)
    assert np.array_equal(pairs.sample(0).sharp, image)


# From 3.12 to 3.13 Python forks by default, and warns where torch has started threads.
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("count", [3, 7])
def test_the_number_of_workers_changes_nothing(count: int) -> None:
    images = (scene((50, 60), seed) for seed in range(5))
    pairs = Samples(pairs_of(*images, augment=True, gain=1.5))

    def samples(workers: int) -> list[Sample]:
        loader: DataLoader[Sample] = DataLoader(
            pairs,
            batch_size=count,
            sampler=range(14),
            num_workers=workers,
            collate_fn=list,
        )
        return [sample for batch in loader for sample in batch]

    alone, together = samples(0), samples(2)
    assert len(alone) == len(together) == 14
    assert all(map(equal, alone, together))


def test_the_noise_of_a_sample_is_the_same_in_any_batch() -> None:
    pairs = pairs_of(scene((50, 60)), camera=Camera(photons=50, read_noise=2))
    samples = [pairs.sample(number) for number in range(5)]
    together = pairs.to_batch(samples, CPU, 8).blurred
    apart = [pairs.to_batch(samples[part], CPU, 8 + part.start).blurred for part in PARTS]
    torch.testing.assert_close(together, torch.cat(apart))
    assert not torch.equal(*pairs.to_batch([samples[0]] * 2, CPU, 8).blurred)


def test_noise_follows_from_the_number_of_the_sample() -> None:
    pairs = pairs_of(scene((50, 60)), camera=Camera(photons=50, read_noise=2))
    one, again, other = (pairs.to_batch([pairs.sample(0)], CPU, n).blurred for n in (4, 4, 5))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_noise_falls_on_the_blurred_image_alone() -> None:
    clean = pairs_of(scene((50, 60)))
    noisy = pairs_of(scene((50, 60)), camera=Camera(photons=1e4))
    one, other = (pairs.to_batch([pairs.sample(0)], CPU, 0) for pairs in (clean, noisy))
    assert torch.equal(one.sharp, other.sharp)
    error = (one.blurred - other.blurred).square().mean()
    assert float(error) == pytest.approx(float(one.blurred.mean()) / 1e4, rel=0.3)


def test_photons_follow_from_the_counts_of_each_image() -> None:
    images = [100 * scene((50, 60)), 1000 * scene((50, 60))]
    config = TrainingConfig(window_size=16, camera=Camera(electrons_per_count=3, read_noise=1))
    pairs = SimulatedPairs(images, FIELD, config)
    photons = [3 * (high - low) for low, high in pairs.ranges]
    drawn = {pairs.sample(number).camera for number in range(8)}
    assert drawn == {Camera(photons=one, read_noise=1) for one in photons}
    assert pairs.camera == Camera(photons=sum(photons) / 2, read_noise=1)


def test_pairs_are_a_dataset_of_sharp_and_blurred_images_and_coordinates() -> None:
    config = TrainingConfig(window_size=16, camera=Camera(photons=100))
    pairs = SimulatedPairs([scene((50, 60), seed) for seed in range(3)], FIELD, config)
    items = list(pairs)
    assert len(items) == len(pairs) == 3
    for index, (sharp, blurred, coordinates) in enumerate(items):
        sample = pairs.sample(index)
        batch = pairs.to_batch([sample], CPU, index)
        assert torch.equal(sharp, batch.sharp[0])
        assert torch.equal(blurred, batch.blurred[0])
        expected = frame_coordinates(FRAME, sample.window)
        assert torch.equal(coordinates, torch.from_numpy(expected))
    loader = DataLoader(pairs, batch_size=3, shuffle=False)
    (batched,) = loader
    assert [tuple(tensor.shape) for tensor in batched] == [
        (3, 1, 16, 16),
        (3, 1, 16, 16),
        (3, 2, 16, 16),
    ]
