"""Laws of evaluation: the same test for all methods, errors at their pixels, correct times."""

import threading
import time
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_coordgate.comparison import ReadyMethod, build_method, evaluation
from napari_coordgate.comparison.evaluation import (
    BINS,
    ImagePair,
    MetricAccumulator,
    evaluate,
    inference_seconds,
)
from napari_coordgate.comparison.methods import unchanged
from napari_coordgate.config import (
    CGUNetConfig,
    GaussianLens,
    NetworkMethod,
    TrainingConfig,
    WienerConfig,
    WienerMethod,
)
from napari_coordgate.data import SimulatedPairs, prepare_pairs
from napari_coordgate.errors import CanceledError, SettingsError
from napari_coordgate.events import Event, run
from napari_coordgate.geometry import Window, field_radius
from napari_coordgate.metrics import quality
from napari_coordgate.optics import PSFField

FRAME = (24, 32)
FIELD = PSFField.from_lens(GaussianLens(sigma_center_px=0.6, sigma_edge_px=1.2), FRAME)
RNG = np.random.default_rng(0)
SHARP = [RNG.random(FRAME).astype(np.float32) for _ in range(4)]
WIENER = WienerMethod(name="Wiener", wiener=WienerConfig(num_iter=3))
ONE = 1e-6


def pairs_of(sharp: Any = SHARP, limit: int | None = None, **settings: Any) -> evaluation.TestSet:
    config = TrainingConfig.model_validate(settings)
    _, pairs = run(prepare_pairs(config, SHARP, FIELD, None, sharp))
    assert isinstance(pairs, SimulatedPairs)
    return evaluation.TestSet(pairs, limit)


def method_of(function: Callable[[Any], Any]) -> ReadyMethod:
    """Method that applies a function to the blurred image."""

    def restore(blurred: Any, window: Window) -> Generator[Event, None, Any]:
        yield from ()
        return function(blurred)

    return ReadyMethod("function", "wiener", 0, restore)


def test_test_images_are_blurred_by_the_lens_with_the_border_of_the_settings() -> None:
    pairs = pairs_of(border="mirror", gain=2.0)
    for number, sharp in enumerate(SHARP):
        pair = pairs[number]
        assert pair.window == Window.whole(FRAME)
        np.testing.assert_allclose(pair.blurred, FIELD.blur(pair.sharp), atol=1e-4)
        assert np.corrcoef(pair.sharp.ravel(), sharp.ravel())[0, 1] > 1 - ONE


def test_the_noise_is_reproducible_and_differs_between_images() -> None:
    quiet, noisy = pairs_of([SHARP[0]] * 2), pairs_of([SHARP[0]] * 2, camera={"photons": 100})
    noise = [noisy[n].blurred - quiet[n].blurred for n in (0, 1, 0)]
    np.testing.assert_array_equal(noise[0], noise[2])
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.2


def test_the_number_of_pairs_can_be_limited() -> None:
    assert [len(pairs_of(limit=limit)) for limit in (None, 2, 9)] == [4, 2, 4]


def test_errors_are_mapped_to_their_pixels() -> None:
    error = RNG.random((3, *FRAME)).astype(np.float32)
    sharp = np.zeros(FRAME, np.float32)
    metrics, whole = MetricAccumulator(FRAME), Window.whole(FRAME)
    for image in error:
        metrics.update(ImagePair(sharp, sharp, whole), image)
    squared = np.square(error, dtype=np.float64).mean(axis=0)
    np.testing.assert_allclose(metrics.error_map(), squared, rtol=1e-5)
    radius = field_radius(FRAME)
    middles, errors = metrics.radial_error()
    for middle, value in zip(middles, errors, strict=True):
        inside = np.abs(radius - middle) < 0.5 / BINS
        assert (value is None) == (not inside.any())
        if value is not None:
            np.testing.assert_allclose(value, squared[inside].mean(), rtol=1e-6)


def test_a_window_counts_only_at_its_pixels() -> None:
    metrics, window = MetricAccumulator(FRAME), Window(2, 20, 16, 12)
    sharp: NDArray[np.float32] = RNG.random(window.shape).astype(np.float32)
    metrics.update(ImagePair(sharp, sharp, window), sharp + np.float32(0.5))
    error_map = metrics.error_map()
    pixels = window.within(Window.whole(FRAME))
    np.testing.assert_allclose(error_map[pixels], 0.25, rtol=1e-5)
    assert np.isfinite(error_map).sum() == sharp.size
    assert metrics.radial_error()[1][0] is None  # no pixels in the center of the frame
    assert metrics.means() == quality(sharp, sharp + np.float32(0.5), field_radius(FRAME, window))


def test_a_perfect_method_has_infinite_psnr_and_the_baseline_shows_the_blur() -> None:
    pairs = pairs_of()
    truth = iter([pair.sharp for pair in pairs])
    perfect = run(evaluate(method_of(lambda blurred: next(truth)), pairs, FRAME))
    assert perfect.metrics.means()["psnr"] == float("inf")
    idle = run(evaluate(unchanged(), pairs, FRAME, keep=2))
    assert len(idle.restored) == 2
    np.testing.assert_array_equal(idle.restored[0], pairs[0].blurred)


def test_the_inference_time_excludes_the_warm_up() -> None:
    delays = iter([0.2, 0.1] + [0.01] * 20)

    def sleep(blurred: Any) -> Any:
        time.sleep(next(delays))
        return blurred

    seconds = inference_seconds(method_of(sleep), pairs_of()[0])
    assert 0.01 <= seconds < 0.09


def test_metrics_relate_to_the_data_range() -> None:
    pair = pairs_of()[0]
    scaled = ImagePair(50 * pair.sharp, 50 * pair.blurred, pair.window, 50.0)
    ours, theirs = MetricAccumulator(FRAME), MetricAccumulator(FRAME)
    ours.update(pair, pair.blurred)
    theirs.update(scaled, scaled.blurred)
    assert theirs.means() == pytest.approx(ours.means(), rel=1e-4)
    np.testing.assert_allclose(theirs.error_map(), ours.error_map(), rtol=1e-3, atol=1e-9)


def test_an_evaluation_ends_at_once_when_canceled() -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CanceledError):
        run(evaluate(build_method(WIENER, FIELD), pairs_of(), FRAME, cancel=cancel))


def test_an_untrained_network_is_not_ready() -> None:
    untrained = NetworkMethod(name="untrained", network=CGUNetConfig())
    with pytest.raises(SettingsError, match="untrained is not trained yet"):
        build_method(untrained, FIELD)
