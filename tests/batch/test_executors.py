"""Batches in several processes and on a dask cluster; workers that are killed."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from distributed import Client, LocalCluster

from napari_coordgate.batch import deblur_folder, executors, scheduling
from napari_coordgate.config import BatchConfig, BatchRuntime, RichardsonLucyConfig, Selection
from napari_coordgate.deconvolution import richardson_lucy
from napari_coordgate.errors import CanceledError, SettingsError
from napari_coordgate.events import Event, FileChanged, Progress
from napari_coordgate.inference import deblur
from napari_coordgate.io import read_image
from napari_coordgate.normalization import convert_dtype

if TYPE_CHECKING:
    from tests.batch.conftest import World

FLOAT32 = BatchConfig(precision="float32")


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """Two processes, as on two computers, with a scheduler that has an address."""
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
    ) as cluster:
        yield cluster


def runtime(cluster: LocalCluster) -> BatchRuntime:
    return BatchRuntime(device="cpu", scheduler=cluster.scheduler_address)


def check_results(world: World, count: int) -> None:
    outputs = sorted(world.output.rglob("*.ome.tif"))
    assert len(outputs) == count
    for source in (path for path in world.folder.rglob("*.*") if path.is_file()):
        (output,) = (p for p in outputs if p.name == source.name.split(".")[0] + ".ome.tif")
        expected = deblur(read_image(source), world.model, config=FLOAT32, device="cpu")
        np.testing.assert_allclose(read_image(output).pixels, expected, rtol=1e-4, atol=0.05)
    assert not list(world.output.rglob(".napari-coordgate-*"))


def test_local_processes_give_the_same_results(world: World) -> None:
    summary = deblur_folder(
        world.folder,
        world.output,
        world.model,
        config=FLOAT32,
        runtime=BatchRuntime(device="cpu", workers=2),
    )
    assert len(summary.done) == 4
    check_results(world, 4)


def test_only_who_has_the_key_can_run_code_in_local_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: dict[str, Any] = {}

    def start(**options: Any) -> None:
        given.update(options)
        raise SettingsError("started")

    monkeypatch.setattr("distributed.LocalCluster", start)
    with (
        pytest.raises(SettingsError, match="started"),
        executors.open_executor(BatchRuntime(workers=2)),
    ):
        pass
    assert given["security"].require_encryption
    assert given["security"].tls_scheduler_key.startswith("-----BEGIN")


def test_workers_of_a_scheduler_load_the_model_once(world: World, cluster: LocalCluster) -> None:
    for number in range(8):
        world.write(f"n{number}.tif", seed=number)
    summary = deblur_folder(
        world.folder, world.output, world.model, config=FLOAT32, runtime=runtime(cluster)
    )
    assert len(summary.done) == 12
    check_results(world, 12)

    def models_loaded() -> int:
        from napari_coordgate.batch import worker

        count: int = worker._load_method.cache_info().misses  # noqa: SLF001
        return count

    with Client(cluster) as client:
        loads = client.run(models_loaded)
    assert all(count <= 1 for count in loads.values())
    assert sum(loads.values()) >= 1


def test_a_large_stack_is_shared_by_planes(
    world: World, cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduling, "SHARED_BYTES", 1)
    world.write("stack.tif", planes=21)
    options: dict[str, Any] = {
        "config": BatchConfig(
            precision="float32",
            pattern="stack.tif,a.tif",
            format="ome-zarr",
            selection=Selection(planes="1:21"),
        ),
        "runtime": runtime(cluster),
    }
    summary = deblur_folder(world.folder, world.output, world.model, **options)
    assert [file.source.name for file in summary.failed] == ["a.tif"]  # it has no such planes
    (file,) = summary.done
    expected = deblur(read_image(file.source), world.model, config=FLOAT32, device="cpu")[1:]
    restored = read_image(world.output / "stack.ome.zarr").pixels
    np.testing.assert_allclose(restored, expected, rtol=1e-4, atol=0.05)
    assert not list(world.output.rglob(".napari-coordgate-*"))
    again = deblur_folder(world.folder, world.output, world.model, **options)
    assert len(again.up_to_date) == 1


def test_no_file_is_lost_when_a_worker_is_killed(world: World, cluster: LocalCluster) -> None:
    for number in range(6):
        world.write(f"n{number}.tif", seed=number, planes=12)
    killed = False
    with Client(cluster) as client:
        pids = client.run(os.getpid)

        def kill_a_worker(event: Event) -> None:
            nonlocal killed
            if isinstance(event, FileChanged) and event.status == "done" and not killed:
                os.kill(next(iter(pids.values())), signal.SIGKILL)
                killed = True

        summary = deblur_folder(
            world.folder,
            world.output,
            world.model,
            config=FLOAT32,
            runtime=runtime(cluster),
            callback=kill_a_worker,
        )
    assert killed
    assert (len(summary.done), summary.failed) == (10, ())
    check_results(world, 10)


def test_progress_is_reported_within_a_file(world: World, cluster: LocalCluster) -> None:
    world.write("long.tif", planes=40)
    events = list[Event]()
    deblur_folder(
        world.folder,
        world.output,
        world.model,
        config=FLOAT32.model_copy(update={"pattern": "long.tif"}),
        runtime=runtime(cluster).model_copy(update={"tile": 32}),
        callback=events.append,
    )
    parts = {event.done / event.total for event in events if isinstance(event, Progress)}
    assert any(0 < part < 1 for part in parts)


def test_a_scheduler_without_workers_is_an_error(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "CONNECT_SECONDS", 1)
    with (
        LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as empty,
        pytest.raises(SettingsError, match="No worker has joined"),
    ):
        deblur_folder(world.folder, world.output, world.model, runtime=runtime(empty))


def test_an_address_without_a_scheduler_is_an_error(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "CONNECT_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for port in (1, silent.getsockname()[1]):
            nowhere = BatchRuntime(scheduler=f"tcp://127.0.0.1:{port}")
            with pytest.raises(SettingsError, match="No dask scheduler answers"):
                deblur_folder(world.folder, world.output, world.model, runtime=nowhere)


def test_a_batch_ends_when_all_workers_are_gone(
    world: World, cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "LOST_SECONDS", 0)
    monkeypatch.setattr("distributed.Client.nthreads", lambda _: {})
    with pytest.raises(SettingsError, match="All dask workers have been gone"):
        deblur_folder(world.folder, world.output, world.model, runtime=runtime(cluster))


def test_a_batch_goes_on_when_workers_are_back_within_a_minute(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, threads = [0.0], dict[str, int]()
    with Client(cluster, set_as_default=False) as client:
        clock = SimpleNamespace(monotonic=lambda: now[0])
        monkeypatch.setattr(executors, "time", clock)
        executor = executors._DaskExecutor(client, threads=1)  # noqa: SLF001
        monkeypatch.setattr("distributed.Client.nthreads", lambda _: threads)
        for now[0], count in ((30.0, 0), (59.0, 0), (61.0, 2), (120.0, 0)):
            threads.clear()
            threads.update({"another": count} if count else {})
            assert executor.width == 2 * max(1, count)
        now[0] = 122.0
        with pytest.raises(SettingsError, match="gone for a minute"):
            _ = executor.width


def test_a_signal_ends_the_wait_for_a_scheduler() -> None:
    cancel = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        runtime = BatchRuntime(scheduler=f"tcp://127.0.0.1:{silent.getsockname()[1]}")
        threading.Timer(0.2, cancel.set).start()
        begun = time.monotonic()
        with (
            pytest.raises(CanceledError, match="while connecting"),
            executors.open_executor(runtime, cancel),
        ):
            pass
    assert time.monotonic() - begun < 2


def test_workers_deconvolve_planes_of_a_stack_with_a_psf_field(
    world: World, cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduling, "SHARED_BYTES", 1)
    world.write("stack.tif", planes=5)
    psf_field = world.write_psf_field(sigma_edge_px=2.0)
    config = BatchConfig(
        pattern="stack.tif",
        format="ome-zarr",
        selection=Selection(planes="1:5"),
        keep_dtype=True,
        deconvolution=RichardsonLucyConfig(num_iter=3),
    )
    (file,) = deblur_folder(
        world.folder, world.output, psf_field, config=config, runtime=runtime(cluster)
    ).done
    assert file.output is not None
    source, restored = read_image(file.source), read_image(file.output)
    expected = convert_dtype(richardson_lucy(source, psf_field, 3)[1:], "u2")
    assert restored.data.dtype == np.uint16
    np.testing.assert_allclose(restored.pixels.reshape(expected.shape), expected, atol=1)
