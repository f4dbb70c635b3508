"""Laws of the width of a PSF."""

import numpy as np
import pytest

from napari_coordgate.config import GaussianLens
from napari_coordgate.optics import PSFField, fwhm_px
from napari_coordgate.optics.pupil import lens_psfs


@pytest.mark.parametrize("sigma", [1.5, 3.0, 6.0])
def test_the_width_of_a_gaussian_is_its_full_width_at_half_maximum(sigma: float) -> None:
    lens = GaussianLens(sigma_center_px=sigma, sigma_edge_px=sigma)
    psfs = lens_psfs(lens, np.zeros((2, 2)), (200, 200), 61)
    pixel = 1 / 12  # variance of the camera's square pixel, which widens the PSF
    expected = 2 * np.sqrt(2 * np.log(2) * (sigma**2 + pixel))
    np.testing.assert_allclose(fwhm_px(psfs), [expected, expected], rtol=2e-3)


def test_a_wider_psf_has_the_larger_width() -> None:
    even = [np.pad(np.full((n, n), 1 / n**2), (15 - n) // 2) for n in (1, 3, 5, 7)]
    widths = fwhm_px(np.stack(even))
    np.testing.assert_allclose(widths / widths[0], [1, 3, 5, 7])


def test_a_field_tells_the_width_of_the_psf_at_a_place() -> None:
    field = PSFField.from_lens(GaussianLens(), (64, 80))
    for place in ((0, 0), (31.5, 39.5), (60, 12)):
        assert field.fwhm_px(*place) == fwhm_px(field.psf_at(*place))
    assert field.fwhm_px(0, 0) > field.fwhm_px(31.5, 39.5)
