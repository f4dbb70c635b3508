from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from napari_coordgate.inference import gating_maps
from napari_coordgate.io import read_image

if TYPE_CHECKING:
    from tests.cli.conftest import Run, World


@pytest.fixture
def deep_model(run: Run, world: World, tmp_path: Path) -> Path:
    output = tmp_path / "deep.safetensors"
    flags = ("--depth", 3, "--base-channels", 2, "--batch-size", 1, "--steps", 1)
    assert run("train", world.sharp, "--psf", world.field, "-o", output, *flags).returncode == 0
    return output


def test_each_gate_is_a_separate_image(run: Run, deep_model: Path, tmp_path: Path) -> None:
    output = tmp_path / "gates.tif"
    assert run("gates", deep_model, "-o", output).returncode == 0
    maps = gating_maps(deep_model)
    with tifffile.TiffFile(output) as tiff:
        assert len(tiff.series) == len(maps) == 4
        for series, (name, gate) in zip(tiff.series, maps.items(), strict=True):
            assert series.name == f"gate {name}, {len(gate)} channels"
            assert series.axes == "CYX"
            np.testing.assert_array_equal(series.asarray(), gate)


def test_a_pixel_of_a_coarser_gate_is_larger(run: Run, deep_model: Path, tmp_path: Path) -> None:
    run("gates", deep_model, "-o", tmp_path / "gates.tif")
    with tifffile.TiffFile(tmp_path / "gates.tif") as tiff:
        assert tiff.ome_metadata is not None
        images = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]
    sizes = {image["Name"]: image["Pixels"]["PhysicalSizeX"] for image in images}
    assert sizes["gate down 1, 2 channels"] == pytest.approx(0.5)
    assert sizes["gate down 2, 4 channels"] == pytest.approx(1.0)


def test_the_file_can_be_read_as_an_image(run: Run, world: World, tmp_path: Path) -> None:
    run("gates", world.model, "-o", tmp_path / "gates.tif")
    image = read_image(tmp_path / "gates.tif", scene=0)
    assert (image.axes, image.data.shape) == ("CYX", (4, 48, 48))
    assert image.pixel_size_um == pytest.approx((0.5, 0.5))


def test_a_figure_of_the_maps_is_written_on_request(run: Run, world: World, tmp_path: Path) -> None:
    picture = tmp_path / "gates.png"
    flags = ("-o", tmp_path / "gates.tif", "--figure", picture)
    assert run("gates", world.model, *flags).returncode == 0
    assert read_image(picture).pixels.std() > 0


def test_a_network_without_gates_is_an_error(run: Run, world: World, tmp_path: Path) -> None:
    output = tmp_path / "unet.safetensors"
    training = ("train", world.sharp, "--psf", world.field, "-o", output, "--network", "unet")
    run(*training, "--base-channels", 2, "--depth", 2, "--steps", 1)
    finished = run("gates", output, "-o", tmp_path / "gates.tif")
    assert finished.returncode == 1
    assert "has no gates" in finished.stderr
    assert not (tmp_path / "gates.tif").exists()


def test_another_output_format_is_an_error(run: Run, world: World, tmp_path: Path) -> None:
    finished = run("gates", world.model, "-o", tmp_path / "gates.npy")
    assert finished.returncode == 2
    assert ".tif" in finished.stderr
