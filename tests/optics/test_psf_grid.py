"""Tests of the grid of PSFs."""

import numpy as np
import pytest

from napari_coordgate.config import GaussianLens, Lens
from napari_coordgate.errors import PSFError
from napari_coordgate.geometry import field_radius
from napari_coordgate.optics import PSFField, PSFGrid, fwhm_px
from napari_coordgate.optics.pupil import lens_psfs

FRAME = (60, 90)
LENS = Lens(
    na=0.25,
    wavelength_nm=520,
    pixel_size_um=1.5,
    field_curvature_um=12,
    coma_waves=0.3,
    axis=(0.2, -0.1),
)
LENSES = [LENS, GaussianLens(axis=(-0.3, 0.5), sigma_edge_px=4)]


@pytest.mark.parametrize("lens", LENSES, ids=["pupil", "gaussian"])
def test_a_grid_of_a_lens_equals_that_of_its_psf_field(lens: Lens | GaussianLens) -> None:
    psf_field = PSFField.from_lens(lens, FRAME, tolerance=1e-4)
    quick, fitted = PSFGrid.from_lens(lens, FRAME), PSFGrid.from_psf_field(psf_field)
    assert quick.frame_shape == fitted.frame_shape == FRAME
    np.testing.assert_array_equal(quick.positions, fitted.positions)
    np.testing.assert_allclose(quick.psfs, fitted.psfs, atol=1e-3 * quick.psfs.max())
    np.testing.assert_allclose(quick.fwhm_px, fitted.fwhm_px, rtol=1e-2)
    np.testing.assert_array_equal(quick.field_radius, fitted.field_radius)


@pytest.mark.parametrize("side", [2, 3, 7])
def test_positions_reach_from_border_to_border(side: int) -> None:
    grid = PSFGrid.from_lens(LENS, FRAME, side)
    assert len(grid.positions) == len(grid.psfs) == side**2
    np.testing.assert_array_equal(grid.positions.min(axis=0), (0, 0))
    np.testing.assert_array_equal(grid.positions.max(axis=0), (59, 89))
    assert len(np.unique(grid.positions, axis=0)) == side**2


def test_each_psf_has_its_width_and_field_radius() -> None:
    grid = PSFGrid.from_lens(LENS, FRAME)
    np.testing.assert_allclose(grid.psfs.sum(axis=(1, 2)), 1)
    np.testing.assert_array_equal(grid.fwhm_px, fwhm_px(grid.psfs))
    radius = field_radius(FRAME, axis=LENS.axis)
    np.testing.assert_allclose(grid.field_radius, radius[tuple(grid.positions.T)])


@pytest.mark.filterwarnings("ignore::napari_coordgate.errors.ToleranceWarning")
@pytest.mark.parametrize("axis", [(0.0, 0.0), (0.3, -0.2)])
def test_the_field_radius_of_measured_psfs_is_that_from_the_given_axis(
    axis: tuple[float, float],
) -> None:
    psfs = lens_psfs(LENS, np.array([[-0.7, -0.8], [0.3, 0.5]]), FRAME, 15)
    psf_field = PSFField.from_psfs(psfs, [(10, 10), (40, 70)], FRAME, axis=axis)
    grid = PSFGrid.from_psf_field(psf_field)
    radius = field_radius(FRAME, axis=axis)
    np.testing.assert_allclose(grid.field_radius, radius[tuple(grid.positions.T)])


def test_a_montage_shows_each_psf_at_its_position_scaled_to_its_peak() -> None:
    grid = PSFGrid.from_lens(GaussianLens(sigma_center_px=0.8, sigma_edge_px=1.5), FRAME, 3)
    montage, radius = grid.montage(), grid.psfs.shape[-1] // 2
    assert montage.shape == FRAME
    assert montage.dtype == np.float32
    assert radius < 14
    padded = np.pad(montage, radius)
    for (row, column), psf in zip(grid.positions, grid.psfs, strict=True):
        assert montage[row, column] == 1
        shown = padded[row : row + 2 * radius + 1, column : column + 2 * radius + 1]
        within = shown != 0
        np.testing.assert_allclose(shown[within], (psf / psf.max())[within], rtol=1e-6)
    middle = grid.psfs[4] / grid.psfs[4].max()
    np.testing.assert_allclose(
        montage[30 - radius : 31 + radius, 44 - radius : 45 + radius], middle, rtol=1e-6
    )


def test_no_psf_hides_another_in_a_montage() -> None:
    grid = PSFGrid.from_lens(GaussianLens(sigma_center_px=4, sigma_edge_px=6), FRAME, 9)
    assert grid.psfs.shape[-1] > FRAME[0] / 8
    montage = grid.montage()
    for (row, column), psf in zip(grid.positions, grid.psfs, strict=True):
        radius = len(psf) // 2
        beside = (row, column + 1) if column < 89 else (row, column - 1)
        expected = psf[radius, radius + beside[1] - column] / psf.max()
        assert montage[row, column] == 1
        assert montage[beside] == pytest.approx(expected)


def test_a_frame_smaller_than_the_grid_has_a_psf_at_each_pixel() -> None:
    grid = PSFGrid.from_lens(GaussianLens(sigma_center_px=0.3, sigma_edge_px=0.3), (5, 40))
    assert len(grid.positions) == 5 * 7
    np.testing.assert_array_equal(grid.montage()[tuple(grid.positions.T)], 1)


def test_a_blur_larger_than_the_frame_is_refused() -> None:
    with pytest.raises(PSFError, match="more than the frame"):
        PSFGrid.from_lens(LENS.model_copy(update={"field_curvature_um": 500.0}), FRAME)
