"""Power spectra of tiles match what the lens and the noise predict."""

import numpy as np
import pytest

from napari_coordgate.calibration.spectra import (
    RINGS,
    TileSpectra,
    spectrum_table,
    tile_spectra,
)
from napari_coordgate.calibration.spectral_fit import SpectralLikelihood, tile_noise
from tests.calibration.scenes import LENS, photographed, texture


def test_power_of_white_noise_is_its_variance() -> None:
    noise = 3.0 * np.random.default_rng(0).normal(size=(512, 512)).astype(np.float32)
    spectra = tile_spectra(noise)
    np.testing.assert_allclose(spectra.power[:, 3:40].mean(axis=0), 9.0, rtol=0.08)
    np.testing.assert_allclose(np.median(tile_noise(spectra)), 9.0, rtol=0.1)


def test_tiles_cover_the_image_and_carry_frame_positions() -> None:
    spectra = tile_spectra(np.ones((150, 100), np.float32), origin=(7, 11), image=5)
    assert spectra.corner.min(axis=0).tolist() == [7, 11]
    assert spectra.corner.max(axis=0).tolist() == [7 + 150 - 64, 11 + 100 - 64]
    assert set(spectra.image) == {5}


def test_table_agrees_with_the_blur_of_a_texture() -> None:
    """The ratio of spectra with and without defocus is that of the table."""
    rng = np.random.default_rng(1)
    scenes = [texture(rng, 400) for _ in range(4)]
    ratio = []
    for defocus in (0.0, 3.0):
        images = photographed(scenes, LENS.replace(defocus_um=defocus), photons=1e7)
        parts = [tile_spectra(image) for image in images]
        ratio.append(TileSpectra.concatenate(parts).power.mean(axis=0))
    table = spectrum_table(LENS)
    sharp, blurred = (table(np.array([z]), np.zeros(1))[0][0] for z in (0.0, 3.0))
    low = slice(3, 12)
    np.testing.assert_allclose((ratio[1] / ratio[0])[low], (blurred / sharp)[low], rtol=0.15)


def test_slope_of_the_table_is_its_derivative() -> None:
    table = spectrum_table(LENS.replace(spherical_waves=0.3, coma_waves=0.2))
    defocus, radius, step = np.array([-4.0, 0.3, 2.2]), np.array([0.0, 0.2, 0.9]), 1e-5
    below, above = (table(defocus + sign * step, radius)[0] for sign in (-1, 1))
    slope = table(defocus, radius)[1]
    np.testing.assert_allclose((above - below) / (2 * step), slope, atol=1e-6)
    assert slope.shape == (3, RINGS)


@pytest.mark.parametrize("parameter", range(4))
def test_gradient_of_the_likelihood_is_that_of_finite_differences(parameter: int) -> None:
    """An undamped step from a fit that holds one parameter shows the slope along it."""
    rng = np.random.default_rng(2)
    image = photographed([texture(rng, 320)], LENS.replace(field_curvature_um=5.0))[0]
    spectra = tile_spectra(image)
    likelihood = SpectralLikelihood(
        spectra, spectrum_table(LENS), (256, 256), (0.0, 0.0), tile_noise(spectra)
    )
    state = likelihood.start(np.array([0.5, 4.0, 0.3, -0.2]))
    gradient = likelihood.gradient(state)
    step = np.zeros(4)
    step[parameter] = 1e-4
    losses = [likelihood.loss(state.shifted(sign * step)) for sign in (-1, 1)]
    assert gradient[parameter] == pytest.approx(-(losses[1] - losses[0]) / 2e-4, rel=1e-3, abs=0.1)
