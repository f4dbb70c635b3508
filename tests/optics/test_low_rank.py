"""Tests of the low-rank form of many PSFs."""

import numpy as np
import pytest
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from napari_coordgate.optics.low_rank import (
    chebyshev_nodes,
    fit_series,
    principal_components,
    relative_error,
    sum_series,
)

Array = NDArray[np.float64]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def gaussians(count: int) -> Array:
    """Flattened Gaussian PSFs of increasing width."""
    widths = np.linspace(0.8, 2.5, count)[:, None, None]
    squares = np.arange(-7, 8) ** 2
    light = np.exp(-np.add.outer(squares, squares) / (2 * widths**2))
    psfs: Array = (light / light.sum(axis=(1, 2), keepdims=True)).reshape(count, -1)
    return psfs


@pytest.mark.parametrize("count", [40, 200])
@pytest.mark.parametrize("tolerance", [1e-1, 1e-2, 1e-4, 1e-8])
def test_few_components_represent_all_psfs_to_the_tolerance(tolerance: float, count: int) -> None:
    psfs = gaussians(count)
    kernels, weights = principal_components(psfs, tolerance)
    assert relative_error(weights @ kernels, psfs) <= tolerance
    without_last = weights[:, :-1] @ kernels[:-1]
    assert relative_error(without_last, psfs) > tolerance


def test_the_mean_sums_to_one_and_the_components_to_zero() -> None:
    kernels, weights = principal_components(gaussians(30), 1e-6)
    assert kernels[0].sum() == pytest.approx(1)
    np.testing.assert_array_equal(weights[:, 0], 1)
    np.testing.assert_allclose(weights[:, 1:] * kernels[1:].sum(axis=1), 0, atol=1e-14)


@pytest.mark.parametrize("count", [30, 200])
def test_components_are_orthonormal(count: int) -> None:
    kernels, _ = principal_components(gaussians(count), 1e-6)
    np.testing.assert_allclose(kernels[1:] @ kernels[1:].T, np.eye(len(kernels) - 1), atol=1e-12)


@pytest.mark.parametrize("rank", [5, 50, 150])
def test_many_psfs_have_the_components_of_their_singular_value_decomposition(
    rank: int, rng: np.random.Generator
) -> None:
    psfs = rng.random((200, rank)) @ (rng.random((rank, 225)) / rank)
    kernels, weights = principal_components(psfs, 1e-6)
    assert len(kernels) - 1 <= rank
    expected = np.linalg.svd(psfs - psfs.mean(axis=0), compute_uv=False)[: len(kernels) - 1]
    np.testing.assert_allclose(np.linalg.norm(weights[:, 1:], axis=0), expected, rtol=1e-6)


def test_equal_psfs_need_only_their_mean() -> None:
    kernels, weights = principal_components(np.repeat(gaussians(1), 5, axis=0), 1e-3)
    assert len(kernels) == 1
    assert weights.shape == (5, 1)


@pytest.mark.parametrize("order", [1, 4, 9])
def test_a_series_is_exact_for_polynomials_below_its_order(
    order: int, rng: np.random.Generator
) -> None:
    powers = rng.normal(size=(3, order, order))
    points = rng.uniform(-1, 1, (20, 2))

    def polynomials(at: Array) -> Array:
        in_y, in_x = (np.vander(axis, order, increasing=True) for axis in at.T)
        values: Array = np.einsum("ng,rgh,nh->nr", in_y, powers, in_x)
        return values

    coefficients = fit_series(polynomials(chebyshev_nodes(order)), order)
    np.testing.assert_allclose(sum_series(coefficients, points), polynomials(points), atol=1e-11)


def test_coefficients_are_those_of_chebyshev_polynomials_in_y_and_x() -> None:
    y, x = chebyshev_nodes(5).T
    samples = (chebyshev.chebval(y, [0, 0, 1]) * chebyshev.chebval(x, [0, 1]))[:, None]
    expected = np.zeros((1, 5, 5))
    expected[0, 2, 1] = 1
    np.testing.assert_allclose(fit_series(samples, 5), expected, atol=1e-14)


def test_the_relative_error_is_a_root_mean_square_over_psfs() -> None:
    psfs = gaussians(2)
    wrong = psfs * [[1.03], [0.96]]
    assert relative_error(wrong, psfs) == pytest.approx(np.hypot(0.03, 0.04) / np.sqrt(2))
