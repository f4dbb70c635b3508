"""Fault tolerance: kills, signals, full disks, files that change."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from filelock import FileLock

from napari_coordgate.batch import BatchSummary, deblur_folder
from napari_coordgate.config import BatchConfig, BatchRuntime
from napari_coordgate.errors import OutputError
from napari_coordgate.events import Event, FileChanged
from napari_coordgate.inference import deblur
from napari_coordgate.io import files, open_scene, read_image
from napari_coordgate.io.locks import LOCK_NAME
from soak import commands
from soak.batch import soak
from soak.commands import PROGRAM, Call, wait_until
from tests.timing import BUSY

if TYPE_CHECKING:
    from tests.batch.conftest import World

FLOAT32 = BatchConfig(precision="float32")
SMALL_TILES = BatchRuntime(device="cpu", tile=32)


def run(world: World, **options: Any) -> BatchSummary:
    options = dict[str, Any](config=FLOAT32, device="cpu") | options
    return deblur_folder(world.folder, world.output, world.model, **options)


def start(world: World, *flags: object, **options: bool) -> Call:
    command = ("deblur", world.folder, world.output, "-m", world.model, "--device", "cpu")
    return commands.start(*command, *flags, **options)


def wait_for_work(world: World, process: Call | subprocess.Popen[str]) -> None:
    """Wait until the process writes a result."""
    wait_until(lambda: list(world.output.rglob(".napari-coordgate-*-*")), process)


def temp_files(world: World) -> list[Path]:
    return list(world.output.rglob(".napari-coordgate-*"))


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_killed_at_random_moments_leave_complete_results(workers: int) -> None:
    figures = soak(1, seed=workers - 1, files=8)
    assert figures["killed"] == 1
    assert figures["damaged"] == figures["strays_left"] == 0


def test_a_signal_ends_a_batch_within_two_seconds(world: World) -> None:
    world.write("long.tif", planes=3000)
    check_end(world, start(world, "--tile", 32), signal.SIGINT)


def test_a_signal_ends_a_batch_and_its_workers_within_two_seconds(world: World) -> None:
    world.write("long.tif", planes=3000)
    flags = ("-m", world.model, "--device", "cpu", "--workers", 2, "--tile", 32)
    process = subprocess.Popen(
        [*PROGRAM, "deblur", *map(str, (world.folder, world.output, *flags))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    check_end(world, process, signal.SIGTERM)


def check_end(world: World, process: Call | subprocess.Popen[str], number: signal.Signals) -> None:
    """Send a signal to all processes, as a terminal does, and the scheduler of a cluster."""
    wait_for_work(world, process)
    begun = time.monotonic()
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=30)
    assert time.monotonic() - begun < 2 * BUSY
    assert process.returncode == 130
    assert "start the batch again to resume" in err
    assert "Traceback" not in err
    assert not temp_files(world)
    assert not (world.output / "long.ome.tif").exists()


def test_a_full_disk_ends_the_batch_and_a_second_run_resumes_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed = 0
    allocate = files.allocate

    def full_after_two(descriptor: int, size: int) -> None:
        nonlocal claimed
        claimed += 1
        if claimed > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        allocate(descriptor, size)

    with monkeypatch.context() as patch:
        patch.setattr(files, "allocate", full_after_two)
        with pytest.raises(OutputError, match=r"no space left on device.*start it again"):
            run(world)
    assert not temp_files(world)
    results = list(world.output.rglob("*.ome.tif"))
    assert 1 <= len(results) <= 2  # the second may be under way when the third finds no space
    summary = run(world)
    assert len(summary.up_to_date) == len(results)
    assert len(summary.done) + len(summary.up_to_date) == 4


def test_results_that_do_not_fit_on_the_disk_are_refused_before_the_work(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"total": 1000, "used": 0, "free": 1000})
    with monkeypatch.context() as patch:
        patch.setattr("napari_coordgate.batch.planning.shutil.disk_usage", lambda _: usage)
        with pytest.raises(OutputError, match=r"need about 0\.0 GB"):
            run(world)
    assert not list(world.output.rglob("*.ome.tif"))


def test_a_source_that_changes_during_the_batch_fails(world: World) -> None:
    path = world.write("growing.tif", planes=5)
    config = FLOAT32.model_copy(update={"pattern": "growing.tif"})

    def touch_when_running(event: Event) -> None:
        if isinstance(event, FileChanged) and event.status == "running":
            os.utime(path, ns=(1, 1))

    options = dict[str, Any](config=config, runtime=SMALL_TILES)
    (failed,) = run(world, callback=touch_when_running, **options).failed
    assert "was changed while" in failed.message
    assert not (world.output / "growing.ome.tif").exists()
    assert len(run(world, **options).done) == 1


def test_a_source_truncated_while_it_is_read_fails_alone(world: World) -> None:
    path = world.write("cut.npy", planes=800)

    def truncate(event: Event) -> None:
        if isinstance(event, FileChanged) and event.status == "running" and event.source == path:
            os.truncate(path, 5000)

    summary = run(world, callback=truncate)
    assert [file.source.name for file in summary.failed] == ["cut.npy"]
    assert len(summary.done) == 4
    assert path.stat().st_size == 5000
    assert not (world.output / "cut.ome.tif").exists()


def test_a_second_batch_in_the_same_output_folder_is_refused(world: World) -> None:
    world.write("long.tif", planes=3000)
    process = start(world, "--tile", 32)
    wait_for_work(world, process)
    with pytest.raises(OutputError, match="Another batch writes to"):
        run(world)
    process.kill()
    process.communicate()
    lock = FileLock(world.output / LOCK_NAME, timeout=0)
    with lock:  # released with its process
        pass
    assert len(run(world, config=BatchConfig(pattern="a.tif,b.png")).failed) == 0
    assert not temp_files(world)


def test_an_output_folder_that_cannot_be_written_is_an_error(world: World) -> None:
    world.output.write_text("a file")
    with pytest.raises(OutputError, match=r"deblurred"):
        run(world)
    assert world.output.read_text() == "a file"


def test_files_fail_when_their_output_folder_loses_write_permission(world: World) -> None:
    for number in range(8):
        world.write(f"well/{number}.tif", seed=number, planes=4)
    process = start(world, "--tile", 32, "--precision", "float32", without_privileges=True)
    wait_until(lambda: len(list(world.output.rglob("well/*.ome.tif"))) >= 2, process)
    (world.output / "well").chmod(0o500)
    out, err = process.communicate(timeout=60)
    (world.output / "well").chmod(0o700)
    assert process.returncode == 1, out + err
    assert "permission denied" in err
    summary = run(world, runtime=SMALL_TILES)
    assert len(summary.up_to_date) >= 2
    assert len(summary.done) + len(summary.up_to_date) == 12
    assert not temp_files(world)


def test_a_subfolder_that_cannot_be_written_fails_only_its_files(world: World) -> None:
    world.output.mkdir()
    (world.output / "plate 1").write_text("a file where a folder is to be")
    summary = run(world)
    assert [len(summary.done), len(summary.failed)] == [2, 2]
    assert (world.output / "plate 1").read_text().startswith("a file")


def test_an_unexpected_error_does_not_end_the_batch(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_coordgate.batch import worker

    def stumbling(path: Path, *args: Any, **options: Any) -> Any:
        if path.name == "a.tif":
            raise ZeroDivisionError("division by zero")
        return open_scene(path, *args, **options)

    monkeypatch.setattr(worker, "open_scene", stumbling)
    summary = run(world)
    assert len(summary.done) == 3
    assert "ZeroDivisionError" in summary.failed[0].message


def test_two_threads_do_not_mix_up_files(world: World) -> None:
    for number in range(30):
        world.write(f"n{number}.tif", seed=number)
    before = threading.active_count()
    assert len(run(world).done) == 34
    for number in (0, 13, 29):
        image = read_image(world.folder / f"n{number}.tif")
        restored = read_image(world.output / f"n{number}.ome.tif").pixels
        np.testing.assert_array_equal(
            restored, deblur(image, world.model, config=FLOAT32, device="cpu")
        )
    assert threading.active_count() == before
