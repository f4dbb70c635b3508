"""Show what the program runs on: versions, processors and the device that is used."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from napari_coordgate.devices import (
    bfloat16_is_faster,
    free_device_memory,
    resolve_device,
    usable_cores,
)
from napari_coordgate.version import __version__

PACKAGES = "torch", "numpy", "scikit-image", "tifffile", "zarr", "napari", "pyqt6", "pyside6"
OPTIONAL = "pylibCZIrw", "nd2", "liffile", "distributed", "fsspec"
GIB = 2**30


def system_info() -> dict[str, Any]:
    """Versions, processors, memory, and the device with the reason for its choice."""
    device = resolve_device("auto")
    return {
        "napari-coordgate": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "optional_packages": {name: _version(name) for name in OPTIONAL},
        "device": device.type,
        "why": reason(device.type),
        "bfloat16": bfloat16_is_faster(device),
        "free_memory_gib": round(free_device_memory(device) / GIB, 1),
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
    }


def reason(device: str) -> str:
    """Why this device is used, and not a faster one."""
    if device == "cuda":
        return f"PyTorch finds {torch.cuda.get_device_name()}."
    if device == "mps":
        return "PyTorch finds the GPU of this Mac."
    if torch.version.cuda is None and torch.version.hip is None:
        return (
            "This build of PyTorch is for CPUs only. If the computer has a GPU, install the build "
            "for it (docs/install.md)."
        )
    return (
        "This build of PyTorch is for GPUs, but it finds none: there is none, its driver is "
        "missing or older than the build needs, or CUDA_VISIBLE_DEVICES hides it."
    )


def _version(name: str) -> str:
    """Version of an installed package."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
