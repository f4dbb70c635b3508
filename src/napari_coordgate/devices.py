"""Where to compute."""

from typing import TypeVar

import torch
from torch import nn

from napari_coordgate.config import Device
from napari_coordgate.errors import DeviceMemoryError, SettingsError

__all__ = ["free_memory", "is_out_of_memory", "resolve_device", "to_device"]

N = TypeVar("N", bound=nn.Module)


def resolve_device(device: Device) -> torch.device:
    """Device of a name; ``auto`` is the best one that this machine has.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda", "mps"}
        CUDA is an NVIDIA GPU (or an AMD one, under ROCm), MPS an Apple one.

    Returns
    -------
    torch.device
        A device that is there.

    Raises
    ------
    SettingsError
        If this machine, or this installation of PyTorch, has no such device.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if device == "auto":
        return torch.device(next(name for name, there in available.items() if there))
    if not available[device]:
        raise SettingsError(
            f"Device '{device}' is not available here; choose 'auto' or 'cpu', or install a "
            f"PyTorch build that supports it."
        )
    return torch.device(device)


def free_memory(device: torch.device) -> int:
    """Memory of a device that this process may still take.

    Parameters
    ----------
    device : torch.device
        The device.

    Returns
    -------
    int
        Bytes; on a GPU with those that PyTorch holds in reserve. On an Apple GPU, what is left
        of the most that the system recommends.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    import psutil

    return int(psutil.virtual_memory().available)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device's memory was too small."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # The CPU and Apple allocators raise a plain RuntimeError.
    text = str(error)
    return isinstance(error, RuntimeError) and (
        "allocate memory" in text or "out of memory" in text
    )


def to_device(network: N, device: torch.device) -> N:
    """Network moved to a device, in the memory layout in which convolutions are fastest.

    Parameters
    ----------
    network : nn.Module
        The network; it is changed in place.
    device : torch.device
        Where to.

    Returns
    -------
    nn.Module
        The network.

    Raises
    ------
    DeviceMemoryError
        If the device has not the memory for it.
    """
    try:
        network.to(device)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise DeviceMemoryError(
                f"The {device.type} has no memory for the network itself; end other programs that "
                "use it, or choose another device."
            ) from None
        raise
    for parameter in network.parameters():
        if parameter.ndim == 4:
            # `contiguous` passes over 1x1 and one-channel kernels, and features follow these.
            parameter.data = parameter.data.to(memory_format=torch.channels_last)
    return network
