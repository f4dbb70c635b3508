import numpy as np
import pytest

from napari_coordgate.config import Camera, GaussianLens, Scaling
from napari_coordgate.errors import FrameMismatchError, ImageError
from napari_coordgate.geometry import Window
from napari_coordgate.optics import PSFField
from napari_coordgate.simulation import center_crop_window, simulate

FRAME = (40, 48)


@pytest.fixture(scope="module")
def field() -> PSFField:
    return PSFField.from_lens(GaussianLens(sigma_edge_px=1.5), FRAME)


def image(shape: tuple[int, int] = FRAME) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 200, shape, dtype=np.uint8)


def test_without_noise_it_is_the_blur_of_the_field_in_the_units_of_the_image(
    field: PSFField,
) -> None:
    sharp = image().astype(np.float64)
    sharp[:10] = 0  # more than a percent: what counts as no brightness
    expected = field.blur(sharp)
    np.testing.assert_allclose(simulate(sharp, field, Camera(), 0), expected, atol=1e-3)


def test_the_surroundings_of_a_larger_image_shine_in(field: PSFField) -> None:
    sharp = np.zeros((60, 70))
    sharp[12, 11:59] = 100  # within the frame's first rows, and
    sharp[8, 11:59] = 1000  # a bright line two pixels above the frame
    window = center_crop_window((60, 70), FRAME, "sharp")
    assert window == Window(10, 11, *FRAME)
    lit = simulate(sharp, field, Camera(), 0)
    alone = simulate(sharp[window.within(Window.whole((60, 70)))], field, Camera(), 0)
    assert lit[0].sum() > alone[0].sum() + 100


def test_noise_follows_the_photon_count_at_full_brightness(field: PSFField) -> None:
    sharp = image() // 4
    sharp[20:, :] = 200
    whole_range = Scaling(low_percentile=0, high_percentile=100)
    clean, bright, dim = (
        simulate(sharp, field, camera, 3, scaling=whole_range)
        for camera in (Camera(), Camera(photons=1e4), Camera(photons=1e2))
    )
    flat = (slice(30, 36), slice(None))
    for noisy, photons in ((bright, 1e4), (dim, 1e2)):
        relative = (noisy - clean)[flat].std() / 200
        assert relative == pytest.approx(photons**-0.5, rel=0.15)


def test_the_seed_alone_decides_the_noise(field: PSFField) -> None:
    camera = Camera(photons=100, read_noise=2)
    first, again, other = (simulate(image(), field, camera, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1


def test_bad_images_are_named(field: PSFField) -> None:
    with pytest.raises(FrameMismatchError, match=r"a\.tif.*30x48.*40x48"):
        simulate(image((30, 48)), field, Camera(), 0, name="a.tif")
    with pytest.raises(ImageError, match=r"a\.tif"):
        simulate(np.ones(FRAME), field, Camera(), 0, name="a.tif")
