"""Lenses by name and of images, on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml

from napari_coordgate.config import Lens, LensCalibration
from napari_coordgate.io import save_lens
from napari_coordgate.io.lens_library import LENS_FOLDER_VARIABLE
from napari_coordgate.optics import PSFField
from tests.cli.conftest import Run
from tests.io.test_optics_in_files import ome_tiff, ome_xml

MEASURED = Lens(
    na=0.8,
    wavelength_nm=455,
    pixel_size_um=0.2,
    field_curvature_um=0.5,
    calibration=LensCalibration(
        method="beads",
        standard_errors={"field_curvature_um": 0.1},
        date="2025-03-31",
        objective="Plan Apo",
    ),
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(LENS_FOLDER_VARIABLE, str(tmp_path / "lenses"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_metadata_of_an_image_describe_the_lens(run: Run, folder: Path) -> None:
    ome_tiff(folder / "a.ome.tif", ome_xml())
    flags = ("--channel", "1", "--enclosed-energy", "0.7")
    finished = run("psf", "--from-image", "a.ome.tif", *flags, "-o", "a.psf.tif")
    assert finished.returncode == 0
    assert "na 0.8 (OME-XML Objective LensNA); wavelength_nm 510" in finished.stderr
    assert "taken as 0" in finished.stderr
    psf_field = PSFField.load(folder / "a.psf.tif")
    assert psf_field.frame_shape == (16, 20)
    assert psf_field.source["lens"]["wavelength_nm"] == 510


def test_what_the_metadata_lack_is_listed(run: Run, folder: Path) -> None:
    tifffile.imwrite(folder / "a.tif", np.zeros((32, 32), "u2"))
    finished = run("psf", "--from-image", "a.tif", "-o", "a.psf.tif")
    assert finished.returncode != 0
    assert "a.tif does not state the NA, emission wavelength and pixel size;" in finished.stderr
    assert len(finished.stderr.splitlines()) == 1


def test_a_kept_lens_is_listed_found_by_name_and_chosen_for_its_objective(
    run: Run, folder: Path
) -> None:
    assert "no calibrated lens" in run("lenses").stdout
    save_lens(MEASURED, folder / "mine.yaml")
    listed = yaml.safe_load(run("lenses", "mine.yaml").stdout)
    assert listed["mine"]["objective"] == "Plan Apo"
    assert listed["mine"]["field_curvature_um"] == "0.5 ± 0.1"
    assert listed["mine"]["calibration"] == "measured with beads on 2025-03-31"
    assert run("psf", "mine", "--frame", "64x64", "-o", "named.psf.tif").returncode == 0
    ome_tiff(folder / "a.ome.tif", ome_xml())
    finished = run("psf", "--from-image", "a.ome.tif", "--frame", "64x64", "-o", "chosen.psf.tif")
    assert "lens: mine, measured with beads on 2025-03-31" in finished.stderr
    for name in ("named", "chosen"):
        assert PSFField.load(folder / f"{name}.psf.tif").source["lens"]["field_curvature_um"] == 0.5


def test_a_lens_that_was_not_measured_is_not_kept(run: Run, folder: Path) -> None:
    save_lens(MEASURED.replace(calibration=None), folder / "mine.yaml")
    finished = run("lenses", "mine.yaml")
    assert finished.returncode == 2
    assert "mine.yaml was not measured" in finished.stderr


@pytest.mark.parametrize("flags", [(), ("a.yaml", "--from-image", "a.tif")])
def test_one_source_of_the_lens_is_needed(run: Run, flags: tuple[str, ...]) -> None:
    finished = run("psf", *flags, "--frame", "64x64", "-o", "a.psf.tif")
    assert finished.returncode == 2
    assert "--from-image" in finished.stderr


def test_a_lens_needs_a_frame(run: Run, folder: Path) -> None:
    save_lens(MEASURED, folder / "mine.yaml")
    finished = run("psf", "mine.yaml", "-o", "a.psf.tif")
    assert "Give --frame" in finished.stderr


def test_info_shows_where_optics_stand(run: Run, folder: Path) -> None:
    ome_tiff(folder / "a.ome.tif", ome_xml())
    optics = yaml.safe_load(run("info", "a.ome.tif").stdout)["optics"]
    assert optics["na"] == "0.8 (OME-XML Objective LensNA)"
    assert optics["wavelengths_nm"].startswith("455.0, 510.0 (OME-XML")


@pytest.mark.parametrize("command", ["beads", "images"])
def test_a_lens_to_calibrate_may_be_described_by_the_image(
    run: Run, folder: Path, command: str
) -> None:
    tifffile.imwrite(folder / "a.tif", np.zeros((64, 64), "u2"))
    finished = run("calibrate", command, "a.tif", "-o", "lens.yaml")
    assert finished.returncode != 0
    assert "a.tif does not state the NA, emission wavelength and pixel size" in finished.stderr
    ome_tiff(folder / "a.ome.tif", ome_xml())
    finished = run("calibrate", command, "a.ome.tif", "-o", "lens.yaml")
    assert "na 0.8 (OME-XML Objective LensNA)" in finished.stderr
