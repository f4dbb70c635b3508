"""How the learning rate falls, and how weights are averaged over the steps."""

import math
from collections.abc import Callable, Sequence

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.optim.swa_utils import get_ema_multi_avg_fn

__all__ = ["averaging", "cosine_factor", "plateau"]

TensorList = Sequence[Tensor] | tuple[Tensor, ...]


def cosine_factor(step: int, total: int, warmup: int) -> float:
    """Part of the full learning rate at a step: up along a line, then down along a cosine.

    Parameters
    ----------
    step, total : int
        Steps done, and steps of the run.
    warmup : int
        Steps of the rise; at most a tenth of the run.

    Returns
    -------
    float
        Between 0 and 1.
    """
    warmup = min(warmup, total // 10)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def plateau(optimizer: Optimizer, patience: int) -> ReduceLROnPlateau:
    """Learning rate that halves when the loss has not fallen for so many validations.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rate it is.
    patience : int
        The validations, at least one.

    Returns
    -------
    ReduceLROnPlateau
        To be told the loss of each validation.
    """
    # Torch lets its patience pass, and halves at the validation after that.
    return ReduceLROnPlateau(optimizer, factor=0.5, patience=patience - 1, threshold=0, eps=0)


def averaging(decay: float) -> Callable[..., None]:
    """Exponential moving average whose memory grows with the run, up to the decay.

    Parameters
    ----------
    decay : float
        Weight of the past in a long run; 0: the average is the present.

    Returns
    -------
    callable
        As ``multi_avg_fn`` of `torch.optim.swa_utils.AveragedModel`.
    """

    def average(averaged: TensorList, current: TensorList, updates: Tensor | int) -> None:
        count = int(updates)
        grown = min(decay, (1 + count) / (10 + count))
        get_ema_multi_avg_fn(grown)(averaged, current, updates)

    return average
