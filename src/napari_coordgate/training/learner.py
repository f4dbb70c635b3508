"""Network, optimizer, learning rate and averaged weights: all that a step changes."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from napari_coordgate.config import TrainingConfig
from napari_coordgate.data import Batch, Sample
from napari_coordgate.data.unpaired import UnpairedBatch
from napari_coordgate.devices import is_out_of_memory, to_device
from napari_coordgate.errors import DeviceMemoryError, SettingsError
from napari_coordgate.networks import Network, build_network
from napari_coordgate.optics import PSFField
from napari_coordgate.training.distributed import ProcessGroup

MIN_WINDOW = 8

T = TypeVar("T")
TensorList = Sequence[Tensor] | tuple[Tensor, ...]


class Learner:
    """A network in training, its optimizer, and the average of its weights."""

    def __init__(
        self, config: TrainingConfig, group: ProcessGroup, psf_field: PSFField | None = None
    ) -> None:
        self.group = group
        self.batch_size = config.batch_size
        self.network = to_device(_seeded_network(config, psf_field), group.device)
        self.averaged = AveragedModel(self.network, multi_avg_fn=averaging(config.ema_decay))
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate)
        self._module, self._fabric_optimizer = group.fabric.setup(
            self.network, self.optimizer, move_to_device=False
        )

    @property
    def lr(self) -> float:
        """Current learning rate."""
        return float(self.optimizer.param_groups[0]["lr"])

    @lr.setter
    def lr(self, lr: float) -> None:
        self.optimizer.param_groups[0]["lr"] = lr

    def initialize(self, weights: Mapping[str, Tensor]) -> None:
        """Start from these weights instead of random ones."""
        try:
            self.network.load_state_dict(dict(weights))
        except RuntimeError:
            raise SettingsError(
                "The model to fine-tune has Wiener filters for PSFs of another size than those of "
                "the PSF field; train a new network for this lens."
            ) from None
        self.averaged.module.load_state_dict(dict(weights))

    def backward(self, batch: Batch) -> Tensor:
        """Backpropagate the mean squared error, weighted so that all frame pixels count equally."""
        self.optimizer.zero_grad()
        # DDP's own reduction during the backward pass would wait for a rank out of memory.
        with self.group.fabric.no_backward_sync(self._module):
            predicted = self._module(batch.blurred, batch.coordinates)
            loss: Tensor = (batch.weights * (predicted.float() - batch.sharp).square()).mean()
            self.group.fabric.backward(loss)
            loss = loss.detach()
            if batch.unpaired is not None:
                loss += self._backward_unpaired(batch.unpaired)
        return loss

    def _backward_unpaired(self, batch: UnpairedBatch) -> Tensor:
        """Backpropagate the losses of blurred windows, each in the memory of the one before."""
        total = torch.zeros((), device=batch.device)
        deblurred = self._module(*batch.inputs()).float()
        if batch.weights.held_out:
            loss = batch.held_out_loss(deblurred)
            self.group.fabric.backward(loss)
            total += loss.detach()
        if batch.weights.equivariance:
            moved = batch.moved(deblurred.detach())
            loss = moved.loss(self._module(*moved.inputs()).float())
            self.group.fabric.backward(loss)
            total += loss.detach()
        return total

    def step(self, loss: Tensor) -> float:
        """Take an optimizer step, given this rank's loss; returns the loss of the whole batch."""
        if self.group.size > 1:
            loss = self._mean_over_batch(loss)
        self._fabric_optimizer.step()
        return loss.item()

    def _mean_over_batch(self, loss: Tensor) -> Tensor:
        """Average loss and gradients over all ranks."""
        gradients = [w.grad for w in self.network.parameters() if w.grad is not None]
        share = len(self.group.share(self.batch_size)) / self.batch_size
        mean = share * torch.cat([part.flatten() for part in (*gradients, loss)])
        self.group.all_reduce(mean)
        *parts, loss = mean.split([part.numel() for part in (*gradients, loss)])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
        return loss

    def fits_in_memory(self, batch_size: int, window_size: int) -> bool:
        """Whether the gradient of a batch of this size fits in memory."""
        batch = (batch_size, window_size)
        return try_or_oom(lambda: self.backward(self.dummy_batch(*batch))) is not None

    def dummy_batch(self, batch_size: int, window_size: int) -> Batch:
        """Batch of this size that contains zeros."""
        image = torch.zeros((batch_size, 1, window_size, window_size), device=self.group.device)
        return Batch(image, image, image.expand(-1, 2, -1, -1), image)


def _seeded_network(config: TrainingConfig, psf_field: PSFField | None) -> Network:
    """Network whose initial weights depend on the seed only."""
    if config.network.has_wiener_bank and psf_field is None:
        raise SettingsError(
            f"A network of architecture {config.network.architecture} starts from the PSFs of the "
            "lens; train it with a PSF field, or choose another architecture."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return build_network(config.network, psf_field)


# Learning rate and averaging


def cosine_factor(step: int, total: int, warmup: int) -> float:
    """Factor of the learning rate: linear warm-up (at most 1/10 of the run), then cosine decay."""
    warmup = min(warmup, total // 10)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def plateau(optimizer: Optimizer, patience: int) -> ReduceLROnPlateau:
    """Scheduler that halves the learning rate after so many validations without improvement."""
    # PyTorch waits for its patience to pass, and halves at the validation after that.
    return ReduceLROnPlateau(optimizer, factor=0.5, patience=patience - 1, threshold=0, eps=0)


def averaging(decay: float) -> Callable[..., None]:
    """Exponential moving average, as ``multi_avg_fn``, whose decay grows with the number of steps.

    The first steps, whose weights are far from good, are soon forgotten.
    """

    def average(averaged: TensorList, current: TensorList, updates: Tensor | int) -> None:
        count = int(updates)
        grown = min(decay, (1 + count) / (10 + count))
        get_ema_multi_avg_fn(grown)(averaged, current, updates)

    return average


# Memory


def try_or_oom(compute: Callable[[], T]) -> T | None:
    """Result of a computation; None if the device runs out of memory.

    The tensors that did not fit are free after the return only: an error keeps alive all
    frames that it passed through.
    """
    try:
        return compute()
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            return None
        raise


def step_too_large(
    samples: Sequence[Sample],
    device: torch.device,
    fits_in_memory: Callable[[int, int], bool],
) -> DeviceMemoryError:
    """Error that names a smaller batch size and window which fit in memory."""
    side = max(samples[0].window.shape)
    smaller = [(batch_size, side) for batch_size in _halvings(len(samples))]
    smaller += [(1, shorter) for shorter in _halvings(side) if shorter >= MIN_WINDOW]
    found = next((both for both in smaller if fits_in_memory(*both)), None)
    advice = "nothing smaller fits either: choose a smaller network"
    if found is not None:
        advice = f"batch_size {found[0]} with windows of {found[1]} pixels fits"
    return DeviceMemoryError(
        f"The {device.type} ran out of memory at batch_size {len(samples)} with windows "
        f"of {side} pixels; {advice}."
    )


def _halvings(number: int) -> list[int]:
    """Half, a quarter, ... down to one."""
    return [number >> shift for shift in range(1, number.bit_length())]
