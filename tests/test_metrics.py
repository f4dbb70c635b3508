"""Tests of the image quality metrics."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, strategies as st
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from napari_coordgate.errors import ImageError
from napari_coordgate.geometry import field_radius
from napari_coordgate.metrics import ZONES, psnr, quality, ssim, zone_psnr

shapes = st.tuples(st.integers(1, 40), st.integers(1, 40))


def noise(shape: tuple[int, int], seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


@given(st.floats(1e-3, 10), st.floats(0.1, 1000))
def test_psnr_of_a_constant_error_is_the_ratio_of_range_and_error(
    error: float, span: float
) -> None:
    sharp = np.zeros((4, 5))
    assert psnr(sharp, sharp + error, span) == pytest.approx(20 * np.log10(span / error))


def test_psnr_equals_that_of_scikit_image() -> None:
    sharp, restored = noise((20, 30), 1), noise((20, 30), 2)
    expected = peak_signal_noise_ratio(sharp.astype(float), restored.astype(float), data_range=2)
    assert psnr(sharp, restored, 2.0) == pytest.approx(expected, rel=1e-6)


def test_equal_images_have_infinite_psnr_and_an_ssim_of_one() -> None:
    for shape in [(1, 1), (1, 9), (2, 2), (3, 5), (10, 11), (11, 11), (12, 40)]:
        assert psnr(noise(shape), noise(shape)) == np.inf
        assert ssim(noise(shape), noise(shape)) == pytest.approx(1)


@given(shapes)
def test_ssim_is_symmetric_and_at_most_one(shape: tuple[int, int]) -> None:
    value = ssim(noise(shape, 1), noise(shape, 2))
    assert -1 <= value < 1
    assert value == pytest.approx(ssim(noise(shape, 2), noise(shape, 1)))


def test_ssim_of_an_image_of_eleven_pixels_follows_the_formula_at_its_center() -> None:
    sharp, restored = noise((11, 11), 1).astype(float), noise((11, 11), 2).astype(float)
    bell = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weights = np.outer(bell, bell) / bell.sum() ** 2
    means = (weights * sharp).sum(), (weights * restored).sum()
    spread = (
        (weights * sharp**2).sum() - means[0] ** 2,
        (weights * restored**2).sum() - means[1] ** 2,
    )
    both = (weights * sharp * restored).sum() - means[0] * means[1]
    c1, c2 = 0.01**2, 0.03**2
    expected = (2 * means[0] * means[1] + c1) * (2 * both + c2)
    expected /= (means[0] ** 2 + means[1] ** 2 + c1) * (sum(spread) + c2)
    assert ssim(sharp, restored) == pytest.approx(expected, rel=1e-9)


@given(shapes)
def test_zones_partition_the_frame(shape: tuple[int, int]) -> None:
    radius = field_radius(shape)
    zones = [(radius >= inner) & (radius < outer) for inner, outer in ZONES.values()]
    assert (np.sum(zones, axis=0) == 1).all()


def test_the_mean_error_over_the_zones_is_that_of_the_image() -> None:
    sharp, restored, radius = noise((30, 40), 1), noise((30, 40), 2), field_radius((30, 40))
    values = zone_psnr(sharp, restored, radius)
    errors = {zone: 10 ** (-value / 10) for zone, value in values.items()}
    counts = {
        zone: np.sum((radius >= inner) & (radius < outer)) for zone, (inner, outer) in ZONES.items()
    }
    mean = sum(errors[zone] * counts[zone] for zone in ZONES) / radius.size
    assert -10 * np.log10(mean) == pytest.approx(psnr(sharp, restored))


def test_a_zone_without_pixels_has_no_value() -> None:
    values = quality(noise((8, 8), 1), noise((8, 8), 2), np.zeros((8, 8)))
    assert values.keys() == {"psnr", "ssim", "psnr_center"}
    assert values["psnr"] == values["psnr_center"]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_range_of_integers_is_that_of_their_type_as_in_scikit_image(
    dtype: type[np.integer],
) -> None:
    rng = np.random.default_rng(0)
    sharp, restored = rng.integers(0, np.iinfo(dtype).max, (2, 20, 30), dtype, endpoint=True)
    assert psnr(sharp, restored) == pytest.approx(peak_signal_noise_ratio(sharp, restored))
    span = np.iinfo(dtype).max
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = structural_similarity(sharp, restored, data_range=span, **settings)
    assert ssim(sharp, restored) == pytest.approx(expected)
    assert quality(sharp, restored)["psnr"] == psnr(sharp, restored)


def test_the_zones_of_an_image_are_those_of_a_whole_frame_by_default() -> None:
    sharp, restored = noise((30, 40), 1), noise((30, 40), 2)
    radius = field_radius((30, 40))
    assert zone_psnr(sharp, restored) == zone_psnr(sharp, restored, radius)
    assert quality(sharp, restored) == quality(sharp, restored, radius)
    with pytest.raises(ImageError, match=r"shape \(H, W\), got 2x30x40"):
        zone_psnr(np.stack([sharp, sharp]), np.stack([sharp, sharp]))


@pytest.mark.parametrize("metric", [psnr, ssim, zone_psnr, quality])
def test_images_of_different_shapes_are_an_error(metric: Callable[..., object]) -> None:
    with pytest.raises(ImageError, match=r"different shapes, 8x9 and 8x8; compare"):
        metric(noise((8, 9)), noise((8, 8)))
