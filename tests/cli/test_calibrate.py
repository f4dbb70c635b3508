"""The commands ``calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_coordgate.calibration import simulate_beads
from napari_coordgate.config import (
    Camera,
    Lens,
    RichardsonLucySettings,
    load_lens,
    load_settings,
)
from napari_coordgate.io import Image, write_image
from napari_coordgate.optics import PSFField
from tests.calibration.scenes import cells
from tests.cli.conftest import FRAME

if TYPE_CHECKING:
    from tests.cli.conftest import Run, World


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Image ``cells.tif`` of 2 counts per electron, and ``dark.tif``."""
    rng = np.random.default_rng(0)
    for name, light in (("cells", np.linspace(5, 500, 128)), ("dark", np.zeros(128))):
        electrons = rng.poisson(light * np.ones((128, 1))) + rng.normal(0, 2, (128, 128))
        counts = np.rint(100 + 2 * electrons).astype(np.uint16)
        write_image(tmp_path / f"{name}.tif", Image(counts, "YX"))
    return tmp_path


def test_noise_is_measured_printed_and_saved(recorded: Path, run: Run) -> None:
    camera = recorded / "camera.yaml"
    arguments = (recorded / "cells.tif", "--dark", recorded / "dark.tif", "-o", camera)
    finished = run("calibrate", "noise", *arguments)
    assert finished.returncode == 0
    assert "electrons_per_count: 0.4" in finished.stdout
    settings = load_settings(Camera, camera)
    assert settings.electrons_per_count == pytest.approx(0.5, rel=0.15)
    assert settings.read_noise == pytest.approx(2, rel=0.15)
    again = run("calibrate", "noise", *arguments)
    assert again.returncode == 1
    assert "exists" in again.stderr


@pytest.fixture
def beads(tmp_path: Path) -> Path:
    """Image ``beads.tif`` and the aperture of its lens, ``aperture.yaml``."""
    lens = Lens(na=0.5, wavelength_nm=520, pixel_size_um=0.325)
    (tmp_path / "aperture.yaml").write_text(lens.to_yaml())
    rows, columns = np.mgrid[14:120:25, 14:120:25]
    positions = np.stack([rows.ravel(), columns.ravel()], 1)
    curved = lens.replace(field_curvature_um=3)
    image = simulate_beads(curved, positions, 2000, (128, 128), background=5, rng=0)[0]
    write_image(tmp_path / "beads.tif", Image((100 + image).astype(np.uint16), "YX"))
    return tmp_path


def test_the_psf_field_of_beads_has_the_flat_field(beads: Path, run: Run) -> None:
    write_image(beads / "gain.tif", Image(np.ones((128, 128), np.float32), "YX"))
    files = ("--lens", beads / "aperture.yaml", "-o", beads / "lens.yaml")
    more = ("--flat-field", beads / "gain.tif", "--psf-field", beads / "field.tif")
    finished = run("calibrate", "beads", beads / "beads.tif", *files, *more, "--starts", 3)
    assert finished.returncode == 0
    assert PSFField.load(beads / "field.tif").flat_field is not None


def test_a_lens_is_measured_with_beads(beads: Path, run: Run) -> None:
    report = beads / "lens.html"
    files = ("--lens", beads / "aperture.yaml", "-o", beads / "lens.yaml", "--report", report)
    arguments = ("calibrate", "beads", beads / "beads.tif", *files, "--starts", 3)
    finished = run(*arguments)
    assert finished.returncode == 0
    assert "25 of 25 beads used" in finished.stdout
    lens = load_lens(beads / "lens.yaml")
    assert isinstance(lens, Lens)
    assert lens.calibration is not None
    error = lens.calibration.standard_errors["field_curvature_um"]
    assert lens.field_curvature_um == pytest.approx(3, abs=4 * error)
    assert f"± {error:.2g}" in finished.stdout
    assert report.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    again = run(*arguments)
    assert again.returncode == 1
    assert "lens.yaml already exists" in again.stderr


def test_an_image_without_beads_is_refused(recorded: Path, beads: Path, run: Run) -> None:
    files = ("--lens", beads / "aperture.yaml", "-o", beads / "lens.yaml")
    finished = run("calibrate", "beads", recorded / "dark.tif", *files)
    assert finished.returncode == 1
    assert "no beads" in finished.stderr
    assert not (beads / "lens.yaml").exists()


def test_what_is_missing_is_named_in_one_line(recorded: Path, run: Run) -> None:
    finished = run("calibrate", "noise", "-o", recorded / "camera.yaml")
    assert finished.returncode == 2
    assert "Give images, dark frames, or both" in finished.stderr
    finished = run("calibrate", "noise", recorded / "cells.tif", "-o", recorded / "camera.tif")
    assert ".yaml" in finished.stderr


def test_a_lens_is_estimated_from_images_printed_and_saved(tmp_path: Path, run: Run) -> None:
    known = tmp_path / "known.yaml"
    known.write_text("na: 0.5\nwavelength_nm: 520\npixel_size_um: 0.325\n")
    lens, report = tmp_path / "lens.yaml", tmp_path / "lens.html"
    sample = Path("sample_data/blurred/nuclei.tif").absolute()
    arguments = (sample, "--lens", known, "-o", lens, "--report", report)
    finished = run("calibrate", "images", *arguments)
    assert finished.returncode == 0
    assert "field_curvature_um: " in finished.stdout
    fitted = load_lens(lens)
    assert isinstance(fitted, Lens)
    assert fitted.calibration is not None
    assert abs(fitted.field_curvature_um - 8) < 2
    assert report.exists()


def test_images_need_a_lens_with_na(tmp_path: Path, run: Run) -> None:
    known = tmp_path / "known.yaml"
    known.write_text("sigma_center_px: 0.5\nsigma_edge_px: 2\n")
    sample = Path("sample_data/blurred/nuclei.tif").absolute()
    finished = run("calibrate", "images", sample, "--lens", known, "-o", tmp_path / "lens.yaml")
    assert finished.returncode != 0
    assert "NA" in finished.stderr


def test_commands_take_the_camera_and_flags_win(
    recorded: Path, world: World, run: Run, tmp_path: Path
) -> None:
    camera, config = tmp_path / "camera.yaml", tmp_path / "config.yaml"
    camera.write_text("electrons_per_count: 0.5\noffset: 100.0\nread_noise: 2.0\n")
    config.write_text("camera: {photons: 70}\nnum_iter: 2\n")
    image = (world.blurred, "--psf", world.field, "-o", tmp_path / "out.npy")
    flags = ("--config", config, "--camera", camera, "--read-noise", 3)
    assert run("richardson-lucy", *image, *flags).returncode == 0
    saved = load_settings(RichardsonLucySettings, tmp_path / "out.npy.yaml")
    assert saved.num_iter == 2
    assert saved.camera == Camera(electrons_per_count=0.5, offset=100, read_noise=3)


def test_a_camera_file_that_is_none_is_named(world: World, run: Run, tmp_path: Path) -> None:
    image = (world.blurred, "--psf", world.field, "-o", tmp_path / "out.npy")
    finished = run("richardson-lucy", *image, "--camera", world.lens)
    assert finished.returncode == 2
    assert str(world.lens) in finished.stderr


def test_info_shows_a_camera(run: Run, tmp_path: Path) -> None:
    camera = tmp_path / "camera.yaml"
    camera.write_text("electrons_per_count: 0.5\n")
    assert "kind: camera" in run("info", camera).stdout


def test_a_flat_field_is_measured_and_becomes_part_of_a_psf_field(
    world: World, run: Run, tmp_path: Path
) -> None:
    gain = np.linspace(0.8, 1.2, FRAME[1]) * np.ones((FRAME[0], 1))
    slide = 100 + np.random.default_rng(0).poisson(2000 * gain)
    write_image(tmp_path / "slide.tif", Image(slide.astype(np.uint16), "YX"))
    flat, field = tmp_path / "flat.tif", tmp_path / "field.tif"
    command = ("calibrate", "flat-field", tmp_path / "slide.tif", "--offset", 100, "-o", flat)
    assert run(*command).returncode == 1
    assert "0.80 to 1.2" in run(*command, "--uniform").stdout
    frame = f"{FRAME[0]}x{FRAME[1]}"
    made = run("psf", world.lens, "--frame", frame, "--flat-field", flat, "-o", field)
    assert "flat_field" in made.stdout
    loaded = PSFField.load(field).gain
    assert loaded is not None
    np.testing.assert_allclose(loaded, gain, rtol=0.05)
    wrong = run("psf", world.lens, "--frame", "64x64", "--flat-field", flat, "-o", "x.tif")
    assert str(flat) in wrong.stderr


def test_a_focus_series_becomes_a_lens(tmp_path: Path, run: Run) -> None:
    optics = Lens(na=0.3, wavelength_nm=520, pixel_size_um=0.65)
    scene = cells(np.random.default_rng(5), 128, 80)
    planes = [
        PSFField.from_lens(
            optics.replace(field_curvature_um=12, defocus_um=z), scene.shape, 0.1, 0.9
        ).blur(scene)
        for z in range(-20, 11, 5)
    ]
    image = Image(np.stack(planes), "ZYX", (0.65, 0.65), z_step_um=5)
    write_image(tmp_path / "stack.ome.tif", image)
    (tmp_path / "optics.yaml").write_text(optics.to_yaml())
    files = ("--lens", tmp_path / "optics.yaml", "-o", tmp_path / "lens.yaml")
    finished = run("calibrate", "focus", tmp_path / "stack.ome.tif", *files)
    assert finished.returncode == 0, finished.stderr
    lens = load_lens(tmp_path / "lens.yaml")
    assert isinstance(lens, Lens)
    assert 9 < lens.field_curvature_um < 15
    assert "field_curvature_um" in finished.stdout
    again = run("calibrate", "focus", tmp_path / "stack.ome.tif", *files)
    assert again.returncode == 1
    assert "lens.yaml" in again.stderr
