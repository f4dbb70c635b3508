"""A folder is deblurred: every good image, and none of them twice."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from filelock import FileLock

from napari_coordgate.batch import BatchSummary, deblur_folder, deblur_folder_events
from napari_coordgate.batch.identity import note_made
from napari_coordgate.batch.report import Report, TaskResult
from napari_coordgate.batch.sources import REPORT_NAME
from napari_coordgate.batch.worker import config_hash, with_output_stat
from napari_coordgate.config import (
    BatchConfig,
    BatchRuntime,
    FileConfig,
    RichardsonLucyConfig,
    Selection,
    WienerConfig,
)
from napari_coordgate.deconvolution import wiener
from napari_coordgate.errors import (
    CanceledError,
    ImageError,
    ModelError,
    OutputError,
    SettingsError,
)
from napari_coordgate.events import Event, FileChanged, Progress, run as run_events
from napari_coordgate.inference import deblur
from napari_coordgate.io import Image, read_image, write_image
from napari_coordgate.io.files import file_hash
from napari_coordgate.io.locks import LOCK_NAME
from napari_coordgate.optics import PSFField
from tests.calibration.scenes import LENS, photographed, texture

if TYPE_CHECKING:
    from tests.batch.conftest import World

FLOAT32 = BatchConfig(precision="float32")


def run(world: World, **options: Any) -> BatchSummary:
    options = dict[str, Any](config=FLOAT32, device="cpu") | options
    return deblur_folder(world.folder, world.output, world.model, **options)


def names(files: Iterable[FileChanged], folder: Path) -> list[str]:
    return sorted(file.source.relative_to(folder).as_posix() for file in files)


def times(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*.ome.*")
    }


def test_each_result_equals_that_of_deblur_and_keeps_its_subfolder(world: World) -> None:
    summary = run(world)
    assert names(summary.done, world.folder) == [
        "a.tif",
        "b.png",
        "plate 1/c.ome.tif",
        "plate 1/well/d.npy",
    ]
    for file in summary.done:
        assert file.output is not None
        expected = deblur(read_image(file.source), world.model, config=FLOAT32, device="cpu")
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


def test_bad_files_are_reported_and_the_others_deblurred(world: World) -> None:
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
    assert all(file.source.name in file.message for file in summary.failed)
    assert len(times(world.output)) == 4
    lines = [json.loads(line) for line in summary.report.read_text().splitlines()]
    reported = {line["file"]: line for line in lines if line.get("status") not in (None, "running")}
    assert {name for name, line in reported.items() if line["status"] == "failed"} == {
        *names(summary.failed, world.folder)
    }
    assert "NaN" in reported["nan.npy"]["message"]
    assert reported["a.tif"]["seconds"] > 0
    assert reported["notes.txt"]["status"] == "skipped"


def test_a_stack_that_may_be_color_is_deblurred_with_a_warning(world: World) -> None:
    planes = np.random.default_rng(0).integers(0, 99, (4, 48, 64), np.uint16)
    path = world.folder / "stack.tif"
    tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate")
    summary = run(world, config=BatchConfig(pattern="stack.tif"))
    assert "read as a color image" in summary.done[0].message


def test_the_advice_for_a_type_that_cannot_be_stored_can_be_followed(world: World) -> None:
    np.save(world.folder / "half.npy", np.arange(48 * 64, dtype=np.float16).reshape(48, 64))
    config = BatchConfig(pattern="half.npy", keep_dtype=True)
    (failed,) = run(world, config=config).failed
    assert "ome-zarr" in failed.message
    assert run(world, config=config.replace(format="ome-zarr")).done


def test_a_second_run_processes_only_missing_and_changed_files(world: World) -> None:
    run(world)
    before = times(world.output)
    again = run(world)
    assert (len(again.done), len(again.up_to_date)) == (0, 4)
    assert times(world.output) == before
    world.write("a.tif", seed=7)
    (world.output / "b.ome.tif").unlink()
    world.write("new.tif")
    summary = run(world)
    assert names(summary.done, world.folder) == ["a.tif", "b.png", "new.tif"]
    expected = deblur(read_image(world.folder / "a.tif"), world.model, config=FLOAT32, device="cpu")
    np.testing.assert_array_equal(read_image(world.output / "a.ome.tif").pixels, expected)
    kept = {name: when for name, when in times(world.output).items() if name.startswith("plate")}
    assert kept.items() <= before.items()


def test_results_of_another_model_or_setting_are_replaced_on_demand_only(world: World) -> None:
    run(world)
    before = times(world.output)
    world.train(seed=1)
    refused = run(world).failed
    assert "other settings" in refused[0].message
    assert (len(refused), times(world.output)) == (4, before)
    assert len(run(world, overwrite=True).done) == 4
    config = FLOAT32.model_copy(update={"keep_dtype": True})
    assert len(run(world, config=config).failed) == 4
    assert len(run(world, config=config, overwrite=True).done) == 4
    runtime = BatchRuntime(tile=32, memory_gb=0.5)  # does not change the result
    assert len(run(world, config=config, runtime=runtime).up_to_date) == 4


def test_a_file_has_a_result_of_each_format_and_one_compression(world: World) -> None:
    def counts(**values: str) -> tuple[int, int]:
        config = FLOAT32.model_copy(update={"pattern": "a.tif", **values})
        summary = run(world, config=config)
        return len(summary.done), len(summary.up_to_date)

    assert counts() == counts(format="ome-zarr") == (1, 0)
    assert counts() == counts(format="ome-zarr") == (0, 1)
    assert counts(compression="none") == counts(compression="zstd", format="ome-zarr") == (0, 1)
    assert counts(compression="zlib") == (0, 0)  # refused: it was made with other settings


def test_channels_of_a_folder_have_their_own_methods(world: World) -> None:
    for path in [path for path in world.folder.rglob("*") if path.is_file()]:
        path.unlink()
    pixels = np.random.default_rng(0).poisson(100, (2, 48, 64)).astype(np.uint16)
    stack = Image(pixels, "CYX", (0.5, 0.5), channel_names=("DAPI", "GFP"))
    write_image(world.folder / "stack.ome.tif", stack)
    models = {"GFP": world.model, "DAPI": world.write_psf_field(2.0)}
    options = dict[str, Any](config=FLOAT32, device="cpu")
    (done,) = deblur_folder(world.folder, world.output, models, **options).done
    assert done.output is not None
    result = read_image(done.output)
    np.testing.assert_array_equal(result.pixels, deblur(stack, models, **options))
    assert result.processing is not None
    assert file_hash(world.model) in result.processing["method of GFP"]
    assert deblur_folder(world.folder, world.output, models, **options).up_to_date
    models["DAPI"] = world.write_psf_field(3.0)
    assert deblur_folder(world.folder, world.output, models, **options).failed
    config = FLOAT32.replace(selection=Selection(channels="GFP"), trust=True)
    output = world.output.with_name("GFP")
    (done,) = deblur_folder(world.folder, output, models, config=config, device="cpu").done
    assert done.output is not None
    np.testing.assert_array_equal(read_image(done.output).pixels, result.pixels[1])


def test_only_results_of_the_batch_are_overwritten(world: World) -> None:
    world.output.mkdir()
    mine = world.output / "a.ome.tif"
    mine.write_bytes(b"mine")
    summary = run(world)
    assert names(summary.failed, world.folder) == ["a.tif"]
    assert "already exists" in summary.failed[0].message
    assert mine.read_bytes() == b"mine"
    assert names(run(world).failed, world.folder) == ["a.tif"]
    edited = world.output / "b.ome.tif"
    edited.write_bytes(edited.read_bytes() + b"a note")
    world.write("b.png", seed=9)
    assert names(run(world).failed, world.folder) == ["a.tif", "b.png"]
    assert edited.read_bytes().endswith(b"a note")
    assert len(run(world, overwrite=True).done) == 4
    assert mine.read_bytes() != b"mine"
    assert len(run(world).up_to_date) == 4


def interrupted(world: World) -> Path:
    """Make the report that of a batch that was killed; return the target of a.tif."""
    run(world, config=FLOAT32.model_copy(update={"pattern": "a.tif"}))
    report, target = world.output / REPORT_NAME, world.output / "a.ome.tif"
    report.write_text("".join(report.read_text().splitlines(keepends=True)[:2]))
    return target


def test_what_is_not_provably_ours_after_a_kill_is_not_ours(world: World) -> None:
    target = interrupted(world)
    result = target.read_bytes()
    assert names(run(world).failed, world.folder) == ["a.tif"]
    assert target.read_bytes() == result
    # Nor is a file that the killed run was to overwrite.
    with closing(Report(world.output / REPORT_NAME)) as report:
        running = TaskResult(world.folder.resolve() / "a.tif", "running", target.resolve())
        report.append(world.folder.resolve(), with_output_stat(running))
    assert names(run(world).failed, world.folder) == ["a.tif"]


def test_a_file_that_replaces_a_result_after_a_kill_is_not_ours(world: World) -> None:
    target = interrupted(world)
    note_made(target, target)
    target.write_bytes(b"mine")
    assert names(run(world).failed, world.folder) == ["a.tif"]
    assert target.read_bytes() == b"mine"


def test_a_result_that_got_its_name_before_a_kill_is_done(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:  # what a kill leaves
        patch.setattr("napari_coordgate.batch.scheduling.remove_notes", list)
        target = interrupted(world)
    assert names(run(world).up_to_date, world.folder) == ["a.tif"]
    assert len(run(world).up_to_date) == 4
    assert not list(world.output.rglob(".napari-coordgate-*"))
    target.write_bytes(b"mine")
    assert names(run(world).failed, world.folder) == ["a.tif"]


def test_batches_in_nested_folders_are_refused(world: World) -> None:
    plate = world._replace(folder=world.folder / "plate 1", output=world.output / "plate 1")
    for held, refused in ((world, plate), (plate, world)):
        held.output.mkdir(parents=True, exist_ok=True)
        with (
            FileLock(held.output / LOCK_NAME),
            pytest.raises(OutputError, match="Another batch writes to"),
        ):
            run(refused)
    assert not run(plate).failed


def test_a_name_that_is_too_long_for_a_result_costs_one_file(world: World) -> None:
    world.write(f"{'n' * 248}.tif")
    for options in ({}, {"overwrite": True}):
        (failed,) = run(world, **options).failed
        assert "name too long" in failed.message


def test_a_file_at_the_target_of_a_failed_file_is_not_overwritten(world: World) -> None:
    (world.folder / "a.tif").write_bytes(b"broken")
    run(world)
    mine = world.output / "a.ome.tif"
    mine.write_bytes(b"mine")
    assert names(run(world).failed, world.folder) == ["a.tif"]
    world.write("a.tif")
    assert names(run(world).failed, world.folder) == ["a.tif"]
    assert mine.read_bytes() == b"mine"


def test_runs_with_different_patterns_keep_the_names_of_results(world: World) -> None:
    world.write("a.png", seed=5)
    for pattern in ("a.tif", "a.png", "*"):
        summary = run(world, config=FLOAT32.model_copy(update={"pattern": pattern}))
        assert not summary.failed
    assert len(summary.up_to_date) == 2
    assert len(run(world, overwrite=True).done) == len(times(world.output)) == 5


def test_results_of_another_folder_are_not_overwritten(world: World) -> None:
    run(world)
    before = times(world.output)
    other = world._replace(folder=world.folder.with_name("other plates"))
    other.write("a.tif", seed=42)
    summary = run(other)
    assert names(summary.failed, other.folder) == ["a.tif"]
    assert times(world.output) == before
    assert len(run(world).up_to_date) == 4


def test_sources_are_never_modified(world: World) -> None:
    before = {path: path.read_bytes() for path in world.folder.rglob("*.*") if path.is_file()}
    run(world)
    run(world, overwrite=True)
    after = {path: path.read_bytes() for path in world.folder.rglob("*.*") if path.is_file()}
    assert after == before


def test_sources_with_the_same_stem_have_different_results(world: World) -> None:
    world.write("a.png", seed=5)
    summary = run(world)
    assert len(summary.done) == 5
    assert len({file.output for file in summary.done}) == 5
    assert len(run(world).up_to_date) == 5


def test_events_report_each_status_of_each_file(world: World) -> None:
    events = list[Event]()
    job = deblur_folder_events(
        world.folder, world.output, world.model, config=FLOAT32, device="cpu", thumbnails=True
    )
    summary = run_events(job, events.append)
    for name in ("a.tif", "plate 1/well/d.npy"):
        reported = [
            event
            for event in events
            if isinstance(event, FileChanged) and event.source == (world.folder / name).resolve()
        ]
        assert [event.status for event in reported] == ["waiting", "running", "done"]
        assert reported[-1].thumbnails is not None
        blurred, deblurred = reported[-1].thumbnails
        assert blurred.shape == deblurred.shape == (48, 64)
        np.testing.assert_array_equal(
            deblurred, read_image(reported[-1].output or Path()).pixels.astype(np.float32)
        )
    progress = [event for event in events if isinstance(event, Progress)]
    assert progress[-1].done == progress[-1].total > 0
    assert progress[-1].metrics == {"files": 4, "of": 4}
    assert [event.done for event in progress] == sorted(event.done for event in progress)
    assert "Deblurred 4 files" in str(summary)


def test_a_canceled_batch_resumes_where_it_stopped(world: World) -> None:
    for number in range(6):
        world.write(f"more/{number}.tif", planes=5, seed=number)
    cancel, done = threading.Event(), 0

    def cancel_when_one_is_done(event: Event) -> None:
        nonlocal done
        if isinstance(event, FileChanged) and event.status == "done":
            done += 1
            cancel.set()

    with pytest.raises(CanceledError):
        run(world, cancel=cancel, callback=cancel_when_one_is_done)
    assert 0 < done < 10
    assert not list(world.output.rglob(".napari-coordgate-*"))
    summary = run(world)
    assert len(summary.up_to_date) >= done
    assert len(summary.done) + len(summary.up_to_date) == 10


def test_a_batch_canceled_before_its_start_raises(world: World) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CanceledError, match="start the batch again"):
        run(world, cancel=cancel)


def test_a_selection_of_planes_is_deblurred(world: World) -> None:
    for path in world.folder.rglob("*.*"):
        if path.is_file():
            path.unlink()
    world.write("stack.tif", planes=4)
    config = FLOAT32.model_copy(update={"selection": Selection(planes="1:3"), "format": "ome-zarr"})
    (file,) = run(world, config=config).done
    assert file.output == world.output / "stack.ome.zarr"
    pixels = read_image(file.output).pixels
    expected = deblur(read_image(file.source), world.model, config=FLOAT32, device="cpu")[1:3]
    np.testing.assert_array_equal(pixels.reshape(expected.shape), expected)


def test_results_may_not_go_to_the_folder_of_the_images(world: World) -> None:
    with pytest.raises(OutputError, match="choose another"):
        deblur_folder(world.folder, world.folder, world.model)
    inside = world._replace(output=world.folder / "deblurred")
    assert len(run(inside).done) == 4
    assert len(run(inside).up_to_date) == 4


def test_an_empty_or_missing_folder_is_an_error(world: World, tmp_path: Path) -> None:
    for folder in (tmp_path / "missing", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(ImageError, match=folder.name):
            deblur_folder(folder, world.output, world.model)
    assert not world.output.exists()


def test_the_config_hash_depends_on_the_recipe_alone(world: World) -> None:
    recipe = config_hash({"": world.model}, FLOAT32)
    assert config_hash({"": world.model}, FLOAT32.model_copy(update={"pattern": "a.tif"})) == recipe
    for name, value in {"precision": "bfloat16", "keep_dtype": True, "origin": (0, 0)}.items():
        changed = FLOAT32.model_copy(update={name: value})
        assert config_hash({"": world.model}, changed) != recipe
    assert not set(FileConfig.model_fields) & set(BatchRuntime.model_fields)


def test_results_of_a_report_by_an_older_version_are_up_to_date(world: World) -> None:
    run(world)
    report = world.output / REPORT_NAME
    settings = (
        '{"axes": null, "keep_dtype": false, "origin": null, "precision": "float32", '
        '"selection": {"channels": null, "planes": null, "times": null}}'
    )
    weights = hashlib.sha256(world.model.read_bytes()).hexdigest()
    recipe = hashlib.sha256(f"{weights} {settings}".encode()).hexdigest()[:16]
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    for line in lines[1:]:
        line["outcome"] = {"running": "started", "done": "done"}[line.pop("status")]
        line["why"] = line.pop("message")
        line["recipe"] = recipe
        del line["config_hash"]
    report.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert len(run(world).up_to_date) == 4


def test_results_are_up_to_date_only_with_the_same_psf_field_and_method(world: World) -> None:
    config = BatchConfig(deconvolution=WienerConfig(num_iter=4))
    psf_field = world.write_psf_field(sigma_edge_px=2.0)

    def run_again(config: BatchConfig) -> BatchSummary:
        return deblur_folder(world.folder, world.output, psf_field, config=config, device="cpu")

    summary = run_again(config)
    assert len(summary.done) == 4
    for file in summary.done:
        assert file.output is not None
        expected = wiener(read_image(file.source), psf_field, num_iter=4, device="cpu")
        np.testing.assert_array_equal(read_image(file.output).pixels, expected)
    started = json.loads(summary.report.read_text().splitlines()[0])
    assert started["psf_field"] == str(psf_field.resolve())
    assert started["settings"]["deconvolution"]["method"] == "wiener"
    assert len(run_again(config).up_to_date) == 4
    assert len(run_again(BatchConfig()).failed) == 4  # the universal model
    world.write_psf_field(sigma_edge_px=1.5)
    assert len(run_again(config).failed) == 4


def test_a_method_that_cannot_work_is_refused_before_anything_is_written(world: World) -> None:
    psf_field = world.write_psf_field(sigma_edge_px=2.0)
    blind = BatchConfig(deconvolution=RichardsonLucyConfig(discrepancy=True))
    with pytest.raises(SettingsError, match="photons"):
        deblur_folder(world.folder, world.output, psf_field, config=blind)
    with pytest.raises(SettingsError, match="needs a PSF field"):
        deblur_folder(world.folder, world.output, world.model, config=blind)
    with pytest.raises(ModelError, match=r"psf_field\.save"):
        deblur_folder(world.folder, world.output, PSFField.load(psf_field))  # type: ignore[arg-type]
    assert not world.output.exists()


def test_files_that_contradict_the_lens_are_noted_or_refused(tmp_path: Path) -> None:
    scene = texture(np.random.default_rng(1), 320)
    (blurred,) = photographed([scene], LENS.replace(field_curvature_um=3.0))
    psf = tmp_path / "psf.tif"
    wrong = LENS.replace(field_curvature_um=9.0)
    PSFField.from_lens(wrong, blurred.shape, tolerance=3e-2).save(psf)
    folder = tmp_path / "blurred"
    folder.mkdir()
    write_image(folder / "a.tif", Image(blurred, "YX"))
    config = BatchConfig(deconvolution={"method": "richardson-lucy", "num_iter": 1})
    noted = deblur_folder(folder, tmp_path / "out", psf, config=config, device="cpu")
    (done,) = noted.done
    assert "over-sharpened" in done.message
    strict = BatchRuntime(strict=True, device="cpu")
    refused = deblur_folder(folder, tmp_path / "strict", psf, config=config, runtime=strict)
    (failed,) = refused.failed
    assert "over-sharpened" in failed.message
    assert failed.output is None or not failed.output.exists()


def test_the_report_notes_that_a_lens_was_not_checked(world: World) -> None:
    psf_field = world.write_psf_field(sigma_edge_px=2.0)
    config = BatchConfig(deconvolution={"method": "richardson-lucy", "num_iter": 1})
    summary = deblur_folder(world.folder, world.output, psf_field, config=config, device="cpu")
    for file in summary.done:
        assert "not checked" in file.note
        assert file.message == ""
    assert '"note":"The lens was not checked' in summary.report.read_text()


def test_no_source_is_replaced_through_a_link_or_from_above(world: World) -> None:
    """Overwriting replaces results, never images, whatever names lead to them."""
    source = world.write("plate 1/same.ome.tif", seed=9)
    pixels = source.read_bytes()
    with pytest.raises(OutputError, match="contains the folder of the images"):
        run(world._replace(output=world.folder.parent), overwrite=True)
    world.output.mkdir()
    (world.output / "plate 1").symlink_to(world.folder / "plate 1")
    os.link(world.folder / "a.tif", world.output / "a.ome.tif")
    failed = {file.source.name: file.message for file in run(world, overwrite=True).failed}
    assert "is one of the images" in failed["a.tif"]
    assert "is a link" in failed[source.name]
    assert source.read_bytes() == pixels


def test_a_folder_that_a_link_replaces_during_the_batch_gets_no_result(
    world: World, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()

    def replace_folder(event: Event) -> None:
        if isinstance(event, FileChanged) and event.status == "running":
            (world.output / "plate 1").symlink_to(tmp_path / "elsewhere")

    config = FLOAT32.replace(pattern="plate 1/c.*")
    (failed,) = run(world, config=config, callback=replace_folder).failed
    assert "is a link" in failed.message
    assert not list((tmp_path / "elsewhere").iterdir())
