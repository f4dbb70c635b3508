"""Tests of smooth functions of the position that are estimated from noisy samples."""

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_coordgate.optics.smoothing import Correlation, Smoother, choose_smoother

Array = NDArray[np.float64]

LINE = np.linspace(-0.8, 0.6, 4)[:, None] * (1.0, 0.5)
WAVY = [Correlation("gaussian", 0.7, 2.0), Correlation("matern", 1.2, 0.5)]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def smooth(points: Array) -> Array:
    """A smooth function with three values."""
    y, x = points.T
    return np.stack([np.sin(2 * y) + x, y * x, np.exp(-(x**2))], axis=1)


@pytest.mark.parametrize("count", [2, 3, 9, 40])
def test_samples_without_noise_are_reproduced(count: int, rng: np.random.Generator) -> None:
    points = rng.uniform(-1, 1, (count, 2))
    smoother = choose_smoother(points, smooth(points), np.zeros(count))
    np.testing.assert_allclose(smoother.weights(points) @ smooth(points), smooth(points), atol=1e-3)


def test_points_may_be_on_a_line() -> None:
    smoother = choose_smoother(LINE, smooth(LINE), np.zeros(4))
    np.testing.assert_allclose(smoother.weights(LINE) @ smooth(LINE), smooth(LINE), atol=1e-3)


@pytest.mark.parametrize("count", [1, 2, 25])
@pytest.mark.parametrize("correlation", [*WAVY, Correlation()])
def test_weights_have_sum_1(count: int, correlation: Correlation, rng: np.random.Generator) -> None:
    points = rng.uniform(-1, 1, (count, 2))
    smoother = Smoother(points, rng.uniform(0.1, 1, count), correlation)
    np.testing.assert_allclose(smoother.weights(rng.uniform(-1, 1, (9, 2))).sum(axis=1), 1)


@pytest.mark.parametrize("correlation", WAVY)
def test_left_out_residuals_are_those_of_leaving_out_each_sample(
    correlation: Correlation, rng: np.random.Generator
) -> None:
    points, noise = rng.uniform(-1, 1, (12, 2)), rng.uniform(0.01, 0.1, 12)
    samples = smooth(points)
    whole = Smoother(points, noise, correlation)
    residuals, variances = whole.left_out_residuals(samples), whole.left_out_variance()
    for number in range(12):
        kept = np.arange(12) != number
        rest = Smoother(points[kept], noise[kept], correlation)
        at = points[[number]]
        expected = samples[number] - (rest.weights(at) @ samples[kept])[0]
        np.testing.assert_allclose(residuals[number], expected, atol=1e-9)
        np.testing.assert_allclose(variances[number], rest.variance(at)[0], rtol=1e-6)


def test_noise_is_averaged_where_there_is_noise(rng: np.random.Generator) -> None:
    points = rng.uniform(-1, 1, (60, 2))
    exact = smooth(points)
    errors = rng.normal(0, 0.3, exact.shape)
    smoother = choose_smoother(points, exact + errors, np.full(60, 3 * 0.3**2))
    found = smoother.weights(points) @ (exact + errors)
    assert np.sqrt(np.mean((found - exact) ** 2)) < 0.5 * 0.3
    assert 3 < smoother.influence().sum() < 30


def test_noise_alone_gives_a_constant(rng: np.random.Generator) -> None:
    points, samples = rng.uniform(-1, 1, (50, 2)), rng.normal(size=(50, 100))
    smoother = choose_smoother(points, samples, np.full(50, 100.0))
    assert smoother.influence().sum() < 3
