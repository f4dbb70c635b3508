"""Run tasks in threads of this process, in local processes, or on a dask cluster."""

import asyncio
import logging
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from napari_coordgate.batch.report import TaskResult
from napari_coordgate.batch.worker import Task, deblur_file
from napari_coordgate.config import BatchRuntime
from napari_coordgate.devices import usable_cores
from napari_coordgate.errors import SettingsError
from napari_coordgate.events import raise_if_canceled

if TYPE_CHECKING:
    from distributed import Client, LocalCluster, WorkerPlugin

FILES_PER_PROCESS = 2
"""One is computed while another is read or written."""
POLL_SECONDS = 0.2
"""Interval of progress messages of a worker, and of its checks for cancellation."""
CONNECT_SECONDS = 10
LOST_SECONDS = 60
"""Time without any worker after which a batch ends."""
CLOSE_SECONDS = 0.3
"""Time for an idle process to exit by itself."""


class TaskProgress(NamedTuple):
    """Finished part, 0 to 1, of a task of a file."""

    name: str
    part: int
    fraction: float


class Executor(Protocol):
    """Runs tasks in parallel."""

    progress: "SimpleQueue[TaskProgress]"
    """Progress of the tasks, a few times per second."""
    shares_images: bool
    """Whether several workers should share one large image."""

    @property
    def width(self) -> int:
        """Number of tasks to submit at once so that no worker is idle."""
        ...

    def submit(self, task: Task) -> "Future[TaskResult]":
        """Run a task."""
        ...

    def cancel(self) -> None:
        """Cancel all tasks; their unfinished results are removed."""
        ...


@contextmanager
def open_executor(
    runtime: BatchRuntime, cancel: threading.Event | None = None
) -> Iterator[Executor]:
    """Executor for these settings; its tasks are canceled when the block ends."""
    is_local = runtime.scheduler is None and runtime.workers == 1
    with _open_threads() if is_local else _open_dask(runtime, cancel) as executor:
        try:
            yield executor
        finally:
            executor.cancel()


class _ThreadExecutor:
    """Threads of this process: one computes while the other reads or writes."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.progress: SimpleQueue[TaskProgress] = SimpleQueue()
        self.shares_images = False  # one network computes for all of them
        self.width = FILES_PER_PROCESS
        self._pool = pool
        self._cancel = threading.Event()

    def submit(self, task: Task) -> Future[TaskResult]:
        def on_progress(fraction: float) -> None:
            self.progress.put(TaskProgress(task.source.key, task.part, fraction))

        return self._pool.submit(deblur_file, task, on_progress, self._cancel)

    def cancel(self) -> None:
        self._cancel.set()


@contextmanager
def _open_threads() -> Iterator[_ThreadExecutor]:
    with ThreadPoolExecutor(FILES_PER_PROCESS, thread_name_prefix="deblur") as pool:
        yield _ThreadExecutor(pool)


class _DaskExecutor:
    """Workers of a dask cluster; each process computes with `threads` threads, or all if None."""

    def __init__(self, client: "Client", threads: int | None) -> None:
        from distributed import Event

        self.progress: SimpleQueue[TaskProgress] = SimpleQueue()
        self.shares_images = True
        self._client = client
        self._pool = client.get_executor(pure=False)
        self._threads = threads
        self._with_workers = time.monotonic()
        self._topic = f"napari-coordgate-{secrets.token_hex(16)}"
        self._cancel = Event(self._topic, client=client)
        client.subscribe_topic(self._topic, self._on_message)

    @property
    def width(self) -> int:
        """Twice the number of threads: the next tasks are already at the workers."""
        try:
            threads: dict[str, int] = self._client.nthreads()
        except (OSError, TimeoutError) as error:
            raise SettingsError(
                f"The connection to the dask scheduler was lost ({error}); start it again."
            ) from None
        if threads:
            self._with_workers = time.monotonic()
        elif time.monotonic() - self._with_workers > LOST_SECONDS:
            raise SettingsError(
                "All dask workers have been gone for a minute; start some, then start the batch "
                "again to resume."
            )
        return 2 * max(1, sum(threads.values()))

    def submit(self, task: Task) -> "Future[TaskResult]":
        task = replace(task, threads=self._threads)
        future: Future[TaskResult] = self._pool.submit(_deblur_on_worker, task, self._topic)
        return future

    def cancel(self) -> None:
        with suppress(OSError, TimeoutError):  # without a scheduler there are no workers
            self._cancel.set()

    def _on_message(self, event: tuple[float, Any]) -> None:
        self.progress.put(TaskProgress(*event[1]))


def _deblur_on_worker(task: Task, topic: str) -> TaskResult:
    """Run a task in a process that dask started."""
    from distributed import get_worker

    worker, last = get_worker(), time.monotonic()

    def on_progress(fraction: float) -> None:
        nonlocal last
        if time.monotonic() - last > POLL_SECONDS:
            last = time.monotonic()
            worker.log_event(topic, (task.source.key, task.part, fraction))

    with _cancel_event(topic) as cancel:
        return deblur_file(task, on_progress, cancel)


@contextmanager
def _cancel_event(name: str) -> Iterator[threading.Event]:
    """Event of this process that is set soon after the event of this name on the cluster."""
    from distributed import Event, get_client

    on_cluster = Event(name, get_client())  # only the thread of the task knows the client
    cancel, is_finished = threading.Event(), threading.Event()

    def watch() -> None:
        with suppress(Exception, asyncio.CancelledError):  # raised when the worker closes
            while not (is_finished.wait(POLL_SECONDS) or on_cluster.is_set()):
                pass
        cancel.set()

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield cancel
    finally:
        is_finished.set()


@contextmanager
def _open_dask(runtime: BatchRuntime, cancel: threading.Event | None) -> Iterator[_DaskExecutor]:
    """Workers of the scheduler in the settings, or processes of this computer."""
    try:
        import cryptography  # noqa: F401
        import distributed  # noqa: F401
    except ImportError:
        raise SettingsError(
            "Several workers need dask; install it with "
            "python -m pip install 'napari-coordgate[cluster]'."
        ) from None
    with (
        _local_processes(runtime.workers)
        if runtime.scheduler is None
        else _connect(runtime.scheduler, cancel) as executor
    ):
        yield executor


def _client(address: str, cancel: threading.Event | None) -> "Client":
    """Client of the scheduler at this address; the library waits forever for a silent one."""
    from distributed import Client

    found: Future[Client] = Future()

    def connect() -> None:
        try:
            found.set_result(Client(address, timeout=CONNECT_SECONDS, set_as_default=False))
        except Exception as error:
            found.set_exception(error)

    threading.Thread(target=connect, daemon=True).start()
    deadline = time.monotonic() + CONNECT_SECONDS
    while not found.done() and time.monotonic() < deadline:
        raise_if_canceled(cancel, "Stopped while connecting; start the batch again.")
        time.sleep(POLL_SECONDS)
    try:
        return found.result(timeout=POLL_SECONDS)
    except (OSError, ValueError) as error:  # also TimeoutError
        reason = str(error) or f"it was silent for {CONNECT_SECONDS} s"
        raise SettingsError(
            f"No dask scheduler answers at {address} ({reason}); check the address."
        ) from None


@contextmanager
def _connect(address: str, cancel: threading.Event | None) -> Iterator[_DaskExecutor]:
    """Workers of the scheduler at this address."""
    with _client(address, cancel) as client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except TimeoutError:
            raise SettingsError(
                f"No worker has joined the dask scheduler at {address}; start some with "
                f"'dask worker {address}', then start the batch again."
            ) from None
        yield _DaskExecutor(client, threads=None)


@contextmanager
def _local_processes(count: int) -> Iterator[_DaskExecutor]:
    """Worker processes of this computer."""
    from distributed import Client, LocalCluster
    from distributed.security import Security

    cluster = LocalCluster(
        n_workers=count,
        # Without keys, any user of this computer could run code in the workers.
        security=Security.temporary(),
        threads_per_worker=FILES_PER_PROCESS,
        processes=True,
        dashboard_address=None,
        scheduler_kwargs={"dashboard_address": "localhost:0"},  # not the port of another batch
        memory_limit=None,  # tiles limit memory, and dask would count the page cache
        silence_logs=logging.CRITICAL,
    )
    with cluster, Client(cluster, set_as_default=False) as client:
        try:
            client.register_plugin(_ignore_signals())
            yield _DaskExecutor(client, threads=max(1, usable_cores() // count))
        finally:
            cluster.sync(_close_workers, cluster)


def _ignore_signals() -> "WorkerPlugin":
    """Plugin for workers that ignore Ctrl-C, which reaches all processes; the batch handles it."""
    from distributed import WorkerPlugin

    class IgnoreSignals(WorkerPlugin):
        def setup(self, worker: object) -> None:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)

    return IgnoreSignals()


async def _close_workers(cluster: "LocalCluster") -> None:
    """Close idle processes at once; by themselves they take seconds."""
    closing = (nanny.close(timeout=CLOSE_SECONDS) for nanny in cluster.workers.values())
    # A process that has to be killed may exit later than that; do not wait for it.
    await asyncio.gather(*closing, return_exceptions=True)
