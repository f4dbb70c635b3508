"""Processes that train one network together, each on its own device."""

import logging
import os
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision, Precision
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor

from napari_coordgate.config import RuntimeConfig
from napari_coordgate.config.training import STORE
from napari_coordgate.devices import resolve_device
from napari_coordgate.errors import CoordGateError, SettingsError, TrainingError
from napari_coordgate.events import Event

NOT_STARTED = (
    "Training on several devices needs one process per device: use the command line, or start a "
    "script with 'torchrun --nproc-per-node DEVICES'."
)

T = TypeVar("T")


class RankLostError(TrainingError):
    """Another process of the training ended unexpectedly."""

    def __init__(self, message: str = "Lost another process of the training.") -> None:
        super().__init__(message)


def rank(runtime: RuntimeConfig) -> int | None:
    """Rank of this process in a training; None if the processes have yet to be started."""
    if runtime.devices * runtime.nodes == 1:
        return 0
    if hasattr(sys, "ps1") or sys.flags.interactive:
        return None  # fabric does not support this strategy in an interactive session
    fabric = _build_fabric(runtime)
    strategy = fabric.strategy
    assert isinstance(strategy, DDPStrategy)
    assert strategy.cluster_environment is not None
    return fabric.global_rank if strategy.cluster_environment.creates_processes_externally else None


class ProcessGroup:
    """Process group of a distributed run; a single process forms a group of size 1.

    Every rank calls the same methods in the same order. If a rank has ended, they raise
    `RankLostError` instead of waiting for it.
    """

    def __init__(self, runtime: RuntimeConfig, precision: str = "float32") -> None:
        if rank(runtime) is None:
            raise SettingsError(NOT_STARTED)
        self.size = runtime.devices * runtime.nodes
        self.fabric = _build_fabric(runtime, precision)
        self.device = resolve_device(runtime.device)
        if self.size > 1:
            self._join()
            self.device = self.fabric.device
        self.rank = self.fabric.global_rank

    def _join(self) -> None:
        """Wait until all processes have started."""
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        try:
            if STORE in os.environ and not dist.is_initialized():  # fabric uses what exists
                self._join_in_file(os.environ[STORE])
            self.fabric.launch()
        except ValueError as error:
            raise SettingsError(
                f"Devices and nodes differ from the processes that were started: {error}"
            ) from None
        except RuntimeError as error:
            raise RankLostError(f"The processes could not connect: {error}") from None

    def _join_in_file(self, path: str) -> None:
        """Form the process group without a port at which others could connect."""
        dist.init_process_group(
            "nccl" if self.device.type == "cuda" else "gloo",
            store=dist.FileStore(path, self.size),  # type: ignore[attr-defined]
            rank=int(os.environ["LOCAL_RANK"]),
            world_size=self.size,
        )

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which writes the files."""
        return self.rank == 0

    def share(self, number: int) -> range:
        """Indices, of so many items, that this rank processes."""
        return range(number * self.rank // self.size, number * (self.rank + 1) // self.size)

    def any_reduce(self, *flags: bool) -> tuple[bool, ...]:
        """Whether each flag is set on any rank."""
        if self.size == 1:
            return flags
        votes = torch.tensor(flags, dtype=torch.int32, device=self.device)
        self.all_reduce(votes)
        return tuple(vote > 0 for vote in votes.tolist())

    def all_reduce(self, tensor: Tensor) -> None:
        """Replace a tensor by its sum over all ranks."""
        if self.size > 1:
            with _rank_loss_raised():
                dist.all_reduce(tensor)

    def gather(self, item: T) -> list[T]:
        """Items of all ranks, on every rank."""
        items: list[Any] = [item] * self.size
        if self.size > 1:
            with _rank_loss_raised():
                dist.all_gather_object(items, item)
        return items

    def broadcast(self, item: T) -> T:
        """Item of rank 0, on every rank."""
        items = [item]
        if self.size > 1:
            with _rank_loss_raised():
                dist.broadcast_object_list(items, device=self.device)
        return items[0]

    @contextmanager
    def sync_errors(self) -> Iterator[None]:
        """Raise an error of one rank on all of them, so that none waits for it."""
        error: CoordGateError | None = None
        try:
            yield
        except CoordGateError as raised:
            error = raised
        if self.any_reduce(error is not None)[0]:
            raise next(found for found in self.gather(error) if found is not None)

    def run_on_main(self, events: Generator[Event, None, T]) -> Generator[Event, None, T]:
        """Run a job on rank 0; every rank returns its result or raises its error."""
        while True:
            event: Event | None = None
            end: CoordGateError | _Result[T] | None = None
            if self.is_main:
                try:
                    event = next(events)
                except StopIteration as stop:
                    end = _Result(stop.value)
                except CoordGateError as error:
                    end = error
            end = self.broadcast(end)
            if isinstance(end, CoordGateError):
                raise end
            if end is not None:
                return end.value
            if event is not None:
                yield event


@dataclass(frozen=True)
class _Result(Generic[T]):
    """Result of a job, distinct from None."""

    value: T


@contextmanager
def _rank_loss_raised() -> Iterator[None]:
    """Raise a failure of the communication as `RankLostError`."""
    try:
        yield
    except RuntimeError:
        raise RankLostError from None


class _Autocast(MixedPrecision):
    """Mixed precision that keeps the inputs, which the residual output adds unrounded."""

    def convert_input(self, data: Any) -> Any:
        return data


def _build_fabric(runtime: RuntimeConfig, precision: str = "float32") -> Fabric:
    """Fabric of a training; with its precision passed as a plugin, it prints nothing."""
    device = resolve_device(runtime.device)
    plugin = _Autocast("bf16-mixed", device.type) if precision == "bfloat16" else Precision()
    if runtime.devices * runtime.nodes == 1:
        return Fabric(accelerator=device.type, devices=1, plugins=[plugin])
    count = {"cuda": torch.cuda.device_count(), "mps": 1}.get(device.type, runtime.devices)
    if runtime.devices > count or device.type == "mps":
        raise SettingsError(
            f"This computer has {count} {device.type} devices, not {runtime.devices}; set devices "
            f"to {count}, or train on the cpu."
        )
    try:
        return Fabric(
            accelerator=device.type,
            devices=runtime.devices,
            num_nodes=runtime.nodes,
            strategy="ddp",
            plugins=[plugin],
        )
    except RuntimeError as error:  # variables of the scheduler are missing or wrong
        raise SettingsError(" ".join(str(error).split())) from None
