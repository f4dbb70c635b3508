"""A known lens is recovered from shifted images of one sample, within its error bars."""

import threading
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_coordgate import (
    Camera,
    CanceledError,
    GaussianLens,
    Image,
    ImageError,
    Lens,
    Progress,
    PSFField,
    SettingsError,
    calibrate_shifted,
    load_lens,
)
from napari_coordgate.calibration import ShiftedFit
from napari_coordgate.calibration.shifted_fit import ROUGH_ERROR, CrossRelation
from napari_coordgate.calibration.shifted_tiles import TilePairs, tile_pairs
from napari_coordgate.calibration.shifted_transfer import table_of
from napari_coordgate.io.optical_metadata import OpticalMetadata, Stated
from tests.calibration.scenes import LENS, cells, texture

Images = NDArray[np.float32]

TRUE = LENS.replace(field_curvature_um=4.0, tilt_um=(1.0, -0.5))
TRUTH = {"defocus_um": 0.0, "field_curvature_um": 4.0, "tilt_um.y": 1.0, "tilt_um.x": -0.5}
SIDE = 256
SHIFTS = np.array([[0.0, 0.0], [70.0, 8.0], [-6.0, 76.0]])


@cache
def true_psf_field() -> PSFField:
    """Blur of the true lens."""
    return PSFField.from_lens(TRUE, (SIDE, SIDE), tolerance=1e-2)


def fields(scene: Images, photons: float = 2000.0, count: int = 3) -> Images:
    """Images (N, 256, 256) of the middle of a scene, and of shifted parts of it."""
    psf_field = true_psf_field()
    start = (len(scene) - SIDE) // 2
    rng = np.random.default_rng(1)
    planes = []
    for y, x in SHIFTS[:count].astype(int):
        clean = psf_field.blur(scene, origin=(y - start, x - start))
        electrons = rng.poisson(photons * np.clip(clean, 0, None)) + 3 * rng.normal(
            size=clean.shape
        )
        planes.append(electrons.astype(np.float32))
    return np.stack(planes)


@pytest.fixture(scope="module")
def images() -> Images:
    return fields(texture(np.random.default_rng(3), 480))


@pytest.fixture(scope="module")
def fit(images: Images) -> ShiftedFit:
    return calibrate_shifted(images, LENS)


def deviations(fit: ShiftedFit) -> NDArray[np.float64]:
    """Errors of the four parameters, in standard errors."""
    values = [fit.lens.defocus_um, fit.lens.field_curvature_um, *fit.lens.tilt_um]
    errors = [fit.standard_errors[name] for name in TRUTH]
    return np.subtract(values, list(TRUTH.values())) / errors


def test_recovers_the_lens_within_its_error_bars(fit: ShiftedFit) -> None:
    assert np.abs(deviations(fit)).max() < 2.5
    assert fit.standard_errors["field_curvature_um"] < 0.5
    assert fit.is_conclusive


@pytest.mark.parametrize("photons", [200.0, 5000.0])
def test_recovers_it_from_other_content_and_light(photons: float) -> None:
    blurred = fields(cells(np.random.default_rng(7), 480, 400), photons, count=2)
    fit = calibrate_shifted(blurred, LENS, shifts_px=SHIFTS[1])
    assert np.abs(deviations(fit)).max() < 3


def test_finds_the_shifts_and_reports(fit: ShiftedFit, tmp_path: Path) -> None:
    assert np.abs(fit.shifts_px - SHIFTS).max() < 0.5
    assert np.abs(fit.refocus_um).max() < 1.0
    fit.report(tmp_path / "lens.html")
    assert "Tiles in the first image" in (tmp_path / "lens.html").read_text()
    fit.save(tmp_path / "lens.yaml")
    lens = load_lens(tmp_path / "lens.yaml")
    assert isinstance(lens, Lens)
    assert lens.calibration is not None
    assert lens.calibration.method == "shifted images"
    assert lens.calibration.standard_errors == pytest.approx(dict(fit.standard_errors))


def test_stage_positions_of_any_orientation_give_the_shifts(images: Images) -> None:
    pixel = LENS.pixel_size_um
    turned = [
        Image(
            plane,
            "YX",
            pixel_size_um=(pixel, pixel),
            optics=OpticalMetadata(
                stage_y_um=Stated(1000 - x * pixel, "file"), stage_x_um=Stated(y * pixel, "file")
            ),
        )
        for plane, (y, x) in zip(images[:2], SHIFTS, strict=False)
    ]
    fit = calibrate_shifted(turned, LENS, free=("field_curvature_um",))
    assert np.abs(fit.shifts_px[1] - SHIFTS[1]).max() < 0.5
    assert set(fit.standard_errors) == {"field_curvature_um"}
    assert fit.lens.defocus_um == 0.0


def test_shifts_may_be_in_um_and_the_camera_known(images: Images) -> None:
    events: list[object] = []
    camera = Camera(electrons_per_count=1.0, offset=0.0, read_noise=3.0)
    fit = calibrate_shifted(
        images[:2],
        LENS.replace(field_curvature_um=-1.0),
        shifts_um=SHIFTS[1] * LENS.pixel_size_um,
        camera=camera,
        callback=events.append,
    )
    assert fit.lens.field_curvature_um < 0
    assert all(isinstance(event, Progress) for event in events)
    assert {event.stage for event in events if isinstance(event, Progress)} == {
        "comparing images",
        "fitting the lens",
    }


@pytest.fixture(scope="module")
def pairs(images: Images) -> TilePairs:
    return tile_pairs((images[0], images[1]), (0, 1), SHIFTS[1]).with_detail()


def test_products_have_the_slopes_of_finite_differences(pairs: TilePairs) -> None:
    relation = CrossRelation(pairs, table_of(LENS), (SIDE, SIDE), (0.0, 0.0), np.full(5, 5.0))
    focus, step = np.array([0.5, 3.0, 0.4, -0.3, 0.1]), 1e-5
    slopes = relation.slopes(focus)
    for number, unit in enumerate(np.eye(5)):
        ends = [relation.products(focus + sign * step * unit) for sign in (1, -1)]
        numeric = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(slopes[..., number], numeric, atol=1e-6)


def test_the_cross_relation_holds_for_any_scene(pairs: TilePairs) -> None:
    """The misfit of the true lens is that of noise; that of another lens is larger."""
    relation = CrossRelation(pairs, table_of(LENS), (SIDE, SIDE), (0.0, 0.0), np.full(5, 5.0))
    even = np.zeros(len(pairs))
    losses = []
    for curvature in (4.0, 0.0):
        focus = np.array([0.0, curvature, 1.0, -0.5, 0.0])
        relation.set_metric(focus, even)
        losses.append(np.median(relation.tile_losses(focus, even)))
    assert losses[0] < 1.5 * 2 * len(relation.count)
    assert losses[1] > 2 * losses[0]


def test_finds_its_way_from_afar(pairs: TilePairs) -> None:
    relation = CrossRelation(pairs, table_of(LENS), (SIDE, SIDE), (0.0, 0.0), np.full(5, 6.0))
    start = np.array([0.0, 2.0, 0.0, 0.0, 0.0])
    rough = relation.fit(start, range(5), steps=15, model_errors=(ROUGH_ERROR,) * 2)
    assert relation.start_misfit(rough.focus) < relation.start_misfit(start)
    assert np.abs(rough.focus[:4] - list(TRUTH.values())).max() < 1.0
    assert np.median(rough.misfit) < 1.0


def test_unsuitable_images_get_one_line(images: Images) -> None:
    rng = np.random.default_rng(0)
    for wrong, message in (
        (images[:1], "one image"),
        ([images[0], images[1][:, :200]], "256x200"),
        ([images[0], images[0]], "shifted by only"),
        ([images[0], rng.normal(size=(SIDE, SIDE))], "no common content"),
        (images[:2, :100, :100], "128 x 128"),
        (Image(images, "CYX"), "channels"),
        (Image(images, "ZYX", z_step_um=1.0), "z stack"),
        (Image(np.moveaxis(images, 0, -1), "YXS"), "color"),
        ([images[0], np.ones_like(images[0])], "constant"),
    ):
        with pytest.raises(ImageError, match=message):
            calibrate_shifted(wrong, LENS)
    other = Image(images[1], "YX", pixel_size_um=(0.65, 0.65))
    with pytest.raises(ImageError, match="pixel sizes"):
        calibrate_shifted([Image(images[0], "YX", pixel_size_um=(0.325, 0.325)), other], LENS)


def test_wrong_shifts_get_one_line(images: Images) -> None:
    with pytest.raises(ImageError, match="signs of the shifts"):
        calibrate_shifted(images[:2], LENS, shifts_px=(-70, 90))
    with pytest.raises(ImageError, match="do not overlap enough"):
        calibrate_shifted(images[:2], LENS, shifts_px=(240, 0))
    with pytest.raises(SettingsError, match="1 pairs"):
        calibrate_shifted(images[:2], LENS, shifts_px=SHIFTS)
    with pytest.raises(SettingsError, match="not both"):
        calibrate_shifted(images[:2], LENS, shifts_px=(70, 8), shifts_um=(20, 2))


def test_refuses_lenses_without_aperture_and_other_parameters(images: Images) -> None:
    with pytest.raises(SettingsError, match="NA"):
        calibrate_shifted(images, GaussianLens())  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="coma_waves"):
        calibrate_shifted(images, LENS, free=("coma_waves",))


def test_cancels_at_once(images: Images) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CanceledError):
        calibrate_shifted(images, LENS, cancel=cancel)
