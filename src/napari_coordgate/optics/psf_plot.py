"""Figure of the PSFs of a PSF field."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.representation import create_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Float64 = NDArray[np.float64]


def plot_psfs(
    psfs: Float64, rows: Float64, columns: Float64, fwhm: Float64, pixel_size_um: float | None
) -> Figure:
    """Figure of PSFs (N, M, K, K) at rows (N,) and columns (M,) with their widths (N, M), px.

    Each is scaled to its own maximum. Widths are in um if the pixel size is known.
    """
    height, width = len(rows), len(columns)
    figure = create_figure(1.1 * width + 0.4, 1.3 * height + 0.6)
    axes = figure.subplots(height, width, squeeze=False)
    scale, unit = (1.0, "px") if pixel_size_um is None else (pixel_size_um, "µm")
    for (i, j), cell in np.ndenumerate(axes):
        cell.imshow(psfs[i, j], cmap="magma", vmin=0)
        cell.set_title(f"{fwhm[i, j] * scale:.2f} {unit}", fontsize=7)
        cell.set_xticks([])
        cell.set_yticks([])
        if j == 0:
            cell.set_ylabel(f"row {rows[i]:.0f}", fontsize=7)
        if i == height - 1:
            cell.set_xlabel(f"column {columns[j]:.0f}", fontsize=7)
    size = f"{psfs.shape[-1]} pixels wide"
    figure.suptitle(f"PSFs over the frame and their FWHM; windows {size}", fontsize=8)
    return figure
