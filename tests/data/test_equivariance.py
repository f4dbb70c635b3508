"""Laws of deblurred images that are moved."""

import numpy as np
import pytest
import torch

from napari_coordgate import Camera, GaussianLens, PSFField, Window
from napari_coordgate.data.equivariance import moved, moved_scene
from napari_coordgate.data.held_out import BlurredWindows
from napari_coordgate.data.planes import find_planes
from napari_coordgate.normalization import Normalizer

FIELD = PSFField.from_lens(GaussianLens(sigma_center_px=0.8, sigma_edge_px=2), (80, 96))
CAMERA = Camera(photons=400, read_noise=3)


@pytest.mark.parametrize("shape", [(33, 48), (40, 40), (16, 64)])
def test_a_moved_scene_keeps_its_shape_and_range(shape: tuple[int, int]) -> None:
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    for seed in range(8):
        scene = moved_scene(image, np.random.default_rng(seed))
        assert scene.shape == shape
        assert image.min() <= scene.min()
        assert scene.max() <= image.max()


def test_the_scene_itself_has_no_error_and_its_blurred_image_has_one() -> None:
    """The image of the scene is blurred by the PSFs of its new place, and has noise."""
    light = torch.rand((80, 96), generator=torch.Generator().manual_seed(0)) ** 4
    windows = BlurredWindows(
        find_planes([light.numpy()]), [Normalizer(0, 1)], [CAMERA], FIELD, window_size=64, seed=0
    )
    held_out = windows.sample(0)
    image = light[held_out.window.within(Window.whole((80, 96)))].clone().requires_grad_()
    scene = moved(image, held_out, FIELD)
    assert not scene.blurred.requires_grad  # the scene is a target, not a result
    assert (scene.window, scene.scene.shape) == (held_out.elsewhere, held_out.window.shape)
    assert scene.error(scene.scene) == 0
    assert scene.error(scene.blurred) > 1e-3
    blurred = FIELD.operator(scene.window, scene_window=scene.window)(scene.scene)
    inside = scene.inner.within(scene.window)
    variance = (blurred * 400 + (1 - 0.15) * 9 / 1) / 400**2 / 0.85
    z = ((scene.blurred - blurred) / variance.sqrt())[inside]
    assert float(z.square().mean()) == pytest.approx(1, rel=0.15)
