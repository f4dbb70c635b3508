"""The processes that train one network together, each on a device of its own."""

import logging
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
from napari_coordgate.devices import resolve_device
from napari_coordgate.errors import CoordGateError, SettingsError, TrainingError
from napari_coordgate.events import Event

__all__ = ["ProcessGroup", "RankLostError", "process_rank"]

NOT_STARTED = (
    "Training on several devices takes a process for each: use the command line, or start a script "
    "by 'torchrun --nproc-per-node DEVICES'."
)

T = TypeVar("T")


class RankLostError(TrainingError):
    """Another process of the training ended before its time."""

    def __init__(self, message: str = "Lost another process of the training.") -> None:
        super().__init__(message)


def process_rank(runtime: RuntimeConfig) -> int | None:
    """Place of this process among those of a training.

    Parameters
    ----------
    runtime : RuntimeConfig
        How many there are.

    Returns
    -------
    int or None
        0 is the one that speaks and writes; none: somebody has still to start them.

    Raises
    ------
    SettingsError
        If there are not as many devices here.
    """
    if runtime.devices * runtime.nodes == 1:
        return 0
    if hasattr(sys, "ps1") or sys.flags.interactive:
        return None  # nor would fabric be built here
    fabric = _build_fabric(runtime)
    strategy = fabric.strategy
    assert isinstance(strategy, DDPStrategy)
    assert strategy.cluster_environment is not None
    return fabric.global_rank if strategy.cluster_environment.creates_processes_externally else None


class ProcessGroup:
    """The processes of one training, as each of them sees them; alone, it is one of one.

    Every rank calls the same methods in the same order. Where one has ended, they raise
    `RankLostError` instead of waiting for it.

    Parameters
    ----------
    runtime : RuntimeConfig
        How many there are, and where they compute.

    Attributes
    ----------
    size : int
        Processes in all.
    rank : int
        Place of this one.
    device : torch.device
        Where it computes.
    fabric : Fabric
        Its engine.

    Raises
    ------
    SettingsError
        If nobody has started the others, or there are fewer devices or more processes.
    """

    def __init__(self, runtime: RuntimeConfig, precision: str = "float32") -> None:
        if process_rank(runtime) is None:
            raise SettingsError(NOT_STARTED)
        self.size = runtime.devices * runtime.nodes
        self.fabric = _build_fabric(runtime, precision)
        self.device = resolve_device(runtime.device)
        if self.size > 1:
            self._join()
            self.device = self.fabric.device
        self.rank = self.fabric.global_rank

    def _join(self) -> None:
        """Wait until all have started."""
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        try:
            self.fabric.launch()
        except ValueError as error:
            raise SettingsError(
                f"Devices and nodes are not those that were started: {error}"
            ) from None
        except RuntimeError as error:
            raise RankLostError(f"The processes did not find each other: {error}") from None

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def share(self, number: int) -> range:
        """Those of so many things that this one cares for."""
        return range(number * self.rank // self.size, number * (self.rank + 1) // self.size)

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Flags, each of which holds for all once it does for one."""
        if self.size == 1:
            return flags
        votes = torch.tensor(flags, dtype=torch.int32, device=self.device)
        self.all_reduce(votes)
        return tuple(vote > 0 for vote in votes.tolist())

    def all_reduce(self, tensor: Tensor) -> None:
        """Put the sum over all ranks in place of a tensor."""
        if self.size > 1:
            with _noticing_loss():
                dist.all_reduce(tensor)

    def gather(self, item: T) -> list[T]:
        """What each rank gives, on all of them."""
        items: list[Any] = [item] * self.size
        if self.size > 1:
            with _noticing_loss():
                dist.all_gather_object(items, item)
        return items

    def broadcast(self, item: T) -> T:
        """What rank 0 gives, on all of them."""
        items = [item]
        if self.size > 1:
            with _noticing_loss():
                dist.broadcast_object_list(items, device=self.device)
        return items[0]

    @contextmanager
    def sync_errors(self) -> Iterator[None]:
        """Raise what one of them raises on all of them, so that none waits for it."""
        error: CoordGateError | None = None
        try:
            yield
        except CoordGateError as raised:
            error = raised
        if self.any(error is not None)[0]:
            raise next(found for found in self.gather(error) if found is not None)

    def led(self, events: Generator[Event, None, T]) -> Generator[Event, None, T]:
        """Run a job on rank 0; the others hear of each step, and have its result or error."""
        while True:
            event: Event | None = None
            end: CoordGateError | _Result[T] | None = None
            if self.leads:
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
    """What a job returned."""

    value: T


@contextmanager
def _noticing_loss() -> Iterator[None]:
    """Tell a rank that has ended from a defect of ours."""
    try:
        yield
    except RuntimeError:
        raise RankLostError from None


class _Autocast(MixedPrecision):
    """Mixed precision that leaves the inputs alone: the residual output adds them unrounded."""

    def convert_input(self, data: Any) -> Any:
        return data


def _build_fabric(runtime: RuntimeConfig, precision: str = "float32") -> Fabric:
    """Engine of a run; given its precision ready-made, it prints nothing about it."""
    device = resolve_device(runtime.device)
    plugin = _Autocast("bf16-mixed", device.type) if precision == "bfloat16" else Precision()
    if runtime.devices * runtime.nodes == 1:
        return Fabric(accelerator=device.type, devices=1, plugins=[plugin])
    there = {"cuda": torch.cuda.device_count(), "mps": 1}.get(device.type, runtime.devices)
    if runtime.devices > there or device.type == "mps":
        raise SettingsError(
            f"This computer has {there} for {runtime.devices} {device.type} devices; ask for no "
            "more, or train on the cpu."
        )
    try:
        return Fabric(
            accelerator=device.type,
            devices=runtime.devices,
            num_nodes=runtime.nodes,
            strategy="ddp",
            plugins=[plugin],
        )
    except RuntimeError as error:  # the scheduler's variables are not as fabric needs them
        raise SettingsError(" ".join(str(error).split())) from None
