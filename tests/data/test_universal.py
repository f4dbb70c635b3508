"""Laws of the random lenses, the procedural images and the samples of the universal model."""

from pathlib import Path

import numpy as np
import pytest

from napari_coordgate import Lens, PSFField
from napari_coordgate.config import LensLibraryConfig, UniversalTrainingConfig
from napari_coordgate.data.lens_library import (
    lens_sample,
    random_lens,
    window_psf_field,
    wrong_lens,
)
from napari_coordgate.data.procedural import KINDS, RandomFields, procedural_image
from napari_coordgate.data.universal import UniversalSamples, random_crop
from napari_coordgate.geometry import Window, pixel_coordinates
from napari_coordgate.optics.pupil import lens_psfs

LIBRARY = LensLibraryConfig(lenses=2, window_sizes=(48,), max_psf_size=61)


def test_a_window_has_the_psfs_of_its_place_in_the_frame() -> None:
    lens = Lens(na=0.5, wavelength_nm=550, pixel_size_um=0.4, field_curvature_um=6)
    window = Window(150, 10, 48, 48)
    field = window_psf_field(lens, (256, 256), window, LIBRARY)
    for row, column in ((0, 0), (24, 40), (47, 47)):
        position = pixel_coordinates([[150 + row, 10 + column]], (256, 256))
        exact = lens_psfs(lens, position, (256, 256), field.size)[0]
        error = np.linalg.norm(field.psf_at(row, column) - exact) / np.linalg.norm(exact)
        assert error < 2 * LIBRARY.tolerance


def test_lenses_repeat_and_differ() -> None:
    first, again, other = (lens_sample(3, i, LIBRARY) for i in (0, 0, 1))
    assert np.array_equal(first.true.kernels, again.true.kernels)
    assert np.array_equal(first.given.coefficients, again.given.coefficients)
    assert first.true.kernels.shape != other.true.kernels.shape or not np.allclose(
        first.true.kernels, other.true.kernels
    )
    assert 0 <= first.uncertainty <= LIBRARY.mismatch


def test_a_wrong_lens_is_as_wrong_as_it_says() -> None:
    rng = np.random.default_rng(0)
    lenses = [random_lens(rng, LIBRARY.replace(gaussian_fraction=0.0)) for _ in range(20)]
    for lens in lenses:
        assert isinstance(lens, Lens)
        wrong = wrong_lens(lens, rng, 0.1)
        assert isinstance(wrong, Lens)
        assert wrong.field_curvature_um == pytest.approx(lens.field_curvature_um, rel=0.1001)
        assert wrong_lens(lens, rng, 0.0) == lens


def test_a_measured_lens_is_seen_through_windows_flipped_and_turned(tmp_path: Path) -> None:
    # Wider from left to right, and the same from top to bottom.
    distance = np.square(np.arange(-9, 10))
    sigmas = np.linspace(1, 2, 5)
    psfs = np.exp(-np.add.outer(distance, distance) / (2 * sigmas[:, None, None] ** 2))
    positions = [(row, column) for row in range(0, 100, 24) for column in np.linspace(0, 99, 5)]
    field = PSFField.from_psfs(np.tile(psfs, (5, 1, 1)), positions, (100, 100), 0.2)
    field.save(tmp_path / "measured.tif")
    library = LIBRARY.replace(psf_fields=(tmp_path / "measured.tif",), measured_fraction=1.0)
    corners = [(0, 0), (0, 47), (47, 0), (47, 47)]
    low, high = field.fwhm_px(50, 0), field.fwhm_px(50, 99)
    for index in range(4):
        sample = lens_sample(0, index, library)
        assert sample.true.frame_shape == (48, 48)
        widths = sorted(sample.true.fwhm_px(*corner) for corner in corners)
        assert widths[:2] == pytest.approx([widths[0]] * 2, rel=0.03)
        assert widths[2:] == pytest.approx([widths[3]] * 2, rel=0.03)
        assert 0.97 * low < widths[0] < 0.9 * widths[3] < high
        wrong = sample.given.fwhm_px(24, 24) / sample.true.fwhm_px(24, 24)
        assert abs(wrong - 1) <= sample.uncertainty + 0.05
    exact = lens_sample(0, 0, library.replace(mismatch=0.0))
    assert np.allclose(exact.true.psf_at(9, 9), exact.given.psf_at(9, 9), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_procedural_images_have_structure(kind: object) -> None:
    image = kind(RandomFields(np.random.default_rng(0), 64))  # type: ignore[operator]
    assert image.shape == (64, 64)
    assert image.min() > -0.05
    assert 0.01 < image.std() < 2


def test_procedural_images_repeat() -> None:
    one, two = (procedural_image(np.random.default_rng(5), 50) for _ in range(2))
    assert np.array_equal(one, two)


def test_a_small_image_is_mirrored_to_fill_a_crop() -> None:
    crop = random_crop(np.random.default_rng(0), np.eye(5, dtype=np.float32), (30, 21))
    assert crop.shape == (30, 21)
    assert set(np.unique(crop)) == {0, 1}


def test_a_sample_depends_on_its_index_alone() -> None:
    config = UniversalTrainingConfig(library=LIBRARY)
    lenses = [lens_sample(0, i, LIBRARY) for i in range(2)]
    images = [np.random.default_rng(0).random((100, 120), np.float32)]
    samples = UniversalSamples(config, lenses, images)
    samples.sample(0)
    late = samples.sample(7)
    early = UniversalSamples(config, lenses, images).sample(7)
    assert np.array_equal(late.blurred, early.blurred)
    assert late.sharp.shape == late.blurred.shape == (1, 1, 48, 48)
    assert float(late.noise.photons) == float(early.noise.photons)
