"""Train and measure one-dimensional networks: the same protocol and the same row for all."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, jacrev, stack_module_state, vmap

from napari_coordgate.errors import CanceledError
from napari_coordgate.geometry import coordinate_axis
from napari_coordgate.metrics import psnr
from paper.networks_1d import CNN1D, GatedCNN1D, LocallyConnected1D, Padding, PixelAdaptiveCNN1D

LENGTH = 30
"""Pixels of a signal."""
SAMPLES_SEED = 0
ORDER_SEED = 1000
"""Added to the seed of a training, seeds the order of its samples."""
ONE_LAYER_FACTOR = 4
MIN_IMPROVEMENT = 0.99
"""Factor by which the validation loss must fall to count as an improvement."""
POLL_SECONDS = 0.3
SIGNALS_FOR_MATRIX = 64
AMPLITUDES = (0.25, 1.0, 4.0)
"""Factors on the test signals: H is linear, so a network that learned it should be too."""
ALWAYS = 0.99
"""Fraction of the signals for which a unit counts as always on (or off)."""

Float64 = NDArray[np.float64]
Row = dict[str, Any]
"""One network trained from one seed, as JSON values.

``model``, ``seed``, ``parameters``, ``steps`` until the last improvement, ``converged`` (before the
maximum number of steps), ``training_seconds`` of all seeds together, ``figures`` of `measure`.
"""


# Data


class Samples(NamedTuple):
    """Signals for training, validation and testing, each (samples, N)."""

    training: Tensor
    validation: Tensor
    test: Tensor


def offset_and_width(x: Float64) -> tuple[Float64, Float64]:
    """Return offset and standard deviation, in pixels, of the Gaussian of output pixel x (Eq. 5).

    As printed, the second case's width would fall to -1. With its sign corrected it rises from 0.5
    in the middle, where the first case ends, to 2 at the end.
    """
    half = x / 15
    offset = np.where(x < 15, 1 - half, 0.0)
    width = np.where(x < 15, 0.5, 0.5 * (2 - half) + 2 * (half - 1))
    return offset, width


def convolution_matrix() -> Float64:
    """Return H of Eq. 5, (N, N), with blurred = H sharp.

    The cases of Eq. 5 depend on x, so that each row is the Gaussian of one output pixel, centered
    ``offset`` pixels before it. As printed, rows do not sum to 1.
    """
    x = np.arange(LENGTH, dtype=np.float64)
    offset, width = (values[:, None] for values in offset_and_width(x))
    matrix: Float64 = np.exp(-((x[:, None] - x - offset) ** 2) / (2 * width**2))
    return matrix


def make_samples(training: int, validation: int, test: int, low: float = 0.0) -> Samples:
    """Draw signals of uniform random numbers between ``low`` and 1, the same at every call."""
    generator = torch.Generator().manual_seed(SAMPLES_SEED)
    drawn = torch.rand(training + validation + test, LENGTH, generator=generator)
    return Samples(*(low + (1 - low) * drawn).split([training, validation, test]))


# Model


@dataclass(frozen=True)
class Network1D:
    """A network of Fig. 3 under the paper's name: its architecture, coordinates and signals.

    ``random_numbers`` replaces each coordinate by a fixed random number in [-1, 1); ``low`` is the
    lowest intensity of the signals. The other fields are arguments of the network classes.
    """

    name: str
    kind: Literal["CNN", "cCNN", "CG", "LCN", "PAC"]
    layers: int = 1
    kernel_size: int = 7
    channels: int = 1
    encoder_layers: int = 2
    linear: bool = False
    padding: Padding = "same"
    relu_features: bool = False
    embedding: int = 0
    random_numbers: bool = False
    low: float = 0.0

    def build(self, seed: int) -> nn.Module:
        """Return the network with the initial weights of a seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self._build()

    def _build(self) -> nn.Module:
        size = (self.layers, self.kernel_size, self.channels)
        match self.kind:
            case "CG":
                relu = self.relu_features
                return GatedCNN1D(*size, self.encoder_layers, length=LENGTH, relu_features=relu)
            case "LCN":
                return LocallyConnected1D(LENGTH, self.kernel_size)
            case "PAC":
                return PixelAdaptiveCNN1D(*size, embedding=self.embedding)
        coordinates = self.kind == "cCNN"
        return CNN1D(*size, coordinates=coordinates, linear=self.linear, padding=self.padding)

    def coordinates(self, seed: int) -> Tensor:
        """Return the coordinates (N,) that the network gets."""
        if self.random_numbers:
            generator = torch.Generator().manual_seed(seed)
            return 2 * torch.rand(LENGTH, generator=generator) - 1
        return torch.from_numpy(coordinate_axis(0, LENGTH, LENGTH)).float()

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return sum(parameter.numel() for parameter in self.build(0).parameters())


# Training


@dataclass(frozen=True)
class Protocol:
    """How the networks are trained: Adam with its default parameters, mean squared error.

    A training has converged after ``patience`` steps without an improvement. Networks of one layer
    train fast but rest on plateaus: they get `ONE_LAYER_FACTOR` times the patience and steps.
    """

    training: int = 8000
    validation: int = 1000
    test: int = 1000
    batch_size: int = 32
    learning_rate: float = 1e-3
    validate_every: int = 250
    patience: int = 1500
    max_steps: int = 8000

    def for_layers(self, layers: int) -> "Protocol":
        """Return the protocol for a network with this number of layers."""
        factor = ONE_LAYER_FACTOR if layers == 1 else 1
        return replace(self, patience=factor * self.patience, max_steps=factor * self.max_steps)

    def samples(self, low: float) -> Samples:
        """Return the signals."""
        return make_samples(self.training, self.validation, self.test, low)


def train_all(
    missing: Mapping[Network1D, Sequence[int]],
    protocol: Protocol,
    cancel: threading.Event | None = None,
) -> Iterator[tuple[Network1D, list[Row]]]:
    """Train networks from their missing seeds, one process per network and core."""
    context = multiprocessing.get_context("spawn")  # PyTorch's threads do not survive a fork
    jobs = [(network, seeds, protocol) for network, seeds in missing.items()]
    workers = min(len(jobs), os.cpu_count() or 1)
    with context.Pool(workers, initializer=_start_worker) as pool:
        results = pool.imap_unordered(_train_and_measure, jobs)
        for _ in jobs:
            yield _next(results, cancel)


def _next(results: Any, cancel: threading.Event | None) -> tuple[Network1D, list[Row]]:
    """Wait for the next result of a pool."""
    while True:
        if cancel is not None and cancel.is_set():
            raise CanceledError("Stopped; run the command again to train the missing networks.")
        try:
            result: tuple[Network1D, list[Row]] = results.next(POLL_SECONDS)
        except multiprocessing.TimeoutError:
            continue
        return result


def _start_worker() -> None:
    torch.set_num_threads(1)
    # Ctrl-C reaches all processes of the terminal; the main process ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _train_and_measure(
    job: tuple[Network1D, Sequence[int], Protocol],
) -> tuple[Network1D, list[Row]]:
    network, seeds, protocol = job
    return network, train_and_measure(network, seeds, protocol)


def train_and_measure(network: Network1D, seeds: Sequence[int], protocol: Protocol) -> list[Row]:
    """Train a network from several seeds at once, until all have converged, and measure each."""
    start, protocol = time.perf_counter(), protocol.for_layers(network.layers)
    training = _StackedTraining(network, seeds, protocol)
    for step in range(1, protocol.max_steps + 1):
        training.step()
        if step % protocol.validate_every == 0 or step == protocol.max_steps:
            training.validate(step)
            if bool(training.converged.all()):
                break
    seconds = time.perf_counter() - start
    return [
        {
            "model": network.name,
            "seed": seed,
            "parameters": network.parameters,
            "steps": int(training.improved_at[number]),
            "converged": bool(training.converged[number]),
            "training_seconds": seconds,
            "figures": measure(network, seed, training.best_weights(number), protocol),
        }
        for number, seed in enumerate(seeds)
    ]


class _StackedTraining:
    """Networks of one architecture, stacked and trained together.

    Each training is as it would be alone: its weights, its order of samples, its end.
    """

    def __init__(self, network: Network1D, seeds: Sequence[int], protocol: Protocol) -> None:
        networks = [network.build(seed) for seed in seeds]
        self.weights, _ = stack_module_state(networks)
        self.coordinates = torch.stack([network.coordinates(seed) for seed in seeds])
        self.call = vmap(lambda weights, *data: functional_call(networks[0], weights, data))
        # Adam updates elementwise: the weights of one network do not affect those of another.
        self.optimizer = torch.optim.Adam(self.weights.values(), protocol.learning_rate, fused=True)
        self.protocol = protocol
        self.samples = protocol.samples(network.low)
        self.matrix = torch.from_numpy(convolution_matrix()).float()
        self.orders = [torch.Generator().manual_seed(ORDER_SEED + seed) for seed in seeds]
        self.batches: list[Tensor] = []
        self.best = {name: weight.detach().clone() for name, weight in self.weights.items()}
        self.best_loss = torch.full((len(seeds),), torch.inf)
        self.reference_loss = self.best_loss.clone()  # at the last improvement
        self.improved_at = torch.zeros(len(seeds), dtype=torch.long)
        self.converged = torch.zeros(len(seeds), dtype=torch.bool)

    def losses(self, signals: Tensor) -> Tensor:
        """Return the mean squared error of each network on its signals (networks, samples, N)."""
        errors = self.call(self.weights, signals, self.coordinates) - signals @ self.matrix.T
        losses: Tensor = errors.square().mean((1, 2))
        return losses

    def step(self) -> None:
        """Update every network once."""
        self.optimizer.zero_grad()
        self.losses(self.samples.training[self._batch()]).sum().backward()
        self.optimizer.step()

    def _batch(self) -> Tensor:
        """Return the sample indices (networks, batch) of the next step of an epoch."""
        if not self.batches:
            count = self.protocol.training
            orders = torch.stack([torch.randperm(count, generator=o) for o in self.orders])
            self.batches = list(orders.split(self.protocol.batch_size, dim=1))[::-1]
        return self.batches.pop()

    @torch.no_grad()
    def validate(self, step: int) -> None:
        """Keep the weights with the lowest validation loss, and see which trainings converged."""
        signals = self.samples.validation
        losses = self.losses(signals.expand(len(self.converged), *signals.shape))
        better = (losses < self.best_loss) & ~self.converged
        self.best_loss = torch.where(better, losses, self.best_loss)
        for name, weight in self.weights.items():
            self.best[name][better] = weight.detach()[better]
        improved = (losses < MIN_IMPROVEMENT * self.reference_loss) & ~self.converged
        self.reference_loss = torch.where(improved, losses, self.reference_loss)
        self.improved_at[improved] = step
        self.converged |= step - self.improved_at >= self.protocol.patience

    def best_weights(self, number: int) -> dict[str, Tensor]:
        """Return the best weights of one network."""
        return {name: weight[number].clone() for name, weight in self.best.items()}


# Measurement


@torch.no_grad()
def measure(
    spec: Network1D, seed: int, weights: Mapping[str, Tensor], protocol: Protocol
) -> dict[str, Any]:
    """Measure a trained network on the test signals.

    ``psnr`` (dB, peak 1), also without coordinates (all 0); ``pixel_errors``, the mean squared
    error of each pixel; ``relative_error_db``, the error relative to the variance of the blurred
    signals; ``scaled_error_db``, relative to their power, for each of `AMPLITUDES`; and the figures
    of `_linearization` and `_coordinate_use`.
    """
    network = spec.build(seed)
    network.load_state_dict(weights)
    coordinates, signals = spec.coordinates(seed), protocol.samples(spec.low).test
    matrix = torch.from_numpy(convolution_matrix()).float()
    blurred = signals @ matrix.T
    output, without = (network(signals, c) for c in (coordinates, torch.zeros_like(coordinates)))
    errors = (output - blurred).square()
    scaled_errors = [
        (network(factor * signals, coordinates) - factor * blurred).square().mean()
        / (factor * blurred).square().mean()
        for factor in AMPLITUDES
    ]
    return {
        "psnr": psnr(blurred.numpy(), output.numpy()),
        "pixel_errors": errors.mean(0).tolist(),
        "relative_error_db": _decibels(errors.mean() / blurred.var(0).mean()),
        "scaled_error_db": [_decibels(error) for error in scaled_errors],
        "psnr_without_coordinates": psnr(blurred.numpy(), without.numpy()),
        **_linearization(network, coordinates, signals, matrix),
        **(_coordinate_use(network, coordinates, signals) if isinstance(network, CNN1D) else {}),
    }


def _decibels(ratio: Tensor) -> float:
    return float(10 * torch.log10(ratio))


def _linearization(
    network: nn.Module, coordinates: Tensor, signals: Tensor, matrix: Tensor
) -> dict[str, Any]:
    """Compare a network with H by its Jacobians.

    ``matrix`` is the mean Jacobian, for a linear network its impulse responses;
    ``matrix_error_db`` its error; ``nonlinearity`` the RMS deviation of single Jacobians from it;
    both relative to H.
    """

    def output(signal: Tensor) -> Tensor:
        result: Tensor = network(signal[None], coordinates)[0]
        return result

    jacobians = vmap(jacrev(output))(signals[:SIGNALS_FOR_MATRIX])
    mean = jacobians.mean(0)
    deviation = (jacobians - mean).square().sum((1, 2)).mean() / matrix.square().sum()
    error = (mean - matrix).square().sum() / matrix.square().sum()
    return {
        "matrix": np.round(mean.numpy().astype(float), 4).tolist(),
        "matrix_error_db": _decibels(error),
        "nonlinearity": float(deviation.sqrt()),
    }


def _coordinate_use(network: CNN1D, coordinates: Tensor, signals: Tensor) -> dict[str, float]:
    """Measure how the ReLUs and the coordinates of a CNN are used.

    ``switching_units``: fraction of the hidden units that are always on at some pixels and always
    off at others; ``decided``: fraction of all units at all pixels that are always on or always
    off; ``coordinate_weights``: RMS weight of the coordinates relative to that of the features,
    averaged over the layers (1 before training).
    """
    figures = {}
    if len(network.convolutions) > 1 and not network.linear:
        on = torch.cat(_active_fractions(network, coordinates, signals))
        always, never = on >= ALWAYS, on <= 1 - ALWAYS
        figures["switching_units"] = float((always.any(1) & never.any(1)).float().mean())
        figures["decided"] = float((always | never).float().mean())
    if network.coordinates:
        weights = [layer.get_parameter("weight") for layer in network.convolutions]
        ratios = [
            weight[:, -1].square().mean().sqrt() / weight[:, :-1].square().mean().sqrt()
            for weight in weights
        ]
        figures["coordinate_weights"] = float(torch.stack(ratios).mean())
    return figures


def _active_fractions(network: CNN1D, coordinates: Tensor, signals: Tensor) -> list[Tensor]:
    """Return, per hidden layer, the fraction of signals for which each unit is on (channels, N)."""
    fractions: list[Tensor] = []

    def record(_: nn.Module, __: object, output: Tensor) -> None:
        margin = (output.shape[-1] - LENGTH) // 2
        fractions.append((output[..., margin : margin + LENGTH] > 0).float().mean(0))

    hooks = [layer.register_forward_hook(record) for layer in network.convolutions[:-1]]
    network(signals, coordinates)
    for hook in hooks:
        hook.remove()
    return fractions
