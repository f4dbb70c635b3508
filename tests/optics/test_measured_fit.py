"""Tests of PSF fields of noisy measured PSFs: a known field is recovered, with an honest error."""

import warnings

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_coordgate.deconvolution import richardson_lucy
from napari_coordgate.errors import MeasuredPSFWarning, ToleranceWarning
from napari_coordgate.optics import PSFField
from napari_coordgate.optics.measured_fit import project_on_psfs

Array = NDArray[np.float64]

FRAME = (200, 256)
SIDE = 21
BACKGROUND, READ_NOISE = 100.0, 3.0


def widths(pixels: Array, growth: float) -> Array:
    """Width of a Gaussian blur that grows like the defocus of a curved field."""
    vectors = (pixels - (110.0, 120.0)) / 165.0
    wide: Array = np.sqrt(1.2**2 + (growth * np.sum(vectors**2, axis=1)) ** 2)
    return wide


def gaussians(sigmas: Array, shifts: Array | float = 0.0) -> Array:
    """Gaussian PSFs (N, K, K) of sum 1."""
    offsets = np.broadcast_to(shifts, (len(sigmas), 2))
    axis = np.arange(SIDE) - SIDE // 2
    y, x = (axis - offsets[:, index, None] for index in (0, 1))
    squares = y[:, :, None] ** 2 + x[:, None, :] ** 2
    psfs: Array = np.exp(-squares / (2 * sigmas[:, None, None] ** 2))
    psfs /= psfs.sum(axis=(1, 2), keepdims=True)
    return psfs


def beads(
    photons: Array | float, growth: float, count: int = 41, seed: int = 0
) -> tuple[Array, Array]:
    """Windows around beads at random, as a camera counts them, and their positions in pixels."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(0, np.array(FRAME) - 1, (count, 2))
    pixels = places.round()
    light = gaussians(widths(places, growth), places - pixels)
    counts = rng.poisson(np.reshape(photons, (-1, 1, 1)) * light) + BACKGROUND
    windows: Array = counts + rng.normal(0, READ_NOISE, light.shape)
    return windows, pixels


def fit(windows: Array, pixels: Array) -> PSFField:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return PSFField.from_psfs(windows, pixels, FRAME)


def errors(field: PSFField, growth: float) -> Array:
    """Relative errors of a field at 200 random pixels of the frame."""
    pixels = np.random.default_rng(99).uniform(0, np.array(FRAME) - 1, (200, 2))
    exact = gaussians(widths(pixels, growth))
    found = np.stack([field.psf_at(*pixel) for pixel in pixels])
    axes = (1, 2)
    wrong: Array = np.linalg.norm(found - exact, axis=axes) / np.linalg.norm(exact, axis=axes)
    return wrong


def root_mean_square(values: Array | list[float]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


@pytest.mark.parametrize(("photons", "largest"), [(1000.0, 0.16), (5000.0, 0.1), (50_000.0, 0.05)])
def test_a_known_field_is_recovered_from_noisy_beads(photons: float, largest: float) -> None:
    windows, pixels = beads(photons, growth=2.0)
    assert root_mean_square(errors(fit(windows, pixels), growth=2.0)) < largest


def test_more_beads_reduce_the_error() -> None:
    found = [
        root_mean_square(errors(fit(*beads(2000.0, 2.0, count)), 2.0)) for count in (10, 40, 100)
    ]
    assert found[0] > 1.1 * found[1] > 1.1**2 * found[2]


@pytest.mark.parametrize(
    ("photons", "growth"), [(1000.0, 2.0), (5000.0, 2.0), (50_000.0, 2.0), (5000.0, 0.5)]
)
def test_the_held_out_error_is_the_true_error(photons: float, growth: float) -> None:
    stated, true = [], []
    for seed in range(4):
        field = fit(*beads(photons, growth, seed=seed))
        stated.append(field.source["relative_error"])
        true.append(root_mean_square(errors(field, growth)))
    assert 1 / 1.5 < root_mean_square(stated) / root_mean_square(true) < 1.5


@pytest.mark.parametrize(("photons", "growth"), [(300.0, 2.0), (5000.0, 2.0), (50_000.0, 1.0)])
@pytest.mark.parametrize("count", [4, 41])
def test_no_psf_is_negative_and_each_has_sum_1(photons: float, growth: float, count: int) -> None:
    field = fit(*beads(photons, growth, count))
    rows, columns = (np.linspace(0, side - 1, 41) for side in FRAME)
    for row in rows:
        psfs = np.stack([field.psf_at(row, column) for column in columns])
        assert psfs.min() >= 0
        np.testing.assert_allclose(psfs.sum(axis=(1, 2)), 1, rtol=1e-5)


def test_the_rank_grows_with_the_signal_only() -> None:
    ranks = [fit(*beads(photons, growth=2.0)).rank for photons in (1000.0, 30_000.0, 1e6)]
    assert 1 < ranks[0] < ranks[1] <= ranks[2]
    assert ranks[0] <= 5
    for seed in range(4):  # a blur that does not vary
        assert fit(*beads(2000.0, growth=0.0, seed=seed)).rank <= 2


def test_bright_beads_count_more_than_dim_ones() -> None:
    photons = np.full(41, 500.0)
    dim = root_mean_square(errors(fit(*beads(photons, 1.0)), 1.0))
    photons[::3] *= 100
    assert root_mean_square(errors(fit(*beads(photons, 1.0)), 1.0)) < dim / 2


def test_an_exceptional_psf_is_left_out_by_number() -> None:
    windows, pixels = beads(20_000.0, 1.0)
    windows[7] += 0.6 * np.roll(windows[7] - BACKGROUND, 5, axis=1)
    with pytest.warns(ToleranceWarning), pytest.warns(MeasuredPSFWarning) as caught:
        field = PSFField.from_psfs(windows - BACKGROUND, pixels, FRAME)
    assert any("unlike the PSFs around" in str(item.message) for item in caught)
    assert any("plane 7 (" in str(item.message) for item in caught)
    assert root_mean_square(errors(field, 1.0)) < 0.1


def test_deconvolution_with_a_field_of_dim_beads_is_finite() -> None:
    field = fit(*beads(300.0, growth=2.0))
    image = np.random.default_rng(0).poisson(field.blur(50 * np.eye(*FRAME)) + 2).astype(float)
    assert np.isfinite(richardson_lucy(image, field, num_iter=50, device="cpu")).all()


def test_warnings_are_kept_in_the_source() -> None:
    windows, pixels = beads(20_000.0, 1.0)
    assert any("background of 100" in text for text in fit(windows, pixels).source["warnings"])


def test_projections_are_the_nearest_psfs() -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(0.02, 0.05, (20, 49))
    nearest = project_on_psfs(images)
    np.testing.assert_allclose(nearest.sum(axis=1), 1)
    assert nearest.min() == 0
    np.testing.assert_allclose(project_on_psfs(nearest), nearest, atol=1e-12)
    others = rng.dirichlet(np.ones(49), 200)
    for image, best in zip(images, nearest, strict=True):
        distances = np.linalg.norm(others - image, axis=1)
        assert np.linalg.norm(best - image) <= distances.min()
        # The angle between the error and any way back into the set is obtuse.
        assert ((others - best) @ (image - best) <= 1e-12).all()
