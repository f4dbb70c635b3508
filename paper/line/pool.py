"""Trainings on all cores: each network in a process with one thread, its seeds side by side."""

import multiprocessing
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing.synchronize import Event
from typing import Any

import torch

from napari_coordgate.events import raise_if_canceled
from paper.line.measuring import figures_of
from paper.line.models import Model
from paper.line.training import Protocol, train_line

__all__ = ["train_all", "train_and_measure"]

LOOK_SECONDS = 0.3
"""Between two looks at whether the job was canceled."""

Figures = dict[str, Any]

_stop: Event | None = None
"""In a process of the pool: set when the job was canceled."""


def train_all(
    wanted: Mapping[Model, Sequence[int]],
    protocol: Protocol,
    cancel: threading.Event | None = None,
) -> Iterator[tuple[Model, list[Figures]]]:
    """Train networks, as many at once as there are cores.

    Parameters
    ----------
    wanted : mapping of Model to sequence of int
        Seeds of each network.
    protocol : Protocol
        How to train.
    cancel : threading.Event, optional
        Once set, trainings under way are given up.

    Yields
    ------
    model : Model
        A network whose trainings are done, in the order in which they end.
    figures : list of dict
        From `train_and_measure`.

    Raises
    ------
    CanceledError
        If canceled.
    """
    context = multiprocessing.get_context("spawn")  # PyTorch's threads do not survive a fork
    stop = context.Event()
    workers = min(len(wanted), os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(stop,)) as pool:
        running: dict[Future[list[Figures] | None], Model] = {
            pool.submit(train_and_measure, model, seeds, protocol): model
            for model, seeds in wanted.items()
        }
        try:
            while running:
                done, _ = wait(running, LOOK_SECONDS, FIRST_COMPLETED)
                raise_if_canceled(cancel, "Stopped; a second start trains what is missing.")
                for future in done:
                    figures = future.result()
                    assert figures is not None
                    yield running.pop(future), figures
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def train_and_measure(
    model: Model, seeds: Sequence[int], protocol: Protocol
) -> list[Figures] | None:
    """Train a network from some seeds and measure what came of it.

    Returns
    -------
    list of dict or None
        Fields of a `LineRow`, one for each seed; none if stopped.
    """
    trainings = train_line(model, seeds, protocol, stopped=_stopped)
    if trainings is None:
        return None
    return [
        {
            "model": model.name,
            "seed": trained.seed,
            "parameters": model.parameters,
            "steps": trained.steps,
            "converged": trained.converged,
            "training_seconds": trained.seconds,
            "figures": figures_of(model, trained, protocol),
        }
        for trained in trainings
    ]


def _begin(stop: Event) -> None:
    """Prepare a process of the pool."""
    global _stop
    _stop = stop
    torch.set_num_threads(1)
    # Ctrl-C reaches the whole group of processes; the job decides what becomes of it.
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _stopped() -> bool:
    return _stop is not None and _stop.is_set()
