"""What to try when the memory of a device is too small."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from napari_coordgate.data import Sample
from napari_coordgate.devices import is_out_of_memory
from napari_coordgate.errors import DeviceMemoryError

__all__ = ["step_too_large", "try_or_oom", "validation_too_large"]

SMALLEST_WINDOW = 8

T = TypeVar("T")


def try_or_oom(compute: Callable[[], T]) -> T | None:
    """Result of a computation; None where the memory is too small for it.

    The tensors that did not fit are free again after the return, not before:
    an error holds on to all the frames that it passed through.
    """
    try:
        return compute()
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            return None
        raise


def step_too_large(
    samples: Sequence[Sample], device: torch.device, fits: Callable[[int, int], bool]
) -> DeviceMemoryError:
    """Error that names a batch and window which fit where some samples did not.

    Parameters
    ----------
    samples : sequence of Sample
        The samples of the step.
    device : torch.device
        Where the memory was too small.
    fits : callable
        Tells whether a batch size and a side of windows fit.

    Returns
    -------
    DeviceMemoryError
        The error to raise.
    """
    side = max(samples[0].window.shape)
    smaller = [(batch_size, side) for batch_size in _halvings(len(samples))]
    smaller += [(1, shorter) for shorter in _halvings(side) if shorter >= SMALLEST_WINDOW]
    found = next((both for both in smaller if fits(*both)), None)
    advice = "nothing smaller fits either: choose a smaller network"
    if found is not None:
        advice = f"batch_size {found[0]} with windows of {found[1]} pixels fits"
    return DeviceMemoryError(
        f"The {device.type} ran out of memory at batch_size {len(samples)} with windows "
        f"of {side} pixels; {advice}."
    )


def validation_too_large(frame_shape: tuple[int, int], device: torch.device) -> DeviceMemoryError:
    """Error of a validation, which looks at whole frames."""
    height, width = frame_shape
    return DeviceMemoryError(
        f"The {device.type} ran out of memory validating on frames of {height}x{width} pixels; "
        "crop the sharp images, choose a smaller network, or train on the cpu."
    )


def _halvings(number: int) -> list[int]:
    """Half, a quarter, ... down to one."""
    return [number >> shift for shift in range(1, number.bit_length())]
