"""Pictures of the lens and the ablation."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from napari_coordgate.comparison import Comparison, Row
from napari_coordgate.optics import PSFField, PSFGrid
from paper.results import gains_over

__all__ = ["draw_ablation", "draw_lens"]

COLORS = {
    "U-Net": "#0072b2",
    "CG U-Net": "#d55e00",
    "CoordConv-UNet": "#cc79a7",
    "MultiWienerNet": "#009e73",
    "CG-WienerNet": "#e69f00",
    "Weighted Wiener": "#56b4e9",
}
"""Color of each family of networks, told apart by all eyes (Okabe and Ito)."""
CLASSICAL = "#7f7f7f"
SHOWN = ("U-Net(3)", "U-Net(6)", "CG U-Net(3)", "CG U-Net(6)", "MultiWienerNet(6)")
"""Networks whose error is drawn against the field radius."""
DEEP, SHALLOW = "U-Net(6)", "CG U-Net(3)"
"""What the error maps compare."""


def draw_lens(comparison: Comparison, field: PSFField) -> Figure:
    """Lens, PSNR against parameters, error against field radius, and maps of the error.

    Parameters
    ----------
    comparison : Comparison
        All methods behind the lens.
    field : PSFField
        The lens's blur.

    Returns
    -------
    matplotlib.figure.Figure
        The picture, of no window.
    """
    figure = Figure(figsize=(13, 8.5), layout="constrained")
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.15, 1))[:, 0]
    lens, parameters = upper.subplots(1, 2, width_ratios=(1, 2.1))
    _lens(lens, field)
    _against_parameters(parameters, comparison)
    radius, *maps = lower.subplots(1, 4, width_ratios=(1.9, 1, 1, 1.08))
    _against_radius(radius, comparison)
    _maps(lower, maps, comparison)
    return figure


def _lens(axes: Axes, field: PSFField) -> None:
    axes.imshow(np.sqrt(PSFGrid.from_field(field, 5).montage()), cmap="magma")
    height, width = field.frame_shape
    center, corner = field.fwhm_px(height // 2, width // 2), field.fwhm_px(0, 0)
    axes.set_title(
        f"PSFs over the frame of {height}x{width} pixels\n"
        f"FWHM {center:.1f} pixels in the middle, {corner:.1f} at the corners",
        fontsize=9,
    )
    axes.set_axis_off()


def _family(name: str) -> str:
    return name.partition("(")[0]


def _values(rows: Iterable[Row], figure: str = "psnr") -> list[float]:
    return [row.quality[figure] for row in rows]


def _against_parameters(axes: Axes, comparison: Comparison) -> None:
    """Networks as points with the range over their seeds; methods without parameters as lines."""
    families = defaultdict(list)
    for name in comparison.names:
        rows = comparison.of(name)
        values = _values(rows)
        if rows[0].parameters == 0:
            axes.axhline(float(np.mean(values)), color=CLASSICAL, lw=0.8, ls=":")
            axes.annotate(
                name,
                (1, float(np.mean(values))),
                xycoords=("axes fraction", "data"),
                fontsize=7,
                color=CLASSICAL,
                ha="right",
                va="bottom",
            )
        else:
            families[_family(name)].append((rows[0].parameters, values, name))
    for family, members in families.items():
        members.sort()
        counts = [count for count, _, _ in members]
        means = np.array([np.mean(values) for _, values, _ in members])
        low, high = (np.array([f(v) for _, v, _ in members]) for f in (min, max))
        color = COLORS.get(family, "black")
        spread = [means - low, high - means]
        axes.errorbar(counts, means, spread, fmt="o-", color=color, label=family, capsize=3)
        for count, mean, (_, _, name) in zip(counts, means, members, strict=True):
            depth = name.removeprefix(family)
            axes.annotate(depth, (count, mean), (5, 4), textcoords="offset points", fontsize=8)
    axes.set_xscale("log")
    axes.set_xlabel("parameters")
    axes.set_ylabel("PSNR on test images, dB")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=8)


def _against_radius(axes: Axes, comparison: Comparison) -> None:
    for name in (name for name in SHOWN if name in comparison.names):
        rows = comparison.of(name)
        errors = np.array([row.radial_error for row in rows], float)
        decibels = -10 * np.log10(errors)
        dashed = "--" if name.endswith("(6)") else "-"
        color = COLORS.get(_family(name), "black")
        axes.plot(rows[0].radius, decibels.mean(0), dashed, color=color, label=name)
    axes.set_xlabel("field radius (1: corner)")
    axes.set_ylabel("PSNR of all pixels there, dB")
    axes.legend(fontsize=8)


def _maps(figure: Any, cells: Sequence[Axes], comparison: Comparison) -> None:
    """Error of the deep U-Net and of the shallow gated one over the frame, and their ratio."""
    if not {DEEP, SHALLOW} <= set(comparison.names):
        return
    errors = [
        np.sqrt(np.mean([comparison.error_map(row) for row in comparison.of(name)], axis=0))
        for name in (DEEP, SHALLOW)
    ]
    top = float(np.nanpercentile(errors, 99))
    for axes, name, error in zip(cells, (DEEP, SHALLOW), errors, strict=False):
        shown = axes.imshow(error, vmin=0, vmax=top, cmap="viridis")
        axes.set_title(f"{name}: error (RMS)", fontsize=9)
        axes.set_axis_off()
    figure.colorbar(shown, ax=cells[1], shrink=0.8)
    gain = 20 * np.log10(errors[0] / errors[1])
    most = max(1.0, float(np.nanpercentile(np.abs(gain), 98)))
    shown = cells[2].imshow(gain, vmin=-most, vmax=most, cmap="RdBu")
    cells[2].set_title(f"gain of {SHALLOW}, dB", fontsize=9)
    cells[2].set_axis_off()
    figure.colorbar(shown, ax=cells[2], shrink=0.8)


def draw_ablation(rows: Sequence[Mapping[str, Any]], base: str) -> Figure:
    """How much better or worse each variant is than the base of its training.

    Parameters
    ----------
    rows : sequence of mapping
        Rows with ``training``, ``method``, ``seed`` and ``psnr``.
    base : str
        Method that all others are held against.

    Returns
    -------
    matplotlib.figure.Figure
        The picture, of no window.
    """
    gains = gains_over(base, rows)
    names = [key for key in gains if key[1] != base]
    figure = Figure(figsize=(8, 0.32 * len(names) + 1.2), layout="constrained")
    axes = figure.subplots()
    for place, key in enumerate(names):
        mean = float(np.mean(gains[key]))
        axes.barh(place, mean, color="#0072b2" if mean >= 0 else "#d55e00", height=0.7)
        axes.plot(gains[key], [place] * len(gains[key]), "k|", ms=9)
    axes.set_yticks(range(len(names)), [f"{method}  ({training})" for training, method in names])
    axes.invert_yaxis()
    axes.axvline(0, color="black", lw=0.8)
    axes.set_xlabel(f"PSNR over {base}, dB (one mark a seed)")
    return figure
