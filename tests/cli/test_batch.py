from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_coordgate.batch import executors
from napari_coordgate.batch.sources import REPORT_NAME
from napari_coordgate.inference import deblur
from napari_coordgate.io import Image, read_image, write_image

if TYPE_CHECKING:
    from tests.cli.conftest import Run, World


@pytest.fixture
def folder(world: World, tmp_path: Path) -> Path:
    folder = tmp_path / "plates"
    (folder / "one").mkdir(parents=True)
    shutil.copy(world.blurred, folder / "a.tif")
    shutil.copy(world.blurred, folder / "one" / "b.tif")
    return folder


def test_a_folder_is_deblurred_and_summarized_in_one_line(
    run: Run, world: World, folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "deblurred"
    finished = run("deblur", folder, output, "--model", world.model)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout.startswith(f"{output}: Deblurred 2 files (")
    assert str(output / REPORT_NAME) in finished.stdout
    expected = deblur(read_image(world.blurred), world.model)
    for name in ("a.ome.tif", "one/b.ome.tif"):
        np.testing.assert_array_equal(read_image(output / name).pixels, expected)
    again = run("deblur", folder, "-o", output, "-m", world.model)
    assert "Deblurred 0 files, 2 up to date" in again.stdout


def test_failures_are_listed_and_set_the_exit_status(
    run: Run, world: World, folder: Path, tmp_path: Path
) -> None:
    for number in range(12):
        (folder / f"broken{number:02}.tif").touch()
    finished = run("deblur", folder, tmp_path / "out", "-m", world.model)
    assert finished.returncode == 1
    assert "Deblurred 2 files, 12 failed" in finished.stdout
    lines = finished.stderr.splitlines()
    assert len([line for line in lines if line.startswith("failed: ")]) == 10
    assert "broken00.tif is empty" in lines[0]
    assert "2 more" in lines[-1]


def test_warnings_are_printed_and_each_file_is_named_once(
    run: Run, world: World, folder: Path, tmp_path: Path
) -> None:
    image = read_image(world.blurred)
    write_image(folder / "other.tif", Image(image.pixels, "YX", (2.0, 2.0)))
    (folder / "empty.tif").touch()
    finished = run("deblur", folder, tmp_path / "out", "-m", world.model)
    assert "Deblurred 3 files (1 with a warning), 1 failed" in finished.stdout
    warning, failed = finished.stderr.splitlines()
    assert warning.startswith("warning: ")
    assert "has a pixel size of (2.0, 2.0) um" in warning
    assert failed.count("empty.tif") == 1


def test_flags_select_files_planes_and_format(
    run: Run, world: World, folder: Path, tmp_path: Path
) -> None:
    np.save(folder / "stack.npy", np.stack([read_image(world.blurred).pixels] * 3))
    flags = ("--pattern", "*.npy", "--planes", "1:3", "--format", "ome-zarr")
    finished = run("deblur", folder, tmp_path / "out", "-m", world.model, *flags)
    assert finished.returncode == 0, finished.stderr
    restored = read_image(tmp_path / "out" / "stack.ome.zarr")
    assert (restored.axes, restored.data.shape) == ("ZYX", (2, 48, 48))
    shown = {path.name for path in (tmp_path / "out").glob("[!.]*")}
    assert shown == {REPORT_NAME, "stack.ome.zarr"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "Give one output"),
        (("out", "-o", "other"), "Give one output"),
        (("out", "--scheduler", "tcp://127.0.0.1:1"), "No dask scheduler answers"),
        (("out", "--format", "jpeg"), "format"),
        (("out", "--workers", "0"), "workers"),
        (("out", "--pattern", "*.lif"), "contains no file that matches the pattern"),
    ],
)
def test_wrong_flags_are_reported_in_one_line(
    run: Run,
    world: World,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.setattr(executors, "CONNECT_SECONDS", 1)
    placed = [str(tmp_path / flag) if flag in ("out", "other") else flag for flag in flags]
    finished = run("deblur", folder, *placed, "-m", world.model)
    assert finished.returncode in (1, 2)
    assert message in finished.stderr
    assert len(finished.stderr.splitlines()) == 1


def test_flags_for_folders_are_refused_for_an_image(run: Run, world: World, tmp_path: Path) -> None:
    flags = ("-m", world.model, "-o", tmp_path / "a.tif", "--workers", "2")
    finished = run("deblur", world.blurred, *flags)
    assert finished.returncode == 2
    assert "--workers is for folders" in finished.stderr


def test_a_selection_of_one_image_is_deblurred(run: Run, world: World, tmp_path: Path) -> None:
    np.save(tmp_path / "stack.npy", np.stack([read_image(world.blurred).pixels] * 3))
    flags = ("-m", world.model, "-o", tmp_path / "part.npy", "--planes", "0:2")
    assert run("deblur", tmp_path / "stack.npy", *flags).returncode == 0
    assert np.load(tmp_path / "part.npy").shape == (2, 48, 48)
    refused = run("deblur", tmp_path / "stack.npy", *flags[:3], tmp_path / "b.npy", "--times", "5")
    assert refused.returncode == 1
    assert "stack.npy" in refused.stderr


def test_a_folder_without_any_image_that_is_read_is_a_failure(
    run: Run, world: World, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.ims", "b.vsi"):
        (folder / name).write_bytes(b"0" * 100)
    finished = run("deblur", folder, "-m", world.model, "-o", tmp_path / "out")
    assert finished.returncode == 1
    assert "a.ims" in finished.stderr
    assert "suffix" in finished.stderr
