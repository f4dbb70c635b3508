"""Work in several processes, on a cluster of dask's, and on GPUs; workers that are killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest
from distributed import Client, LocalCluster

from napari_coordgate.batch import deblur_folder, deblur_folder_events, opened, workers
from napari_coordgate.config import BatchConfig, BatchRuntime, Selection
from napari_coordgate.errors import SettingsError
from napari_coordgate.events import FileChanged, Finished, Progress
from napari_coordgate.inference import deblur
from napari_coordgate.io import read_image

if TYPE_CHECKING:
    from tests.batch.conftest import World

CPU = BatchConfig(precision="float32")


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """Two processes, as on two computers, with a scheduler that has an address."""
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
    ) as cluster:
        yield cluster


def check_results(world: World, count: int) -> None:
    outputs = sorted(world.output.rglob("*.ome.tif"))
    assert len(outputs) == count
    for source in (path for path in world.folder.rglob("*.*") if path.is_file()):
        (output,) = (p for p in outputs if p.name == source.name.split(".")[0] + ".ome.tif")
        expected = deblur(read_image(source), world.model, config=CPU)
        np.testing.assert_allclose(read_image(output).pixels, expected, rtol=1e-4, atol=0.05)
    assert not list(world.output.rglob(".napari-coordgate-*"))


def test_processes_of_this_computer_do_the_same(world: World) -> None:
    summary = deblur_folder(
        world.folder, world.output, world.model, config=CPU, runtime=BatchRuntime(workers=2)
    )
    assert len(summary.done) == 4
    check_results(world, 4)


def test_any_scheduler_will_do_and_its_workers_load_the_network_once(
    world: World, cluster: LocalCluster
) -> None:
    for number in range(8):
        world.write(f"n{number}.tif", seed=number)
    config = CPU.model_copy(update={"scheduler": cluster.scheduler_address})
    summary = deblur_folder(world.folder, world.output, world.model, config=config)
    assert len(summary.done) == 12
    check_results(world, 12)

    def networks_loaded() -> int:
        from napari_coordgate.batch import work

        count: int = work._loaded.cache_info().misses  # noqa: SLF001 - how often it was needed
        return count

    with Client(cluster) as client:
        loads = client.run(networks_loaded)
    assert all(count <= 1 for count in loads.values())
    assert sum(loads.values()) >= 1


def test_a_large_stack_is_shared_out_by_its_planes(
    world: World, cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opened, "SHARED_BYTES", 1)
    world.write("stack.tif", planes=21)
    config = CPU.model_copy(
        update={
            "scheduler": cluster.scheduler_address,
            "pattern": "stack.tif,a.tif",
            "format": "ome-zarr",
            "selection": Selection(planes="1:21"),
        }
    )
    summary = deblur_folder(world.folder, world.output, world.model, config=config)
    assert [file.source.name for file in summary.failed] == ["a.tif"]  # it has no such planes
    (file,) = summary.done
    expected = deblur(read_image(file.source), world.model, config=CPU)[1:]
    restored = read_image(world.output / "stack.ome.zarr").pixels
    np.testing.assert_allclose(restored, expected, rtol=1e-4, atol=0.05)
    assert not list(world.output.rglob(".napari-coordgate-*"))
    again = deblur_folder(world.folder, world.output, world.model, config=config)
    assert len(again.current) == 1


def test_a_worker_that_is_killed_costs_no_file(world: World, cluster: LocalCluster) -> None:
    for number in range(6):
        world.write(f"n{number}.tif", seed=number, planes=12)
    config = CPU.model_copy(update={"scheduler": cluster.scheduler_address})
    killed = False
    with Client(cluster) as client:
        pids = client.run(os.getpid)
        for event in deblur_folder_events(world.folder, world.output, world.model, config=config):
            if isinstance(event, FileChanged) and event.state == "done" and not killed:
                os.kill(next(iter(pids.values())), signal.SIGKILL)
                killed = True
    assert killed
    assert isinstance(event, Finished)
    assert (len(event.result.done), event.result.failed) == (10, ())
    check_results(world, 10)


def test_progress_comes_from_within_a_file(world: World, cluster: LocalCluster) -> None:
    world.write("long.tif", planes=40)
    config = CPU.model_copy(
        update={"scheduler": cluster.scheduler_address, "pattern": "long.tif", "tile": 32}
    )
    events = deblur_folder_events(world.folder, world.output, world.model, config=config)
    parts = {event.done / event.total for event in events if isinstance(event, Progress)}
    assert any(0 < part < 1 for part in parts)


def test_a_scheduler_without_workers_is_an_error(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "CONNECT_SECONDS", 1)
    with LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as empty:
        config = CPU.model_copy(update={"scheduler": empty.scheduler_address})
        with pytest.raises(SettingsError, match="No worker has joined"):
            deblur_folder(world.folder, world.output, world.model, config=config)


def test_an_address_where_nobody_answers_is_an_error(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "CONNECT_SECONDS", 1)
    config = CPU.model_copy(update={"scheduler": "tcp://127.0.0.1:1"})
    with pytest.raises(SettingsError, match="No dask scheduler answers"):
        deblur_folder(world.folder, world.output, world.model, config=config)
