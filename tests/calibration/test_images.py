"""A known lens is recovered from blurred images, within its error bars."""

import threading
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
    SettingsError,
    calibrate_images,
    load_lens,
    read_image,
)
from napari_coordgate.calibration import ImagesFit
from tests.calibration.scenes import LENS, photographed, texture

TRUE = LENS.replace(field_curvature_um=6.0, tilt_um=(1.0, -0.5))


@pytest.fixture(scope="module")
def blurred() -> NDArray[np.float32]:
    rng = np.random.default_rng(3)
    return photographed([texture(rng, 320) for _ in range(8)], TRUE)


@pytest.fixture(scope="module")
def fit(blurred: NDArray[np.float32]) -> ImagesFit:
    return calibrate_images(blurred, LENS)


def test_recovers_the_lens_within_its_error_bars(fit: ImagesFit) -> None:
    values = [fit.lens.defocus_um, fit.lens.field_curvature_um, *fit.lens.tilt_um]
    true = [TRUE.defocus_um, TRUE.field_curvature_um, *TRUE.tilt_um]
    errors = list(fit.standard_errors.values())
    assert np.all(np.abs(np.subtract(values, true)) < 2.5 * np.array(errors))
    assert fit.standard_errors["field_curvature_um"] < 0.8
    assert fit.is_conclusive


def test_the_lens_says_how_it_was_measured(fit: ImagesFit, tmp_path: Path) -> None:
    path = tmp_path / "lens.yaml"
    fit.save(path)
    lens = load_lens(path)
    assert isinstance(lens, Lens)
    assert lens.calibration is not None
    assert lens.calibration.method == "images"
    assert lens.calibration.standard_errors == pytest.approx(dict(fit.standard_errors))
    assert any("side of the focus" in note for note in lens.calibration.notes)


def test_reports_spectra_over_the_frame(fit: ImagesFit, tmp_path: Path) -> None:
    fit.report(tmp_path / "lens.html")
    assert "Power spectra" in (tmp_path / "lens.html").read_text()


def test_the_sign_follows_the_given_lens(blurred: NDArray[np.float32]) -> None:
    fit = calibrate_images(blurred[:2], LENS.replace(field_curvature_um=-1.0))
    assert fit.lens.field_curvature_um < 0


def test_a_known_camera_gives_the_same_lens(blurred: NDArray[np.float32]) -> None:
    counts = np.rint(100 + 2 * 2000 * blurred[:4]).astype(np.uint16)
    camera = Camera(electrons_per_count=0.5, offset=100, read_noise=3)
    fit = calibrate_images(counts, LENS, camera=camera)
    error = fit.standard_errors["field_curvature_um"]
    assert abs(fit.lens.field_curvature_um - TRUE.field_curvature_um) < 2.5 * error
    with pytest.raises(SettingsError, match="electrons_per_count"):
        calibrate_images(counts, LENS, camera=Camera())


def test_holds_what_is_not_free(blurred: NDArray[np.float32]) -> None:
    today = calibrate_images(blurred[:1], TRUE, free=("defocus_um", "tilt_um"))
    assert today.lens.field_curvature_um == TRUE.field_curvature_um
    assert set(today.standard_errors) == {"defocus_um", "tilt_um.y", "tilt_um.x"}
    assert abs(today.lens.defocus_um) < 3 * today.standard_errors["defocus_um"]


def test_recovers_the_lens_of_the_sample_images() -> None:
    image = read_image("sample_data/blurred/nuclei.tif")
    fit = calibrate_images(image, LENS)
    error = fit.standard_errors["field_curvature_um"]
    assert abs(fit.lens.field_curvature_um - 8.0) < 2 * error


def test_noise_alone_is_not_enough() -> None:
    noise = np.random.default_rng(0).normal(size=(3, 256, 256))
    with pytest.raises(ImageError, match="detail"):
        calibrate_images(noise, LENS)


@pytest.mark.parametrize(
    ("shape", "axes", "message"),
    [
        ((2, 256, 256), "CYX", "channel"),
        ((256, 256, 3), "YXS", "color"),
        ((100, 256), "YX", "128 x 128"),
    ],
)
def test_refuses_unsuitable_images(shape: tuple[int, ...], axes: str, message: str) -> None:
    image = Image(np.random.default_rng(0).random(shape), axes)
    with pytest.raises(ImageError, match=message):
        calibrate_images(image, LENS)


def test_refuses_z_stacks_and_other_frames() -> None:
    rng = np.random.default_rng(0)
    stack = Image(rng.random((3, 256, 256)), "ZYX", z_step_um=0.5)
    with pytest.raises(ImageError, match="z stack"):
        calibrate_images(stack, LENS)
    with pytest.raises(ImageError, match="256x300"):
        calibrate_images([rng.random((256, 256)), rng.random((256, 300))], LENS)
    with pytest.raises(ImageError, match="constant"):
        calibrate_images(np.ones((256, 256)), LENS)
    with pytest.raises(ImageError, match="No image"):
        calibrate_images([], LENS)


def test_refuses_lenses_without_aperture_and_other_parameters() -> None:
    image = np.random.default_rng(0).random((256, 256))
    with pytest.raises(SettingsError, match="NA"):
        calibrate_images(image, GaussianLens())  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="coma_waves"):
        calibrate_images(image, LENS, free=("coma_waves",))


def test_cancels_at_once(blurred: NDArray[np.float32]) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CanceledError):
        calibrate_images(blurred, LENS, cancel=cancel)
