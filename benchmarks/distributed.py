"""Training by two processes, relative to one; each uses one thread.

Two trainings at once that have nothing to do with each other show what the processor allows.
"""

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
    """Measure interleaved training steps of the same batch size."""
    # A training alone takes two steps a round; the last step, which validates, is not run.
    steps = 2 * (WARM_UP + rounds) + 1
    changes = {"steps": steps, "epochs": None, "validate_every": steps}
    config = (config or TrainingConfig()).model_copy(update=changes)
    with ExitStack() as stack:
        ranks = _start_ranks(config, stack)
        alone, together, beside = interleaved_seconds(
            lambda: _step(ranks[:1], 1),
            lambda: _step(ranks, 2),
            lambda: _step(ranks, 1),
            rounds=rounds,
            warm_up=WARM_UP,
        )
    training = f"training steps/s (batch {config.batch_size}, windows of {config.window_size})"
    return [
        Figure(
            f"{training} by two processes of one thread, over those by one",
            median_ratio(alone, together),
            at_least=1.8,
        ),
        Figure(
            f"{training} of two independent trainings of one thread, over one",
            2 * median_ratio(alone, beside),
        ),
    ]


def _start_ranks(config: TrainingConfig, stack: ExitStack) -> list[Connection]:
    """Start two processes of one distributed training; the stack ends them."""
    context = multiprocessing.get_context("spawn")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    connections = []
    for rank in range(2):
        ours, theirs = context.Pipe()
        process = context.Process(target=_take_steps, args=(config, rank, port, theirs))
        process.start()
        stack.callback(ours.close)
        stack.callback(process.join)
        stack.callback(process.kill)
        connections.append(ours)
    return connections


def _step(ranks: list[Connection], devices: int) -> None:
    """Run one step of the training by these ranks, together or each alone, and wait for it."""
    for connection in ranks:
        connection.send(devices)
    for connection in ranks:
        connection.recv()


def _take_steps(config: TrainingConfig, rank: int, port: int, connection: Connection) -> None:
    """Train as one rank, one step per message, which tells the number of processes."""
    rendezvous = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_RANK": str(rank)}
    os.environ |= rendezvous | {"OMP_NUM_THREADS": "1"}
    trainings: dict[int, Callable[[], Any]] = {}
    while True:
        devices = connection.recv()
        if devices not in trainings:
            trainings[devices] = _steps_of(config, RuntimeConfig(device="cpu", devices=devices))
        trainings[devices]()
        connection.send(None)


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
