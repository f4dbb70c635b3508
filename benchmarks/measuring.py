"""Shared by all benchmarks: interleaved timing, peak memory, the machine."""

import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib import import_module, metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figure

PACKAGES = ("napari-coordgate", "torch", "numpy", "scipy")


def interleaved_seconds(
    *actions: Callable[[], object], rounds: int, warm_up: int = 1
) -> list[list[float]]:
    """Return the seconds of each action over rounds (A B A B), so that slow moments affect all."""
    times: list[list[float]] = [[] for _ in actions]
    for turn in range(warm_up + rounds):
        for action, seconds in zip(actions, times, strict=True):
            start = time.perf_counter()
            action()
            if turn >= warm_up:
                seconds.append(time.perf_counter() - start)
    return times


def median_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """Return the median over the rounds of the ratio within a round."""
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))


def peak_memory_gb() -> float:
    """Return the peak resident set of this process, GB, including mapped file pages."""
    from napari_coordgate.memory import peak_resident_bytes

    peak = peak_resident_bytes()
    return float("nan") if peak is None else peak / 1e9


def measure_one(name: str, options: dict[str, Any]) -> list[Figure]:
    """Return the figures of the benchmark module of this name."""
    figures: list[Figure] = import_module(f"benchmarks.{name}").measure(**options)
    return figures


def describe_machine() -> dict[str, Any]:
    """Return software and hardware of this process as JSON values."""
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


def bootstrap_interval(
    values: NDArray[np.float64], rng: np.random.Generator, draws: int = 2000
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean of some values (N,)."""
    means = values[rng.integers(len(values), size=(draws, len(values)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
