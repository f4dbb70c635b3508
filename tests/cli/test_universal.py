"""The universal model on the command line: for a PSF field or a lens, and its card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
import yaml

from napari_coordgate.batch.sources import REPORT_NAME
from napari_coordgate.inference import deblur
from napari_coordgate.io import read_image
from tests.inference.making import random_universal_model

if TYPE_CHECKING:
    from tests.cli.conftest import Run, World


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("universal") / "own.safetensors"
    random_universal_model().save(path)
    return path


@pytest.mark.parametrize("flag", ["--psf", "--lens"])
def test_an_image_is_deblurred_with_a_psf_field_or_a_lens(
    run: Run, world: World, weights: Path, tmp_path: Path, flag: str
) -> None:
    """Both give what Python gives, and the settings beside the result repeat it."""
    blur = world.field if flag == "--psf" else world.lens
    output, again = tmp_path / "a.tif", tmp_path / "b.tif"
    finished = run("deblur", world.blurred, output, flag, blur, "-m", weights)
    assert finished.returncode == 0
    expected = deblur(read_image(world.blurred), weights, psf_field=world.field)
    np.testing.assert_allclose(read_image(output).pixels, expected, atol=0.01)
    settings = yaml.safe_load((tmp_path / "a.tif.yaml").read_text())["deconvolution"]
    assert settings["method"] == "universal"
    finished = run("deblur", world.blurred, again, flag, blur, "--config", f"{output}.yaml")
    assert finished.returncode == 0
    np.testing.assert_array_equal(read_image(again).pixels, read_image(output).pixels)


def test_the_uncertainty_of_the_lens_is_a_flag(
    run: Run, world: World, weights: Path, tmp_path: Path
) -> None:
    images = []
    for uncertainty in ("0", "0.5"):
        output = tmp_path / f"{uncertainty}.tif"
        flags = ("-m", weights, "--psf", world.field, "--lens-uncertainty", uncertainty)
        assert run("deblur", world.blurred, output, *flags).returncode == 0
        images.append(read_image(output).pixels)
    assert np.abs(images[0] - images[1]).max() > 0


def test_a_folder_is_deblurred_with_other_weights_if_that_is_asked_for(
    run: Run, world: World, weights: Path, tmp_path: Path
) -> None:
    own, output = tmp_path / "own.safetensors", tmp_path / "deblurred"
    own.write_bytes(weights.read_bytes())
    batch = ("deblur", world.blurred.parent, output, "--lens", world.lens, "-m", own)
    assert "Deblurred 4 files" in run(*batch).stdout
    assert "4 up to date" in run(*batch).stdout
    random_universal_model(seed=1).save(own, overwrite=True)
    assert "4 failed" in run(*batch).stdout  # results of other weights are kept
    assert "Deblurred 4 files" in run(*batch, "--overwrite").stdout
    report = (output / REPORT_NAME).read_text()
    assert '"method":"universal"' in report
    assert f'"weights":"{own}"' in report
    assert f'"lens":"{world.lens}"' in report


def test_what_does_not_go_together_is_refused(
    run: Run, world: World, weights: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.tif"
    for flags, words in (
        (("-m", weights), "universal model, which needs a PSF field"),
        (("-m", world.model, "--psf", world.field), "not a universal model"),
        (("-m", tmp_path / "none.safetensors", "--psf", world.field), "no such file"),
        (("-m", weights, "--psf", world.field, "--precision", "float32"), "--precision"),
        (("-m", weights, "--psf", world.field, "--method", "wiener"), "weights"),
        (("--lens", tmp_path / "none.yaml"), "no such file"),
    ):
        finished = run("deblur", world.blurred, output, *flags)
        assert finished.returncode in (1, 2), flags
        assert words in finished.stderr
        assert len(finished.stderr.splitlines()) == 1
    assert not output.exists()


def test_info_shows_the_card(run: Run, weights: Path) -> None:
    shown = yaml.safe_load(run("info", weights).stdout)
    assert shown["kind"] == "universal model"
    assert shown["card"] == {"training_data": "none"}
    assert len(shown["weights"]) == 16


def test_gates_are_a_table_over_the_noise(run: Run, weights: Path, tmp_path: Path) -> None:
    table, figure = tmp_path / "gates.csv", tmp_path / "gates.png"
    assert "no maps" in run("gates", weights, "-o", tmp_path / "gates.tif").stderr
    finished = run("gates", weights, "-o", table, "--figure", figure)
    assert (finished.returncode, finished.stderr) == (0, "")
    rows = [line.split(",") for line in table.read_text().splitlines()[1:]]
    assert {row[0] for row in rows} == {
        f"stage {stage} {branch} 1" for stage in (1, 2) for branch in ("down", "up")
    }
    values = np.array([row[2:] for row in rows], float)
    assert (np.ptp(values, axis=1) > 0).any()
    assert figure.stat().st_size > 0


def test_the_universal_model_is_adapted_to_a_lens(run: Run, world: World, tmp_path: Path) -> None:
    output = tmp_path / "adapted.safetensors"
    flags = ("--init", "universal", "--psf", world.field, "--steps", "1", "--batch-size", "1")
    finished = run("train", world.sharp, "-o", output, *flags)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "Adapted the universal model in 1 step" in finished.stdout
    image = tmp_path / "a.tif"
    assert run("deblur", world.blurred, image, "-m", output, "--psf", world.field).returncode == 0
    refused = run("train", world.sharp, "-o", tmp_path / "b.safetensors", "--init", "universal")
    assert refused.returncode != 0
    assert "--psf" in refused.stderr


def test_the_universal_model_is_adapted_to_blurred_images_alone(
    run: Run, world: World, tmp_path: Path
) -> None:
    output = tmp_path / "adapted.safetensors"
    blurred = np.concatenate([read_image(world.blurred).pixels[None]] * 12)
    tifffile.imwrite(tmp_path / "own.tif", blurred.astype(np.float32))
    flags = ("--init", "universal", "--steps", "1", "--batch-size", "1", "--photons", "1000")
    own = ("train", "--blurred-only", tmp_path / "own.tif", "-o", output, *flags)
    finished = run(*own, "--psf", world.field)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "Adapted the universal model in 1 step" in finished.stdout
    refused = run("train", world.sharp, *own[1:], "--psf", world.field, "--overwrite")
    assert refused.returncode != 0
    assert "either" in refused.stderr
    refused = run("train", *own[1:3], "-o", tmp_path / "other.safetensors")
    assert refused.returncode != 0
    assert "--psf" in refused.stderr
