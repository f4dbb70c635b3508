"""The check is green for images that fit, and red for those that deblurring would spoil."""

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_coordgate import (
    Camera,
    Check,
    GaussianLens,
    Image,
    PSFField,
    SettingsError,
    check,
    read_image,
)
from tests.calibration.scenes import LENS, cells, photographed, texture

ASSUMED = LENS.replace(field_curvature_um=8.0)


@pytest.fixture(scope="module")
def scenes() -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(5)
    return [texture(rng, 320) for _ in range(3)] + [cells(rng, 320) for _ in range(3)]


@pytest.fixture(scope="module")
def fitting(scenes: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    return photographed(scenes, ASSUMED)


@pytest.fixture(scope="module")
def sharper(scenes: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    return photographed(scenes, LENS.replace(field_curvature_um=4.0))


def verdicts(result: Check) -> dict[str, str]:
    return {finding.subject: finding.verdict for finding in result.findings}


def test_images_that_fit_are_green(fitting: NDArray[np.float32]) -> None:
    result = check(fitting, ASSUMED)
    assert verdicts(result) == {"lens": "green"}
    (finding,) = result.findings
    assert abs(finding.measured - 8.0) < 2.5 * finding.standard_error


@pytest.mark.parametrize("planes", [1, 6])
def test_a_lens_that_would_sharpen_too_much_is_red(
    sharper: NDArray[np.float32], planes: int
) -> None:
    result = check(sharper[:planes], ASSUMED)
    assert result.verdict == "red"
    assert "over-sharpened" in result.message
    (finding,) = result.findings
    assert finding.assumed == 8.0


def test_a_small_image_alone_is_not_enough_for_red(sharper: NDArray[np.float32]) -> None:
    result = check(sharper[0, 48:208, 48:208], ASSUMED)
    assert result.verdict == "amber"
    assert "too little image" in result.message


def test_a_lens_that_leaves_blur_is_amber(fitting: NDArray[np.float32]) -> None:
    result = check(fitting, LENS.replace(field_curvature_um=2.0))
    assert result.verdict == "amber"
    assert "remain" in result.message


def test_a_psf_field_is_checked_by_its_lens(sharper: NDArray[np.float32]) -> None:
    psf_field = PSFField.from_lens(ASSUMED, (256, 256), tolerance=1e-2)
    assert check(sharper[:2], psf_field).verdict == "red"


def test_a_window_is_checked_at_its_origin(fitting: NDArray[np.float32]) -> None:
    """The corner of a frame looks like a defocus if it is taken for a whole frame."""
    psf_field = PSFField.from_lens(ASSUMED, (256, 256), tolerance=1e-2)
    corner = fitting[:, :160, :160]
    assert check(corner, psf_field, origin=(0, 0)).verdict != "red"
    assert any("origin" in note for note in check(corner, psf_field).notes)


def test_more_noise_than_the_camera_has_is_red(fitting: NDArray[np.float32]) -> None:
    assert verdicts(check(fitting, ASSUMED, camera=Camera(photons=2000, read_noise=3))) == {
        "noise": "green",
        "lens": "green",
    }
    result = check(fitting, ASSUMED, camera=Camera(photons=40_000, read_noise=3))
    assert verdicts(result)["noise"] == "red"


def test_the_sample_fits_the_starter_model() -> None:
    result = check("sample_data/blurred/nuclei.tif", "sample_data/starter.safetensors")
    assert verdicts(result) == {"pixel size": "green", "noise": "green", "lens": "green"}


def test_another_pixel_size_is_red() -> None:
    sample = read_image("sample_data/blurred/nuclei.tif")
    other = Image(sample.pixels, sample.axes, pixel_size_um=(0.65, 0.65))
    assert verdicts(check(other, ASSUMED))["pixel size"] == "red"


def test_says_what_cannot_be_checked(fitting: NDArray[np.float32]) -> None:
    result = check(fitting[0], GaussianLens())
    assert result.verdict == "green"
    assert result.findings == ()
    assert len(result.notes) == 2
    assert "Nothing could be checked" in result.message
    noise = np.random.default_rng(0).normal(size=(256, 256))
    assert any("detail" in note for note in check(noise, ASSUMED).notes)
    assert check(np.ones((30, 30)), ASSUMED).findings == ()


def test_refuses_other_references() -> None:
    with pytest.raises(SettingsError, match="Model"):
        check(np.ones((256, 256)), 3)  # type: ignore[arg-type]
