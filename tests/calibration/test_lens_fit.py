"""Tests of fitted lenses: saving, PSF fields, reports."""

from pathlib import Path

import pytest

from napari_coordgate import OutputError, SettingsError, load_lens
from napari_coordgate.calibration import LensFit
from napari_coordgate.config import Lens, PSFFieldConfig

FIT = LensFit(
    Lens(na=0.5, wavelength_nm=520, pixel_size_um=0.325, field_curvature_um=4),
    (64, 96),
    {"field_curvature_um": 0.2, "tilt_um.y": 0.1, "tilt_um.x": 0.1},
    ("One plane cannot tell the sign of the defocus.",),
)


def test_a_saved_lens_is_loaded_as_it_was(tmp_path: Path) -> None:
    FIT.save(tmp_path / "lens.yaml")
    assert load_lens(tmp_path / "lens.yaml") == FIT.lens
    with pytest.raises(OutputError, match=r"lens\.yaml"):
        FIT.save(tmp_path / "lens.yaml")
    FIT.save(tmp_path / "lens.yaml", overwrite=True)


def test_the_psf_field_is_that_of_the_frame_or_of_another() -> None:
    coarse = PSFFieldConfig(tolerance=0.05, enclosed_energy=0.8)
    assert FIT.psf_field(config=coarse).frame_shape == (64, 96)
    assert FIT.psf_field((80, 80), coarse).frame_shape == (80, 80)


def test_the_report_is_one_page_with_its_figures(tmp_path: Path) -> None:
    FIT.report(tmp_path / "lens.html")
    text = (tmp_path / "lens.html").read_text(encoding="utf-8")
    assert "± 0.2" in text
    assert FIT.notes[0] in text
    assert text.count("data:image/png;base64") == 2
    assert "http" not in text


@pytest.mark.parametrize("method", ["save", "report"])
def test_a_name_of_another_type_is_refused(method: str) -> None:
    with pytest.raises(SettingsError, match=r"lens\.tif"):
        getattr(FIT, method)("lens.tif")
