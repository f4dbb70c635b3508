"""A known lens is recovered from a focus series, within its error bars and with its signs."""

import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_coordgate import (
    CanceledError,
    GaussianLens,
    Image,
    ImageError,
    Lens,
    SettingsError,
    calibrate_focus,
    load_lens,
)
from napari_coordgate.calibration import FocusSeriesFit
from tests.calibration.scenes import focus_series

OPTICS = Lens(na=0.3, wavelength_nm=520, pixel_size_um=0.65)
TRUE = OPTICS.replace(field_curvature_um=-16.0, tilt_um=(3.0, -2.0), defocus_um=4.0)
Z_UM = np.arange(-21.0, 28.0, 4.0)
TRUTH = {
    "defocus_um": 4.0,
    "field_curvature_um": -16.0,
    "tilt_um.y": 3.0,
    "tilt_um.x": -2.0,
}


@pytest.fixture(scope="module")
def planes() -> NDArray[np.float32]:
    return focus_series(TRUE, Z_UM)


@pytest.fixture(scope="module")
def fit(planes: NDArray[np.float32]) -> FocusSeriesFit:
    return calibrate_focus(planes, OPTICS, z_um=Z_UM.tolist())


@pytest.mark.parametrize("name", TRUTH)
def test_recovers_the_lens_with_its_signs(fit: FocusSeriesFit, name: str) -> None:
    field, _, end = name.partition(".")
    value = getattr(fit.lens, field)
    found = value["yx".index(end)] if end else value
    assert abs(found - TRUTH[name]) < 3 * fit.standard_errors[name]
    assert fit.standard_errors[name] < 1.5


def test_best_focus_is_that_of_the_lens(fit: FocusSeriesFit) -> None:
    assert len(fit.positions) == len(fit.best_focus_um) == len(fit.expected_um)
    assert np.median(np.abs(fit.best_focus_um - fit.expected_um)) < 1.5


def test_a_step_is_centered_on_the_middle_plane(planes: NDArray[np.float32]) -> None:
    lens = calibrate_focus(planes, OPTICS, z_um=4.0).lens
    middle = float(Z_UM.mean())
    assert lens.defocus_um == pytest.approx(TRUE.defocus_um + middle, abs=1.5)


def test_the_lens_is_saved_with_its_error_bars(fit: FocusSeriesFit, tmp_path: object) -> None:
    path = f"{tmp_path}/lens.yaml"
    fit.save(path)
    lens = load_lens(path)
    assert isinstance(lens, Lens)
    assert lens.calibration is not None
    assert lens.calibration.method == "focus series"
    assert lens.calibration.standard_errors.keys() == TRUTH.keys()


def test_a_focus_outside_the_stack_is_an_error(planes: NDArray[np.float32]) -> None:
    with pytest.raises(ImageError, match="parts of the frame"):
        calibrate_focus(planes[:5], OPTICS, z_um=4.0)


def test_bad_stacks_get_one_line(planes: NDArray[np.float32]) -> None:
    with pytest.raises(ImageError, match="at least 5"):
        calibrate_focus(planes[:3], OPTICS, z_um=4.0)
    with pytest.raises(ImageError, match="distance is not known"):
        calibrate_focus(planes, OPTICS)
    with pytest.raises(ImageError, match="several channels"):
        calibrate_focus(Image(planes[None].repeat(2, 0), "CZYX"), OPTICS, z_um=4.0)
    with pytest.raises(ImageError, match="NaN"):
        calibrate_focus(np.full_like(planes, np.nan), OPTICS, z_um=4.0)
    with pytest.raises(SettingsError, match="NA"):
        calibrate_focus(planes, GaussianLens(), z_um=4.0)  # type: ignore[arg-type]


def test_can_be_canceled(planes: NDArray[np.float32]) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CanceledError):
        calibrate_focus(planes, OPTICS, z_um=4.0, cancel=cancel)
