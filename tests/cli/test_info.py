from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
import torch
import yaml

from napari_coordgate.cli.info import info_text
from napari_coordgate.cli.info_system import system_info
from napari_coordgate.config import GaussianLens, TrainingConfig, load_lens
from napari_coordgate.devices import resolve_device
from napari_coordgate.errors import SettingsError
from napari_coordgate.io import Image, write_image
from napari_coordgate.model import Model

if TYPE_CHECKING:
    from tests.cli.conftest import Run, World


def info_of(run: Run, path: Path) -> dict[str, Any]:
    finished = run("info", path, "--json")
    assert (finished.returncode, finished.stderr) == (0, "")
    description: dict[str, Any] = json.loads(finished.stdout)
    assert description["file"] == str(path)
    return description


def test_info_on_a_model_shows_everything_but_weights(run: Run, world: World) -> None:
    description, checkpoint = info_of(run, world.model), Model.load(world.model)
    assert description["kind"] == "model"
    assert TrainingConfig(**description["settings"]) == checkpoint.config
    assert description["frame_shape"] == [48, 48]
    assert description["pixel_size_um"] == 0.5
    assert description["metrics"] == checkpoint.metrics
    assert tuple(description["history"]) == checkpoint.history
    assert description["parameters"] == sum(w.numel() for w in checkpoint.weights.values())
    assert description["psf_field"]["frame_shape"] == [48, 48]


def test_people_read_the_same_without_the_history(run: Run, world: World) -> None:
    text = yaml.safe_load(run("info", world.model).stdout)
    assert text["settings"] == info_of(run, world.model)["settings"]
    assert "--json" in text["history"]


def test_info_recognizes_a_checkpoint(run: Run, world: World) -> None:
    last = world.model.with_name("model.last.safetensors")
    assert info_of(run, last)["kind"] == "checkpoint"


def test_info_on_a_psf_field_shows_its_lens(run: Run, world: World) -> None:
    description = info_of(run, world.field)
    assert description["kind"] == "PSF field"
    assert GaussianLens(**description["source"]["lens"]) == load_lens(world.lens)


def test_gating_maps_tell_their_gates(run: Run, world: World, tmp_path: Path) -> None:
    run("gates", world.model, "-o", tmp_path / "gates.tif")
    description = info_of(run, tmp_path / "gates.tif")
    assert description["kind"] == "gating maps"
    assert description["gates"]["gate down 1, 4 channels"] == [4, 48, 48]


@pytest.mark.parametrize("suffix", ["tif", "ome.tif", "png", "npy"])
def test_info_on_an_image_shows_axes_and_type(run: Run, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image.{suffix}"
    write_image(path, Image(np.eye(20, 30, dtype=np.uint16), "YX", (0.5, 0.25)))
    description = info_of(run, path)
    size = pytest.approx([0.5, 0.25]) if "tif" in suffix else None
    assert description == {
        "file": str(path),
        "kind": "image",
        "axes": "YX",
        "shape": [20, 30],
        "dtype": "uint16",
        "pixel_size_um": size,
    }


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("na: 0.7\nwavelength_nm: 520\npixel_size_um: 0.5\n", "lens"),
        ("sigma_center_px: 1\nsigma_edge_px: 3\n", "lens"),
        ("steps: 5\nseed: 1\n", "settings of a training or blur"),
        ("tile: 512\ndevice: cpu\n", "settings of a deblurring"),
        ("tolerance: 0.01\n", "settings of a PSF field"),
    ],
)
def test_info_recognizes_settings_files(run: Run, tmp_path: Path, text: str, kind: str) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(text)
    description = info_of(run, path)
    assert description["kind"] == kind
    assert description["settings"].items() >= yaml.safe_load(text).items()


@pytest.mark.parametrize(
    ("name", "content", "status"),
    [
        ("notes.txt", b"hello", 1),
        ("model.pt", b"hello", 1),
        ("model.safetensors", b"hello", 1),
        ("image.tif", b"hello", 1),
        ("image.npy", b"hello", 1),
        ("run.yaml", b"zoom: 3", 2),
        ("run.yaml", b"[1, 2]", 2),
        ("run.yaml", b"\xff\xfe\x00", 2),
    ],
)
def test_anything_else_gets_one_clear_line(
    run: Run, tmp_path: Path, name: str, content: bytes, status: int
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    finished = run("info", path)
    assert finished.returncode == status
    assert finished.stdout == ""
    assert str(path) in finished.stderr
    assert finished.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["x.tif", "x.npy", "x.safetensors", "x.yaml", "x", "."])
def test_a_missing_file_or_a_folder_gets_one_clear_line(
    run: Run, tmp_path: Path, name: str
) -> None:
    finished = run("info", tmp_path / name)
    assert finished.returncode in (1, 2)
    assert finished.stderr.count("\n") == 1


def test_a_missing_file_without_a_suffix_is_said_to_be_missing(run: Run, tmp_path: Path) -> None:
    assert f"{tmp_path / 'x'} does not exist" in run("info", tmp_path / "x").stderr


def test_info_on_the_system_names_the_device_and_why() -> None:
    described = system_info()
    assert described["device"] == resolve_device("auto").type
    assert described["why"].endswith(".")
    assert 1 <= described["cores"] <= psutil.cpu_count()
    assert described["packages"]["torch"] == torch.__version__
    assert yaml.safe_load(info_text(None, system=True, json=False)).keys() == described.keys()


@pytest.mark.parametrize(("file", "system"), [(None, False), (Path("lens.yaml"), True)])
def test_info_wants_either_a_file_or_the_system(file: Path | None, system: bool) -> None:
    with pytest.raises(SettingsError, match="--system"):
        info_text(file, system=system, json=False)
