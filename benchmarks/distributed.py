"""Two processes that train together, over one; each computes with one thread."""

import multiprocessing
import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from benchmarks.figures import Figure
from benchmarks.measuring import interleaved_seconds, median_ratio
from napari_coordgate.config import GaussianLens, RuntimeConfig, TrainingConfig

FRAME = (256, 256)
IMAGES = 8
WARM_UP = 3


def measure(rounds: int = 20, config: TrainingConfig | None = None) -> list[Figure]:
    """Measure single steps in turn, of one batch size."""
    steps = WARM_UP + rounds + 1  # the last step, which validates, is not taken
    changes = {"steps": steps, "epochs": None, "validate_every": steps}
    config = (config or TrainingConfig()).model_copy(update=changes)
    with ExitStack() as processes:
        one, two = (
            _Trainers(config, RuntimeConfig(device="cpu", devices=devices), processes)
            for devices in (1, 2)
        )
        alone, together = interleaved_seconds(one.step, two.step, rounds=rounds, warm_up=WARM_UP)
    name = (
        f"training steps/s (batch {config.batch_size}, windows of {config.window_size}) by two "
        "processes of one thread, over those by one"
    )
    return [Figure(name, median_ratio(alone, together), at_least=1.8)]


class _Trainers:
    """Processes that train together, and take a step when they are told to."""

    def __init__(
        self, config: TrainingConfig, runtime: RuntimeConfig, processes: ExitStack
    ) -> None:
        context = multiprocessing.get_context("spawn")
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        self._ends: list[Connection] = []
        for rank in range(runtime.devices):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_take_steps, args=(config, runtime, rank, port, theirs)
            )
            process.start()
            processes.callback(ours.close)
            processes.callback(process.join)
            processes.callback(process.kill)
            self._ends.append(ours)

    def step(self) -> None:
        """Take a step, and wait until all have."""
        for end in self._ends:
            end.send(None)
        for end in self._ends:
            end.recv()


def _take_steps(
    config: TrainingConfig, runtime: RuntimeConfig, rank: int, port: int, orders: Connection
) -> None:
    """Train in a process of a rank, a step for each order."""
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_RANK": str(rank)}
    os.environ |= meeting | {"OMP_NUM_THREADS": "1"}
    next_step = _steps_of(config, runtime)
    while True:
        orders.recv()
        next_step()
        orders.send(None)


def _steps_of(config: TrainingConfig, runtime: RuntimeConfig) -> Callable[[], Any]:
    import torch

    from napari_coordgate.events import Progress
    from napari_coordgate.optics import PSFField
    from napari_coordgate.training import train_events

    torch.set_num_threads(1)
    sharp = np.random.default_rng(0).random((IMAGES, *FRAME), np.float32)
    field = PSFField.from_lens(GaussianLens(sigma_edge_px=1.5), FRAME)
    events = train_events(sharp, field, config=config, runtime=runtime)
    return lambda: next(
        event for event in events if isinstance(event, Progress) and event.stage == "training"
    )
