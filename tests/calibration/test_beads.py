"""Tests of the calibration with beads: a known lens is found again, within its error bars."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_coordgate import CanceledError, ImageError, PSFError, SettingsError, load_lens
from napari_coordgate.calibration import BeadFit, calibrate_beads, detect_beads, simulate_beads
from napari_coordgate.calibration.beads_detection import estimate_noise_level, saturation_level
from napari_coordgate.calibration.beads_noise import expected_deviance
from napari_coordgate.calibration.beads_solver import (
    BeadProblem,
    BeadState,
    BeadWindows,
    poisson_deviance,
)
from napari_coordgate.calibration.lens_parameters import EVEN, PARAMETERS, lens_vector
from napari_coordgate.config import BeadsConfig, GaussianLens, Lens
from napari_coordgate.errors import CoordGateError
from napari_coordgate.events import Event, Progress
from napari_coordgate.io import Image

Array = NDArray[np.float64]

FRAME = (128, 160)
OPTICS = Lens(na=0.5, wavelength_nm=520, pixel_size_um=0.325)
LENS = OPTICS.replace(
    field_curvature_um=3,
    defocus_um=-1,
    tilt_um=(0.4, -0.3),
    axis=(0.1, -0.05),
    astigmatism_waves=0.3,
    coma_waves=-0.3,
)
FEW = BeadsConfig(starts=3)


def beads_on_a_grid(rng: np.random.Generator) -> Array:
    """Positions (20, 2) of beads that do not touch."""
    rows, columns = np.meshgrid(np.linspace(14, 114, 4), np.linspace(14, 146, 5), indexing="ij")
    return np.stack([rows.ravel(), columns.ravel()], 1) + rng.uniform(-4, 4, (20, 2))


def image_of(lens: Lens, seed: int = 0, **options: Any) -> Array:
    rng = np.random.default_rng(seed)
    photons = 2000 * np.exp(0.3 * rng.normal(size=20))
    positions = beads_on_a_grid(rng)
    return simulate_beads(
        lens, positions, photons, FRAME, background=4.0, read_noise=1.5, rng=rng, **options
    )


@pytest.fixture(scope="module")
def fit() -> BeadFit:
    return calibrate_beads(100 + 2 * image_of(LENS)[0], OPTICS, config=FEW)


def test_a_known_lens_is_found_within_its_error_bars(fit: BeadFit) -> None:
    misfit = lens_vector(fit.lens) - lens_vector(LENS)
    chi_squared = misfit @ np.linalg.solve(fit.covariance, misfit)
    assert chi_squared < 35  # 13 values: exceeded in 1 of 1000 cases
    assert fit.standard_errors["field_curvature_um"] < 0.4
    assert fit.reduced_deviance == pytest.approx(1, abs=0.15)
    assert fit.beads.kept.sum() >= 18


def test_the_gain_of_the_camera_is_estimated(fit: BeadFit) -> None:
    assert fit.fitted.noise.gain == pytest.approx(2, rel=0.2)
    assert any("noise" in note for note in fit.notes)


def test_the_widths_of_the_beads_are_those_of_the_lens(fit: BeadFit) -> None:
    used = fit.beads.kept
    ratio = fit.beads.width_px[used] / fit.beads.model_width_px[used]
    assert np.median(ratio) == pytest.approx(1, abs=0.03)
    assert np.isnan(fit.beads.width_px[~used]).all()


def test_the_lens_says_how_it_was_measured(fit: BeadFit, tmp_path: Path) -> None:
    fit.save(tmp_path / "lens.yaml")
    loaded = load_lens(tmp_path / "lens.yaml")
    assert loaded == fit.lens
    assert fit.lens.calibration is not None
    assert fit.lens.calibration.method == "beads"
    assert fit.lens.calibration.standard_errors.keys() == set(PARAMETERS)
    assert any("sign" in note for note in fit.lens.calibration.notes)


def test_the_report_shows_the_beads(fit: BeadFit, tmp_path: Path) -> None:
    fit.report(tmp_path / "lens.html")
    text = (tmp_path / "lens.html").read_text(encoding="utf-8")
    assert text.count("data:image/png;base64") == 4
    assert fit.beads.summary() in text


def test_planes_at_known_z_tell_the_sign() -> None:
    reversed_lens = LENS.replace(
        **{name: -getattr(LENS, name) for name in ("field_curvature_um", "defocus_um")},
        astigmatism_waves=-0.3,
        tilt_um=(-0.4, 0.3),
    )
    planes = image_of(reversed_lens, z_um=(-1.5, 1.5))
    fit = calibrate_beads(Image(planes, "ZYX"), OPTICS, z_um=(-1.5, 1.5), config=FEW)
    curvature, error = fit.lens.field_curvature_um, fit.standard_errors["field_curvature_um"]
    assert curvature == pytest.approx(-3, abs=4 * error)
    assert not any("sign" in note for note in fit.notes)


def test_the_diameter_of_beads_is_not_taken_for_the_lens() -> None:
    image = image_of(LENS, diameter_um=1.0)[0]
    fit = calibrate_beads(image, OPTICS, bead_diameter_um=1.0, config=FEW)
    error = fit.standard_errors["spherical_waves"]
    assert abs(fit.lens.spherical_waves) < 4 * error < 0.2


def windows_of(lens: Lens) -> tuple[BeadWindows, BeadState]:
    """Windows of four beads, and a state near their lens."""
    centers = torch.tensor([[10, 12], [20, 50], [50, 20], [48, 52]])
    image = simulate_beads(lens, centers, 500.0, (64, 64), background=3.0, rng=0)
    cut = [image[:, y - 5 : y + 6, x - 5 : x + 6] for y, x in centers.tolist()]
    counts = torch.from_numpy(np.array(cut))
    one = torch.ones(4, 1, 11, 11, dtype=torch.float64)
    sizes, z_um = torch.tensor([[11], [11], [9], [11]]), torch.zeros(1, dtype=torch.float64)
    windows = BeadWindows(counts, one, sizes, centers, (64, 64), z_um, one)
    vector = torch.from_numpy(lens_vector(lens)) + 0.05
    shift = torch.full((4, 2), 0.1, dtype=torch.float64)
    amplitude = torch.full((4,), 450.0, dtype=torch.float64)
    return windows, BeadState(vector, shift, amplitude, torch.full_like(amplitude, 3.0)[:, None])


def test_the_gradient_of_the_likelihood_is_that_of_finite_differences() -> None:
    windows, state = windows_of(LENS)
    prior = np.zeros(13), np.full(13, 0.5)
    problem = BeadProblem(OPTICS, windows, prior)
    problem._derivatives = problem._light  # noqa: SLF001 - exact rather than fast
    at = problem.evaluate(state)
    gradient = problem._normal(at).lens_gradient  # noqa: SLF001
    for index in range(len(PARAMETERS)):
        ends = []
        for step in (1e-4, -1e-4):
            moved = at.state.vector.clone()
            moved[index] += step
            there = BeadState(moved, at.state.shift, at.state.amplitude, at.state.background)
            ends.append(problem.evaluate(there, at.others).objective)
        assert (ends[1] - ends[0]) / 2e-4 == pytest.approx(float(gradient[index]), abs=0.02)


@pytest.mark.parametrize("na", [0.5, 0.999])
def test_the_step_of_the_aperture_is_zero_where_the_light_is_that_of_the_lens(na: float) -> None:
    lens = LENS.replace(na=na)
    windows, state = windows_of(lens)
    problem = BeadProblem(lens, windows, (lens_vector(lens), np.full(13, 0.1)))
    true = problem.evaluate(replace(state, vector=torch.from_numpy(lens_vector(lens))))
    exact = BeadProblem(lens, replace(windows, counts=true.expected), problem.prior, fast=True)
    step, error = exact.aperture_step(exact.evaluate(true.state, true.others))
    assert abs(step) < 0.5 * error
    assert np.isfinite(error)


def test_the_reversed_lens_has_the_same_psfs() -> None:
    windows, state = windows_of(LENS)
    problem = BeadProblem(OPTICS, windows, (np.zeros(13), np.ones(13)))
    signs = torch.tensor([-1.0 if name in EVEN else 1.0 for name in PARAMETERS])
    reversed_state = BeadState(state.vector * signs, state.shift, state.amplitude, state.background)
    one, other = problem.evaluate(state), problem.evaluate(reversed_state)
    np.testing.assert_allclose(one.light, other.light, atol=1e-12)


def test_noise_alone_has_the_expected_deviance() -> None:
    level = torch.tensor([0.3, 3.0, 30.0], dtype=torch.float64)
    counts = torch.poisson(level.expand(200_000, 3), torch.manual_seed(0))
    mean = poisson_deviance(counts, level).mean(0)
    np.testing.assert_allclose(mean, expected_deviance(level), rtol=0.02)


def test_the_noise_level_ignores_structure() -> None:
    rng = np.random.default_rng(0)
    plane = rng.normal(100, 3, (128, 128))
    plane[40:60, 40:60] += 500
    assert estimate_noise_level(plane) == pytest.approx(3, rel=0.05)


def test_beads_that_cannot_be_used_are_named() -> None:
    positions = [[40, 40], [80, 100], [80, 104], [1, 130], [110, 60], [40, 130]]
    photons = [2000.0, 1000, 1000, 2000, 60_000, 1500]
    image = simulate_beads(OPTICS, positions, photons, FRAME, background=3, rng=0)[0]
    beads = detect_beads(np.minimum(image, 4095).astype(np.uint16), OPTICS)
    reasons = {
        tuple(np.round(position).astype(int)): reason
        for position, reason in zip(beads.positions, beads.dropped, strict=True)
    }
    assert reasons[40, 40] == reasons[40, 130] == ""
    assert reasons[110, 60] == "saturated"
    assert reasons[1, 130] == "at the border"
    assert reasons[80, 100] == reasons[80, 104] == "overlapping"


def test_a_bead_unlike_the_others_is_dropped() -> None:
    image = image_of(LENS)[0]
    image[60:70, 78:80] += 60  # a scratch
    fit = calibrate_beads(image, OPTICS, config=FEW)
    misfit = lens_vector(fit.lens) - lens_vector(LENS)
    assert misfit @ np.linalg.solve(fit.covariance, misfit) < 40


def test_a_wrong_aperture_is_not_hidden_by_an_error_bar() -> None:
    wrong = OPTICS.replace(na=0.65)
    fit = calibrate_beads(image_of(LENS.replace(field_curvature_um=6))[0], wrong, config=FEW)
    assert any("NA" in note for note in fit.notes)


def test_the_aperture_that_the_beads_suggest_is_named(fit: BeadFit) -> None:
    assert not any("suggest" in note for note in fit.notes)
    wrong = calibrate_beads(image_of(LENS)[0], OPTICS.replace(na=0.55), config=FEW)
    aperture = wrong.fitted.aperture
    assert aperture.na == pytest.approx(0.5, abs=4 * aperture.standard_error)
    assert any("suggest an NA of 0.5" in note for note in wrong.notes)


def test_progress_ends_with_the_fit() -> None:
    events: list[Progress] = []

    def keep(event: Event) -> None:
        assert isinstance(event, Progress)
        events.append(event)

    calibrate_beads(image_of(LENS)[0], OPTICS, config=FEW, callback=keep)
    done = [event.done for event in events if event.stage == "fitting the lens"]
    assert done == sorted(done)
    assert done.count(100) == 1
    assert done[-1] == 100


def test_saturation_is_that_of_the_camera_or_of_a_plateau() -> None:
    image = np.random.default_rng(0).integers(0, 100, (32, 32))
    image[5, 5] = 4095
    assert saturation_level(image.astype(np.uint16)) == 4095
    assert saturation_level(image.astype(float) + np.eye(32) * 1e-3) == np.inf


NOISE = np.random.default_rng(0).normal(100, 3, FRAME)


@pytest.mark.parametrize(
    ("image", "lens", "options", "message"),
    [
        (NOISE, OPTICS, {}, "no beads"),
        (np.full(FRAME, 7.0), OPTICS, {}, "constant"),
        (NOISE[:20, :20], OPTICS, {}, "20x20"),
        (np.stack([NOISE] * 3), OPTICS, {}, "distance"),
        (np.stack([NOISE] * 3), OPTICS, {"z_um": (0.0, 1.0)}, "3 planes"),
        (np.stack([NOISE] * 3, -1), OPTICS, {"axes": "YXS"}, "colors"),
        (np.stack([NOISE] * 2), OPTICS, {"axes": "CYX"}, "channels"),
        (np.where(NOISE > 108, np.nan, NOISE), OPTICS, {}, "NaN"),
        (NOISE, GaussianLens(), {}, "na"),
        (NOISE, "missing.yaml", {}, r"missing\.yaml"),
        (NOISE, OPTICS, {"bead_diameter_um": -1}, "bead_diameter_um"),
        (NOISE, OPTICS, {"beads": [[1, 2, 3]]}, "shape"),
        (NOISE, OPTICS, {"beads": [[500, 20]]}, "outside"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    image: Array, lens: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(CoordGateError, match=message) as raised:
        calibrate_beads(image, lens, **options)
    assert isinstance(raised.value, ImageError | PSFError | SettingsError)


def test_too_few_beads_are_refused_with_their_reasons() -> None:
    image = simulate_beads(OPTICS, [[40, 40], [90, 100]], 2000, FRAME, background=3, rng=0)[0]
    with pytest.raises(ImageError, match="2 of 2 beads"):
        calibrate_beads(image, OPTICS)


def test_a_fit_stops_when_it_is_canceled() -> None:
    cancel, stages = threading.Event(), []

    def stop(event: Event) -> None:
        assert isinstance(event, Progress)
        stages.append(event.stage)
        cancel.set()

    with pytest.raises(CanceledError):
        calibrate_beads(image_of(LENS)[0], OPTICS, callback=stop, cancel=cancel)
    assert len(stages) <= 2
