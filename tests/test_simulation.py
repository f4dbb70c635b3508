"""Tests of simulated images."""

from typing import Any

import numpy as np
import pytest

from napari_coordgate.config import Camera, GaussianLens, Scaling
from napari_coordgate.errors import FrameMismatchError, ImageError
from napari_coordgate.geometry import Window
from napari_coordgate.io import Image
from napari_coordgate.optics import PSFField
from napari_coordgate.simulation import center_crop_window, simulate

FRAME = (40, 48)


@pytest.fixture(scope="module")
def psf_field() -> PSFField:
    return PSFField.from_lens(GaussianLens(sigma_edge_px=1.5), FRAME)


def image(shape: tuple[int, int] = FRAME) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 200, shape, dtype=np.uint8)


def test_without_noise_the_result_is_the_blur_in_the_units_of_the_image(
    psf_field: PSFField,
) -> None:
    sharp = image().astype(np.float64)
    sharp[:10] = 0  # more than one percent of the pixels: the low percentile is 0
    expected = psf_field.blur(sharp)
    np.testing.assert_allclose(simulate(sharp, psf_field, Camera(), 0), expected, atol=1e-3)


def test_the_surroundings_of_the_frame_contribute_light(psf_field: PSFField) -> None:
    sharp = np.zeros((60, 70))
    sharp[12, 11:59] = 100  # in the first rows of the frame
    sharp[8, 11:59] = 1000  # a bright line just above the frame
    window = center_crop_window((60, 70), FRAME, "sharp")
    assert window == Window(10, 11, *FRAME)
    lit = simulate(sharp, psf_field, Camera(), 0)
    alone = simulate(sharp[window.within(Window.whole((60, 70)))], psf_field, Camera(), 0)
    assert lit[0].sum() > alone[0].sum() + 100


def test_noise_follows_the_photon_count_at_full_brightness(psf_field: PSFField) -> None:
    sharp = image() // 4
    sharp[20:, :] = 200
    whole_range = Scaling(low_percentile=0, high_percentile=100)
    clean, bright, dim = (
        simulate(sharp, psf_field, camera, 3, scaling=whole_range)
        for camera in (Camera(), Camera(photons=1e4), Camera(photons=1e2))
    )
    flat = (slice(30, 36), slice(None))
    for noisy, photons in ((bright, 1e4), (dim, 1e2)):
        relative = (noisy - clean)[flat].std() / 200
        assert relative == pytest.approx(photons**-0.5, rel=0.15)


def test_the_seed_determines_the_noise(psf_field: PSFField) -> None:
    camera = Camera(photons=100, read_noise=2)
    first, again, other = (simulate(image(), psf_field, camera, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1


def test_a_generator_continues_its_sequence_and_none_differs_each_time(psf_field: PSFField) -> None:
    camera = Camera(photons=100)
    generator = np.random.default_rng(5)
    first, second = (simulate(image(), psf_field, camera, generator) for _ in range(2))
    again = simulate(image(), psf_field, camera, np.random.default_rng(5))
    np.testing.assert_array_equal(again, first)
    for one, other in [
        (first, second),
        (simulate(image(), psf_field, camera), simulate(image(), psf_field, camera)),
    ]:
        assert np.abs(one - other).max() > 1


def test_a_seed_may_be_any_integer_type(psf_field: PSFField) -> None:
    camera = Camera(photons=100)
    seed: Any = np.int64(3)
    np.testing.assert_array_equal(
        simulate(image(), psf_field, camera, seed), simulate(image(), psf_field, camera, 3)
    )


def test_the_default_camera_adds_no_noise(psf_field: PSFField) -> None:
    np.testing.assert_array_equal(
        simulate(image(), psf_field), simulate(image(), psf_field, Camera(), 1)
    )


def test_errors_name_the_image(psf_field: PSFField) -> None:
    with pytest.raises(FrameMismatchError, match=r"a\.tif.*30x48.*40x48"):
        simulate(image((30, 48)), psf_field, Camera(), 0, name="a.tif")
    with pytest.raises(ImageError, match=r"a\.tif.*\(H, W\)"):
        simulate(image()[None], psf_field, name="a.tif")
    with pytest.raises(ImageError, match=r"a\.tif"):
        simulate(np.ones(FRAME), psf_field, Camera(), 0, name="a.tif")


def test_an_image_gives_the_same_pixels_as_its_array(psf_field: PSFField) -> None:
    sharp = Image(image(), "YX", title="spots")
    expected = simulate(image(), psf_field, Camera(photons=50), 3)
    np.testing.assert_array_equal(simulate(sharp, psf_field, Camera(photons=50), 3), expected)
    small = Image(image((8, 9)), "YX", title="spots")
    with pytest.raises(FrameMismatchError, match=r"^spots is 8x9 pixels"):
        simulate(small, psf_field)


def test_photons_follow_from_the_counts_of_the_image(psf_field: PSFField) -> None:
    sharp, scaling = image() + 50.0, Scaling(low_percentile=0, high_percentile=100)
    low, high = float(sharp.min()), float(sharp.max())
    counts = Camera(electrons_per_count=0.25, offset=low - 16)
    electrons = Camera(photons=0.25 * (high - low), read_noise=2)
    np.testing.assert_array_equal(
        simulate(sharp, psf_field, counts, 3, scaling=scaling),
        simulate(sharp, psf_field, electrons, 3, scaling=scaling),
    )
