"""How long the networks take to answer."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from paper.line.models import Model
from paper.line.task import LENGTH, line_coordinates
from paper.networks import GatedLine

__all__ = ["gate_microseconds", "inference_microseconds"]

SIGNALS = 1000
WARM_UP = 3
TURNS = 20
GATED_CHANNELS = (3, 16, 64)


def inference_microseconds(models: Sequence[Model]) -> dict[str, float]:
    """Time that each network takes for a signal, in batches of 1,000, on one thread.

    Gating maps are made beforehand, as in use. Networks take turns, so that a slow moment
    hits all alike; the medians of their turns are told. Weights do not matter.

    Parameters
    ----------
    models : sequence of Model
        The networks.

    Returns
    -------
    dict of str to float
        Microseconds, by the network's name.
    """
    return _microseconds({model.name: _answering(model) for model in models})


def gate_microseconds() -> dict[str, dict[str, float]]:
    """What a gate adds to a convolution of 7 taps and the 1x1 convolution after it.

    Returns
    -------
    dict of str to dict
        For each number of channels, microseconds a signal ``without`` the gate, with its map
        ``kept``, and ``made`` anew for each batch.
    """
    told = {}
    for channels in GATED_CHANNELS:
        network, signals = GatedLine(1, 7, channels, 2), torch.rand(SIGNALS, LENGTH)
        coordinates = line_coordinates()
        kept = network.gating_map(coordinates).detach()
        told[str(channels)] = _microseconds(
            {
                "without": partial(_without_gate, network, signals),
                "kept": partial(network, signals, coordinates, kept),
                "made": partial(network, signals, coordinates),
            }
        )
    return told


def _without_gate(network: GatedLine, signals: Tensor) -> Tensor:
    mixed: Tensor = network.mix(network.features(signals[:, None]))
    return mixed


def _answering(model: Model) -> Callable[[], Tensor]:
    network, signals = model.build(0), torch.rand(SIGNALS, LENGTH)
    coordinates = model.coordinates(0)
    if isinstance(network, GatedLine):
        kept = network.gating_map(coordinates).detach()
        return lambda: network(signals, coordinates, kept)
    return lambda: network(signals, coordinates)


@torch.inference_mode()
def _microseconds(answers: Mapping[str, Callable[[], Tensor]]) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in answers}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for turn in range(WARM_UP + TURNS):
            for name, answer in answers.items():
                start = time.perf_counter()
                answer()
                if turn >= WARM_UP:
                    times[name].append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    return {name: 1e6 * statistics.median(taken) / SIGNALS for name, taken in times.items()}
