"""Tests of the differentiable pupil: the NumPy pupil, derivatives, and beads."""

import numpy as np
import pytest
import torch

from napari_coordgate.calibration.lens_parameters import (
    PARAMETERS,
    coefficient_jacobian,
    lens_vector,
    lens_with,
    wavefront_coefficients,
)
from napari_coordgate.config import Lens
from napari_coordgate.optics.differentiable import PupilLight
from napari_coordgate.optics.pupil import lens_psfs

FRAME = (96, 160)
SIZE = 21
LENS = Lens(
    na=0.5,
    wavelength_nm=520,
    pixel_size_um=0.325,
    field_curvature_um=4,
    defocus_um=-1,
    tilt_um=(0.7, -0.4),
    axis=(0.1, -0.2),
    astigmatism_waves=0.4,
    coma_waves=0.5,
    spherical_waves=0.1,
    axial_astigmatism_waves=(0.1, -0.2),
    axial_coma_waves=(-0.1, 0.2),
)
POSITIONS = np.array([[0.0, 0.0], [0.9, -0.8], [-0.3, 0.6]])


def coefficients_of(lens: Lens, shift: tuple[float, float] = (0.0, 0.0)) -> torch.Tensor:
    vector, positions = torch.from_numpy(lens_vector(lens)), torch.from_numpy(POSITIONS)
    optical = wavefront_coefficients(vector, positions, FRAME)
    return torch.cat([optical, torch.tensor(shift).expand(3, 2)], dim=1)


@pytest.mark.parametrize(
    "optics",
    [{}, {"na": 1.2, "refractive_index": 1.33, "pixel_size_um": 0.1}, {"pixel_size_um": 0.9}],
)
def test_light_is_that_of_the_pupil_in_numpy(optics: dict[str, float]) -> None:
    lens = LENS.replace(**optics)
    light = PupilLight(lens, SIZE)(coefficients_of(lens)).numpy()
    expected = lens_psfs(lens, POSITIONS, FRAME, SIZE)
    scaled = light / light.sum((1, 2), keepdims=True)
    assert (light.sum((1, 2)) < 1).all()
    np.testing.assert_allclose(scaled, expected, atol=1e-6 * expected.max())


def test_a_position_of_whole_pixels_moves_the_light() -> None:
    pupil = PupilLight(LENS, SIZE)
    still, moved = pupil(coefficients_of(LENS)), pupil(coefficients_of(LENS, (2.0, -1.0)))
    np.testing.assert_allclose(moved[:, 2:, :-1], still[:, :-2, 1:], atol=1e-9)


@pytest.mark.parametrize("diameter_um", [0.0, 0.8])
def test_the_jacobian_is_that_of_automatic_differentiation(diameter_um: float) -> None:
    pupil = PupilLight(LENS, 9, diameter_um=diameter_um)
    coefficients = coefficients_of(LENS, (0.3, -0.2))
    light, jacobian = pupil.with_jacobian(coefficients)
    np.testing.assert_allclose(light, pupil(coefficients), atol=1e-12)
    automatic = torch.autograd.functional.jacobian(lambda c: pupil(c).sum(0), coefficients)
    np.testing.assert_allclose(jacobian, automatic.permute(2, 3, 0, 1), atol=1e-10)


def test_gradients_reach_the_parameters_of_the_lens() -> None:
    pupil, positions = PupilLight(LENS, 9), torch.from_numpy(POSITIONS)
    weights = torch.rand(3, 9, 9, dtype=torch.float64, generator=torch.manual_seed(0))

    def value(vector: torch.Tensor) -> torch.Tensor:
        optical = wavefront_coefficients(vector, positions, FRAME)
        shift = torch.zeros(3, 2, dtype=torch.float64)
        return (weights * pupil(torch.cat([optical, shift], dim=1))).sum()

    vector = torch.from_numpy(lens_vector(LENS)).requires_grad_()
    value(vector).backward()
    assert vector.grad is not None
    for index in range(len(PARAMETERS)):
        step = torch.zeros(13, dtype=torch.float64)
        step[index] = 1e-5
        slope = float(value(vector.detach() + step) - value(vector.detach() - step)) / 2e-5
        assert float(vector.grad[index]) == pytest.approx(slope, abs=1e-6)


def test_the_jacobian_of_the_coefficients_is_that_of_finite_differences() -> None:
    vector, positions = torch.from_numpy(lens_vector(LENS)), torch.from_numpy(POSITIONS)
    jacobian = coefficient_jacobian(vector, positions, FRAME)
    assert jacobian.shape == (3, 6, len(PARAMETERS))
    for index in range(len(PARAMETERS)):
        step = torch.zeros(13, dtype=torch.float64)
        step[index] = 1e-4
        ends = [wavefront_coefficients(vector + s * step, positions, FRAME) for s in (1, -1)]
        np.testing.assert_allclose(jacobian[..., index], (ends[0] - ends[1]) / 2e-4, atol=1e-9)


def test_a_bead_is_the_mean_over_its_points() -> None:
    diameter = 1.3
    bead = PupilLight(LENS, SIZE, diameter_um=diameter)(coefficients_of(LENS))
    points = np.random.default_rng(0).normal(size=(4000, 3))
    radii = np.random.default_rng(1).random(4000) ** (1 / 3) * diameter / 2
    points = points / np.linalg.norm(points, axis=1, keepdims=True) * radii[:, None]
    shifts = torch.from_numpy(points[:, :2] / LENS.pixel_size_um)
    coefficients = coefficients_of(LENS)[:1].expand(len(shifts), -1).clone()
    coefficients[:, 6:] = shifts
    mean = PupilLight(LENS, SIZE)(coefficients).mean(0)
    np.testing.assert_allclose(bead[0], mean, atol=0.03 * float(mean.max()))


def test_single_precision_and_fewer_points_are_close() -> None:
    exact = PupilLight(LENS, SIZE)(coefficients_of(LENS))
    fast = PupilLight(LENS, SIZE, points=2, dtype=torch.complex64)(coefficients_of(LENS))
    np.testing.assert_allclose(fast, exact, atol=1e-2 * float(exact.max()))


def test_a_vector_of_parameters_becomes_the_same_lens() -> None:
    assert (
        lens_with(Lens(na=0.5, wavelength_nm=520, pixel_size_um=0.325), lens_vector(LENS)) == LENS
    )
