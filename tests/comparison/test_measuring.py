"""Laws of the measuring: the same test for all, errors where they are, honest time and memory."""

import threading
import time
from collections.abc import Generator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_coordgate.comparison import Restorer, build_restorer
from napari_coordgate.comparison.measuring import (
    BINS,
    BlurredPair,
    HeldBack,
    Tally,
    inference_seconds,
    measure,
)
from napari_coordgate.comparison.memory import peak_memory_bytes
from napari_coordgate.config import Camera, GaussianLens, Method, NetworkConfig, TrainingConfig
from napari_coordgate.data import SimulatedPairs, prepare_pairs
from napari_coordgate.errors import CanceledError, SettingsError
from napari_coordgate.geometry import Window, field_radius
from napari_coordgate.metrics import quality
from napari_coordgate.optics import PSFField

FRAME = (24, 32)
FIELD = PSFField.from_lens(GaussianLens(sigma_center_px=0.6, sigma_edge_px=1.2), FRAME)
RNG = np.random.default_rng(0)
SHARP = [RNG.random(FRAME).astype(np.float32) for _ in range(4)]
WIENER = Method.model_validate({"name": "Wiener", "wiener": {"num_iter": 3}})
ONE = 1e-6


def returned(generator: Generator[Any, None, Any]) -> Any:
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


def held_back(sharp: Any = SHARP, most: int | None = None, **settings: Any) -> HeldBack:
    config = TrainingConfig.model_validate(settings)
    _, pairs = returned(prepare_pairs(config, SHARP, FIELD, None, sharp))
    assert isinstance(pairs, SimulatedPairs)
    return HeldBack(pairs, most)


def test_test_images_are_blurred_as_the_lens_and_the_border_tell() -> None:
    pairs = held_back(border="mirror", gain=2.0)
    for number, sharp in enumerate(SHARP):
        pair = pairs.pair(number)
        assert pair.window == Window.whole(FRAME)
        np.testing.assert_allclose(pair.blurred, FIELD.blur(pair.sharp), atol=1e-4)
        assert np.corrcoef(pair.sharp.ravel(), sharp.ravel())[0, 1] > 1 - ONE


def test_the_noise_is_the_same_whenever_it_is_asked_for_and_another_in_each_image() -> None:
    quiet, noisy = held_back([SHARP[0]] * 2), held_back([SHARP[0]] * 2, camera={"photons": 100})
    noise = [noisy.pair(n).blurred - quiet.pair(n).blurred for n in (0, 1, 0)]
    np.testing.assert_array_equal(noise[0], noise[2])
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.2


def test_no_more_pairs_count_than_asked_for() -> None:
    assert [len(held_back(most=most)) for most in (None, 2, 9)] == [4, 2, 4]


def test_errors_are_told_where_they_are() -> None:
    error = RNG.random((3, *FRAME)).astype(np.float32)
    sharp = np.zeros(FRAME, np.float32)
    tally, whole = Tally(FRAME), Window.whole(FRAME)
    for image in error:
        tally.add(BlurredPair(sharp, sharp, whole), image)
    squared = np.square(error, dtype=np.float64).mean(axis=0)
    np.testing.assert_allclose(tally.error_map(), squared, rtol=1e-5)
    radius = field_radius(FRAME)
    middles, errors = tally.radial_error()
    for middle, told in zip(middles, errors, strict=True):
        inside = np.abs(radius - middle) < 0.5 / BINS
        assert (told is None) == (not inside.any())
        if told is not None:
            np.testing.assert_allclose(told, squared[inside].mean(), rtol=1e-6)


def test_a_window_counts_where_it_lies_and_nowhere_else() -> None:
    tally, window = Tally(FRAME), Window(2, 20, 16, 12)
    sharp: NDArray[np.float32] = RNG.random(window.shape).astype(np.float32)
    tally.add(BlurredPair(sharp, sharp, window), sharp + np.float32(0.5))
    error_map = tally.error_map()
    place = window.within(Window.whole(FRAME))
    np.testing.assert_allclose(error_map[place], 0.25, rtol=1e-5)
    assert np.isfinite(error_map).sum() == sharp.size
    assert tally.radial_error()[1][0] is None  # the frame's middle was not seen
    assert tally.means() == quality(sharp, sharp + np.float32(0.5), field_radius(FRAME, window))


def test_a_method_that_knows_the_truth_is_perfect_and_one_that_does_nothing_shows_the_blur() -> (
    None
):
    pairs = held_back()
    truth = iter([pairs.pair(n).sharp for n in range(4)] + [SHARP[0]] * 20)
    perfect = returned(measure(Restorer("truth", 0, lambda blurred, window: next(truth)), pairs))
    assert perfect.tally.means()["psnr"] == float("inf")
    idle = returned(measure(Restorer("idle", 0, lambda blurred, window: blurred), pairs))
    np.testing.assert_array_equal(idle.example, pairs.pair(0).blurred)


def test_the_time_is_that_of_an_image_once_warm() -> None:
    naps = iter([0.2, 0.1] + [0.01] * 20)

    def nap(blurred: Any, window: Window) -> Any:
        time.sleep(next(naps))
        return blurred

    seconds = inference_seconds(Restorer("nap", 0, nap), held_back().pair(0))
    assert 0.01 <= seconds < 0.09


def test_measuring_ends_at_once_when_canceled() -> None:
    cancel = threading.Event()
    cancel.set()
    restorer = build_restorer(WIENER, FIELD)
    with pytest.raises(CanceledError):
        returned(measure(restorer, held_back(), cancel))
    with pytest.raises(CanceledError):
        peak_memory_bytes(WIENER, FIELD, Camera(), "cpu", held_back().pair(0), cancel)


def test_memory_is_that_of_the_method_and_grows_with_the_image() -> None:
    taken = []
    for side in (64, 1024):
        field = PSFField(FIELD.kernels, FIELD.coefficients, (side, side))
        image = np.zeros((side, side), np.float32)
        pair = BlurredPair(image, image, Window.whole(image.shape))
        bytes_taken = peak_memory_bytes(WIENER, field, Camera(), "cpu", pair)
        assert bytes_taken is not None
        taken.append(bytes_taken)
    assert taken[0] < 50e6  # the program and its libraries take several times as much
    assert taken[1] - taken[0] > 4 * image.nbytes


def test_a_method_that_fails_has_no_memory_to_tell() -> None:
    untrained = Method(name="untrained", network=NetworkConfig())
    pair = held_back().pair(0)
    assert peak_memory_bytes(untrained, FIELD, Camera(), "cpu", pair) is None
    with pytest.raises(SettingsError, match="untrained is still to be trained"):
        build_restorer(untrained, FIELD)
