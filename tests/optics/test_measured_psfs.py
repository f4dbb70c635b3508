"""Tests of the checks of measured PSFs: faults are corrected or named, never taken for the lens."""

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_coordgate.config import Lens
from napari_coordgate.errors import MeasuredPSFWarning, PSFError
from napari_coordgate.optics import PSFField
from napari_coordgate.optics.measured_psfs import MeasuredPSFs, check_measured_psfs
from napari_coordgate.optics.pupil import lens_psfs

Array = NDArray[np.float64]

FRAME = (256, 200)
SIDE = 25
PIXELS = np.array([(row, column) for row in (12, 128, 243) for column in (12, 100, 187)])
WIDTHS = np.linspace(1.1, 2.6, len(PIXELS))
COUNTS = 20_000.0


def gaussians(offsets: Array | float = 0.0, side: int = SIDE, widths: Array = WIDTHS) -> Array:
    """Gaussian PSFs of sum 1, at offsets (y, x) from the middle of their windows."""
    shifts = np.broadcast_to(offsets, (len(widths), 2))
    axis = np.arange(side) - side // 2
    y, x = (axis - shifts[:, index, None] for index in (0, 1))
    squares = y[:, :, None] ** 2 + x[:, None, :] ** 2
    psfs: Array = np.exp(-squares / (2 * widths[:, None, None] ** 2))
    psfs /= psfs.sum(axis=(1, 2), keepdims=True)
    return psfs


def noisy(psfs: Array, sigma: float = 3.0) -> Array:
    stack: Array = psfs + np.random.default_rng(5).normal(0, sigma, psfs.shape)
    return stack


def check(stack: Array) -> MeasuredPSFs:
    return check_measured_psfs(stack, PIXELS, FRAME)


def worst_error(found: Array, exact: Array) -> float:
    axes = (1, 2)
    return float(
        np.max(np.linalg.norm(found - exact, axis=axes) / np.linalg.norm(exact, axis=axes))
    )


def only_warning(measured: MeasuredPSFs) -> str:
    (text,) = measured.warnings
    assert "\n" not in text
    return text


def test_faultless_psfs_are_kept() -> None:
    measured = check(COUNTS * gaussians())
    assert measured.warnings == ()
    assert worst_error(measured.psfs, gaussians()) < 1e-6
    np.testing.assert_array_equal(measured.planes, np.arange(9))


@pytest.mark.parametrize("side", [15, 21, 25])
def test_the_psfs_of_a_lens_keep_their_rings_and_coma(side: int) -> None:
    lens = Lens(
        na=0.25, wavelength_nm=520, pixel_size_um=1.5, field_curvature_um=12, coma_waves=0.2
    )
    psfs = lens_psfs(lens, 2 * (PIXELS + 0.5) / FRAME - 1, FRAME, side)
    measured = check(psfs)
    assert measured.warnings == ()
    assert worst_error(measured.psfs, psfs) < 1e-12


@pytest.mark.parametrize("background", [100.0, 3000.0, -2.0])
def test_a_background_is_subtracted_and_its_value_is_named(background: float) -> None:
    measured = check(noisy(COUNTS * gaussians()) + background)
    found = float(only_warning(measured).partition("background of ")[2].split()[0])
    assert found == pytest.approx(background, abs=0.5)
    assert ("too much" in only_warning(measured)) == (background < 0)
    assert worst_error(measured.psfs, gaussians()) < 0.1


def test_each_window_may_have_its_own_background() -> None:
    backgrounds = np.linspace(50, 400, len(PIXELS))
    measured = check(noisy(COUNTS * gaussians()) + backgrounds[:, None, None])
    assert worst_error(measured.psfs, gaussians()) < 0.1


def test_brightness_does_not_matter() -> None:
    brightness = np.geomspace(COUNTS / 10, 10 * COUNTS, len(PIXELS))
    measured = check(noisy(brightness[:, None, None] * gaussians()) + 100)
    np.testing.assert_allclose(measured.psfs.sum(axis=(1, 2)), 1)
    errors = np.linalg.norm(measured.psfs - gaussians(), axis=(1, 2))
    np.testing.assert_allclose(errors, SIDE * measured.noise, rtol=0.3)
    np.testing.assert_allclose(measured.noise, 3 / brightness, rtol=0.3)


def test_a_neighbor_at_the_border_is_no_background() -> None:
    stack = noisy(COUNTS * gaussians())
    stack[2, :3, :3] += 400
    measured = check(stack)
    assert measured.warnings == ()


def test_psfs_that_are_off_center_are_shifted_to_the_middle() -> None:
    offsets = np.random.default_rng(1).uniform(-3, 3, (len(PIXELS), 2))
    measured = check(noisy(COUNTS * gaussians(offsets)))
    assert "pixels from the middle" in only_warning(measured)
    assert worst_error(measured.psfs, gaussians()) < 0.1


def test_positions_rounded_to_pixels_need_no_warning() -> None:
    offsets = np.random.default_rng(1).uniform(-0.5, 0.5, (len(PIXELS), 2))
    measured = check(noisy(COUNTS * gaussians(offsets)))
    assert measured.warnings == ()
    assert worst_error(measured.psfs, gaussians()) < 0.1
    assert worst_error(gaussians(offsets), gaussians()) > 0.3


def test_a_psf_at_the_border_of_its_window_is_refused() -> None:
    offsets = np.zeros((len(PIXELS), 2))
    offsets[4] = 9, 0
    with pytest.raises(PSFError, match=r"plane 4 .*9.0 pixels from the middle"):
        check(COUNTS * gaussians(offsets))


@pytest.mark.parametrize("before", [0, 1])
def test_windows_of_even_size_are_cropped_around_the_psf(before: int) -> None:
    windows = slice(before, before + SIDE - 1)
    measured = check(noisy(COUNTS * gaussians())[:, windows, windows])
    assert "cropped to 23" in only_warning(measured)
    assert worst_error(measured.psfs, gaussians(side=23)) < 0.1


def test_even_windows_may_have_the_psf_between_pixels() -> None:
    measured = check(noisy(COUNTS * gaussians(-0.5))[:, :-1, :-1])
    assert worst_error(measured.psfs, gaussians(side=23)) < 0.1


@pytest.mark.parametrize("background", [0.0, 100.0])
def test_windows_that_cut_the_psf_off_are_refused_with_the_size_to_use(background: float) -> None:
    inner = slice(9, 16)
    stack = noisy(COUNTS * gaussians())[:, inner, inner] + background
    with pytest.raises(PSFError, match=r"cut the PSF off.*use at least \d+ pixels") as caught:
        check(stack)
    needed = int(str(caught.value).rpartition("at least ")[2].split()[0])
    assert 11 <= needed <= 19  # 99 % of the widest is within 15 pixels
    assert "\n" not in str(caught.value)


def test_windows_that_cut_some_light_off_are_named() -> None:
    inner = slice(8, 17)
    measured = check(COUNTS * gaussians()[:, inner, inner])
    assert "cut the PSF off" in only_warning(measured)


def test_unusable_planes_are_left_out_by_number() -> None:
    stack = noisy(COUNTS * gaussians())
    stack[2, 5, 5] = np.nan
    stack[6] = noisy(np.zeros((SIDE, SIDE)))
    measured = check(stack)
    broken, empty = measured.warnings
    assert "NaN" in broken
    assert "plane 2 " in broken
    assert "no light" in empty
    assert "plane 6 " in empty
    np.testing.assert_array_equal(measured.planes, [0, 1, 3, 4, 5, 7, 8])
    np.testing.assert_allclose(
        measured.coordinates, 2 * (PIXELS[measured.planes] + 0.5) / FRAME - 1
    )


def test_a_stack_without_light_is_refused() -> None:
    for stack in (np.zeros((9, SIDE, SIDE)), np.ones((9, SIDE, SIDE))):
        with pytest.raises(PSFError, match="no light"):
            check(stack)
        with pytest.raises(PSFError, match="no light"):
            check(noisy(stack))


def test_exchanged_rows_and_columns_are_named() -> None:
    with pytest.raises(PSFError, match=r"row 12 and column 243.*exchange row and column"):
        check_measured_psfs(gaussians(), PIXELS[:, ::-1], FRAME)


@pytest.mark.filterwarnings("ignore::napari_coordgate.errors.ToleranceWarning")
def test_a_psf_field_warns_the_caller() -> None:
    with pytest.warns(MeasuredPSFWarning, match="background of 100") as caught:
        PSFField.from_psfs(COUNTS * gaussians() + 100, PIXELS, FRAME)
    assert caught[0].filename == __file__
