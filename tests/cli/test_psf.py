from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml

from napari_coordgate.cli.psf import _read_positions
from napari_coordgate.errors import PSFError
from napari_coordgate.io import Image, read_image, write_image
from napari_coordgate.optics import PSFField

if TYPE_CHECKING:
    from tests.cli.conftest import Run, World

Measurement = tuple[Path, Path]


@pytest.fixture
def measurement(world: World, tmp_path: Path) -> Measurement:
    """PSFs of a known field, as if measured at five places."""
    field = PSFField.load(world.field)
    places = [(4, 4), (4, 43), (24, 24), (43, 4), (43, 43)]
    stack = np.stack([field.psf_at(*place) for place in places]).astype(np.float32)
    write_image(tmp_path / "psfs.tif", Image(stack, "ZYX", (0.5, 0.5)))
    lines = ["row,column", *(f"{row},{column}" for row, column in places)]
    (tmp_path / "places.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "psfs.tif", tmp_path / "places.csv"


def test_the_psf_field_is_summarized_on_the_terminal(
    run: Run, world: World, tmp_path: Path
) -> None:
    flags = ("--frame", "40x48", "-o", tmp_path / "f.tif", "--figure", tmp_path / "f.png")
    output = run("psf", world.lens, *flags).stdout
    assert read_image(tmp_path / "f.png").pixels.std() > 0
    field = PSFField.load(tmp_path / "f.tif")
    assert field.frame_shape == (40, 48)
    summary = yaml.safe_load(output)
    assert summary["rank"] == field.rank
    assert summary["psf_size_px"] == field.size
    sigmas = [summary["fwhm_px"]["middle"], *summary["fwhm_px"]["corners"]]
    np.testing.assert_allclose(np.array(sigmas) / 2.355, [0.6, 1.2, 1.2, 1.2, 1.2], rtol=0.1)


def test_flags_override_the_settings_file_and_both_are_recorded(
    run: Run, world: World, tmp_path: Path
) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("tolerance: 0.5\nenclosed_energy: 0.9\n")
    output = tmp_path / "coarse.tif"
    making = ("psf", world.lens, "--frame", "48x48", "--config", config)
    assert run(*making, "--tolerance", "0.2", "-o", output).returncode == 0
    written = yaml.safe_load((tmp_path / "coarse.tif.yaml").read_text())
    assert written == {"tolerance": 0.2, "enclosed_energy": 0.9}
    assert PSFField.load(output).size < PSFField.load(world.field).size


def test_the_recorded_settings_reproduce_the_run(run: Run, world: World, tmp_path: Path) -> None:
    making = ("psf", world.lens, "--frame", "48x48")
    run(*making, "--tolerance", "0.05", "-o", tmp_path / "a.tif")
    run(*making, "--config", tmp_path / "a.tif.yaml", "-o", tmp_path / "b.tif")
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


@pytest.mark.filterwarnings("always")
def test_measured_psfs_give_a_psf_field(
    run: Run, world: World, measurement: Measurement, tmp_path: Path
) -> None:
    stack, places = measurement
    flags = ("--measured", stack, "--positions", places, "--frame", "48x48")
    assert run("psf", *flags, "-o", tmp_path / "measured.tif").returncode == 0
    measured, known = PSFField.load(tmp_path / "measured.tif"), PSFField.load(world.field)
    assert measured.pixel_size_um == pytest.approx(0.5)
    np.testing.assert_allclose(measured.psf_at(24, 24), known.psf_at(24, 24), atol=2e-3)


@pytest.mark.filterwarnings("always")
def test_measured_psfs_that_miss_the_tolerance_give_a_warning(
    run: Run, measurement: Measurement, tmp_path: Path
) -> None:
    stack, places = measurement
    flags = ("--measured", stack, "--positions", places, "--frame", "48x48")
    finished = run("psf", *flags, "--tolerance", 1e-12, "-o", tmp_path / "measured.tif")
    assert finished.returncode == 0
    (line,) = finished.stderr.splitlines()
    assert line.startswith("napari-coordgate: warning: The PSF field has an error of")


@pytest.mark.filterwarnings("always")
def test_a_background_is_named_on_the_terminal(
    run: Run, measurement: Measurement, tmp_path: Path
) -> None:
    stack, places = measurement
    pixels = read_image(stack).pixels
    write_image(stack, Image(pixels + pixels.max() / 4, "ZYX", (0.5, 0.5)), overwrite=True)
    flags = ("--measured", stack, "--positions", places, "--frame", "48x48")
    finished = run("psf", *flags, "-o", tmp_path / "measured.tif")
    assert finished.returncode == 0
    assert "warning: The windows have a background of" in finished.stderr


@pytest.mark.filterwarnings("always")
def test_info_shows_the_error_and_the_warnings_of_measured_psfs(
    run: Run, measurement: Measurement, tmp_path: Path
) -> None:
    stack, places = measurement
    pixels = read_image(stack).pixels
    write_image(stack, Image(pixels + pixels.max() / 4, "ZYX", (0.5, 0.5)), overwrite=True)
    flags = ("--measured", stack, "--positions", places, "--frame", "48x48")
    printed = yaml.safe_load(run("psf", *flags, "-o", tmp_path / "measured.tif").stdout)
    source = yaml.safe_load(run("info", tmp_path / "measured.tif").stdout)["source"]
    assert source == printed["source"]
    assert source["relative_error"] > 0
    assert "background" in source["warnings"][0]


@pytest.mark.filterwarnings("always")
def test_an_unknown_pixel_size_is_a_warning_and_can_be_given(
    run: Run, measurement: Measurement, tmp_path: Path
) -> None:
    stack, places = measurement
    write_image(stack, Image(read_image(stack).pixels, "ZYX"), overwrite=True)
    making = ("psf", "--measured", stack, "--positions", places, "--frame", "48x48")
    unknown = run(*making, "-o", tmp_path / "a.tif")
    assert unknown.returncode == 0
    assert "--pixel-size" in unknown.stderr
    given = run(*making, "--pixel-size", 0.25, "-o", tmp_path / "b.tif")
    assert "--pixel-size" not in given.stderr
    assert PSFField.load(tmp_path / "a.tif").pixel_size_um is None
    assert PSFField.load(tmp_path / "b.tif").pixel_size_um == pytest.approx(0.25)


@pytest.mark.parametrize("size", [0, -1, "nan"])
def test_an_invalid_pixel_size_is_an_error(
    run: Run, measurement: Measurement, tmp_path: Path, size: object
) -> None:
    stack, places = measurement
    flags = ("--measured", stack, "--positions", places, "--frame", "48x48")
    finished = run("psf", *flags, "--pixel-size", size, "-o", tmp_path / "f.tif")
    assert finished.returncode == 2
    assert "--pixel-size" in finished.stderr


@pytest.mark.filterwarnings("always")
@pytest.mark.parametrize(
    ("header", "separator"),
    [
        ("column,row", ","),
        ("Column,Row", ", "),
        ("X;Y", ";"),
        ("name\tROW\tCol", "\t"),
        ("index,axis-0,axis-1", ","),
    ],
)
def test_columns_are_found_by_name(
    run: Run, measurement: Measurement, tmp_path: Path, header: str, separator: str
) -> None:
    stack, places = measurement
    making = ("psf", "--measured", stack, "--positions", places, "--frame", "48x48")
    assert run(*making, "-o", tmp_path / "a.tif").returncode == 0
    rows = [line.split(",") for line in places.read_text().splitlines()[1:]]
    backward = "ol" in header.split(separator.strip(" "))[0] or header[0] == "X"
    rows = [row[::-1] if backward else ["1", *row] for row in rows]
    places.write_text("\n".join([header, *(separator.join(row) for row in rows)]) + "\n\n")
    assert run(*making, "-o", tmp_path / "b.tif").returncode == 0
    first, second = (PSFField.load(tmp_path / f"{name}.tif") for name in "ab")
    np.testing.assert_array_equal(first.coefficients, second.coefficients)


def test_color_images_are_no_stack_of_psfs(
    run: Run, measurement: Measurement, tmp_path: Path
) -> None:
    stack, places = measurement
    write_image(stack, Image(np.zeros((9, 9, 3), np.uint8), "YXS"), overwrite=True)
    flags = ("--measured", stack, "--positions", places, "--frame", "48x48")
    finished = run("psf", *flags, "-o", tmp_path / "f.tif")
    assert finished.returncode == 1
    assert "one PSF per plane" in finished.stderr


@pytest.mark.parametrize(
    "table", ["", "y,x\n1,2\n", "row,column\n1,2\n", "row,column\none,two\n" * 5]
)
def test_a_table_that_does_not_match_the_psfs_is_an_error(
    run: Run, measurement: Measurement, tmp_path: Path, table: str
) -> None:
    stack, places = measurement
    places.write_text(table)
    flags = ("--measured", stack, "--positions", places, "--frame", "48x48")
    finished = run("psf", *flags, "-o", tmp_path / "f.tif")
    assert finished.returncode == 1
    assert str(places) in finished.stderr
    assert not (tmp_path / "f.tif").exists()


@pytest.mark.parametrize("frame", ["48", "48x", "axb", "-48x48", "48x48x48"])
def test_an_invalid_frame_is_an_error(run: Run, world: World, tmp_path: Path, frame: str) -> None:
    finished = run("psf", world.lens, "--frame", frame, "-o", tmp_path / "f.tif")
    assert finished.returncode == 2
    assert "512x512" in finished.stderr


def test_either_a_lens_or_measured_psfs_must_be_given(
    run: Run, world: World, measurement: Measurement, tmp_path: Path
) -> None:
    rest = ("--frame", "48x48", "-o", tmp_path / "f.tif")
    stack, places = measurement
    for given in ((), ("--measured", stack), (world.lens, "--positions", places)):
        assert run("psf", *given, *rest).returncode == 2


@pytest.mark.filterwarnings("always")
def test_a_measured_lens_has_the_frame_that_it_was_measured_on(run: Run, tmp_path: Path) -> None:
    text = "na: 0.5\nwavelength_nm: 520\npixel_size_um: 2\n"
    text += "calibration: {method: beads, frame_shape: [40, 48]}\n"
    (tmp_path / "lens.yaml").write_text(text)
    making = ("psf", tmp_path / "lens.yaml")
    assert "warning" not in run(*making, "-o", tmp_path / "own.tif").stderr
    assert PSFField.load(tmp_path / "own.tif").frame_shape == (40, 48)
    other = run(*making, "--frame", "36x44", "-o", tmp_path / "other.tif")
    assert "warning: The lens was measured on a frame of 40x48 pixels" in other.stderr


def test_an_unknown_key_in_a_lens_file_is_an_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "lens.yaml").write_text("sigma_center_px: 1\nsigma_edge_px: 2\nzoom: 3\n")
    finished = run("psf", tmp_path / "lens.yaml", "--frame", "48x48", "-o", tmp_path / "f.tif")
    assert finished.returncode == 2
    assert "lens.yaml: unknown setting 'zoom'" in finished.stderr


def test_positions_in_utf_16_are_read(tmp_path: Path) -> None:
    path = tmp_path / "excel.csv"
    path.write_text("row,column\n10,20\n30,40\n", encoding="utf-16")
    np.testing.assert_array_equal(_read_positions(path), [[10, 20], [30, 40]])


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"\x80\x81\x82", "not a text file"), (b"row,column\n1\n", "too few columns")],
)
def test_a_table_that_cannot_be_read_is_refused_in_plain_words(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "positions.csv"
    path.write_bytes(content)
    with pytest.raises(PSFError, match=reason):
        _read_positions(path)
