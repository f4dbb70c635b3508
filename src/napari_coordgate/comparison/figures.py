"""Figures of rows: example images, error against field radius, PSNR against parameters."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from napari_coordgate.comparison.comparison import BLURRED, SHARP, Comparison, Row
from napari_coordgate.comparison.table import mean_and_spread
from napari_coordgate.geometry import Window

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Colors for all kinds of color vision (Okabe and Ito)."""
GRAY = "#7f7f7f"
STYLES = ("-", "--", "-.", ":")
MARKERS = "osD^vP*X"
COLUMNS = 6
"""Images in a line."""
ZOOM = 3
"""Side of an image relative to its detail."""

Float32 = NDArray[np.float32]


def draw_figures(comparison: Comparison) -> dict[str, Figure]:
    """All figures of a comparison by their file names."""
    images = {SHARP: comparison.sharp_example}
    images |= {name: comparison.example(comparison.of(name)[0]) for name in comparison.names}
    return {
        "examples.png": draw_examples(comparison.rows, images),
        "error-radius.png": draw_radial_error(comparison.rows),
        "parameters.png": draw_parameters(comparison.rows),
    }


def draw_examples(rows: Sequence[Row], images: Mapping[str, Float32]) -> Figure:
    """Draw scaled images (h, w) of one scene, by method, and a detail of each at a corner."""
    sharp = images[SHARP]
    shown = []
    for name, image in images.items():
        psnr = next((row.image_psnr[0] for row in rows if row.method == name), None)
        shown.append((name if psnr is None else f"{name}\n{psnr:.2f} dB", image))
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
        corner = (detail.x0 - 0.5, detail.y0 - 0.5)
        box = Rectangle(corner, detail.width, detail.height, fill=False, edgecolor=COLORS[4])
        whole.add_patch(box)
        part = image[detail.within(Window.whole(sharp.shape))]
        close.imshow(part, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    return figure


def draw_radial_error(rows: Sequence[Row]) -> Figure:
    """Draw PSNR against field radius; the standard deviation over the seeds is shaded."""
    figure = Figure(figsize=(8, 4.8), layout="constrained")
    axes = figure.subplots()
    for number, (name, own) in enumerate(_by_method(rows).items()):
        errors = np.array([row.radial_error for row in own], np.float64)
        decibel = -10 * np.log10(np.maximum(errors, np.finfo(np.float32).tiny))
        mean, color = decibel.mean(axis=0), _color(name, number)
        style = STYLES[number // len(COLORS) % len(STYLES)]
        axes.plot(own[0].radius, mean, style, color=color, label=name)
        if len(own) > 1:
            spread = decibel.std(axis=0, ddof=1)
            limits = mean - spread, mean + spread
            axes.fill_between(own[0].radius, *limits, color=color, alpha=0.2, linewidth=0)
    axes.set_xlim(0, 1)
    axes.set_xlabel("field radius (1: corner of the frame)")
    axes.set_ylabel("PSNR, dB")
    _finish(figure, axes)
    return figure


def draw_parameters(rows: Sequence[Row]) -> Figure:
    """Draw PSNR against the number of parameters; methods without any are horizontal lines."""
    figure = Figure(figsize=(8, 4.8), layout="constrained")
    axes = figure.subplots()
    for number, (name, own) in enumerate(_by_method(rows).items()):
        mean, spread = mean_and_spread([row.quality["psnr"] for row in own])
        color = _color(name, number)
        if own[0].parameters:
            axes.errorbar(
                own[0].parameters,
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
    if any(row.parameters for row in rows):
        axes.set_xscale("log")
        axes.margins(x=0.15)
    axes.set_xlabel("parameters")
    axes.set_ylabel("PSNR, dB")
    _finish(figure, axes)
    return figure


def _by_method(rows: Sequence[Row]) -> dict[str, list[Row]]:
    names = dict.fromkeys(row.method for row in rows)
    return {name: [row for row in rows if row.method == name] for name in names}


def _detail(sharp: Float32) -> Window:
    """Corner of an image with the highest contrast."""
    height, width = (max(1, side // ZOOM) for side in sharp.shape)
    whole = Window.whole(sharp.shape)
    corners = [
        Window(y0, x0, height, width)
        for y0 in (0, sharp.shape[0] - height)
        for x0 in (0, sharp.shape[1] - width)
    ]
    return max(corners, key=lambda corner: float(sharp[corner.within(whole)].std()))


def _color(name: str, number: int) -> str:
    """Color of a method; gray for the blurred images, which come first."""
    return GRAY if name == BLURRED else COLORS[(number - 1) % len(COLORS)]


def _finish(figure: Figure, axes: Axes) -> None:
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
