"""Picture of the line: learned matrices beside H, PSNR against time, and every seed."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["draw_line"]

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
COLORS = {"CNN": "#0072b2", "cCNN": "#cc79a7", "CG": "#d55e00", "LCN": "#009e73", "PAC": "#e69f00"}
"""Color of each kind of network, told apart by all eyes (Okabe and Ito)."""
COLUMNS = 6


def draw_line(data: Mapping[str, Any]) -> Figure:
    """Picture of the data of ``line.json``.

    Parameters
    ----------
    data : mapping
        With ``matrix``, ``networks`` and ``reachable_psnr``.

    Returns
    -------
    matplotlib.figure.Figure
        The picture, of no window.
    """
    figure = Figure(figsize=(15, 13), layout="constrained")
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=(1, 1.5))[:, 0]
    networks = {network["name"]: network for network in data["networks"]}
    shown = [name for name in SHOWN if name in networks]
    cells = np.ravel(upper.subplots(-(-(len(shown) + 1) // COLUMNS), COLUMNS))
    matrices = [("H (Eq. 5)", data["matrix"])]
    matrices += [
        (f"{name}\n{max(networks[name]['psnr']):.1f} dB", networks[name]["matrix"])
        for name in shown
    ]
    for axes in cells:
        axes.set_axis_off()
    for axes, (title, matrix) in zip(cells, matrices, strict=False):
        axes.imshow(matrix, vmin=-1, vmax=1, cmap="RdBu_r")
        axes.set_title(title, fontsize=8)
    seeds, time = lower.subplots(1, 2, width_ratios=(1.25, 1))
    _every_seed(seeds, networks)
    _against_time(time, networks)
    return figure


def _color(name: str) -> str:
    return COLORS[name.removeprefix("linear ").partition("(")[0]]


def _every_seed(axes: Axes, networks: Mapping[str, Mapping[str, Any]]) -> None:
    for place, (name, network) in enumerate(networks.items()):
        axes.plot(network["psnr"], [place] * len(network["psnr"]), "o", color=_color(name), ms=4)
        axes.plot(network["median_psnr"], place, "k|", ms=12)
    axes.set_yticks(range(len(networks)), list(networks), fontsize=8)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel("PSNR on test signals, dB: each seed, and their median")


def _against_time(axes: Axes, networks: Mapping[str, Mapping[str, Any]]) -> None:
    for name, network in networks.items():
        size = 12 * np.sqrt(network["parameters"])
        place = network["microseconds"], network["median_psnr"]
        axes.scatter(*place, s=size, color=_color(name), alpha=0.55, lw=0)
        if "," not in name.partition(")")[2]:
            axes.annotate(name, place, (5, 3), textcoords="offset points", fontsize=7)
    axes.set_xscale("log")
    axes.set_xlabel("time for a signal, microseconds; spot size: parameters")
    axes.set_ylabel("PSNR on test signals, median over the seeds, dB")
    axes.grid(alpha=0.3)
