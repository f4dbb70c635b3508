"""Laws of the calibration: the bound covers nine tenths, and good results are not contradicted."""

import numpy as np
import pytest

from napari_coordgate.errors import TrainingError
from napari_coordgate.trust import (
    CalibrationSample,
    Residual,
    TrustCalibration,
    calibrated,
    contradiction_map,
    expected_gain_db,
)
from napari_coordgate.trust.calibrating import least_tolerance

SHAPE = (48, 48)


def residual(bias: float, seed: int = 0) -> Residual:
    variance = np.full(SHAPE, 1e-4, np.float32)
    noise = np.random.default_rng(seed).normal(0, 1e-2, SHAPE)
    return Residual((noise + bias).astype(np.float32), variance, np.zeros(SHAPE, np.float32))


def sample(seed: int, gain: float = 3.0, bias: float = 0.02) -> CalibrationSample:
    """Scene whose error has the predicted shape, but twice the size."""
    rng = np.random.default_rng(seed)
    bound = rng.uniform(0.01, 0.1, SHAPE).astype(np.float32)
    error = 2 * bound * rng.normal(0, 1 / 1.645, SHAPE).astype(np.float32)
    scene = np.zeros(SHAPE, np.float32)
    blurred = scene + np.float32(10 ** (gain / 20)) * error
    return CalibrationSample.of(scene, scene + error, bound, blurred, residual(bias, seed))


def test_the_bound_covers_nine_tenths_of_other_images() -> None:
    trust = calibrated([sample(seed) for seed in range(12)])
    assert trust.error_factor == pytest.approx(2, rel=0.05)
    ratios = np.concatenate([sample(seed).ratios for seed in range(20, 30)])
    assert np.mean(ratios < trust.error_factor) == pytest.approx(0.9, abs=0.01)
    assert trust.rms_factor == pytest.approx(1 / 1.645, rel=0.05)
    assert trust.images == 12


def test_good_results_are_not_contradicted_with_the_tolerance() -> None:
    trust = calibrated([sample(seed) for seed in range(12)])
    assert 0.005 < trust.tolerance < 0.04
    shares = [(contradiction_map(residual(0.02, s), trust.tolerance) > 1).mean() for s in range(5)]
    assert max(shares) < 0.01


def test_noise_alone_needs_no_tolerance() -> None:
    assert least_tolerance(residual(0.0)) < 0.003
    assert least_tolerance(residual(0.03)) < least_tolerance(residual(0.06))


def test_too_few_good_results_are_refused() -> None:
    with pytest.raises(TrainingError, match="train the model longer"):
        calibrated([sample(seed, gain=-1.0) for seed in range(12)])


def test_the_expected_gain_is_that_of_the_best_estimate() -> None:
    """Its error is uncorrelated with the image: both squares add up."""
    rng = np.random.default_rng(0)
    scene, noise = rng.normal(size=100_000), rng.normal(size=100_000)
    image, best = scene + noise, (scene + noise) / 2
    change, error = np.mean((best - image) ** 2), np.mean((best - scene) ** 2)
    true_gain = 10 * np.log10(np.mean((image - scene) ** 2) / error)
    assert expected_gain_db(float(change), float(error)) == pytest.approx(true_gain, abs=0.1)
    assert expected_gain_db(0.0, 0.0) == 0


def test_the_bound_has_no_pattern_of_two_pixels() -> None:
    alternating = np.indices(SHAPE).sum(axis=0) % 2
    bound = TrustCalibration().bound((alternating * 0.2 - 3).astype(np.float32))
    np.testing.assert_allclose(bound[1:-1, 1:-1], np.exp(-2.9), rtol=1e-5)
