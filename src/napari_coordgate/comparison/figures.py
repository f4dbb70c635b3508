"""The figures of a comparison: images, error against field radius, PSNR against parameters."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from napari_coordgate.comparison.comparison import Comparison
from napari_coordgate.comparison.rows import BLURRED, SHARP
from napari_coordgate.comparison.table import mean_and_spread
from napari_coordgate.geometry import Window

__all__ = ["FIGURES", "draw_examples", "draw_parameters", "draw_radial_error"]

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Colors that all eyes tell apart (Okabe and Ito)."""
GRAY = "#7f7f7f"
STYLES = ("-", "--", "-.", ":")
MARKERS = "osD^vP*X"
COLUMNS = 6
"""Images side by side."""
ZOOM = 3
"""The detail is so many times smaller than the image."""

Float32 = NDArray[np.float32]


def draw_examples(comparison: Comparison) -> Figure:
    """First test image, sharp, blurred and as each method restores it, and a detail at the edge.

    Parameters
    ----------
    comparison : Comparison
        What was compared; of each method its first seed is shown.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, of no window. All images have one contrast, black 0 and white 1.
    """
    sharp = comparison.sharp_example
    shown = [(SHARP, sharp)]
    for name in comparison.names:
        row = comparison.of(name)[0]
        shown.append((f"{name}\n{row.image_psnr[0]:.2f} dB", comparison.example(row)))
    columns, detail = min(COLUMNS, len(shown)), _detail(sharp)
    lines = -(-len(shown) // columns)
    figure = Figure(figsize=(2.1 * columns, 4.7 * lines), layout="constrained")
    axes = figure.subplots(2 * lines, columns, squeeze=False)
    for cell in axes.flat:
        cell.set_axis_off()
    for number, (title, image) in enumerate(shown):
        line, column = divmod(number, columns)
        whole, close = axes[2 * line, column], axes[2 * line + 1, column]
        whole.set_title(title, fontsize=8)
        whole.imshow(image, cmap="gray", vmin=0, vmax=1)
        place = (detail.x0 - 0.5, detail.y0 - 0.5)
        box = Rectangle(place, detail.width, detail.height, fill=False, edgecolor=COLORS[4])
        whole.add_patch(box)
        part = image[detail.within(Window.whole(sharp.shape))]
        close.imshow(part, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    return figure


def draw_radial_error(comparison: Comparison) -> Figure:
    """PSNR against field radius; the spread over the seeds is shaded.

    Parameters
    ----------
    comparison : Comparison
        What was compared.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, of no window.
    """
    figure = Figure(figsize=(8, 4.8), layout="constrained")
    axes = figure.subplots()
    for number, name in enumerate(comparison.names):
        rows = comparison.of(name)
        errors = np.array([row.radial_error for row in rows], np.float64)
        decibel = -10 * np.log10(np.maximum(errors, np.finfo(np.float32).tiny))
        mean, color = decibel.mean(axis=0), _color(name, number)
        style = STYLES[number // len(COLORS) % len(STYLES)]
        axes.plot(rows[0].radius, mean, style, color=color, label=name)
        if len(rows) > 1:
            spread = decibel.std(axis=0, ddof=1)
            limits = mean - spread, mean + spread
            axes.fill_between(rows[0].radius, *limits, color=color, alpha=0.2, linewidth=0)
    axes.set_xlim(0, 1)
    axes.set_xlabel("field radius (1: corner of the frame)")
    axes.set_ylabel("PSNR, dB")
    _finish(figure, axes)
    return figure


def draw_parameters(comparison: Comparison) -> Figure:
    """PSNR against the number of parameters; methods that learn nothing are level lines.

    Parameters
    ----------
    comparison : Comparison
        What was compared.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, of no window. Bars are standard deviations over the seeds.
    """
    figure = Figure(figsize=(8, 4.8), layout="constrained")
    axes = figure.subplots()
    for number, name in enumerate(comparison.names):
        rows = comparison.of(name)
        mean, spread = mean_and_spread([row.quality["psnr"] for row in rows])
        color = _color(name, number)
        if rows[0].parameters:
            axes.errorbar(
                rows[0].parameters,
                mean,
                spread or 0.0,
                marker=MARKERS[number % len(MARKERS)],
                color=color,
                capsize=3,
                linestyle="none",
                label=name,
            )
        else:
            style = STYLES[1 + number % (len(STYLES) - 1)]
            axes.axhline(mean, color=color, linestyle=style, linewidth=1, label=name)
    if any(row.parameters for row in comparison.rows):
        axes.set_xscale("log")
        axes.margins(x=0.15)
    axes.set_xlabel("parameters")
    axes.set_ylabel("PSNR, dB")
    _finish(figure, axes)
    return figure


FIGURES: Mapping[str, Callable[[Comparison], Figure]] = MappingProxyType(
    {
        "examples.png": draw_examples,
        "error-radius.png": draw_radial_error,
        "parameters.png": draw_parameters,
    }
)
"""The figures of a comparison by the names of their files."""


def _detail(sharp: Float32) -> Window:
    """Corner of an image in which there is most to be seen."""
    height, width = (max(1, side // ZOOM) for side in sharp.shape)
    whole = Window.whole(sharp.shape)
    corners = [
        Window(y0, x0, height, width)
        for y0 in (0, sharp.shape[0] - height)
        for x0 in (0, sharp.shape[1] - width)
    ]
    return max(corners, key=lambda corner: float(sharp[corner.within(whole)].std()))


def _color(name: str, number: int) -> str:
    """Color of a method; the blurred images, which come first, are gray."""
    return GRAY if name == BLURRED else COLORS[(number - 1) % len(COLORS)]


def _finish(figure: Figure, axes: Axes) -> None:
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
