"""Who does the work: threads of this process, processes here, or a cluster of dask's."""

import asyncio
import logging
import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from uuid import uuid4

from napari_coordgate.batch.work import Outcome, Task, deblur_file
from napari_coordgate.config import BatchRuntime
from napari_coordgate.errors import SettingsError

if TYPE_CHECKING:
    from distributed import Client, LocalCluster, WorkerPlugin

__all__ = ["Workers", "open_workers"]

FILES_PER_PROCESS = 2
"""One is computed while another is read or written."""
POLL_SECONDS = 0.2
"""Time between questions of a worker, whether its work is still wanted."""
CONNECT_SECONDS = 10
CLOSE_SECONDS = 0.3
"""Time for a process that has no work to end by itself."""


class Moved(NamedTuple):
    """How far a worker has come with a task."""

    name: str
    number: int
    part: float


class Workers(Protocol):
    """Those who deblur files beside each other."""

    moved: "SimpleQueue[Moved]"
    """How far they have come, told now and then."""
    threads: int | None
    """Threads that each process may compute with; none: that is left to it."""
    share_images: bool
    """Whether several of them should work on one large image."""
    run: str
    """Token of the run, where they may be killed and their tasks given to others."""

    @property
    def width(self) -> int:
        """Files to give them at once, so that nobody waits."""
        ...

    def submit(self, task: Task) -> "Future[Outcome]":
        """Give them a file."""
        ...

    def cancel(self) -> None:
        """Let them end what they are doing, with nothing left of it."""
        ...


@contextmanager
def open_workers(runtime: BatchRuntime) -> Iterator[Workers]:
    """Workers as the settings tell, who go when the block ends.

    Parameters
    ----------
    runtime : BatchRuntime
        How many processes, or the address of a scheduler.

    Yields
    ------
    Workers
        The workers.

    Raises
    ------
    SettingsError
        If no scheduler answers at the address, or dask is not installed.
    """
    if runtime.scheduler is None and runtime.workers == 1:
        with _threads() as workers:
            yield workers
        return
    with _dask(runtime) as cluster:
        try:
            yield cluster
        finally:
            cluster.cancel()


class _Threads:
    """Threads of this process: one computes while the other reads or writes."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self.moved: SimpleQueue[Moved] = SimpleQueue()
        self.threads: int | None = None
        self.share_images = False  # one network computes for all of them
        self.run = ""
        self.width = FILES_PER_PROCESS
        self._executor = executor
        self._cancel = threading.Event()

    def submit(self, task: Task) -> Future[Outcome]:
        return self._executor.submit(deblur_file, task, self._tell, self._cancel)

    def cancel(self) -> None:
        self._cancel.set()

    def _tell(self, name: str, number: int, part: float) -> None:
        self.moved.put(Moved(name, number, part))


@contextmanager
def _threads() -> Iterator[_Threads]:
    with ThreadPoolExecutor(FILES_PER_PROCESS, thread_name_prefix="deblur") as executor:
        workers = _Threads(executor)
        try:
            yield workers
        finally:
            workers.cancel()


class _Dask:
    """Workers of a dask cluster, here or elsewhere."""

    def __init__(self, client: "Client", threads: int | None) -> None:
        from distributed import Event

        self.moved: SimpleQueue[Moved] = SimpleQueue()
        self.threads = threads
        self.share_images = True
        self.run = secrets.token_hex(4)
        self._client = client
        self._executor = client.get_executor(pure=False)
        self._name = f"napari-coordgate-{uuid4().hex}"
        self._cancel = Event(self._name, client=client)
        client.subscribe_topic(self._name, self._hear)

    @property
    def width(self) -> int:
        """Twice as many as are worked on: the next ones are at the workers already."""
        try:
            threads: dict[str, int] = self._client.nthreads()
        except (OSError, TimeoutError) as error:
            raise SettingsError(f"The dask scheduler is gone ({error}); start it again.") from None
        return 2 * max(1, sum(threads.values()))

    def submit(self, task: Task) -> "Future[Outcome]":
        future: Future[Outcome] = self._executor.submit(_deblur_on_worker, task, self._name)
        return future

    def cancel(self) -> None:
        with suppress(OSError, TimeoutError):  # where the scheduler is gone, so are its workers
            self._cancel.set()

    def _hear(self, event: tuple[float, Any]) -> None:
        self.moved.put(Moved(*event[1]))


def _deblur_on_worker(task: Task, name: str) -> Outcome:
    """Deblur a file in a process that dask started."""
    from distributed import get_worker

    worker, told = get_worker(), time.monotonic()

    def tell(*moved: str | float) -> None:
        nonlocal told
        if time.monotonic() - told > POLL_SECONDS:
            told = time.monotonic()
            worker.log_event(name, moved)

    return deblur_file(task, tell, _Asked(name))


class _Asked(threading.Event):
    """Set once the event of this name is set on the cluster, which is asked now and then."""

    def __init__(self, name: str) -> None:
        from distributed import Event

        super().__init__()
        self._shared = Event(name)
        self._asked = time.monotonic()

    def is_set(self) -> bool:
        if not super().is_set() and time.monotonic() - self._asked > POLL_SECONDS:
            if self._shared.is_set():
                self.set()
            self._asked = time.monotonic()
        return super().is_set()


@contextmanager
def _dask(runtime: BatchRuntime) -> Iterator[_Dask]:
    """Workers of the scheduler that the settings name, or processes of this computer."""
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise SettingsError(
            "Several workers need dask; install it with "
            "python -m pip install 'napari-coordgate[cluster]'."
        ) from None
    if runtime.scheduler is not None:
        try:
            client = Client(runtime.scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"No dask scheduler answers at {runtime.scheduler} ({error}); check the address."
            ) from None
        with client:
            try:
                client.wait_for_workers(1, timeout=CONNECT_SECONDS)
            except TimeoutError:
                raise SettingsError(
                    f"No worker has joined the dask scheduler at {runtime.scheduler}; start some, "
                    f"'dask worker {runtime.scheduler}', then start the batch again."
                ) from None
            yield _Dask(client, threads=None)
        return
    cluster = LocalCluster(
        n_workers=runtime.workers,
        threads_per_worker=FILES_PER_PROCESS,
        processes=True,
        dashboard_address="127.0.0.1:0",  # any free port, for others may have one
        memory_limit=None,  # tiles keep to their memory, and dask would kill for the files' cache
        silence_logs=logging.CRITICAL,
    )
    with cluster, Client(cluster, set_as_default=False) as client:
        try:
            client.register_plugin(_deaf_to_signals())
            yield _Dask(client, threads=max(1, (os.cpu_count() or 1) // runtime.workers))
        finally:
            cluster.sync(_end_at_once, cluster)


def _deaf_to_signals() -> "WorkerPlugin":
    """Plugin with which workers leave Ctrl-C, which reaches all processes, to the batch."""
    from distributed import WorkerPlugin

    class Deaf(WorkerPlugin):
        def setup(self, worker: object) -> None:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)

    return Deaf()


async def _end_at_once(cluster: "LocalCluster") -> None:
    """End processes that have nothing left to do; by themselves they take seconds to go."""
    closing = (nanny.close(timeout=CLOSE_SECONDS) for nanny in cluster.workers.values())
    # One that is killed may be gone later than that: nobody waits for it.
    await asyncio.gather(*closing, return_exceptions=True)
