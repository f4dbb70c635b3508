"""What may happen in a night, made to happen: kills, signals, full disks, changing files."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from filelock import FileLock

from napari_coordgate.batch import Summary, deblur_folder, deblur_folder_events
from napari_coordgate.batch.job import LOCK_NAME
from napari_coordgate.config import BatchConfig, OutputFormat
from napari_coordgate.errors import OutputError
from napari_coordgate.events import FileChanged, Finished
from napari_coordgate.inference import deblur
from napari_coordgate.io import files, read_image

if TYPE_CHECKING:
    from tests.batch.conftest import World

CPU = BatchConfig(precision="float32")
BUSY = 3
"""How much slower than promised a computer may be that does other work as well."""
ROOT = Path(__file__).parents[2]
PROGRAM = (
    sys.executable,
    "-c",
    "import sys; from napari_coordgate.cli import main; sys.exit(main())",
)


def run(world: World, **options: Any) -> Summary:
    return deblur_folder(world.folder, world.output, world.model, **({"config": CPU} | options))


def without_the_rights_of_root() -> None:
    """Let file permissions hold for this process and what it becomes, root's too."""
    if sys.platform == "linux" and os.geteuid() == 0:
        drop_from_bounding_set, override_permissions = 24, 1
        assert ctypes.CDLL(None).prctl(drop_from_bounding_set, override_permissions, 0, 0, 0) == 0


def start(world: World, *flags: object) -> subprocess.Popen[str]:
    command = ("deblur", world.folder, world.output, "-m", world.model, "--device", "cpu")
    return subprocess.Popen(
        [*PROGRAM, *map(str, (*command, *flags))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
        preexec_fn=without_the_rights_of_root,
    )


def wait_for_work(world: World, process: subprocess.Popen[str]) -> None:
    """Until the process writes a result."""
    while not list(world.output.rglob(".napari-coordgate-*-*")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def strays(world: World) -> list[Path]:
    return list(world.output.rglob(".napari-coordgate-*"))


@pytest.mark.parametrize(
    ("workers", "times", "file_format"), [(1, 3, "ome-tiff"), (2, 1, "ome-zarr")]
)
def test_batches_killed_at_random_moments_leave_whole_results(
    workers: int, times: int, file_format: OutputFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    from soak.batch import soak

    figures = soak(times, seed=workers, workers=workers, files=8, file_format=file_format)
    assert figures["killed"] == times
    assert figures["damaged"] == figures["strays_left"] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_signal_ends_a_batch_within_two_seconds(
    world: World, number: signal.Signals, workers: int
) -> None:
    world.write("long.tif", planes=3000)
    process = start(world, "--workers", workers, "--tile", 32)
    wait_for_work(world, process)
    begun = time.monotonic()
    os.killpg(process.pid, number)  # as a terminal does, and the scheduler of a cluster
    _, err = process.communicate(timeout=30)
    assert time.monotonic() - begun < 2 * BUSY
    assert process.returncode == 130
    assert "start the batch again to go on" in err
    assert "Traceback" not in err
    assert not strays(world)
    assert not (world.output / "long.ome.tif").exists()


def test_a_full_disk_ends_the_batch_cleanly_and_it_goes_on_later(
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
    assert not strays(world)
    results = list(world.output.rglob("*.ome.tif"))
    assert 1 <= len(results) <= 2  # the second may be under way when the third finds no space
    summary = run(world)
    assert len(summary.current) == len(results)
    assert len(summary.done) + len(summary.current) == 4


def test_results_that_will_not_fit_are_refused_before_the_work(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"total": 1000, "used": 0, "free": 1000})
    with monkeypatch.context() as patch:
        patch.setattr("napari_coordgate.batch.space.shutil.disk_usage", lambda _: usage)
        with pytest.raises(OutputError, match=r"need about 0\.0 GB"):
            run(world)
    assert not list(world.output.rglob("*.ome.tif"))


def test_a_source_that_changes_under_us_gives_no_result(world: World) -> None:
    path = world.write("growing.tif", planes=50)
    config = CPU.model_copy(update={"pattern": "growing.tif", "tile": 32})
    for event in deblur_folder_events(world.folder, world.output, world.model, config=config):
        if isinstance(event, FileChanged) and event.state == "running":
            os.utime(path, ns=(1, 1))
    assert isinstance(event, Finished)
    (failed,) = event.result.failed
    assert "was changed while" in failed.why
    assert not (world.output / "growing.ome.tif").exists()
    assert len(run(world, config=config).done) == 1


def test_a_source_cut_short_while_it_is_read_fails_alone(world: World) -> None:
    path = world.write("cut.npy", planes=800)
    script = """
        import os, sys
        from napari_coordgate.batch import deblur_folder_events
        from napari_coordgate.config import BatchConfig, OutputFormat
        from napari_coordgate.events import FileChanged, Progress
        folder, output, model = sys.argv[1:]
        config = BatchConfig(precision="float32")
        for event in deblur_folder_events(folder, output, model, config=config):
            if isinstance(event, FileChanged) and event.state == "running":
                if event.source.name == "cut.npy":
                    os.truncate(event.source, 5000)
        print(*(file.source.name for file in event.result.failed), len(event.result.done))
    """
    arguments = [str(path) for path in (world.folder, world.output, world.model)]
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.returncode == 0, (process.returncode, process.stderr)
    assert process.stdout.split() == ["cut.npy", "4"]
    assert path.stat().st_size == 5000
    assert not (world.output / "cut.ome.tif").exists()


def test_a_second_batch_on_the_same_results_is_refused(world: World) -> None:
    world.write("long.tif", planes=3000)
    process = start(world, "--tile", 32)
    wait_for_work(world, process)
    with pytest.raises(OutputError, match="Another batch writes to"):
        run(world)
    process.kill()
    process.communicate()
    lock = FileLock(world.output / LOCK_NAME, timeout=0)
    with lock:  # it went with its process
        pass
    config = CPU.model_copy(update={"pattern": "a.tif,b.png"})
    assert len(run(world, config=config).failed) == 0
    assert not strays(world)


def test_a_folder_of_results_that_cannot_be_written_is_an_error_at_once(world: World) -> None:
    world.output.write_text("a file")
    with pytest.raises(OutputError, match=r"deblurred"):
        run(world)
    assert world.output.read_text() == "a file"


def test_a_folder_that_loses_permission_fails_what_is_left(world: World) -> None:
    for number in range(12):
        world.write(f"well/{number}.tif", seed=number, planes=8)
    process = start(world, "--tile", 32, "--precision", "float32")
    while len(list(world.output.rglob("well/*.ome.tif"))) < 3:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    (world.output / "well").chmod(0o500)
    out, err = process.communicate(timeout=60)
    (world.output / "well").chmod(0o700)
    assert process.returncode == 1, out + err
    assert "permission denied" in err
    summary = run(world, config=CPU.model_copy(update={"tile": 32}))
    assert len(summary.current) >= 3
    assert len(summary.done) + len(summary.current) == 16
    assert not strays(world)


def test_a_nested_folder_that_cannot_be_written_fails_its_files_alone(world: World) -> None:
    world.output.mkdir()
    (world.output / "plate 1").write_text("a file where a folder is to be")
    summary = run(world)
    assert [len(summary.done), len(summary.failed)] == [2, 2]
    assert (world.output / "plate 1").read_text().startswith("a file")


def test_one_defect_of_ours_does_not_end_the_batch(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_coordgate.batch import work

    def stumbling(path: Path, axes: str | None = None) -> Any:
        if path.name == "a.tif":
            raise ZeroDivisionError("division by zero")
        return read_image(path, axes)

    monkeypatch.setattr(work, "read_image", stumbling)
    summary = run(world)
    assert len(summary.done) == 3
    assert "ZeroDivisionError" in summary.failed[0].why


def test_two_threads_and_many_files_mix_nothing_up(world: World) -> None:
    for number in range(30):
        world.write(f"n{number}.tif", seed=number)
    before = threading.active_count()
    assert len(run(world).done) == 34
    for number in (0, 13, 29):
        image = read_image(world.folder / f"n{number}.tif")
        restored = read_image(world.output / f"n{number}.ome.tif").pixels
        np.testing.assert_array_equal(restored, deblur(image, world.model, config=CPU))
    assert threading.active_count() == before
