"""Laws of where training windows lie and what their pixels count."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from numpy.typing import NDArray

from napari_coordgate.config import CGUNetConfig, TrainingConfig
from napari_coordgate.data.sampling import (
    RngStream,
    WindowSampler,
    coverage_weights,
    random_stream,
    window_origins,
)
from napari_coordgate.geometry import Window, frame_coordinates

FRAME = (40, 32)
CONFIG = TrainingConfig(window_size=16, network=CGUNetConfig(depth=3))

axes = st.tuples(
    st.integers(1, 150), st.integers(1, 150), st.sampled_from([1, 2, 4, 8, 16, 32])
).filter(lambda axis: axis[1] <= axis[0])


@given(axes)
def test_every_pixel_of_the_frame_is_expected_to_count_alike(axis: tuple[int, int, int]) -> None:
    frame_length, length, _ = axis
    counted = np.zeros(frame_length)
    for origin in window_origins(*axis):
        inside = slice(origin, origin + length)
        counted[inside] += coverage_weights(*axis)[inside]
    np.testing.assert_allclose(counted, counted[0], rtol=1e-5)
    assert counted[0] > 0


@given(axes)
def test_no_window_leaves_the_frame(axis: tuple[int, int, int]) -> None:
    origins = window_origins(*axis)
    assert origins.min() == 0
    assert origins.max() == axis[0] - axis[1]


@given(axes)
def test_weights_of_a_random_window_are_one_on_average(axis: tuple[int, int, int]) -> None:
    weights = coverage_weights(*axis)
    windows = [weights[origin : origin + axis[1]].mean() for origin in window_origins(*axis)]
    assert np.mean(windows) == pytest.approx(1, rel=1e-5)


@given(axes.filter(lambda axis: axis[1] >= axis[2]))
def test_origins_are_multiples_but_for_the_last_that_fits(axis: tuple[int, int, int]) -> None:
    frame_length, length, multiple = axis
    origins = window_origins(*axis)
    assert ((origins % multiple == 0) | (origins == frame_length - length)).all()
    assert (np.diff(np.unique(origins)) <= multiple).all()


def test_the_border_is_seen_about_as_often_as_the_middle() -> None:
    weights = coverage_weights(512, 64, 4)
    assert weights.max() / weights.min() < 2


def test_each_image_is_seen_once_an_epoch() -> None:
    sampler = WindowSampler(FRAME, CONFIG, validation=False)
    chosen = [sampler.draw(number, 7)[1] for number in range(35)]
    epochs = [chosen[start : start + 7] for start in range(0, 35, 7)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_every_origin_is_drawn() -> None:
    sampler = WindowSampler(FRAME, CONFIG, validation=False)
    windows = [sampler.window(sampler.draw(n, 5)[0], (90, 90)) for n in range(1500)]
    drawn = Counter(window.y0 for window in windows)
    laid = Counter(window_origins(FRAME[0], 16, 4).tolist())
    assert drawn.keys() == laid.keys()
    for origin, times in laid.items():
        assert drawn[origin] / 1500 == pytest.approx(times / laid.total(), rel=0.35)


def test_whole_frames_all_lie_at_the_origin() -> None:
    config = CONFIG.model_copy(update={"sampling": "frame"})
    sampler = WindowSampler(FRAME, config, validation=False)
    assert sampler.window(np.random.default_rng(0), (90, 90)) == Window.whole(FRAME)
    assert all((weights == 1).all() for weights in sampler.weights)


def test_a_window_larger_than_the_frame_is_the_frame() -> None:
    config = CONFIG.model_copy(update={"window_size": 36})
    window = WindowSampler(FRAME, config, validation=False).window(
        np.random.default_rng(0), (90, 90)
    )
    assert window.shape == (36, 32)


@given(st.integers(1, 99), st.integers(1, 99), st.integers(0, 99))
def test_a_validation_window_is_as_much_of_the_frame_as_the_image_fills(
    height: int, width: int, number: int
) -> None:
    sampler = WindowSampler(FRAME, CONFIG, validation=True)
    rng, chosen = sampler.draw(number, 100)
    window = sampler.window(rng, (height, width))
    assert chosen == number
    assert window.shape == (min(height, FRAME[0]), min(width, FRAME[1]))
    assert Window.whole(FRAME).contains(window)


def test_brightness_varies_evenly_both_ways_and_not_in_validation() -> None:
    config = CONFIG.model_copy(update={"gain": 2.0})
    rng = np.random.default_rng(0)
    sampler = WindowSampler(FRAME, config, validation=False)
    logs = np.log2([sampler.gain(rng) for _ in range(2000)])
    assert -1 <= logs.min() < -0.95
    assert 0.95 < logs.max() <= 1
    assert abs(logs.mean()) < 0.05
    assert WindowSampler(FRAME, config, validation=True).gain(rng) == 1


def test_a_batch_carries_the_coordinates_and_weights_of_its_windows() -> None:
    windows = [Window(0, 8, 16, 16), Window(24, 16, 16, 16)]
    images = torch.rand(2, 16, 16)
    batch = WindowSampler(FRAME, CONFIG, validation=False).batch(images, -images, windows)
    across = [coverage_weights(length, 16, 4) for length in FRAME]
    weights = np.outer(*across)
    for number, window in enumerate(windows):
        assert np.array_equal(batch.coordinates[number], frame_coordinates(FRAME, window))
        inside = window.within(Window.whole(FRAME))
        np.testing.assert_allclose(batch.weights[number, 0], weights[inside], rtol=1e-6)
    assert torch.equal(batch.sharp, images[:, None])
    assert torch.equal(batch.blurred, -images[:, None])


def test_random_streams_are_apart() -> None:
    def numbers(*key: int) -> NDArray[np.float64]:
        return random_stream(key[0], RngStream(key[1]), key[2]).random(4)

    keys = [(seed, stream, n) for seed in (0, 1) for stream in RngStream for n in (0, 1)]
    assert len({numbers(*key).tobytes() for key in keys}) == len(keys)
    assert np.array_equal(numbers(1, 2, 3), numbers(1, 2, 3))
