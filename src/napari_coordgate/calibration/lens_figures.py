"""Figures of a lens over the field: width, focus, astigmatism, PSFs."""

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from napari_coordgate.calibration.lens_parameters import lens_vector, wavefront_coefficients
from napari_coordgate.config import Lens
from napari_coordgate.errors import PSFError
from napari_coordgate.optics import fwhm_px
from napari_coordgate.optics.pupil import lens_psfs, psf_size

Array = NDArray[np.float64]

GRID = 9
SHOWN = 5
MAX_SIDE = 65
"""Side of the largest PSF that is computed or shown, in pixels."""


def grid_coordinates(count: int) -> Array:
    """Frame coordinates (count, count, 2) of a grid that covers the frame."""
    line = (2.0 * np.arange(count) + 1.0) / count - 1.0
    return np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1)


def field_figure(lens: Lens, frame_shape: tuple[int, int]) -> Figure:
    """Maps over the frame: width of the PSF, defocus, and direction and size of astigmatism."""
    grid = grid_coordinates(GRID)
    psfs = lens_psfs(lens, grid.reshape(-1, 2), frame_shape, _side(lens, frame_shape))
    width = fwhm_px(psfs).reshape(GRID, GRID)
    fine = grid_coordinates(64)
    defocus, straight, diagonal = _coefficients(lens, fine, frame_shape)[..., :3].T.swapaxes(1, 2)
    figure = Figure(figsize=(12, 4), layout="constrained")
    width_axes, focus_axes, astigmatism_axes = figure.subplots(1, 3)
    extent = (0, frame_shape[1], frame_shape[0], 0)
    for axes, values, title, colors in (
        (width_axes, width, "FWHM, pixels", "viridis"),
        (focus_axes, defocus, "Defocus, um", "RdBu"),
        (astigmatism_axes, np.hypot(straight, diagonal), "Astigmatism, waves", "magma"),
    ):
        limit = np.abs(values).max() or 1.0
        limits = (-limit, limit) if colors == "RdBu" else (None, None)
        shown = axes.imshow(values, colors, extent=extent, vmin=limits[0], vmax=limits[1])
        figure.colorbar(shown, ax=axes, shrink=0.8)
        axes.set_title(title)
    if defocus.min() < 0 < defocus.max():
        lines = [np.linspace(0, side, 64) for side in frame_shape[::-1]]
        focus_axes.contour(*lines, defocus, levels=[0.0], colors="black", linewidths=1)
    _draw_directions(astigmatism_axes, _coefficients(lens, grid, frame_shape), grid, frame_shape)
    return figure


def _draw_directions(
    axes: Axes, coefficients: Array, grid: Array, frame_shape: tuple[int, int]
) -> None:
    """Lines along the larger curvature of the wavefront, as long as the astigmatism is large."""
    size = np.hypot(coefficients[..., 1], coefficients[..., 2])
    if not size.max():
        return
    angle = np.arctan2(coefficients[..., 2], coefficients[..., 1]) / 2.0  # from y to x
    row, column = ((grid[..., i] + 1.0) / 2.0 * frame_shape[i] for i in (0, 1))
    length = size / size.max() * min(frame_shape) / GRID
    across, along = length * np.sin(angle), length * np.cos(angle)
    axes.quiver(
        *(column, row, across, along),
        angles="xy",
        scale_units="xy",
        scale=1,
        pivot="mid",
        color="white",
        headwidth=0,
        headlength=0,
        headaxislength=0,
    )


def psf_figure(lens: Lens, frame_shape: tuple[int, int]) -> Figure:
    """PSFs at a grid of positions, each scaled to its own maximum."""
    grid = grid_coordinates(SHOWN)
    psfs = lens_psfs(lens, grid.reshape(-1, 2), frame_shape, _side(lens, frame_shape))
    figure = Figure(figsize=(7, 7), layout="constrained")
    for axes, psf in zip(figure.subplots(SHOWN, SHOWN).flat, psfs, strict=True):
        axes.imshow(psf, "inferno", vmin=0)
        axes.set_axis_off()
    return figure


def _coefficients(lens: Lens, coordinates: Array, frame_shape: tuple[int, int]) -> Array:
    vector, points = torch.from_numpy(lens_vector(lens)), torch.from_numpy(coordinates)
    coefficients: Array = wavefront_coefficients(vector, points, frame_shape).numpy()
    return coefficients


def _side(lens: Lens, frame_shape: tuple[int, int]) -> int:
    """Side of a window that contains most of the light of all PSFs."""
    limit = min(MAX_SIDE, (min(frame_shape) - 1) // 2 * 2 + 1)
    try:
        return min(limit, max(15, psf_size(lens, frame_shape, 0.95)))
    except PSFError:
        return limit
