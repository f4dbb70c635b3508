"""Fig. 3: which networks can learn a blur that varies along a line."""

import json
import re
import statistics
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.measuring import interleaved_seconds
from napari_coordgate.errors import OutputError
from napari_coordgate.events import Event, Stopwatch
from paper.networks_1d import GatedCNN1D
from paper.results import COLORS, provenance, write_json, write_results
from paper.training_1d import (
    LENGTH,
    Float64,
    Network1D,
    Protocol,
    Row,
    convolution_matrix,
    train_all,
)

SCALES = {
    "small": (Protocol(), 3),
    "full": (Protocol(patience=5000, max_steps=100_000), 10),
}
"""Protocol and number of seeds."""
SIGNAL_VARIANCE = 1 / 12  # of a uniform random number in [0, 1]
LEAST_SQUARES_SWEEPS = 400
TIMED_SIGNALS, WARM_UP, TIMED_ROUNDS = 1000, 3, 20
GATED_CHANNELS = (3, 16, 64)


def _cnn(kind: str, layers: int, channels: int, change: str = "", **options: Any) -> Network1D:
    prefix = "linear " if options.get("linear") else ""
    name = f"{prefix}{kind}({layers},7,{channels}){change}"
    return Network1D(name, kind, layers, channels=channels, **options)  # type: ignore[arg-type]


def _gated(channels: int, change: str = "", **options: Any) -> Network1D:
    return Network1D(f"CG(1,7,{channels},2){change}", "CG", channels=channels, **options)


NETWORKS: tuple[Network1D, ...] = (
    *(_cnn("CNN", *size) for size in ((1, 1), (3, 4), (4, 4), (8, 4), (4, 20))),
    *(_cnn("cCNN", *size) for size in ((4, 4), (4, 20))),
    *(_gated(channels) for channels in (3, 4, 8, 16)),
    # Without coordinates, without their encoder, without a linear gate.
    *(_gated(channels, ", random numbers", random_numbers=True) for channels in (3, 16)),
    Network1D("CG(1,7,3), free map", "CG", channels=3, encoder_layers=0),
    _gated(3, ", ReLU before the gate", relu_features=True),
    Network1D("LCN(7)", "LCN"),
    Network1D("PAC(1,7,1)", "PAC"),
    Network1D("PAC(4,7,4)", "PAC", 4, channels=4),
    Network1D("PAC(1,7,1), learned features", "PAC", embedding=8),
    # Why CoordConv does not fail: ReLU, padding, and the range of the signals.
    _cnn("CNN", 4, 4, linear=True),
    _cnn("cCNN", 4, 4, linear=True),
    _cnn("CNN", 8, 4, linear=True),
    _cnn("CNN", 4, 4, ", padded once", padding="once"),
    _cnn("cCNN", 4, 4, ", padded once", padding="once"),
    _cnn("cCNN", 4, 4, ", padded once", linear=True, padding="once"),
    _cnn("cCNN", 4, 4, ", signals in [-1, 1]", linear=True, low=-1.0),
    _cnn("cCNN", 4, 4, ", signals in [-1, 1]", low=-1.0),
)
"""All networks of the figure, in the order of its table."""


def run_events(
    output: Path,
    scale: str = "small",
    cancel: threading.Event | None = None,
    *,
    seeds: int | None = None,
    networks: Sequence[Network1D] = NETWORKS,
    protocol: Protocol | None = None,
) -> Generator[Event, None, dict[str, Any]]:
    """Train the missing networks, measure all, write the figure and return its data."""
    protocol, seeds = protocol or SCALES[scale][0], seeds or SCALES[scale][1]
    rows = _Rows(output / "rows" / "line", protocol)
    missing = {n: s for n in networks if (s := [s for s in range(seeds) if not rows.read(n, s)])}
    yield from _train_missing(rows, missing, cancel)
    done = [
        row for network in networks for seed in range(seeds) if (row := rows.read(network, seed))
    ]
    data = {
        **_data(done, networks),
        "scale": scale,
        "seeds": seeds,
        "settings": asdict(protocol),
        "device": "cpu",
        **provenance(),
    }
    write_results(output, "line", data, draw(data))
    return data


class _Rows:
    """Rows of trained networks, one file each, so that an interrupted run resumes."""

    def __init__(self, folder: Path, protocol: Protocol) -> None:
        self.folder = folder
        self.protocol = protocol

    def read(self, network: Network1D, seed: int) -> Row | None:
        """Return the row of an earlier run, or None."""
        path = self._path(network, seed)
        try:
            row: Row = json.loads(path.read_text(encoding="utf-8"))
            fingerprint = row.pop("fingerprint")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError) as error:
            raise OutputError(f"{path}: cannot be read ({error}); remove it.") from None
        if fingerprint != self._fingerprint(network):
            raise OutputError(f"{path} was made with other settings; choose another folder.")
        return row

    def write(self, network: Network1D, row: Row) -> None:
        """Write a row."""
        data = {"fingerprint": self._fingerprint(network), **row}
        write_json(self._path(network, row["seed"]), data)

    def _fingerprint(self, network: Network1D) -> dict[str, Any]:
        return {"network": asdict(network), "protocol": asdict(self.protocol)}

    def _path(self, network: Network1D, seed: int) -> Path:
        slug = re.sub(r"[^a-z0-9-]+", "-", network.name.lower()).strip("-")
        return self.folder / f"{slug}.seed{seed}.json"


def _train_missing(
    rows: _Rows, missing: Mapping[Network1D, Sequence[int]], cancel: threading.Event | None
) -> Generator[Event]:
    if not missing:
        return
    stopwatch, done = Stopwatch("networks trained", sum(map(len, missing.values()))), 0
    yield stopwatch.progress(done)
    longest_first = sorted(missing, key=lambda n: n.parameters * n.layers, reverse=True)
    jobs = {network: missing[network] for network in longest_first}
    for network, trained in train_all(jobs, rows.protocol, cancel):
        for row in trained:
            rows.write(network, row)
        done += len(trained)
        yield stopwatch.progress(done, psnr=max(row["figures"]["psnr"] for row in trained))


# Measurement


def _data(rows: Sequence[Row], networks: Sequence[Network1D]) -> dict[str, Any]:
    """Return all data of the figure and of the page, as JSON values."""
    microseconds = inference_microseconds(networks)
    summaries = [
        _summary([row for row in rows if row["model"] == network.name], microseconds[network.name])
        for network in networks
    ]
    bounds = {f"7,{channels}": psnr_bound(7, channels) for channels in (1, 2, 3, 4, 7)}
    gates = gate_microseconds()
    large = ("matrix", "pixel_errors")
    return {
        "length": LENGTH,
        "matrix": convolution_matrix().round(4).tolist(),
        "signals": "uniform random numbers between 0 and 1, peak of the PSNR 1",
        "reachable_psnr": bounds,
        "networks": summaries,
        "gate_microseconds": gates,
        "findings": {
            "gate_over_none": {c: t["kept"] / t["without"] for c, t in gates.items()},
        },
        "rows": [
            {
                **{name: value for name, value in row.items() if name != "figures"},
                **{name: value for name, value in row["figures"].items() if name not in large},
            }
            for row in rows
        ],
    }


def _summary(rows: Sequence[Row], microseconds: float) -> dict[str, Any]:
    """Summarize the rows of a network: medians over the seeds, matrix and errors of the best."""
    figures = [row["figures"] for row in rows]
    best = max(figures, key=lambda figure: figure["psnr"])
    medians = {
        name: statistics.median(figure[name] for figure in figures)
        for name, value in best.items()
        if name != "psnr" and isinstance(value, float)
    }
    return {
        "name": rows[0]["model"],
        "parameters": rows[0]["parameters"],
        "microseconds": microseconds,
        "psnr": [figure["psnr"] for figure in figures],
        "median_psnr": statistics.median(figure["psnr"] for figure in figures),
        "median_steps": statistics.median(row["steps"] for row in rows),
        "matrix": best["matrix"],
        "pixel_errors": best["pixel_errors"],
        **medians,
    }


@cache
def psnr_bound(kernel_size: int, channels: int) -> float:
    """Return the PSNR, dB, that no CG(1, k, c, p) can exceed; an LCN is c = k.

    With c kernels b_a and any gating map g, row x has the kernel sum_a g_a(x) b_a: a matrix
    (pixels, taps) of rank c, fitted by alternating least squares. What H has beyond the kernel is
    lost. Biases are assumed to correct all of the mean.
    """
    matrix, radius = convolution_matrix(), kernel_size // 2
    pixel, tap = np.indices((LENGTH, kernel_size))
    source = pixel + tap - radius
    inside = (source >= 0) & (source < LENGTH)
    kernels = np.where(inside, matrix[pixel, source.clip(0, LENGTH - 1)], 0)
    error = float(np.sum(matrix**2) - np.sum(kernels**2))
    if channels < kernel_size:
        error += _low_rank_error(kernels, inside, channels)
    return float(-10 * np.log10(error * SIGNAL_VARIANCE / LENGTH))


def _low_rank_error(target: Float64, known: NDArray[np.bool_], rank: int) -> float:
    """Return the squared error of the best low-rank matrix over the known entries."""
    gates, basis = np.empty((len(target), rank)), np.linalg.svd(target)[2][:rank]
    for _ in range(LEAST_SQUARES_SWEEPS):
        for row, mask in enumerate(known):
            gates[row] = np.linalg.lstsq(basis[:, mask].T, target[row, mask], rcond=None)[0]
        for tap, mask in enumerate(known.T):
            basis[:, tap] = np.linalg.lstsq(gates[mask], target[mask, tap], rcond=None)[0]
    return float(np.sum(((target - gates @ basis) * known) ** 2))


def inference_microseconds(networks: Sequence[Network1D]) -> dict[str, float]:
    """Measure the time per signal of each network, with cached gating maps."""
    return _microseconds({network.name: _inference(network) for network in networks})


def _inference(spec: Network1D) -> Callable[[], Tensor]:
    network, coordinates = spec.build(0), spec.coordinates(0)
    arguments = [torch.rand(TIMED_SIGNALS, LENGTH), coordinates]
    if isinstance(network, GatedCNN1D):
        arguments.append(network.gating_map(coordinates).detach())
    return partial(network, *arguments)


def gate_microseconds() -> dict[str, dict[str, float]]:
    """Measure what a gate adds to a convolution of 7 taps and the 1x1 convolution after it.

    Per number of channels, the time per signal ``without`` the gate, with its cached map
    (``kept``) and with a map computed for each batch (``made``).
    """
    result = {}
    for channels in GATED_CHANNELS:
        spec = _gated(channels)
        network, coordinates = spec.build(0), spec.coordinates(0)
        assert isinstance(network, GatedCNN1D)
        signals = torch.rand(TIMED_SIGNALS, LENGTH)
        gating_map = network.gating_map(coordinates).detach()
        result[str(channels)] = _microseconds(
            {
                "without": partial(lambda n, s: n.mix(n.features(s[:, None])), network, signals),
                "kept": partial(network, signals, coordinates, gating_map),
                "made": partial(network, signals, coordinates),
            }
        )
    return result


@torch.inference_mode()
def _microseconds(calls: Mapping[str, Callable[[], Tensor]]) -> dict[str, float]:
    """Measure the median time per signal on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times = interleaved_seconds(*calls.values(), rounds=TIMED_ROUNDS, warm_up=WARM_UP)
    finally:
        torch.set_num_threads(threads)
    medians = map(statistics.median, times)
    return {name: 1e6 * t / TIMED_SIGNALS for name, t in zip(calls, medians, strict=True)}


# Drawing

SHOWN = (
    "CNN(1,7,1)",
    "CNN(3,7,4)",
    "CNN(4,7,4)",
    "CNN(8,7,4)",
    "CNN(4,7,20)",
    "cCNN(4,7,4)",
    "linear cCNN(4,7,4), padded once",
    "CG(1,7,3,2)",
    "CG(1,7,16,2)",
    "CG(1,7,3,2), random numbers",
    "LCN(7)",
)
"""Networks whose matrices are drawn beside H."""
KIND_COLORS = {"CNN": "blue", "cCNN": "pink", "CG": "red", "LCN": "green", "PAC": "orange"}
COLUMNS = 6


def draw(data: Mapping[str, Any]) -> Figure:
    """Draw the learned matrices beside H, the PSNR of every seed, and PSNR against time."""
    figure = Figure(figsize=(15, 13), layout="constrained")
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=(1, 1.5))[:, 0]
    networks = {network["name"]: network for network in data["networks"]}
    shown = [networks[name] for name in SHOWN if name in networks]
    matrices = [("H (Eq. 5)", data["matrix"])]
    matrices += [(f"{n['name']}\n{max(n['psnr']):.1f} dB", n["matrix"]) for n in shown]
    cells = np.ravel(upper.subplots(-(-len(matrices) // COLUMNS), COLUMNS))
    for axes in cells:
        axes.set_axis_off()
    for axes, (title, matrix) in zip(cells, matrices, strict=False):
        axes.imshow(matrix, vmin=-1, vmax=1, cmap="RdBu_r")
        axes.set_title(title, fontsize=8)
    seeds, speed = lower.subplots(1, 2, width_ratios=(1.25, 1))
    _draw_seeds(seeds, networks)
    _draw_speed(speed, networks)
    return figure


def _color(name: str) -> str:
    return COLORS[KIND_COLORS[name.removeprefix("linear ").partition("(")[0]]]


def _draw_seeds(axes: Axes, networks: Mapping[str, Mapping[str, Any]]) -> None:
    for y, (name, network) in enumerate(networks.items()):
        axes.plot(network["psnr"], [y] * len(network["psnr"]), "o", color=_color(name), ms=4)
        axes.plot(network["median_psnr"], y, "k|", ms=12)
    axes.set_yticks(range(len(networks)), list(networks), fontsize=8)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel("PSNR on test signals, dB: each seed, and their median")


def _draw_speed(axes: Axes, networks: Mapping[str, Mapping[str, Any]]) -> None:
    for name, network in networks.items():
        size = 12 * np.sqrt(network["parameters"])
        point = network["microseconds"], network["median_psnr"]
        axes.scatter(*point, s=size, color=_color(name), alpha=0.55, lw=0)
        if "," not in name.partition(")")[2]:
            axes.annotate(name, point, (5, 3), textcoords="offset points", fontsize=7)
    axes.set_xscale("log")
    axes.set_xlabel("time per signal, microseconds; spot size: parameters")
    axes.set_ylabel("median PSNR on test signals, dB")
    axes.grid(alpha=0.3)
