"""Figures of beads: beside the model, and their widths."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from napari_coordgate.calibration.beads_detection import Beads
from napari_coordgate.calibration.beads_residual import Residual
from napari_coordgate.calibration.beads_solver import BeadWindows, Evaluation
from napari_coordgate.calibration.lens_figures import grid_coordinates

Array = NDArray[np.float64]

SHOWN, RESIDUALS = 8, 3


def beads_figure(windows: BeadWindows, at: Evaluation) -> Figure:
    """Some beads, from the center to the edge: image, model and residual, in their best plane."""
    middle = (np.array(windows.frame_shape) - 1) / 2.0
    order = np.argsort(np.hypot(*(windows.centers.numpy() - middle).T))
    shown = order[np.linspace(0, len(order) - 1, min(SHOWN, len(order))).round().astype(int)]
    counts, expected = windows.counts.numpy(), at.expected.numpy()
    figure = Figure(figsize=(1.5 * len(shown), 4.6), layout="constrained")
    for column, index in zip(figure.subplots(3, len(shown), squeeze=False).T, shown, strict=True):
        plane = int(at.light[index].amax((1, 2)).argmax())
        image, model = counts[index, plane], expected[index, plane]
        limits = float(model.min()), float(max(model.max(), np.quantile(image, 0.999)))
        residual = (image - model) / np.sqrt(model)
        residual[windows.used[index, plane].numpy() == 0] = 0.0
        column[0].imshow(image, "inferno", vmin=limits[0], vmax=limits[1])
        column[1].imshow(model, "inferno", vmin=limits[0], vmax=limits[1])
        column[2].imshow(residual, "RdBu", vmin=-5, vmax=5)
        y, x = windows.centers[index].tolist()
        column[0].set_title(f"({y}, {x})", fontsize=8)
        for axes in column:
            axes.set_axis_off()
    return figure


def residual_figure(residual: Residual) -> Figure:
    """Residual of the lens at a grid of positions, relative to the light of a PSF."""
    grid = grid_coordinates(RESIDUALS)
    values = residual.at(grid.reshape(-1, 2))
    limit = float(np.abs(values).max()) or 1.0
    figure = Figure(figsize=(6, 5.4), layout="constrained")
    panels = figure.subplots(RESIDUALS, RESIDUALS)
    for axes, image in zip(panels.flat, values, strict=True):
        shown = axes.imshow(image, "RdBu", vmin=-limit, vmax=limit)
        axes.set_axis_off()
    figure.colorbar(shown, ax=panels, shrink=0.8)
    return figure


def width_figure(beads: Beads, frame_shape: tuple[int, int]) -> Figure:
    """Width of each bead against that of the model, and where the beads are."""
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    widths, where = figure.subplots(1, 2)
    used = beads.kept
    measured, model = beads.width_px[used], beads.model_width_px[used]
    top = 1.05 * float(np.max([measured, model])) if used.any() else 1.0
    widths.plot([0, top], [0, top], color="gray", linewidth=1)
    widths.plot(model, measured, ".", color="#0072b2")
    widths.set(xlabel="FWHM of the lens, pixels", ylabel="FWHM of the bead, pixels")
    for reason in sorted(set(beads.dropped)):
        chosen = np.array([one == reason for one in beads.dropped])
        row, column = beads.positions[chosen].T
        label = f"{reason or 'used'} ({len(row)})"
        where.plot(column, row, "x" if reason else "o", label=label, markersize=5, fillstyle="none")
    where.set(xlim=(0, frame_shape[1]), ylim=(frame_shape[0], 0), aspect="equal")
    where.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    return figure
