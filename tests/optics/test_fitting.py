"""Tests of PSF fields fitted to a lens or to measured PSFs."""

import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_coordgate.config import GaussianLens, Lens
from napari_coordgate.errors import CanceledError, PSFError, ToleranceWarning
from napari_coordgate.optics import PSFField
from napari_coordgate.optics.pupil import lens_psfs

Array = NDArray[np.float64]

FRAME = (40, 60)
LENS = Lens(na=0.25, wavelength_nm=520, pixel_size_um=1.5, field_curvature_um=12, coma_waves=0.2)
SIZE = 15
LINE = np.array([[3, 5], [11, 17], [22, 33.5], [35, 53]])
RNG = np.random.default_rng(7)


def scattered(count: int) -> Array:
    pixels = RNG.choice(FRAME[0] * FRAME[1], count, replace=False)
    return np.stack(np.divmod(pixels, FRAME[1]), axis=1).astype(float)


def grid(count: int) -> Array:
    axes = (np.linspace(2, side - 3, count) for side in FRAME)
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)


def psfs_at(positions: Array, size: int = SIZE) -> Array:
    coordinates = (2 * positions + 1) / FRAME - 1
    psfs: Array = lens_psfs(LENS, coordinates, FRAME, size)
    return psfs


def errors(psf_field: PSFField, psfs: Array, positions: Array) -> Array:
    """Relative error of each PSF of a PSF field."""
    found = np.stack([psf_field.psf_at(row, column) for row, column in positions])
    axes = (1, 2)
    wrong: Array = np.linalg.norm(found - psfs, axis=axes) / np.linalg.norm(psfs, axis=axes)
    return wrong


def root_mean_square(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))


@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-4])
@pytest.mark.parametrize(
    "lens", [LENS, GaussianLens(sigma_edge_px=3, axis=(0.3, -0.2))], ids=["pupil", "gaussian"]
)
def test_psfs_of_a_lens_are_reproduced_to_the_tolerance(
    lens: Lens | GaussianLens, tolerance: float
) -> None:
    psf_field = PSFField.from_lens(lens, FRAME, tolerance)
    positions = grid(12)
    exact = lens_psfs(lens, (2 * positions + 1) / FRAME - 1, FRAME, psf_field.size)
    assert root_mean_square(errors(psf_field, exact, positions)) <= tolerance
    assert psf_field.source["relative_error"] <= tolerance


def test_the_rank_grows_as_the_tolerance_shrinks() -> None:
    ranks = [PSFField.from_lens(LENS, FRAME, tolerance).rank for tolerance in (1e-1, 1e-2, 1e-4)]
    assert 1 < ranks[0] < ranks[1] < ranks[2]


def test_a_lens_without_variation_has_one_psf() -> None:
    steady = Lens(na=0.25, wavelength_nm=520, pixel_size_um=1.5, defocus_um=8)
    psf_field = PSFField.from_lens(steady, FRAME)
    assert psf_field.rank == 1


def test_the_size_of_a_psf_grows_with_the_enclosed_energy() -> None:
    low, high = (
        PSFField.from_lens(LENS, FRAME, enclosed_energy=energy).size for energy in (0.8, 0.95)
    )
    assert low < high


def test_a_lens_that_varies_too_fast_is_refused() -> None:
    lens = GaussianLens(sigma_center_px=0.2, sigma_edge_px=5)
    with pytest.raises(PSFError, match=r"varies too fast.*tolerance of 1e-05 \(reached") as caught:
        PSFField.from_lens(lens, FRAME, tolerance=1e-5)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::napari_coordgate.errors.ToleranceWarning")
@pytest.mark.filterwarnings("ignore::napari_coordgate.errors.MeasuredPSFWarning")
@pytest.mark.parametrize(
    "positions",
    [
        scattered(1),
        np.array([[2, 3], [35, 40]]),
        np.array([[2, 3], [35, 40], [20, 8.5]]),
        LINE,
        scattered(9),
        grid(3),
        scattered(25),
        grid(5),
    ],
    ids=["1", "2", "3", "4 in line", "9 scattered", "3x3", "25 scattered", "5x5"],
)
def test_measured_psfs_without_noise_are_reproduced_at_their_positions(positions: Array) -> None:
    psfs = psfs_at(positions)
    psf_field = PSFField.from_psfs(psfs * 500, positions, FRAME, tolerance=1e-3)
    error = root_mean_square(errors(psf_field, psfs, positions))
    assert error <= 0.03
    held_out = psf_field.source["relative_error"]
    assert (held_out is None) if len(positions) == 1 else (error <= held_out / 3)
    assert psf_field.source["measured_psfs"] == len(positions)


def test_a_warning_gives_the_error_reached_above_the_tolerance() -> None:
    positions = scattered(100)
    noisy = psfs_at(positions) + RNG.normal(0, 1e-3, (100, SIZE, SIZE))
    with pytest.warns(ToleranceWarning) as caught:
        psf_field = PSFField.from_psfs(noisy, positions, FRAME)
    assert f"{psf_field.source['relative_error']:.1e}" in str(caught[0].message)
    assert caught[0].filename == __file__


@pytest.mark.filterwarnings("ignore::napari_coordgate.errors.MeasuredPSFWarning")
def test_one_measured_psf_applies_to_the_whole_frame() -> None:
    positions = np.array([[3.0, 50.0]])
    psfs = psfs_at(positions)
    psf_field = PSFField.from_psfs(psfs, positions, FRAME)
    assert psf_field.rank == 1
    np.testing.assert_allclose(psf_field.psf_at(30, 2), psfs[0], atol=1e-7)


@pytest.mark.filterwarnings("ignore::napari_coordgate.errors.ToleranceWarning")
def test_more_measured_psfs_come_closer_to_the_lens() -> None:
    between = grid(8)
    exact = psfs_at(between)
    wrong = [
        root_mean_square(errors(PSFField.from_psfs(psfs_at(at), at, FRAME), exact, between))
        for at in (grid(2), grid(4), grid(7))
    ]
    assert wrong[0] > 2 * wrong[1] > 4 * wrong[2]


@pytest.mark.filterwarnings("ignore::napari_coordgate.errors.ToleranceWarning")
def test_the_pixel_size_is_kept() -> None:
    positions = scattered(2)
    psf_field = PSFField.from_psfs(psfs_at(positions), positions, FRAME, pixel_size_um=0.2)
    assert psf_field.pixel_size_um == 0.2
    assert PSFField.from_lens(LENS, FRAME).pixel_size_um == LENS.pixel_size_um


PSFS = psfs_at(np.array([[1.0, 2.0], [3.0, 4.0]]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"psfs": np.ones((3, 3))}, r"must have shape \(N, K, K\).*got \(3, 3\)"),
        ({"psfs": np.ones((2, 3, 5))}, r"must have shape \(N, K, K\)"),
        ({"psfs": np.ones((0, 3, 3)), "positions": np.ones((0, 2))}, "0 PSFs"),
        ({"positions": [[1, 2]]}, r"2 PSFs and positions of shape \(1, 2\)"),
        ({"positions": [1, 2]}, r"positions of shape \(2,\)"),
        ({"psfs": np.ones((2, 3, 3))}, "side 3 are too small"),
        ({"psfs": np.ones((2, 41, 41))}, "side 41 are larger than the frame of 40x60"),
        ({"positions": [[1, 2], [40, 2]]}, "outside the frame of 40x60"),
        ({"positions": [[1, 2], [-1, 2]]}, "outside the frame"),
        ({"positions": [[1, 2], [np.nan, 2]]}, "outside the frame"),
        ({"positions": [[1, 2], [1, 2]]}, "have the same position"),
        ({"psfs": np.zeros((2, 9, 9))}, "no light"),
        ({"psfs": -PSFS}, "no light"),
        ({"psfs": np.full((2, 9, 9), np.nan)}, "NaN"),
        ({"psfs": np.full((2, 9, 9), np.inf)}, "NaN"),
        ({"pixel_size_um": -1}, "must be positive, got -1.0"),
    ],
)
def test_unusable_measurements_are_refused(changes: dict[str, Any], message: str) -> None:
    usable: dict[str, Any] = {"psfs": PSFS, "positions": [[1, 2], [3, 4]]}
    with pytest.raises(PSFError, match=message) as caught:
        PSFField.from_psfs(**(usable | changes), frame_shape=FRAME)
    assert "\n" not in str(caught.value)


class CancelLater(threading.Event):
    """Event that is set after it has been checked 30 times."""

    checks = 0

    def is_set(self) -> bool:
        self.checks += 1
        return self.checks > 30


@pytest.mark.parametrize("lens", [LENS, GaussianLens()], ids=["pupil", "gaussian"])
def test_a_canceled_fit_ends(lens: Lens | GaussianLens) -> None:
    cancel = threading.Event()
    assert PSFField.from_lens(lens, FRAME, cancel=cancel).rank > 0
    cancel.set()
    with pytest.raises(CanceledError):
        PSFField.from_lens(lens, FRAME, cancel=cancel)


def test_a_fit_can_be_canceled_while_its_psfs_are_computed() -> None:
    cancel = CancelLater()
    with pytest.raises(CanceledError):
        PSFField.from_lens(LENS, FRAME, cancel=cancel)
    assert cancel.checks == 31
