"""Laws of held-out photons and of the sharp parts of blurred images."""

import numpy as np
import pytest
import torch

from napari_coordgate import Camera, GaussianLens, PSFField, Window
from napari_coordgate.data.held_out import (
    HELD_OUT_SHARE,
    BlurredWindows,
    inner_operator,
    kept_camera,
    split_photons,
)
from napari_coordgate.data.planes import find_planes
from napari_coordgate.data.sources import largest_rectangle, remaining_noise, sharp_window
from napari_coordgate.normalization import Normalizer
from napari_coordgate.simulation import add_camera_noise

CAMERA = Camera(photons=400, read_noise=3)
FIELD = PSFField.from_lens(GaussianLens(sigma_center_px=0.8, sigma_edge_px=2), (80, 96))


def test_both_parts_of_the_photons_are_independent_and_have_the_noise_that_is_stated() -> None:
    light = torch.full((300, 300), 0.6)
    image = add_camera_noise(light, CAMERA, 0).numpy()
    kept, held = split_photons(image, CAMERA, np.random.default_rng(1))
    assert kept.mean() == pytest.approx(0.6, rel=0.01)
    assert held.mean() == pytest.approx(0.6, rel=0.01)
    assert abs(np.corrcoef(kept.ravel(), held.ravel())[0, 1]) < 0.015
    for part, camera in (
        (kept, kept_camera(CAMERA)),
        (held, kept_camera(CAMERA, 1 - HELD_OUT_SHARE)),
    ):
        assert camera.photons is not None
        expected = (0.6 * camera.photons + camera.read_noise**2) / camera.photons**2
        assert part.var() == pytest.approx(expected, rel=0.03)


def test_the_sharp_scene_has_the_least_expected_error() -> None:
    """A scene with another brightness or blur predicts the photons held out less well."""
    scene = torch.rand((80, 96), generator=torch.Generator().manual_seed(0)) ** 4
    image = add_camera_noise(FIELD.blur(scene), CAMERA, 0).numpy()
    windows = BlurredWindows(
        find_planes([image]), [Normalizer(0, 1)], [CAMERA], FIELD, window_size=64, seed=0
    )

    def error(changed: torch.Tensor) -> float:
        samples = [windows.sample(i) for i in range(6)]
        whole = Window.whole((80, 96))
        return sum(float(s.error(changed[s.window.within(whole)], FIELD)) for s in samples)

    best = error(scene)
    assert best < error(0.9 * scene)
    assert best < error(1.1 * scene)
    assert best < error(FIELD.blur(scene))


def test_light_from_beyond_a_window_does_not_count() -> None:
    window = Window(10, 20, 64, 64)
    blur = inner_operator(FIELD, window, torch.device("cpu"))
    scene = torch.rand((80, 96), generator=torch.Generator().manual_seed(0))
    whole = Window.whole((80, 96))
    expected = FIELD.blur(scene)[blur.window.within(whole)]
    torch.testing.assert_close(blur(scene[window.within(whole)]), expected, atol=1e-5, rtol=1e-4)


def test_the_largest_rectangle_is_all_true() -> None:
    mask = np.zeros((8, 9), bool)
    mask[2:6, 3:8] = mask[0, :] = True
    assert largest_rectangle(mask) == (2, 5, 3, 7)


def test_the_sharp_window_is_as_sharp_as_it_says() -> None:
    window = sharp_window(FIELD)
    widths = [
        FIELD.fwhm_px(y, x) for y in (window.y0, window.y1 - 1) for x in (window.x0, window.x1 - 1)
    ]
    assert max(widths) <= 1.3 * FIELD.fwhm_px(39.5, 47.5) * 1.001
    larger = FIELD.fwhm_px(window.y0 - 4, window.x0 - 4)
    assert larger > 1.3 * FIELD.fwhm_px(39.5, 47.5)


def test_noise_of_a_scene_and_of_the_camera_add_up() -> None:
    variance = 1e-3
    camera = remaining_noise(CAMERA, variance)
    assert CAMERA.photons is not None
    assert camera.photons is not None
    total, added = (
        (c.photons + c.read_noise**2) / c.photons**2 for c in (CAMERA, camera) if c.photons
    )
    assert added + variance == pytest.approx(total)
    assert remaining_noise(CAMERA, 0.0) == CAMERA
