"""Laws of the finest detail that survives."""

import numpy as np
import pytest

from napari_coordgate import Camera, GaussianLens, PSFField, Window
from napari_coordgate.trust import detail_map
from tests.calibration.scenes import texture

SIDE = 160
SCENE = texture(np.random.default_rng(0), SIDE)
WINDOW = Window(0, 0, SIDE, SIDE)
CAMERA = Camera(photons=1000, read_noise=3)


def field_of(edge: float, center: float = 0.8) -> PSFField:
    lens = GaussianLens(sigma_center_px=center, sigma_edge_px=edge)
    return PSFField.from_lens(lens, (SIDE, SIDE))


def test_it_is_coarser_where_the_blur_is_stronger() -> None:
    detail = detail_map(SCENE, field_of(3.0), CAMERA, WINDOW)
    assert detail[:20, :20].mean() > 1.3 * detail[70:90, 70:90].mean()


def test_it_grows_with_the_blur_and_with_the_noise() -> None:
    field = field_of(1.0)
    reference = detail_map(SCENE, field, CAMERA, WINDOW).mean()
    blurred = detail_map(SCENE, field_of(2.1, 2.0), CAMERA, WINDOW).mean()
    noisy = detail_map(SCENE, field, Camera(photons=100, read_noise=3), WINDOW).mean()
    assert blurred > 1.2 * reference
    assert noisy > 1.2 * reference


@pytest.mark.parametrize("shape", [(7, 9), (64, 64), (65, 130), (160, 40)])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_planes_of_any_size_have_finite_maps(shape: tuple[int, int], value: float) -> None:
    plane = np.full(shape, value, np.float32)
    detail = detail_map(plane, field_of(1.0), CAMERA, Window(0, 0, *shape))
    assert detail.shape == shape
    assert np.isfinite(detail).all()
    assert detail.min() >= 2
