"""Tests of the camera noise."""

import pytest
import torch

from napari_coordgate.config import Camera
from napari_coordgate.simulation import add_camera_noise

BRIGHTNESS = 0.6


def gray(brightness: float = BRIGHTNESS) -> torch.Tensor:
    return torch.full((1000, 1000), brightness)


def test_without_a_photon_count_there_is_no_noise() -> None:
    image = gray()
    assert add_camera_noise(image, Camera(), seed=1) is image


@pytest.mark.parametrize(("photons", "read_noise"), [(50, 0), (50, 4), (5000, 4)])
def test_noise_has_the_mean_and_variance_of_photons_and_read_out(
    photons: float, read_noise: float
) -> None:
    electrons = (
        add_camera_noise(gray(), Camera(photons=photons, read_noise=read_noise), seed=1) * photons
    )
    variance = BRIGHTNESS * photons + read_noise**2
    error_of_mean = (variance / electrons.numel()) ** 0.5
    assert electrons.mean().item() == pytest.approx(BRIGHTNESS * photons, abs=5 * error_of_mean)
    assert electrons.var().item() == pytest.approx(variance, rel=0.01)


def test_electron_counts_without_read_noise_are_poisson_distributed() -> None:
    electrons = add_camera_noise(gray(), Camera(photons=8), seed=1) * 8
    torch.testing.assert_close(electrons, electrons.round(), atol=1e-5, rtol=0)
    counts = torch.stack([(electrons.round() == count).float().mean() for count in range(3)])
    expected = torch.distributions.Poisson(8 * BRIGHTNESS).log_prob(torch.arange(3)).exp()
    torch.testing.assert_close(counts, expected, atol=1e-3, rtol=0)


def test_the_same_seed_gives_the_same_noise() -> None:
    camera = Camera(photons=100, read_noise=2)
    again = add_camera_noise(gray(), camera, seed=3)
    assert torch.equal(add_camera_noise(gray(), camera, seed=3), again)
    assert not torch.equal(add_camera_noise(gray(), camera, seed=4), again)


def test_the_noise_does_not_change_the_global_random_state() -> None:
    state = torch.random.get_rng_state()
    add_camera_noise(gray(), Camera(photons=100, read_noise=2), seed=3)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_negative_light_gives_no_electrons() -> None:
    assert torch.count_nonzero(add_camera_noise(gray(-0.1), Camera(photons=100), seed=1)) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_and_shape_are_kept(dtype: torch.dtype) -> None:
    image = torch.rand(2, 3, 5, dtype=dtype)
    recorded = add_camera_noise(image, Camera(photons=10, read_noise=1), seed=1)
    assert recorded.dtype == dtype
    assert recorded.shape == image.shape


def test_photons_follow_from_the_counts_of_an_image() -> None:
    camera = Camera(electrons_per_count=0.5, offset=100, read_noise=3)
    assert camera.for_range(100, 2100) == Camera(photons=1000, read_noise=3)
    background = camera.for_range(132, 2132)  # 16 electrons of light that are scaled to 0
    assert background == Camera(photons=1000, read_noise=5)
    unknown_offset = camera.replace(offset=None).for_range(132, 2132)
    assert unknown_offset == Camera(photons=1000, read_noise=3)


@pytest.mark.parametrize("camera", [Camera(), Camera(photons=70), Camera(offset=3)])
def test_a_camera_that_needs_no_counts_is_the_same_for_every_range(camera: Camera) -> None:
    assert camera.for_range(0, 1000) is camera


def test_given_photons_take_precedence_over_counts() -> None:
    camera = Camera(photons=70, electrons_per_count=0.5)
    assert camera.for_range(0, 1000) is camera
    assert camera.has_noise and not Camera(offset=3).has_noise
