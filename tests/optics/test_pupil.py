"""Tests of the PSFs of a lens: closed forms, symmetries, and an independent package."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray
from psf_generator import ScalarCartesianPropagator, ScalarSphericalPropagator
from scipy.interpolate import BarycentricInterpolator
from scipy.special import erf, j0, j1

from napari_coordgate.config import GaussianLens, Lens
from napari_coordgate.errors import PSFError
from napari_coordgate.geometry import field_vectors
from napari_coordgate.optics.pupil import lens_psfs, psf_size

Array = NDArray[np.float64]

SQUARE = (128, 128)
WIDE = (120, 200)
AXIS = (0.0, 0.0)
PERFECT = Lens(na=0.5, wavelength_nm=520, pixel_size_um=0.325)
CURVED = PERFECT.replace(field_curvature_um=6)
LOW_NA = PERFECT.replace(na=0.05, pixel_size_um=1.0)
HIGH_NA = PERFECT.replace(na=1.3, refractive_index=1.515, pixel_size_um=0.1)
MIXED = PERFECT.replace(
    field_curvature_um=4, astigmatism_waves=0.5, coma_waves=0.7, spherical_waves=0.2, defocus_um=-1
)

waves = st.floats(-1, 1)
positions = st.tuples(st.floats(-1.2, 1.2), st.floats(-1.2, 1.2))
lenses = st.builds(
    Lens,
    na=st.floats(0.05, 0.95),
    wavelength_nm=st.just(520.0),
    pixel_size_um=st.floats(0.05, 2),
    defocus_um=st.floats(-3, 3),
    field_curvature_um=st.floats(-5, 5),
    tilt_um=st.tuples(st.floats(-2, 2), st.floats(-2, 2)),
    astigmatism_waves=waves,
    coma_waves=waves,
    spherical_waves=waves,
    axis=st.tuples(st.floats(-1, 1), st.floats(-1, 1)),
)


def with_(lens: Lens, **changes: Any) -> Lens:
    return Lens.model_validate(lens.model_dump() | changes)


def psf_of(
    lens: Lens | GaussianLens,
    position: tuple[float, float] = AXIS,
    frame_shape: tuple[int, int] = SQUARE,
    size: int = 21,
) -> Array:
    psf: Array = lens_psfs(lens, np.array([position]), frame_shape, size)[0]
    return psf


def difference(one: Array, other: Array) -> float:
    """Largest difference, as a fraction of the peak."""
    return float(np.abs(one - other).max() / other.max())


def airy(offsets: Array) -> Array:
    """Intensity of the Airy pattern at all pairs of offsets in wavelength / NA, 1 on the axis."""
    v = 2 * np.pi * np.maximum(np.hypot.outer(offsets, offsets), 1e-9)
    intensity: Array = (2 * j1(v) / v) ** 2
    return intensity


def pixel_of(lens: Lens) -> float:
    """Side of a pixel in wavelength / NA."""
    return lens.pixel_size_um * lens.na / (lens.wavelength_nm * 1e-3)


# Properties of every PSF


@settings(max_examples=40, deadline=None)
@given(lens=lenses, position=positions, size=st.sampled_from([1, 3, 15]))
def test_a_psf_is_non_negative_and_sums_to_one(
    lens: Lens, position: tuple[float, float], size: int
) -> None:
    psf = psf_of(lens, position, WIDE, size)
    assert psf.shape == (size, size)
    assert psf.min() >= 0
    assert psf.sum() == pytest.approx(1, abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(lens=lenses, position=positions)
def test_a_psf_without_coma_is_centered_on_its_image_point(
    lens: Lens, position: tuple[float, float]
) -> None:
    psf = psf_of(with_(lens, coma_waves=0), position)
    assert difference(psf[::-1, ::-1], psf) < 1e-9


def test_psfs_of_many_positions_equal_those_of_each_position() -> None:
    positions = np.random.default_rng(0).uniform(-1, 1, (5, 2))
    together = lens_psfs(MIXED, positions, WIDE, 21)
    one_by_one = [psf_of(MIXED, (y, x), WIDE) for y, x in positions]
    assert difference(together, np.stack(one_by_one)) < 1e-10


@pytest.mark.parametrize("size", [0, 4, -3])
@pytest.mark.parametrize("lens", [PERFECT, GaussianLens()])
def test_a_size_without_a_central_pixel_is_an_error(lens: Lens | GaussianLens, size: int) -> None:
    with pytest.raises(PSFError, match="choose an odd size"):
        psf_of(lens, size=size)


# Closed forms


def test_a_perfect_lens_makes_the_airy_pattern() -> None:
    lens = with_(PERFECT, pixel_size_um=0.01)
    psf = psf_of(lens, size=251)
    expected = airy(pixel_of(lens) * np.arange(-125.0, 126.0))
    assert np.abs(psf / psf.max() - expected).max() < 1e-4


def test_a_psf_is_integrated_over_the_pixels_of_the_camera() -> None:
    size, points = 33, 20
    node, weight = np.polynomial.legendre.leggauss(points)
    offsets = np.add.outer(np.arange(size) - size // 2, node / 2).ravel()
    fine = airy(pixel_of(PERFECT) * offsets).reshape(size, points, size, points)
    expected = np.einsum("ymxn,m,n->yx", fine, weight, weight)
    assert difference(psf_of(PERFECT, size=size), expected / expected.sum()) < 1e-4


@pytest.mark.parametrize("lens", [PERFECT, LOW_NA, HIGH_NA])
def test_the_first_dark_ring_has_its_textbook_radius(lens: Lens) -> None:
    pixel_um = 0.01 * lens.wavelength_nm * 1e-3 / lens.na
    row = psf_of(with_(lens, pixel_size_um=pixel_um), size=161)[80, 80:]
    assert np.argmin(row) * 0.01 == pytest.approx(0.6098, abs=0.005)
    assert row.min() < 1e-3 * row.max()


@pytest.mark.parametrize("defocus_waves", [0.1, 0.25, 0.5, 0.75, 1.0])
def test_defocus_at_low_na_dims_the_center_by_the_strehl_ratio(defocus_waves: float) -> None:
    defocus_um = 2 * defocus_waves * LOW_NA.wavelength_nm * 1e-3 / LOW_NA.na**2
    sharp = psf_of(LOW_NA, size=201)[100, 100]
    soft = psf_of(with_(LOW_NA, defocus_um=defocus_um), size=201)[100, 100]
    assert soft / sharp == pytest.approx(np.sinc(defocus_waves) ** 2, abs=1e-3)


@pytest.mark.parametrize(
    ("aberration", "rms"),
    [("astigmatism_waves", 6**-0.5), ("coma_waves", 8**-0.5), ("spherical_waves", 5**-0.5)],
)
@pytest.mark.parametrize("amount", [-0.05, 0.05])
def test_small_aberrations_dim_the_center_by_their_variance(
    aberration: str, rms: float, amount: float
) -> None:
    corner = (1.0, 1.0)
    sharp = psf_of(LOW_NA, corner, WIDE, 201)[100, 100]
    soft = psf_of(with_(LOW_NA, **{aberration: amount}), corner, WIDE, 201)[100, 100]
    variance = (2 * np.pi * rms * amount) ** 2
    assert soft / sharp == pytest.approx(1 - variance, abs=variance**2)


def test_coma_moves_the_center_of_light_outwards_by_its_mean_slope() -> None:
    coma = 0.4
    lens = with_(PERFECT, coma_waves=coma)

    def moment(size: int) -> Array:
        psf, offset = psf_of(lens, (1.0, 1.0), WIDE, size), np.arange(size) - size // 2
        return np.array([psf.sum(axis=1) @ offset, psf.sum(axis=0) @ offset])

    moved = 2 * moment(101) - moment(51)  # the part outside a window decreases as one over its side
    outwards = np.array(WIDE) / np.hypot(*WIDE)
    np.testing.assert_allclose(moved, coma * outwards / pixel_of(PERFECT), rtol=5e-3)


# Symmetries


@pytest.mark.parametrize("lens", [PERFECT, HIGH_NA])
def test_blur_is_the_same_on_both_sides_of_focus(lens: Lens) -> None:
    above, below = (psf_of(with_(lens, defocus_um=z)) for z in (1.5, -1.5))
    assert difference(above, below) < 1e-12
    assert difference(above, psf_of(lens)) > 0.1


@settings(max_examples=20, deadline=None)
@given(lens=lenses, position=positions)
def test_aberrations_rotate_with_the_azimuth_in_the_field(
    lens: Lens, position: tuple[float, float]
) -> None:
    centered = with_(lens, axis=AXIS, tilt_um=(0, 0))
    y, x = position
    psf = psf_of(centered, (y, x))
    assert difference(psf_of(centered, (-x, y)), np.rot90(psf)) < 1e-6
    assert difference(psf_of(centered, (y, -x)), psf[:, ::-1]) < 1e-6


def test_astigmatism_changes_direction_through_focus() -> None:
    lens = with_(PERFECT, astigmatism_waves=1)
    above, below = (psf_of(with_(lens, defocus_um=z), (0.0, 1.0)) for z in (2.0, -2.0))
    assert difference(above, np.rot90(below)) < 1e-12
    assert difference(above, below) > 0.1


def test_field_curvature_is_defocus_growing_as_the_squared_field_radius() -> None:
    curved = CURVED.replace(defocus_um=-1, axis=(0.2, -0.1))
    for y, x in [(1.0, 1.0), (0.2, -0.1), (-0.7, 0.4)]:
        height, width = WIDE
        squared = ((height * (y - 0.2)) ** 2 + (width * (x + 0.1)) ** 2) / (height**2 + width**2)
        flat = with_(PERFECT, defocus_um=-1 + 6 * squared)
        assert difference(psf_of(curved, (y, x), WIDE), psf_of(flat)) < 1e-12


@given(position=positions)
def test_axial_aberrations_equal_those_that_vary_over_the_field_at_one_position(
    position: tuple[float, float],
) -> None:
    v_y, v_x = field_vectors([position], SQUARE)[0]
    of_field = with_(PERFECT, astigmatism_waves=0.6, coma_waves=0.4, defocus_um=1)
    straight, diagonal = 0.6 * (v_y**2 - v_x**2), 1.2 * v_y * v_x
    constant = with_(
        PERFECT,
        axial_astigmatism_waves=(straight, diagonal),
        axial_coma_waves=(0.4 * v_y, 0.4 * v_x),
        defocus_um=1,
    )
    expected = psf_of(of_field, position)
    for anywhere in (AXIS, (-0.7, 0.4)):
        np.testing.assert_allclose(psf_of(constant, anywhere), expected, atol=1e-9)


def test_tilt_defocuses_opposite_sides_of_the_frame_in_opposite_directions() -> None:
    lens = with_(PERFECT, spherical_waves=0.3)
    tilted = with_(lens, tilt_um=(1, 2))
    for (y, x), defocus_um in [((0, 1), 2), ((0, -1), -2), ((1, 0), 1), ((-0.5, 1), 1.5)]:
        expected = psf_of(with_(lens, defocus_um=defocus_um))
        assert difference(psf_of(tilted, (y, x), WIDE), expected) < 1e-12
    left, right = psf_of(tilted, (0.0, -1.0)), psf_of(tilted, (0.0, 1.0))
    assert difference(left, right) > 0.1


@pytest.mark.parametrize("tilt_um", [(0.0, 0.0), (2.0, 0.0), (0.0, 2.0)])
@pytest.mark.parametrize(
    "lens",
    [
        MIXED,
        with_(MIXED, axial_coma_waves=(0.2, 0.0)),
        with_(MIXED, axial_coma_waves=(0.0, 0.2), axial_astigmatism_waves=(0.3, 0.0)),
        with_(MIXED, axial_astigmatism_waves=(0.0, 0.3)),
        GaussianLens(sigma_edge_px=4),
    ],
)
def test_psfs_of_a_symmetric_lens_equal_those_of_an_almost_symmetric_one(
    lens: Lens | GaussianLens, tilt_um: tuple[float, float]
) -> None:
    if isinstance(lens, Lens):
        lens = with_(lens, tilt_um=tilt_um)
    almost = lens.model_copy(update={"axis": (1e-9, 1e-9)})
    grid = np.linspace(-1.1, 1.1, 4)
    positions = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    exact, found = (lens_psfs(one, positions, WIDE, 21) for one in (almost, lens))
    np.testing.assert_allclose(found, exact, atol=1e-8)


# Sampling


@pytest.mark.parametrize("lens", [MIXED, HIGH_NA])
def test_pixels_of_a_fine_camera_add_up_to_those_of_a_coarse_one(lens: Lens) -> None:
    position, size, binning = (0.8, -0.6), 15, 3
    coarse = psf_of(lens, position, size=size)
    fine_camera = with_(lens, pixel_size_um=lens.pixel_size_um / binning)
    fine = psf_of(fine_camera, position, size=size * binning)
    binned = fine.reshape(size, binning, size, binning).sum(axis=(1, 3))
    assert difference(coarse, binned) < 2e-4


def test_psfs_are_analytic_over_the_frame() -> None:
    nodes = np.cos(np.pi * (np.arange(33) + 0.5) / 33)
    at_nodes, between = (
        lens_psfs(MIXED, np.stack([0.1 * x, x], axis=-1), SQUARE, 25)
        for x in (nodes, np.linspace(-1, 1, 50))
    )
    interpolated = BarycentricInterpolator(nodes, at_nodes)(np.linspace(-1, 1, 50))
    assert difference(interpolated, between) < 1e-6


# An independent package


def oracle(
    kind: Any, lens: Lens, defocus_um: float, size: int, points: int, **options: Any
) -> Array:
    """PSF by psf-generator at points x points positions in each pixel, summed.

    It steps in nanometers between first and last point, and halves the step in defocus.
    """
    side = size * points
    propagator = kind(
        n_pix_pupil=513,
        n_pix_psf=side,
        wavelength=lens.wavelength_nm,
        na=lens.na,
        pix_size=lens.pixel_size_um * 1e3 / points * (side - 1) / side,
        n_i=lens.refractive_index,
        n_i0=lens.refractive_index,
        defocus_step=2e3 * defocus_um,
        **options,
    )
    psf_field = propagator.compute_focus_field().numpy().reshape(size, points, size, points)
    light = (np.abs(psf_field).astype(np.float64) ** 2).sum(axis=(1, 3))
    return np.asarray(light / light.sum())


@pytest.mark.parametrize("lens", [PERFECT, HIGH_NA])
@pytest.mark.parametrize("defocus_um", [0.0, 1.0, -2.0])
def test_defocus_agrees_with_an_independent_package(lens: Lens, defocus_um: float) -> None:
    expected = oracle(ScalarSphericalPropagator, lens, defocus_um, 21, 15, cos_factor=True)
    psf = psf_of(with_(lens, defocus_um=defocus_um))
    assert difference(psf, expected) < 1e-3  # 6e-4 of it is due to the sums over points


def test_aberrations_agree_with_an_independent_package() -> None:
    lens = with_(PERFECT, astigmatism_waves=0.8, coma_waves=1, spherical_waves=0.3)
    zernike = torch.zeros(13, dtype=torch.float64)  # OSA order, radians; field radius^2 is 1/2
    zernike[5], zernike[8], zernike[12] = (2 * np.pi * w for w in (0.8 / 2, 0.5**0.5, 0.3))
    options = {"zernike_coefficients": zernike, "sz_correction": False}
    expected = oracle(ScalarCartesianPropagator, lens, 0.0, 21, 15, **options)
    psf = psf_of(lens, (0.0, 1.0))
    # Its Fourier transform has the other sign; its pupil has a hard, pixelated edge.
    assert difference(psf, expected[::-1, ::-1]) < 2e-3


# Size of the window


@pytest.mark.parametrize("enclosed_energy", [0.6, 0.8378, 0.9, 0.97])
def test_the_energy_in_a_window_is_between_that_in_its_inner_and_outer_circle(
    enclosed_energy: float,
) -> None:
    lens = with_(PERFECT, pixel_size_um=PERFECT.pixel_size_um / 4)
    pixel = pixel_of(lens)
    side = psf_size(lens, SQUARE, enclosed_energy) * pixel
    v = np.linspace(0.1, 100, 20000)  # 2 pi radius NA / wavelength
    diameter = float(np.interp(enclosed_energy, 1 - j0(v) ** 2 - j1(v) ** 2, v / np.pi))
    assert diameter / 2**0.5 - 1e-9 <= side <= diameter + 2 * pixel


@settings(max_examples=15, deadline=None)
@given(energies=st.tuples(st.floats(0.55, 0.98), st.floats(0.55, 0.98)), lens=lenses)
def test_more_enclosed_energy_never_needs_a_smaller_window(
    energies: tuple[float, float], lens: Lens
) -> None:
    coarse = with_(lens, pixel_size_um=2, na=0.4, refractive_index=1)
    smaller, larger = (psf_size(coarse, (999, 999), energy) for energy in sorted(energies))
    assert smaller % 2 == larger % 2 == 1
    assert smaller <= larger


@pytest.mark.parametrize("pixel_size_um", [0.4, 0.5, 1.0])
def test_a_blur_as_small_as_a_pixel_needs_few_pixels(pixel_size_um: float) -> None:
    lens = with_(PERFECT, pixel_size_um=pixel_size_um)
    assert psf_size(lens, SQUARE, 0.51) in (1, 3)


def test_the_window_is_large_enough_for_the_worst_position() -> None:
    corner = np.array([[1.0, -1.0]])
    assert psf_size(CURVED, SQUARE, 0.9) == psf_size(CURVED, SQUARE, 0.9, corner)
    assert psf_size(CURVED, SQUARE, 0.9) > psf_size(CURVED, SQUARE, 0.9, np.zeros((1, 2)))


def test_the_window_is_the_smallest_that_contains_the_light() -> None:
    size, wide = psf_size(MIXED, SQUARE, 0.9, np.array([[1.0, 1.0]])), 201
    psf = psf_of(MIXED, (1.0, 1.0), size=wide)
    # Light outside the wide window, by the asymptote of the Airy pattern's square tail.
    outside = 0.9 * 2 / (np.pi**2 * pixel_of(MIXED) * wide)

    def held(side: int) -> float:
        inside = slice((wide - side) // 2, (wide + side) // 2)
        return float(psf[inside, inside].sum() * (1 - outside))

    assert held(size) >= 0.9 - 2e-4
    assert held(size - 2) < 0.9


@pytest.mark.parametrize("curvature_um", [12.0, 60.0, 1e5])
def test_a_window_larger_than_the_frame_is_an_error(curvature_um: float) -> None:
    message = r"about \d+ pixels .* frame of 41x64 pixels; lower the defocus"
    with pytest.raises(PSFError, match=message):
        psf_size(PERFECT.replace(field_curvature_um=curvature_um), (41, 64), 0.98)


def test_the_error_estimates_the_size_needed() -> None:
    size = psf_size(CURVED, SQUARE, 0.98)
    with pytest.raises(PSFError, match="about") as error:
        psf_size(CURVED, (size - 2, 200), 0.98)
    estimate = int(str(error.value).split("about ")[1].split()[0])
    assert estimate == pytest.approx(size, abs=4)


# A Gaussian lens


@settings(deadline=None)
@given(sigma=st.floats(0.2, 4), size=st.sampled_from([1, 9, 31]))
def test_a_gaussian_psf_is_integrated_exactly_over_pixels(sigma: float, size: int) -> None:
    edge = (np.arange(size + 1) - size / 2) / (sigma * 2**0.5)
    profile = np.array([erf(right) - erf(left) for left, right in pairwise(edge)])
    expected = np.outer(profile, profile) / profile.sum() ** 2
    psf = psf_of(GaussianLens(sigma_center_px=sigma, sigma_edge_px=1), size=size)
    np.testing.assert_allclose(psf, expected, atol=1e-14)


def test_the_variance_of_a_gaussian_psf_is_that_of_the_lens_and_of_a_pixel() -> None:
    lens = GaussianLens(sigma_center_px=1, sigma_edge_px=3, axis=(0.5, 0))
    offset = np.arange(101) - 50
    for y, x in [(0.5, 0.0), (1.0, 1.0), (-1.0, 0.3)]:
        squared = ((120 * (y - 0.5)) ** 2 + (200 * x) ** 2) / (120**2 + 200**2)
        psf = psf_of(lens, (y, x), WIDE, 101)
        expected = 1 + 8 * squared + 1 / 12  # of the Gaussian, and of a pixel
        for axis in (0, 1):
            assert psf.sum(axis=axis) @ offset**2 == pytest.approx(expected, rel=1e-7)


def test_a_gaussian_lens_sharper_at_the_edge_is_valid_beyond_the_frame() -> None:
    lens = GaussianLens(sigma_center_px=3, sigma_edge_px=0.5)
    assert psf_of(lens, (1.5, 1.5)).sum() == pytest.approx(1)


@given(sigma=st.floats(0.1, 5), enclosed_energy=st.floats(0.55, 0.999))
def test_a_gaussian_window_is_the_smallest_that_contains_the_light(
    sigma: float, enclosed_energy: float
) -> None:
    lens = GaussianLens(sigma_center_px=sigma, sigma_edge_px=sigma)
    size = psf_size(lens, SQUARE, enclosed_energy)
    held, less = (erf(side / (2 * 2**0.5 * sigma)) ** 2 for side in (size, size - 2))
    assert held >= enclosed_energy * (1 - 1e-12)
    assert size == 1 or less < enclosed_energy


def test_a_gaussian_window_larger_than_the_frame_is_an_error() -> None:
    with pytest.raises(PSFError, match="frame of 32x64 pixels; lower sigma_center_px"):
        psf_size(GaussianLens(sigma_edge_px=20), (32, 64), 0.99)


@pytest.mark.parametrize(
    "extreme",
    [
        {"defocus_um": 1e300},
        {"pixel_size_um": 1e-300},
        {"tilt_um": (1e308, 0.0)},
        {"na": 1e-300},
        {"astigmatism_waves": 1e308},
    ],
)
def test_a_blur_without_bounds_is_refused(extreme: dict[str, Any]) -> None:
    lens = Lens(na=0.5, wavelength_nm=520, pixel_size_um=0.3).replace(**extreme)
    with pytest.raises(PSFError, match=r"^The blur"):
        psf_size(lens, (64, 64), 0.99)
