"""Calibrated lenses in files and in the user's folder."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from napari_coordgate.config import GaussianLens, Lens, LensCalibration, load_lens
from napari_coordgate.errors import OutputError, SettingsError
from napari_coordgate.io import (
    Image,
    OpticalMetadata,
    Stated,
    find_lens,
    keep_lens,
    kept_flat_field,
    kept_lens_for,
    kept_lenses,
    read_image,
    save_lens,
)
from napari_coordgate.io.lens_library import LENS_FOLDER_VARIABLE, lens_folder

OBJECTIVE = "Plan Apo 20x/0.75"


def measured(
    objective: str | None = OBJECTIVE,
    date: str = "2025-03-31",
    camera: str | None = None,
    wavelength_nm: float = 520,
    frame_shape: tuple[int, int] | None = None,
) -> Lens:
    return Lens(
        na=0.75,
        wavelength_nm=wavelength_nm,
        pixel_size_um=0.325,
        field_curvature_um=4,
        calibration=LensCalibration(
            method="beads",
            standard_errors={"field_curvature_um": 0.1},
            date=date,
            objective=objective,
            camera=camera,
            frame_shape=frame_shape,
        ),
    )


def image(
    objective: str | None = OBJECTIVE,
    pixel_size_um: float = 0.325,
    camera: str | None = None,
    wavelength_nm: float | None = None,
) -> Image:
    optics = OpticalMetadata(
        objective=None if objective is None else Stated(objective, "file"),
        camera=None if camera is None else Stated(camera, "file"),
        wavelengths_nm=() if wavelength_nm is None else (Stated(wavelength_nm, "file"),),
    )
    return Image(np.zeros((32, 48)), "YX", (pixel_size_um, pixel_size_um), optics=optics)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(LENS_FOLDER_VARIABLE, str(tmp_path / "lenses"))
    return tmp_path / "lenses"


def test_a_calibrated_lens_is_saved_with_its_error_bars(tmp_path: Path) -> None:
    save_lens(measured(), tmp_path / "lens.yaml")
    assert load_lens(tmp_path / "lens.yaml") == measured()
    with pytest.raises(OutputError, match="already exists"):
        save_lens(measured(), tmp_path / "lens.yaml")
    save_lens(GaussianLens(), tmp_path / "lens.yaml", overwrite=True)
    assert load_lens(tmp_path / "lens.yaml") == GaussianLens()
    with pytest.raises(SettingsError, match=r"must end in \.yaml"):
        save_lens(measured(), tmp_path / "lens.tif")


def test_lenses_are_kept_by_name(folder: Path) -> None:
    assert kept_lenses() == {}
    keep_lens(measured(), "my 20x")
    (folder / "damaged.yaml").write_text("na: [")
    (folder / "notes.txt").write_text("no lens")
    assert kept_lenses() == {"my 20x": measured()}
    with pytest.raises(SettingsError, match="was not measured"):
        keep_lens(measured().replace(calibration=None), "a")
    for name in ("../a", "", "."):
        with pytest.raises(SettingsError, match="no name for a lens"):
            keep_lens(measured(), name)


def test_a_flat_field_is_kept_with_its_lens(folder: Path) -> None:
    gain = np.linspace(0.5, 1.5, 48) * np.ones((32, 1))
    keep_lens(measured(), "my 20x", flat_field=gain)
    path = kept_flat_field("my 20x")
    assert path is not None
    np.testing.assert_allclose(read_image(path).pixels, gain, rtol=1e-6)
    assert kept_lenses() == {"my 20x": measured()}
    keep_lens(measured(), "my 20x", overwrite=True)
    assert kept_flat_field("my 20x") is None


def test_a_lens_is_found_by_its_file_or_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no lens was kept"):
        find_lens("my 20x")
    keep_lens(measured(), "my 20x")
    assert find_lens("my 20x") == measured()
    save_lens(GaussianLens(), tmp_path / "a.yaml")
    assert find_lens(tmp_path / "a.yaml") == GaussianLens()
    with pytest.raises(SettingsError, match="those kept are my 20x"):
        find_lens("my 40x")
    with pytest.raises(SettingsError, match="no such file; check the name"):
        find_lens(tmp_path / "absent.yaml")


def test_a_lens_is_chosen_for_images_of_its_objective_and_pixel_size() -> None:
    keep_lens(measured(date="2025-01-01"), "old")
    keep_lens(measured(), "new")
    found = kept_lens_for(image("plan  apo 20X/0.75", 0.3251))
    assert found == ("new", measured())
    for other in (image("Plan Apo 40x"), image(None), image(pixel_size_um=0.65)):
        assert kept_lens_for(other) is None


def test_camera_frame_and_wavelength_count_as_far_as_they_are_known() -> None:
    keep_lens(measured(camera="Zyla", frame_shape=(32, 48)), "green")
    keep_lens(measured(camera="Zyla", wavelength_nm=670), "red")
    keep_lens(measured(camera="Zyla", frame_shape=(64, 96), date="2026-01-01"), "full frame")
    for camera in (None, "zyla"):
        for wavelength, name in ((510, "green"), (700, "red")):
            found = kept_lens_for(image(camera=camera, wavelength_nm=wavelength))
            assert found is not None and found[0] == name
    assert kept_lens_for(image(camera="Prime")) is None


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_the_folder_is_that_of_the_users_data(
    platform: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(LENS_FOLDER_VARIABLE)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for name in ("XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    assert lens_folder().parts[-2:] == ("napari-coordgate", "lenses")
    assert lens_folder().is_relative_to(tmp_path)
