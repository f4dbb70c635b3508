"""Compute devices: selection, precision and free memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import psutil

from napari_coordgate.config import Device, check_device
from napari_coordgate.errors import DeviceMemoryError, SettingsError
from napari_coordgate.io.locks import acquire_slot
from napari_coordgate.memory import free_host_memory

if TYPE_CHECKING:
    import torch
    from torch import nn

N = TypeVar("N", bound="nn.Module")


def resolve_device(device: Device) -> torch.device:
    """Torch device of this name; ``auto`` is the best available one of CUDA, MPS and CPU."""
    import torch

    check_device(device)
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if device == "auto":
        return torch.device(next(name for name, exists in available.items() if exists))
    if not available[device]:
        raise SettingsError(
            f"Device '{device}' is not available on this computer; choose 'auto' or 'cpu', or "
            "install a PyTorch build that supports it."
        )
    return torch.device(device)


def usable_cores() -> int:
    """Processor cores that this process may use, of those of the computer."""
    affinity = getattr(psutil.Process(), "cpu_affinity", None)  # not on a Mac
    return len(affinity()) if affinity else psutil.cpu_count() or 1


def bfloat16_is_faster(device: torch.device) -> bool:
    """Whether a device computes faster in bfloat16 than in float32.

    Decided from the hardware, not by timing: one machine must always give the same pixels. True
    for NVIDIA GPUs since Ampere, AMD GPUs and Intel CPUs with AMX. CPUs without matrix units may
    emulate bfloat16 at a tenth of the speed (AVX-512 alone has not been measured).
    """
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return device.type == "cpu" and bool(capabilities.get("amx_bf16", False))


def free_device_memory(device: torch.device) -> int:
    """Bytes of a device's memory that this process can still allocate, PyTorch's cache included."""
    import torch

    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    return free_host_memory()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that a device ran out of memory."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # The CPU and MPS allocators raise a plain RuntimeError. oneDNN (convolutions on the CPU)
    # reports a failed allocation by the last two messages only.
    text = str(error)
    return isinstance(error, RuntimeError) and (
        "allocate memory" in text
        or "out of memory" in text
        or text in ("could not create a primitive", "could not execute a primitive")
    )


def to_device(network: N, device: torch.device) -> N:
    """Move a network to a device, in place, in the memory layout that suits convolutions best."""
    import torch

    try:
        network.to(device)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise DeviceMemoryError(
                f"The network does not fit into the memory of device '{device.type}'; close other "
                "programs that use it, or choose another device."
            ) from None
        raise
    for parameter in network.parameters():
        if parameter.ndim == 4:
            # `contiguous` ignores 1x1 and one-channel kernels, but features follow their layout.
            parameter.data = parameter.data.to(memory_format=torch.channels_last)
    return network


def assign_gpu(device: Device) -> None:
    """Reserve one of several GPUs for this process and make it the current CUDA device."""
    import torch

    count = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    if count > 1:
        torch.cuda.set_device(acquire_slot("gpu", count))
