"""Tests of the residual of a lens: there where the lens does not describe the beads."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_coordgate.calibration import BeadFit, calibrate_beads
from napari_coordgate.calibration.beads_residual import Residual
from napari_coordgate.calibration.beads_simulation import beads_light
from napari_coordgate.calibration.lens_fit import LensFit
from napari_coordgate.calibration.lens_parameters import lens_vector, wavefront_coefficients
from napari_coordgate.config import BeadsConfig, Camera, Lens
from napari_coordgate.geometry import pixel_coordinates
from napari_coordgate.optics import PSFField
from napari_coordgate.optics.differentiable import PupilLight

Array = NDArray[np.float64]

FRAME = (160, 160)
OPTICS = Lens(na=0.5, wavelength_nm=520, pixel_size_um=0.325)
LENS = OPTICS.replace(field_curvature_um=3, defocus_um=-0.5, astigmatism_waves=0.3)
FEW = BeadsConfig(starts=3)
CAMERA = Camera(offset=0, electrons_per_count=1, read_noise=1.5)


class Trefoil(PupilLight):
    """Pupil with an aberration that a lens does not have."""

    def _pupils(self, coefficients: Tensor, rule: Any) -> Tensor:
        y, x = rule.shapes[6] / self._pixel, rule.shapes[7] / self._pixel
        waves = 0.15 * (y**3 - 3 * y * x**2)
        added = torch.polar(torch.ones_like(waves), 2 * math.pi * waves)
        return super()._pupils(coefficients, rule) * added


def fit_beads(
    seed: int = 0, kind: type[PupilLight] = PupilLight, flat_field: Array | None = None
) -> BeadFit:
    """Lens fitted to 25 beads on a grid, with noise."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.linspace(16, 143, 5)] * 2), -1).reshape(-1, 2)
    positions = grid + rng.uniform(-4, 4, grid.shape)
    light = 2000 * np.exp(0.3 * rng.normal(size=len(grid)))
    clean = beads_light(kind(OPTICS, 61), LENS, positions, light, FRAME)[0] + 4
    clean *= 1 if flat_field is None else flat_field
    image = rng.poisson(clean) + 1.5 * rng.normal(size=FRAME)
    return calibrate_beads(image, OPTICS, camera=CAMERA, flat_field=flat_field, config=FEW)


def error_of(field: PSFField, light_of: type[PupilLight]) -> float:
    """Relative error of the PSFs of a field, root mean square over some positions."""
    pixels = np.random.default_rng(0).uniform(10, 150, (16, 2))
    coordinates = torch.from_numpy(pixel_coordinates(pixels, FRAME))
    vector = torch.from_numpy(lens_vector(LENS))
    optical = wavefront_coefficients(vector, coordinates, FRAME)
    true = light_of(OPTICS, field.size)(torch.nn.functional.pad(optical, (0, 2))).numpy()
    found = np.stack([field.psf_at(*pixel) for pixel in pixels])
    true /= true.sum((1, 2), keepdims=True)
    parts = ((found - true) ** 2).sum((1, 2)) / (true**2).sum((1, 2))
    return float(np.sqrt(parts.mean()))


@pytest.fixture(scope="module")
def odd_fit() -> BeadFit:
    return fit_beads(kind=Trefoil)


def test_a_residual_makes_the_psfs_of_an_odd_lens_better(odd_fit: BeadFit) -> None:
    with_it, without = odd_fit.psf_field(), LensFit.psf_field(odd_fit)
    assert len(odd_fit.residual.images) > 0
    assert odd_fit.residual.deviance < odd_fit.residual.without
    assert error_of(with_it, Trefoil) < 0.85 * error_of(without, Trefoil)
    assert any("residual" in note for note in odd_fit.notes)


def test_psfs_with_a_residual_are_not_negative_and_sum_to_one(odd_fit: BeadFit) -> None:
    for shape in (FRAME, (96, 128)):
        field = odd_fit.psf_field(shape)
        for pixel in np.random.default_rng(0).uniform(0, 96, (20, 2)):
            psf = field.psf_at(*pixel)
            assert psf.min() >= 0
            assert psf.sum() == pytest.approx(1, abs=1e-5)


def test_the_report_shows_the_residual(odd_fit: BeadFit, tmp_path: Path) -> None:
    odd_fit.report(tmp_path / "lens.html")
    text = (tmp_path / "lens.html").read_text(encoding="utf-8")
    assert "<h2>Residual of the lens</h2>" in text
    assert odd_fit.residual.note() in text


def test_any_residual_leaves_psfs() -> None:
    rng = np.random.default_rng(0)
    images, polynomials = 0.02 * rng.normal(size=(2, 9, 9)), rng.normal(size=(2, 6))
    lens_field = PSFField.from_lens(LENS, FRAME)
    field = Residual(images, polynomials).added_to(lens_field)
    for row, column in rng.uniform(0, 159, (20, 2)):
        psf = field.psf_at(row, column)
        assert psf.min() >= 0
        assert psf.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_lens_that_describes_the_beads_has_no_residual(seed: int) -> None:
    fit = fit_beads(seed)
    assert len(fit.residual.images) == 0
    assert fit.residual.deviance > fit.residual.without - 0.01
    assert any("No residual" in note for note in fit.notes)
    assert not fit.fitted.aperture.is_other


def test_the_flat_field_is_not_taken_for_the_lens() -> None:
    y, x = np.mgrid[-1:1:160j, -1:1:160j]
    gain = 1 - 0.4 * (x**2 + y**2)
    fit = fit_beads(flat_field=gain / gain.mean())
    misfit = lens_vector(fit.lens) - lens_vector(LENS)
    assert misfit @ np.linalg.solve(fit.covariance, misfit) < 40
    field = fit.psf_field()
    assert field.gain is not None
    np.testing.assert_allclose(field.gain, gain / gain.mean(), rtol=0.01)
