"""Where to compute, in which precision, and in how much memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from napari_coordgate.config import Device
from napari_coordgate.errors import DeviceMemoryError, SettingsError
from napari_coordgate.io.locks import acquire_slot
from napari_coordgate.memory import free_host_memory

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = [
    "free_memory",
    "gains_by_bfloat16",
    "is_out_of_memory",
    "resolve_device",
    "to_device",
    "use_own_gpu",
]

N = TypeVar("N", bound="nn.Module")


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
    import torch

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


def gains_by_bfloat16(device: torch.device) -> bool:
    """Whether a device computes faster in bfloat16 than in float32.

    It is asked for its matrix units, not timed: the same machine must give the same pixels,
    however busy it is. A processor without such units may emulate it, at a tenth of the speed;
    what one with AVX-512 alone gains has not been measured.

    Parameters
    ----------
    device : torch.device
        The device.

    Returns
    -------
    bool
        True for GPUs of NVIDIA from Ampere on and those of AMD, and for Intel's processors
        with AMX. False for Apple's GPUs, and where PyTorch is too old to tell.
    """
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return device.type == "cpu" and bool(capabilities.get("amx_bf16", False))


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
        of the most that the system recommends. On a CPU, see `free_host_memory`.
    """
    import torch

    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    return free_host_memory()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device's memory was too small."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # The CPU and Apple allocators raise a plain RuntimeError. The library of the CPU's
    # convolutions says no more than the last of these where its allocation fails.
    text = str(error)
    return isinstance(error, RuntimeError) and (
        "allocate memory" in text
        or "out of memory" in text
        or text in ("could not create a primitive", "could not execute a primitive")
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
    import torch

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


def use_own_gpu(device: Device) -> None:
    """Let this thread compute on the GPU of this process, where the computer has several.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda", "mps"}
        Where the work is to be done; only CUDA has several.
    """
    import torch

    count = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    if count > 1:
        torch.cuda.set_device(acquire_slot("gpu", count))
