from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
import yaml

from napari_coordgate.config import Lens
from napari_coordgate.inference import deblur
from napari_coordgate.io import Image, read_image, write_image
from napari_coordgate.optics import PSFField

if TYPE_CHECKING:
    from tests.cli.conftest import Run, World


def test_the_result_equals_that_of_the_python_function(
    run: Run, world: World, tmp_path: Path
) -> None:
    output = tmp_path / "restored.tif"
    finished = run("deblur", world.blurred, "-m", world.model, "-o", output)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert str(output) in finished.stdout
    restored = read_image(output)
    np.testing.assert_array_equal(restored.data, deblur(read_image(world.blurred), world.model))
    assert restored.data.dtype == np.float32
    assert restored.pixel_size_um == pytest.approx((0.5, 0.5))


def test_tiles_do_not_change_the_result_and_are_recorded(
    run: Run, world: World, tmp_path: Path
) -> None:
    restoring = ("deblur", world.blurred, "-m", world.model)
    run(*restoring, "-o", tmp_path / "whole.npy")
    run(*restoring, "-o", tmp_path / "tiled.npy", "--tile", 32, "--device", "cpu")
    whole, tiled = (np.load(tmp_path / f"{name}.npy") for name in ("whole", "tiled"))
    np.testing.assert_allclose(tiled, whole, atol=1e-4 * np.ptp(whole))
    written = yaml.safe_load((tmp_path / "tiled.npy.yaml").read_text())
    assert (written["tile"], written["device"]) == (32, "cpu")
    assert run(*restoring, "-o", tmp_path / "b.npy", "--config", tmp_path / "tiled.npy.yaml")
    np.testing.assert_array_equal(np.load(tmp_path / "b.npy"), tiled)


def test_a_stack_keeps_the_given_axes(run: Run, world: World, tmp_path: Path) -> None:
    plane = read_image(world.blurred).pixels
    np.save(tmp_path / "stack.npy", np.stack([plane, plane[::-1]])[None])
    flags = ("-m", world.model, "-o", tmp_path / "restored.ome.tif", "--axes", "TCYX")
    assert run("deblur", tmp_path / "stack.npy", *flags).returncode == 0
    restored = read_image(tmp_path / "restored.ome.tif")
    assert (restored.axes, restored.data.shape) == ("CYX", (2, 48, 48))


def test_a_window_of_the_frame_is_deblurred_with_its_origin(
    run: Run, world: World, tmp_path: Path
) -> None:
    window = read_image(world.blurred).pixels[3:32, 6:43]
    np.save(tmp_path / "window.npy", window)
    restoring = ("deblur", tmp_path / "window.npy", "-m", world.model)
    assert run(*restoring, "-o", tmp_path / "r.npy", "--origin", "3,6").returncode == 0
    expected = deblur(window, world.model, origin=(3, 6))
    np.testing.assert_array_equal(np.load(tmp_path / "r.npy"), expected)
    refused = run(*restoring, "-o", tmp_path / "r2.npy")
    assert refused.returncode == 1
    assert "origin" in refused.stderr
    assert not (tmp_path / "r2.npy").exists()


@pytest.mark.filterwarnings("always")
def test_the_frame_at_another_size_gives_a_warning_of_one_line(
    run: Run, world: World, tmp_path: Path
) -> None:
    small = np.random.default_rng(0).random((24, 24)).astype(np.float32)
    np.save(tmp_path / "small.npy", small)
    flags = ("-m", world.model, "-o", tmp_path / "r.npy")
    refused = run("deblur", tmp_path / "small.npy", *flags)
    assert refused.returncode == 1
    assert "--whole-frame" in refused.stderr
    finished = run("deblur", tmp_path / "small.npy", *flags, "--whole-frame")
    assert finished.returncode == 0
    assert finished.stderr.startswith("napari-coordgate: warning: ")
    assert finished.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "dtype",
    ["?", "u1", "i1", "u2", ">u2", "i2", "u4", ">i4", "f2", "f4", ">f4", "f8", ">f8", "u8"],
)
def test_every_dtype_is_deblurred_and_can_be_kept(
    run: Run, world: World, tmp_path: Path, dtype: str
) -> None:
    pixels = read_image(world.blurred).pixels
    typed = (pixels > 60) if dtype == "?" else (pixels // 2).astype(dtype)
    np.save(tmp_path / "image.npy", typed)
    flags = ("-m", world.model, "-o", tmp_path / "kept.tif", "--keep-dtype")
    assert run("deblur", tmp_path / "image.npy", *flags).returncode == 0
    assert read_image(tmp_path / "kept.tif").data.dtype == typed.dtype.newbyteorder("=")


@pytest.mark.filterwarnings("always")
@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_color_images_keep_their_axes_and_give_a_warning(
    run: Run, world: World, tmp_path: Path, suffix: str
) -> None:
    pixels = read_image(world.blurred).pixels
    colors = np.stack([pixels, pixels[::-1], pixels.T], axis=-1)
    write_image(tmp_path / f"rgb.{suffix}", Image(colors, "YXS"))
    output = tmp_path / f"restored.{suffix}"
    flags = ("-m", world.model, "-o", output, "--keep-dtype")
    finished = run("deblur", tmp_path / f"rgb.{suffix}", *flags)
    assert finished.returncode == 0
    is_certain = suffix == "png"  # a TIFF file could hold a stack
    assert ("each of its 3 samples" in finished.stderr) != is_certain
    restored = read_image(output)
    assert (restored.axes, restored.data.shape) == ("YXS", (48, 48, 3))


def test_a_format_that_cannot_store_the_result_is_an_error(
    run: Run, world: World, tmp_path: Path
) -> None:
    restoring = ("deblur", world.blurred, "-m", world.model, "-o")
    assert run(*restoring, tmp_path / "r.png").returncode == 1
    assert run(*restoring, tmp_path / "r.jpg").returncode == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("taken", ["r.tif", "r.tif.yaml"])
def test_nothing_is_overwritten_without_the_flag(
    run: Run, world: World, tmp_path: Path, taken: str
) -> None:
    (tmp_path / taken).write_text("precious")
    restoring = ("deblur", world.blurred, "-m", world.model, "-o", tmp_path / "r.tif")
    refused = run(*restoring)
    assert refused.returncode == 1
    assert "--overwrite" in refused.stderr
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]
    assert run(*restoring, "--overwrite").returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == {"r.tif", "r.tif.yaml"}


def test_a_folder_cannot_be_written_to_an_image(run: Run, world: World, tmp_path: Path) -> None:
    finished = run("deblur", world.sharp, "-m", world.model, "-o", tmp_path / "r.tif")
    assert finished.returncode == 2
    assert "is a folder; give a folder for its results" in finished.stderr
    assert not (tmp_path / "r.tif").exists()


def test_strict_refuses_an_image_of_another_lens(tmp_path: Path, run: Run) -> None:
    lens = Lens(na=0.5, wavelength_nm=520, pixel_size_um=0.325, field_curvature_um=14)
    PSFField.from_lens(lens, (256, 256), tolerance=3e-2).save(tmp_path / "psf.tif")
    sample = Path("sample_data/blurred/nuclei.tif").absolute()
    finished = run(
        "deblur", sample, "--psf", tmp_path / "psf.tif", "-o", tmp_path / "out.tif", "--strict"
    )
    assert finished.returncode != 0
    assert "over-sharpened" in finished.stderr
    assert not (tmp_path / "out.tif").exists()


@pytest.mark.parametrize("as_option", [True, False])
def test_a_source_is_never_replaced(
    run: Run, world: World, tmp_path: Path, as_option: bool
) -> None:
    """``deblur *.tif`` in a folder of two images names the second one as the output."""
    paths = [tmp_path / "a.npy", tmp_path / "b.npy"]
    for path in paths:
        np.save(path, read_image(world.blurred).pixels)
    before = [path.read_bytes() for path in paths]
    output = ("-o", paths[0]) if as_option else (paths[1],)
    finished = run("deblur", paths[0], *output, "-m", world.model, "--overwrite")
    assert finished.returncode == 1
    assert "would be replaced" in finished.stderr or "into a folder" in finished.stderr
    assert [path.read_bytes() for path in paths] == before


def test_each_image_of_a_file_has_a_result_and_a_bad_one_costs_no_other(
    run: Run, world: World, tmp_path: Path
) -> None:
    path = tmp_path / "positions.ome.tif"
    pixels = np.random.default_rng(0).integers(0, 999, (3, 48, 48), np.uint16)
    with tifffile.TiffWriter(path) as file:
        for name, plane in zip(("left/1", "odd", "right"), pixels, strict=True):
            shown = np.tile(plane, (1, 9)) if name == "odd" else plane
            file.write(shown, metadata={"axes": "YX", "Name": name})
    listed = json.loads(run("info", path, "--json").stdout)["scenes"]
    assert [image["scene"] for image in listed] == ["left/1", "odd", "right"]
    finished = run("deblur", path, "-m", world.model, "-o", tmp_path / "r.ome.tif")
    assert finished.returncode == 1
    assert "2 of 3 images" in finished.stdout
    assert f"failed: {path}, scene odd" in finished.stderr
    assert {file.name for file in tmp_path.glob("r.*.tif")} == {
        "r.left-1.ome.tif",
        "r.right.ome.tif",
    }
    run("deblur", path, "-m", world.model, "-o", tmp_path / "one.ome.tif", "--scenes", "right")
    one, other = (read_image(tmp_path / f"{name}.ome.tif") for name in ("one", "r.right"))
    np.testing.assert_array_equal(one.pixels, other.pixels)
