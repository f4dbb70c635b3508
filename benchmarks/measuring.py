"""What all measurements share: interleaved timing, peak memory, a process for each."""

import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib import import_module, metadata
from typing import Any

from benchmarks.figures import Figure

PACKAGES = ("napari-coordgate", "torch", "numpy", "scipy")


def interleaved_seconds(
    *actions: Callable[[], object], rounds: int, warm_up: int = 1
) -> list[list[float]]:
    """Wall times of actions that take turns (A B A B), so that a slow moment hits all alike."""
    times: list[list[float]] = [[] for _ in actions]
    for turn in range(warm_up + rounds):
        for action, seconds in zip(actions, times, strict=True):
            start = time.perf_counter()
            action()
            if turn >= warm_up:
                seconds.append(time.perf_counter() - start)
    return times


def median_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """Median over the turns of the ratio within a turn."""
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))


def peak_memory_gb() -> float:
    """Largest resident set of this process so far, GB; mapped pages of files count as well."""
    from napari_coordgate.memory import peak_resident_bytes

    peak = peak_resident_bytes()
    return float("nan") if peak is None else peak / 1e9


def measure_one(name: str, options: dict[str, Any]) -> list[Figure]:
    """Figures of a benchmark, the module of this name; called in a process of its own."""
    figures: list[Figure] = import_module(f"benchmarks.{name}").measure(**options)
    return figures


def describe_machine() -> dict[str, Any]:
    """Software and hardware behind the figures, as plain JSON values."""
    import torch

    from napari_coordgate.devices import resolve_device

    device = resolve_device("auto")
    return {
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else device.type,
    }
