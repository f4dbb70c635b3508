"""A folder goes in, and comes out deblurred: all that is good, and nothing twice."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_coordgate.batch import Summary, deblur_folder, deblur_folder_events
from napari_coordgate.config import BatchConfig, Selection
from napari_coordgate.errors import CanceledError, ImageError, OutputError
from napari_coordgate.events import FileChanged, Finished, Progress
from napari_coordgate.inference import deblur
from napari_coordgate.io import read_image

if TYPE_CHECKING:
    from tests.batch.conftest import World

CPU = BatchConfig(precision="float32")


def run(world: World, **options: Any) -> Summary:
    return deblur_folder(world.folder, world.output, world.model, **({"config": CPU} | options))


def names(files: tuple[FileChanged, ...], folder: Path) -> list[str]:
    return sorted(file.source.relative_to(folder).as_posix() for file in files)


def times(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*.ome.*")
    }


def test_every_image_comes_out_as_by_itself_and_in_its_place(world: World) -> None:
    summary = run(world)
    assert names(summary.done, world.folder) == [
        "a.tif",
        "b.png",
        "plate 1/c.ome.tif",
        "plate 1/well/d.npy",
    ]
    for file in summary.done:
        assert file.output is not None
        expected = deblur(read_image(file.source), world.model, config=CPU)
        restored = read_image(file.output)
        np.testing.assert_array_equal(restored.pixels, expected)
        assert restored.pixel_size_um == read_image(file.source).pixel_size_um
    assert sorted(times(world.output)) == [
        "a.ome.tif",
        "b.ome.tif",
        "plate 1/c.ome.tif",
        "plate 1/well/d.ome.tif",
    ]
    assert not [path for path in world.output.rglob(".*") if path.suffix != ".lock"]


def test_what_is_broken_or_strange_is_named_and_passed_over(world: World) -> None:
    (world.folder / "cut.tif").write_bytes((world.folder / "a.tif").read_bytes()[:-900])
    (world.folder / "empty.png").touch()
    (world.folder / "notes.txt").write_text("focus drifted")
    np.save(world.folder / "nan.npy", np.full((48, 64), np.nan))
    np.save(world.folder / "large.npy", np.ones((480, 480)))
    (world.folder / "text.tif").write_text("I am no image")
    summary = run(world)
    assert len(summary.done) == 4
    assert names(summary.skipped, world.folder) == ["notes.txt"]
    assert names(summary.failed, world.folder) == [
        "cut.tif",
        "empty.png",
        "large.npy",
        "nan.npy",
        "text.tif",
    ]
    assert all(file.source.name in file.why for file in summary.failed)
    assert len(times(world.output)) == 4
    lines = [json.loads(line) for line in summary.report.read_text().splitlines()]
    told = {line["file"]: line for line in lines if line.get("outcome") not in (None, "started")}
    assert {name for name, line in told.items() if line["outcome"] == "failed"} == {
        *names(summary.failed, world.folder)
    }
    assert "NaN" in told["nan.npy"]["why"]
    assert told["a.tif"]["seconds"] > 0
    assert told["notes.txt"]["outcome"] == "skipped"


def test_a_second_start_does_what_is_missing_or_has_changed(world: World) -> None:
    run(world)
    before = times(world.output)
    again = run(world)
    assert (len(again.done), len(again.current)) == (0, 4)
    assert times(world.output) == before
    world.write("a.tif", seed=7)
    (world.output / "b.ome.tif").unlink()
    world.write("new.tif")
    summary = run(world)
    assert names(summary.done, world.folder) == ["a.tif", "b.png", "new.tif"]
    expected = deblur(read_image(world.folder / "a.tif"), world.model, config=CPU)
    np.testing.assert_array_equal(read_image(world.output / "a.ome.tif").pixels, expected)
    kept = {name: when for name, when in times(world.output).items() if name.startswith("plate")}
    assert kept.items() <= before.items()


def test_another_network_or_setting_does_all_anew(world: World) -> None:
    run(world)
    world.train(seed=1)
    assert len(run(world).done) == 4
    assert len(run(world, config=CPU.model_copy(update={"keep_dtype": True})).done) == 4
    tiled = CPU.model_copy(update={"keep_dtype": True, "tile": 32, "memory_gb": 0.5})
    assert len(run(world, config=tiled).current) == 4  # these make no other result


def test_nothing_is_overwritten_that_the_batch_did_not_make(world: World) -> None:
    world.output.mkdir()
    mine = world.output / "a.ome.tif"
    mine.write_bytes(b"mine")
    summary = run(world)
    assert names(summary.failed, world.folder) == ["a.tif"]
    assert "already exists" in summary.failed[0].why
    assert mine.read_bytes() == b"mine"
    assert names(run(world).failed, world.folder) == ["a.tif"]
    edited = world.output / "b.ome.tif"
    edited.write_bytes(edited.read_bytes() + b"a note")
    world.write("b.png", seed=9)
    assert names(run(world).failed, world.folder) == ["a.tif", "b.png"]
    assert edited.read_bytes().endswith(b"a note")
    assert len(run(world, overwrite=True).done) == 4
    assert mine.read_bytes() != b"mine"
    assert len(run(world).current) == 4


def test_a_file_of_mine_where_a_batch_failed_is_mine(world: World) -> None:
    (world.folder / "a.tif").write_bytes(b"broken")
    run(world)
    mine = world.output / "a.ome.tif"
    mine.write_bytes(b"mine")
    assert names(run(world).failed, world.folder) == ["a.tif"]
    world.write("a.tif")
    assert names(run(world).failed, world.folder) == ["a.tif"]
    assert mine.read_bytes() == b"mine"


def test_patterns_one_after_the_other_take_no_name_away(world: World) -> None:
    world.write("a.png", seed=5)
    for pattern in ("a.tif", "a.png", "*"):
        summary = run(world, config=CPU.model_copy(update={"pattern": pattern}))
        assert not summary.failed
    assert len(summary.current) == 2
    assert len(run(world, overwrite=True).done) == len(times(world.output)) == 5


def test_another_folder_with_the_same_names_takes_no_result_away(world: World) -> None:
    run(world)
    before = times(world.output)
    other = world._replace(folder=world.folder.with_name("other plates"))
    other.write("a.tif", seed=42)
    summary = run(other)
    assert names(summary.failed, other.folder) == ["a.tif"]
    assert times(world.output) == before
    assert len(run(world).current) == 4


def test_sources_are_never_touched(world: World) -> None:
    before = {path: path.read_bytes() for path in world.folder.rglob("*.*") if path.is_file()}
    run(world)
    run(world, overwrite=True)
    after = {path: path.read_bytes() for path in world.folder.rglob("*.*") if path.is_file()}
    assert after == before


def test_files_of_one_stem_have_results_of_their_own(world: World) -> None:
    world.write("a.png", seed=5)
    summary = run(world)
    assert len(summary.done) == 5
    assert len({file.output for file in summary.done}) == 5
    assert len(run(world).current) == 5


def test_events_tell_each_file_from_first_to_last(world: World) -> None:
    events = list(
        deblur_folder_events(world.folder, world.output, world.model, config=CPU, pictures=True)
    )
    for name in ("a.tif", "plate 1/well/d.npy"):
        told = [
            event
            for event in events
            if isinstance(event, FileChanged) and event.source == (world.folder / name).resolve()
        ]
        assert [event.state for event in told] == ["waiting", "running", "done"]
        assert told[-1].pair is not None
        blurred, deblurred = told[-1].pair
        assert blurred.shape == deblurred.shape == (48, 64)
        np.testing.assert_array_equal(
            deblurred, read_image(told[-1].output or Path()).pixels.astype(np.float32)
        )
    progress = [event for event in events if isinstance(event, Progress)]
    assert progress[-1].done == progress[-1].total > 0
    assert progress[-1].metrics == {"files": 4, "of": 4}
    assert [event.done for event in progress] == sorted(event.done for event in progress)
    assert isinstance(events[-1], Finished)
    assert "Deblurred 4 files" in events[-1].message
    assert sum(isinstance(event, Finished) for event in events) == 1


def test_a_canceled_batch_goes_on_where_it_stopped(world: World) -> None:
    for number in range(6):
        world.write(f"more/{number}.tif", planes=5, seed=number)
    cancel, done = threading.Event(), 0
    events = deblur_folder_events(
        world.folder, world.output, world.model, config=CPU, cancel=cancel
    )
    for event in events:
        if isinstance(event, FileChanged) and event.state == "done":
            done += 1
            cancel.set()
    assert isinstance(event, Finished)
    assert event.reason == "canceled"
    assert 0 < done < 10
    assert not list(world.output.rglob(".napari-coordgate-*"))
    summary = run(world)
    assert len(summary.current) >= done
    assert len(summary.done) + len(summary.current) == 10


def test_a_batch_that_was_canceled_before_it_began_raises(world: World) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CanceledError, match="start the batch again"):
        run(world, cancel=cancel)


def test_a_part_of_each_image_may_be_chosen(world: World) -> None:
    for path in world.folder.rglob("*.*"):
        if path.is_file():
            path.unlink()
    world.write("stack.tif", planes=4)
    config = CPU.model_copy(update={"selection": Selection(planes="1:3"), "format": "ome-zarr"})
    (file,) = run(world, config=config).done
    assert file.output == world.output / "stack.ome.zarr"
    pixels = read_image(file.output).pixels
    expected = deblur(read_image(file.source), world.model, config=CPU)[1:3]
    np.testing.assert_array_equal(pixels.reshape(expected.shape), expected)


def test_the_folder_of_the_images_takes_no_results(world: World) -> None:
    with pytest.raises(OutputError, match="choose another"):
        deblur_folder(world.folder, world.folder, world.model)
    inside = world._replace(output=world.folder / "deblurred")
    assert len(run(inside).done) == 4
    assert len(run(inside).current) == 4


def test_an_empty_or_missing_folder_is_an_error(world: World, tmp_path: Path) -> None:
    for folder in (tmp_path / "missing", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(ImageError, match=folder.name):
            deblur_folder(folder, world.output, world.model)
    assert not world.output.exists()
