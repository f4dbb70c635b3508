"""Each image of a file is a line of the report, and of a batch that was stopped none is lost."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import numpy as np
import pytest
import tifffile

from napari_coordgate.batch import deblur_folder, scenes, worker
from napari_coordgate.config import BatchConfig, Selection
from napari_coordgate.errors import CanceledError
from napari_coordgate.events import Event, FileChanged
from napari_coordgate.io import Scene, find_scenes
from tests.io.micromanager import SITES, write_stack
from tests.io.test_scenes import write_plate

if TYPE_CHECKING:
    from pathlib import Path

    from tests.batch.conftest import World


def write_positions(path: Path) -> None:
    planes = np.random.default_rng(0).integers(0, 4096, (3, 48, 64), np.uint16)
    with tifffile.TiffWriter(path) as file:
        for number, plane in enumerate(planes):
            stated: Any = {"axes": "YX", "Name": f"Pos {number}"}
            file.write(plane, metadata=stated)


def write_plate_of_frames(path: Path) -> None:
    write_plate(path, {"A/1": ["0", "1"], "A/2": ["0"]}, shape=(48, 64))


@pytest.fixture
def empty(world: World) -> World:
    for path in [path for path in world.folder.rglob("*") if path.is_file()]:
        path.unlink()
    return world


def test_scenes_and_fields_of_a_stopped_batch_are_completed(empty: World) -> None:
    write_positions(empty.folder / "cells.ome.tif")
    write_plate_of_frames(empty.folder / "plate.ome.zarr")
    cancel = threading.Event()

    def stop(event: Event) -> None:
        if isinstance(event, FileChanged) and event.status == "done":
            cancel.set()

    options: Any = {"device": "cpu", "config": BatchConfig(keep_dtype=True)}
    with pytest.raises(CanceledError):
        deblur_folder(
            empty.folder, empty.output, empty.model, callback=stop, cancel=cancel, **options
        )
    first = len(list(empty.output.glob("*.tif")))
    assert 0 < first < 6
    summary = deblur_folder(empty.folder, empty.output, empty.model, **options)
    assert (len(summary.up_to_date), len(summary.done)) == (first, 6 - first)
    names = [f"cells.Pos-{number}.ome.tif" for number in range(3)]
    names += ["plate.A-1-0.ome.tif", "plate.A-1-1.ome.tif", "plate.A-2-0.ome.tif"]
    assert sorted(path.name for path in empty.output.glob("*.tif")) == names
    lines = [json.loads(line) for line in summary.report.read_text().splitlines()]
    done = {(line["file"], line.get("scene")) for line in lines if line.get("status") == "done"}
    assert done == {
        *(("cells.ome.tif", f"Pos {number}") for number in range(3)),
        *((f"plate.ome.zarr/{name}", None) for name in ("A/1/0", "A/1/1", "A/2/0")),
    }


def test_a_file_is_opened_once_for_all_its_scenes(
    empty: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = empty.folder / "cells.ome.tif"
    write_positions(path)
    opened: list[Path] = []

    def count(path: Path) -> list[Scene]:
        opened.append(path)
        return find_scenes(path)

    for module in (scenes, worker):
        monkeypatch.setattr(module, "find_scenes", count)
    deblur_folder(empty.folder, empty.output, empty.model, device="cpu")
    assert len(opened) == 2  # once to list the scenes, and once by the only worker


def test_each_position_of_a_set_of_files_is_deblurred_once(empty: World) -> None:
    planes = np.random.default_rng(0).integers(0, 4096, (3, 48, 64), np.uint16)
    for position, plane in enumerate(planes):
        path = empty.folder / f"cells_MMStack_{SITES[position]}.ome.tif"
        write_stack(path, {(0, position): plane}, (1, 3))
    summary = deblur_folder(empty.folder, empty.output, empty.model, device="cpu")
    files = {(file.source.name, file.scene) for file in summary.done}
    assert files == {(f"cells_MMStack_{name}.ome.tif", name) for name in SITES}
    names = {path.name for path in empty.output.glob("*.tif")}
    assert names == {f"cells_MMStack_{name}.ome.tif" for name in SITES}


def test_wanted_scenes_of_one_file_are_deblurred_and_the_others_named(empty: World) -> None:
    path = empty.folder / "cells.ome.tif"
    write_positions(path)
    config = BatchConfig(selection=Selection(scenes="Pos 2,0"))
    summary = deblur_folder(path, empty.output, empty.model, config=config, device="cpu")
    assert {file.scene for file in summary.done} == {"Pos 0", "Pos 2"}
    config = BatchConfig(selection=Selection(scenes="9"))
    failed = deblur_folder(path, empty.output, empty.model, config=config, device="cpu").failed
    assert 'no scene "9"; it has 3 scenes' in failed[0].message


def test_images_of_a_zipped_store_are_deblurred(empty: World) -> None:
    store = empty.folder.with_name("plate.ome.zarr")
    write_plate_of_frames(store)
    with ZipFile(empty.folder / "plate.ome.zarr.zip", "w") as archive:
        for file in store.rglob("*"):
            archive.write(file, file.relative_to(store))
    summary = deblur_folder(empty.folder, empty.output, empty.model, device="cpu")
    assert {file.scene for file in summary.done} == {"A/1/0", "A/1/1", "A/2/0"}
    names = ["plate.A-1-0.ome.tif", "plate.A-1-1.ome.tif", "plate.A-2-0.ome.tif"]
    assert sorted(path.name for path in empty.output.glob("*.tif")) == names
