"""Train a network of the line from several seeds at once, each until it learns no more."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from paper.line.models import Model
from paper.line.task import Samples, convolution_matrix, make_samples

__all__ = ["Protocol", "Trained", "train_line"]

ONE_LAYER = 4
FIRST_ORDER_SEED = 1000
"""Seed of the order of the samples, to which the training's own is added."""


@dataclass(frozen=True)
class Protocol:
    """How the networks are trained: Adam with its default parameters, mean squared error.

    Attributes
    ----------
    training, validation, test : int
        Samples, 10,000 in all as in the paper.
    batch_size : int
        Samples a step.
    learning_rate : float
        Adam's default.
    check_every : int
        Steps between two looks at the validation loss.
    patience : int
        Steps without a validation loss lower by 1 % after which a training has converged.
    most_steps : int
        Where a training ends that has not. A network of one layer is quickly trained but rests
        on plateaus: its patience and most steps are `ONE_LAYER` times as many.
    """

    training: int = 8000
    validation: int = 1000
    test: int = 1000
    batch_size: int = 32
    learning_rate: float = 1e-3
    check_every: int = 250
    patience: int = 1500
    most_steps: int = 8000

    def of(self, model: Model) -> "Protocol":
        """Protocol for a network of so many layers."""
        if model.layers > 1:
            return self
        longer = {name: ONE_LAYER * getattr(self, name) for name in ("patience", "most_steps")}
        return replace(self, **longer)

    def samples(self, low: float = 0.0) -> Samples:
        """Signals of this protocol."""
        return make_samples(self.training, self.validation, self.test, low)


GAIN = 0.99
"""A validation loss this much of the best is a better one."""


@dataclass(frozen=True)
class Trained:
    """One training.

    Attributes
    ----------
    seed : int
        Of the initial weights, the order of the samples and the random numbers.
    weights : dict of str to Tensor
        Those of the best validation loss.
    steps : int
        Steps until the last gain.
    converged : bool
        Whether it had ended before the most steps allowed.
    seconds : float
        Wall time of all trainings that went side by side.
    """

    seed: int
    weights: dict[str, Tensor]
    steps: int
    converged: bool
    seconds: float


def train_line(
    model: Model,
    seeds: Sequence[int],
    protocol: Protocol,
    stopped: Callable[[], bool] = lambda: False,
) -> list[Trained] | None:
    """Train a network from each of these seeds, side by side.

    Every training is as it would be alone: its weights, its order of samples, its end.

    Parameters
    ----------
    model : Model
        The network.
    seeds : sequence of int
        One training each.
    protocol : Protocol
        Samples, batches, and when it ends.
    stopped : callable
        Asked at every look at the validation loss.

    Returns
    -------
    list of Trained or None
        One for each seed; none if stopped.
    """
    start, protocol = time.perf_counter(), protocol.of(model)
    side_by_side = _SideBySide(model, seeds, protocol)
    for step in range(1, protocol.most_steps + 1):
        side_by_side.learn()
        if step % protocol.check_every == 0 or step == protocol.most_steps:
            if stopped():
                return None
            if side_by_side.look(step):
                break
    seconds = time.perf_counter() - start
    return [side_by_side.trained(number, seconds) for number in range(len(seeds))]


class _SideBySide:
    """Stacked networks of one form, their optimizer and the best of each by now."""

    def __init__(self, model: Model, seeds: Sequence[int], protocol: Protocol) -> None:
        networks = [model.build(seed) for seed in seeds]
        self.weights, _ = stack_module_state(networks)
        self.coordinates = torch.stack([model.coordinates(seed) for seed in seeds])
        self.call = vmap(lambda weights, *data: functional_call(networks[0], weights, data))
        # The same updates for all: weights of one network do not see those of another.
        self.optimizer = torch.optim.Adam(self.weights.values(), protocol.learning_rate, fused=True)
        self.seeds, self.protocol = seeds, protocol
        self.samples = protocol.samples(model.lowest)
        self.matrix = torch.from_numpy(convolution_matrix()).float()
        self.orders = [torch.Generator().manual_seed(FIRST_ORDER_SEED + seed) for seed in seeds]
        self.batches: list[Tensor] = []
        self.best = {name: weight.detach().clone() for name, weight in self.weights.items()}
        self.least = torch.full((len(seeds),), torch.inf)  # of the kept weights
        self.mark = self.least.clone()  # the loss to gain on
        self.steps = torch.zeros(len(seeds), dtype=torch.long)
        self.done = torch.zeros(len(seeds), dtype=torch.bool)

    def losses(self, signals: Tensor) -> Tensor:
        """Mean squared error of each network on its signals (networks, samples, N)."""
        wrong = self.call(self.weights, signals, self.coordinates) - signals @ self.matrix.T
        losses: Tensor = wrong.square().mean((1, 2))
        return losses

    def learn(self) -> None:
        """One step of every network."""
        self.optimizer.zero_grad()
        self.losses(self.samples.training[self._batch()]).sum().backward()
        self.optimizer.step()

    def _batch(self) -> Tensor:
        """Samples of the next step, (networks, batch); every epoch sees each of them once."""
        if not self.batches:
            count = self.protocol.training
            orders = torch.stack([torch.randperm(count, generator=o) for o in self.orders])
            self.batches = list(orders.split(self.protocol.batch_size, dim=1))[::-1]
        return self.batches.pop()

    @torch.no_grad()
    def look(self, step: int) -> bool:
        """Keep the weights that validate best; whether all trainings have converged."""
        signals = self.samples.validation
        losses = self.losses(signals.expand(len(self.seeds), *signals.shape))
        better = (losses < self.least) & ~self.done
        self.least = torch.where(better, losses, self.least)
        for name, weight in self.weights.items():
            self.best[name][better] = weight.detach()[better]
        gained = (losses < GAIN * self.mark) & ~self.done
        self.mark = torch.where(gained, losses, self.mark)
        self.steps[gained] = step
        self.done |= step - self.steps >= self.protocol.patience
        return bool(self.done.all())

    def trained(self, number: int, seconds: float) -> Trained:
        """Training of one seed."""
        weights = {name: weight[number].clone() for name, weight in self.best.items()}
        steps, converged = int(self.steps[number]), bool(self.done[number])
        return Trained(self.seeds[number], weights, steps, converged, seconds)
