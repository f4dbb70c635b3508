from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml

from napari_coordgate.io import Image, read_image, write_image
from napari_coordgate.optics import PSFField

if TYPE_CHECKING:
    from tests.cli.conftest import Run, World

SPOTS = np.zeros((48, 48), np.float32)
SPOTS[5::9, 7::9] = 100.0


def test_images_keep_name_type_axes_and_pixel_size(run: Run, world: World, tmp_path: Path) -> None:
    stack = Image(np.stack([SPOTS, SPOTS.T]).astype(np.uint16), "TYX", (0.25, 0.25))
    write_image(tmp_path / "stack.ome.tif", stack)
    run("blur", tmp_path / "stack.ome.tif", "--psf", world.field, "-o", tmp_path / "out")
    blurred = read_image(tmp_path / "out" / "stack.ome.tif")
    assert blurred.data.dtype == np.uint16
    assert (blurred.axes, blurred.data.shape) == ("TYX", (2, 48, 48))
    assert blurred.pixel_size_um == pytest.approx((0.25, 0.25))


def test_an_image_without_pixel_size_gets_that_of_the_psf_field(
    run: Run, world: World, tmp_path: Path
) -> None:
    write_image(tmp_path / "spots.tif", Image(SPOTS, "YX"))
    run("blur", tmp_path / "spots.tif", "--psf", world.field, "-o", tmp_path / "out")
    blurred = read_image(tmp_path / "out" / "spots.tif")
    assert blurred.pixel_size_um == pytest.approx((0.5, 0.5))


def test_an_image_of_the_frame_is_blurred_with_the_psf_field(
    run: Run, world: World, tmp_path: Path
) -> None:
    np.save(tmp_path / "spots.npy", SPOTS)
    run("blur", tmp_path / "spots.npy", "--psf", world.field, "-o", tmp_path / "out")
    expected = PSFField.load(world.field).blur(SPOTS)
    np.testing.assert_allclose(np.load(tmp_path / "out" / "spots.npy"), expected, atol=1e-3)


@pytest.mark.filterwarnings("always")
def test_light_from_outside_the_frame_is_used_unless_the_border_is_mirrored(
    run: Run, world: World, tmp_path: Path
) -> None:
    scene = np.zeros((61, 53), np.float32)
    scene[6 + 4 :: 9, 2 + 4 :: 9] = 100.0
    scene[5, :] = 1000.0  # a bright line just above the central frame
    np.save(tmp_path / "scene.npy", scene)
    blur = ("blur", tmp_path / "scene.npy", "--psf", world.field)
    finished = run(*blur, "-o", tmp_path / "scene")
    assert "central 48 x 48 pixels" in finished.stderr
    run(*blur, "-o", tmp_path / "mirror", "--border", "mirror")
    within = PSFField.load(world.field).blur(scene[6:54, 2:50])
    mirrored = np.load(tmp_path / "mirror" / "scene.npy")
    np.testing.assert_allclose(mirrored, within, atol=1e-2)
    assert (np.load(tmp_path / "scene" / "scene.npy")[0] > mirrored[0] + 10).all()


def test_noise_matches_the_photon_count_and_is_reproduced_by_the_settings_file(
    run: Run, world: World, tmp_path: Path
) -> None:
    sharp = np.where(SPOTS > 0, 1000.0, 500.0).astype(np.float32)
    sharp[0, 0] = 0.0
    np.save(tmp_path / "sharp.npy", sharp)
    blur = ("blur", tmp_path / "sharp.npy", "--psf", world.field)
    run(*blur, "-o", tmp_path / "clean")
    noisy = ("--photons", 400, "--low-percentile", 0, "--high-percentile", 100)
    run(*blur, "-o", tmp_path / "noisy", *noisy, "--seed", 3)
    settings = tmp_path / "noisy" / "blur.yaml"
    assert yaml.safe_load(settings.read_text())["camera"]["photons"] == 400
    run(*blur, "-o", tmp_path / "again", "--config", settings)
    run(*blur, "-o", tmp_path / "other", "--config", settings, "--seed", 4)
    clean, noisy, again, other = (
        np.load(tmp_path / name / "sharp.npy") for name in ("clean", "noisy", "again", "other")
    )
    np.testing.assert_array_equal(noisy, again)
    assert (noisy != other).any()
    relative = (noisy - clean)[2:] / np.sqrt(clean[2:] * 1000 / 400)
    assert relative.std() == pytest.approx(1, abs=0.1)


def test_the_noise_of_an_image_does_not_depend_on_other_images(
    run: Run, world: World, tmp_path: Path
) -> None:
    first, second = sorted(world.sharp.iterdir())[:2]
    noise = ("--psf", world.field, "--photons", 50)
    run("blur", first, second, *noise, "-o", tmp_path / "both")
    run("blur", second, *noise, "-o", tmp_path / "one")
    one, both = (tmp_path / name / second.name for name in ("one", "both"))
    assert one.read_bytes() == both.read_bytes()


def test_images_can_be_added_to_a_folder_with_the_same_settings_only(
    run: Run, world: World, tmp_path: Path
) -> None:
    first, second, third = sorted(world.sharp.iterdir())[:3]
    rest = ("--psf", world.field, "-o", tmp_path / "out")
    assert run("blur", first, *rest).returncode == 0
    assert run("blur", second, *rest).returncode == 0
    refused = run("blur", third, *rest, "--photons", 9)
    assert refused.returncode == 1
    assert "blur.yaml already exists" in refused.stderr
    assert not (tmp_path / "out" / third.name).exists()


def test_no_image_is_written_if_one_is_too_small(run: Run, world: World, tmp_path: Path) -> None:
    small = tmp_path / "small.npy"
    np.save(small, SPOTS[:40])
    first = next(world.sharp.iterdir())
    finished = run("blur", first, small, "--psf", world.field, "-o", tmp_path / "out")
    assert finished.returncode == 1
    assert "small.npy is 40x48 pixels" in finished.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("pixel", [np.nan, 0.0])
def test_no_image_is_written_if_a_later_one_is_invalid(
    run: Run, world: World, tmp_path: Path, pixel: float
) -> None:
    np.save(tmp_path / "empty.npy", np.full((2, 48, 48), pixel, np.float32))
    first = next(world.sharp.iterdir())
    out = tmp_path / "out"
    finished = run("blur", first, tmp_path / "empty.npy", "--psf", world.field, "-o", out)
    assert finished.returncode == 1
    assert "empty.npy" in finished.stderr
    assert not out.exists()


def test_images_of_the_same_name_do_not_overwrite_each_other(
    run: Run, world: World, tmp_path: Path
) -> None:
    first = next(world.sharp.iterdir())
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / first.name).write_bytes(first.read_bytes())
    images = (tmp_path / "a" / first.name, tmp_path / "b" / first.name)
    assert run("blur", *images, "--psf", world.field, "-o", tmp_path / "out").returncode == 2
    assert not (tmp_path / "out").exists()


def test_an_image_does_not_overwrite_itself(run: Run, world: World, tmp_path: Path) -> None:
    image = tmp_path / "image.npy"
    np.save(image, SPOTS)
    before = image.read_bytes()
    flags = ("--psf", world.field, "-o", tmp_path, "--overwrite")
    assert run("blur", image, *flags).returncode == 1
    assert image.read_bytes() == before
