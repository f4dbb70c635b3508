"""Laws of the contradiction: noise is no contradiction, details that the image denies are."""

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_coordgate import Camera, GaussianLens, PSFField, Window
from napari_coordgate.trust import Residual, blur_again, contradiction_map
from tests.calibration.scenes import cells

SIDE, MARGIN = 96, 24
FIELD = PSFField.from_lens(GaussianLens(sigma_center_px=0.8, sigma_edge_px=2.5), (SIDE, SIDE))
WINDOW = Window.whole(FIELD.frame_shape)

Float32 = NDArray[np.float32]


def scene_and_image(seed: int, photons: float, read_noise: float = 3) -> tuple[Float32, Float32]:
    """Scene, also beyond the frame, and its image without scaling."""
    rng = np.random.default_rng(seed)
    scene = np.clip(cells(rng, SIDE + 2 * MARGIN), 0, 1)
    light = np.asarray(FIELD.blur(scene, origin=(-MARGIN, -MARGIN))).clip(0)
    electrons = rng.poisson(light * photons) + rng.normal(0, read_noise, light.shape)
    inside = slice(MARGIN, -MARGIN)
    return scene[inside, inside], (electrons / photons).astype(np.float32)


def contradiction(
    scene: Float32, image: Float32, camera: Camera, tolerance: float = 0.0
) -> Float32:
    again = blur_again(FIELD, scene, WINDOW)
    return contradiction_map(Residual.of(image, scene, camera, again), tolerance)


@pytest.mark.parametrize(("photons", "read_noise"), [(50, 3), (300, 0), (5000, 3)])
def test_the_true_scene_is_contradicted_in_few_planes(photons: float, read_noise: float) -> None:
    """In 5 % by the law; in 1 of 10 here by chance at most."""
    camera = Camera(photons=photons, read_noise=read_noise)
    largest = [
        contradiction(*scene_and_image(seed, photons, read_noise), camera).max()
        for seed in range(10)
    ]
    assert np.sum(np.array(largest) > 1) <= 1


def test_invented_details_are_contradicted_where_they_are() -> None:
    scene, image = scene_and_image(0, 2000)
    invented = scene.copy()
    invented[40:44, 50:54] += 0.8
    found = contradiction(invented, image, Camera(photons=2000, read_noise=3)) > 1
    rows, columns = np.nonzero(found)
    assert found[36:48, 46:58].any()
    assert rows.min() > 20 and rows.max() < 64 and columns.min() > 30 and columns.max() < 74


def test_missing_light_is_contradicted() -> None:
    scene, image = scene_and_image(1, 2000)
    camera = Camera(photons=2000, read_noise=3)
    assert (contradiction(0.8 * scene, image, camera) > 1).mean() > 0.05


def test_stronger_noise_than_stated_is_contradicted() -> None:
    scene, image = scene_and_image(2, 500)
    assert (contradiction(scene, image, Camera(photons=1500, read_noise=3)) > 1).mean() > 0.02


def test_a_tolerance_permits_small_systematic_errors() -> None:
    scene, image = scene_and_image(3, 5000)
    camera = Camera(photons=5000, read_noise=3)
    strict, tolerant = (contradiction(0.97 * scene, image, camera, t) for t in (0.0, 0.02))
    assert (strict > 1).mean() > 10 * (tolerant > 1).mean()


def test_little_is_said_of_the_border() -> None:
    """Light from beyond the image is not known, and mirrored light is not taken for it."""
    scene, image = scene_and_image(4, 20_000)
    assert contradiction(scene, image, Camera(photons=20_000, read_noise=3)).max() < 1


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("shape", [(96, 96), (3, 5)])
def test_constant_planes_have_finite_maps(value: float, shape: tuple[int, int]) -> None:
    plane = np.full(shape, value, np.float32)
    again = blur_again(FIELD, plane, Window(0, 0, *shape))
    found = contradiction_map(Residual.of(plane, plane, Camera(photons=100), again))
    assert np.isfinite(found).all()


def test_parts_equal_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    scene, _ = scene_and_image(5, 100)
    whole = blur_again(FIELD, scene, WINDOW)
    monkeypatch.setattr("napari_coordgate.trust.contradiction._TILE", 40)
    for part, expected in zip(blur_again(FIELD, scene, WINDOW), whole, strict=True):
        np.testing.assert_allclose(part, expected, atol=1e-5)
