"""Noise of a single plane where the camera is unknown."""

import numpy as np
import pytest
import torch

from napari_coordgate.calibration.plane_noise import estimate_plane_camera
from napari_coordgate.config import Camera
from napari_coordgate.simulation import add_camera_noise

SMOOTH = np.outer(np.sin(np.linspace(0, 3, 192)) ** 2, np.linspace(0, 1, 160)).astype(np.float32)


def variance(camera: Camera, light: float) -> float:
    """Variance of a scaled pixel."""
    assert camera.photons is not None
    return light / camera.photons + (camera.read_noise / camera.photons) ** 2


@pytest.mark.parametrize("photons", [50, 500, 50_000])
def test_the_noise_of_dark_and_bright_pixels_is_recovered(photons: float) -> None:
    camera = Camera(photons=photons, read_noise=5)
    plane = add_camera_noise(torch.from_numpy(SMOOTH), camera, 0).numpy()
    found = estimate_plane_camera(plane)
    assert found is not None
    for light in (0.0, 1.0):
        expected = variance(camera, light)
        assert variance(found, light) == pytest.approx(expected, rel=0.2, abs=1e-6)


def test_noise_that_does_not_depend_on_the_brightness_is_read_noise() -> None:
    plane = SMOOTH + np.float32(0.05) * np.random.default_rng(0).normal(size=SMOOTH.shape)
    found = estimate_plane_camera(plane.astype(np.float32))
    assert found is not None
    for light in (0.0, 1.0):
        assert variance(found, light) == pytest.approx(0.05**2, rel=0.15)


@pytest.mark.parametrize(
    "plane", [SMOOTH[:20, :20], np.eye(64, dtype=np.float32), np.ones((64, 64), np.float32)]
)
def test_noise_that_cannot_be_measured_is_none(plane: np.ndarray) -> None:
    assert estimate_plane_camera(plane) is None
