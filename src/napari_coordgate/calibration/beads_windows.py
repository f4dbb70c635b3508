"""Windows around beads, as photons; each pixel belongs to the nearest bead."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_coordgate.calibration.beads_detection import Beads
from napari_coordgate.calibration.beads_noise import CountNoise
from napari_coordgate.calibration.beads_solver import BeadWindows

Array = NDArray[np.float64]

SIZES = (15, 21, 29, 39, 51, 65)
"""Sides of windows, pixels; few, so that what they have in common is computed once."""


def window_sizes(radii_px: Array, frame_shape: tuple[int, int]) -> NDArray[np.intp]:
    """Odd sides (N, P) of windows that contain most of the light within radii (N, P)."""
    limit = (min(frame_shape) - 1) // 2 * 2 + 1
    sizes = np.array([size for size in SIZES if size <= limit])
    wanted = 2 * np.ceil(1.25 * radii_px + 3.0) + 1
    return sizes[np.minimum(np.searchsorted(sizes, wanted), len(sizes) - 1)]


def cut_windows(
    planes: Array,
    beads: Beads,
    selected: NDArray[np.bool_],
    sizes: NDArray[np.intp],
    noise: CountNoise,
    z_um: Array,
    gain: Array | None = None,
) -> BeadWindows:
    """Windows of these sizes (N, P) around the selected beads, in planes (P, H, W).

    Pixels outside the frame, nearer to another bead, or in the light of a bead that is not
    selected, are not used. The gain (H, W) is that of the camera.
    """
    size = int(sizes[selected].max())
    half, shape = size // 2, (planes.shape[1], planes.shape[2])
    photons = np.pad(noise.photons(planes), ((0, 0), (half, half), (half, half)), mode="edge")
    gains = np.pad(np.ones(shape) if gain is None else gain, half, mode="edge")
    inside = np.pad(np.ones(shape, bool), half)
    centers = np.clip(np.round(beads.positions).astype(int), 0, np.array(shape) - 1)
    rows, columns = np.mgrid[-half : half + 1, -half : half + 1]
    nearest, dark = cKDTree(beads.positions), ~selected
    offset = np.maximum(np.abs(rows), np.abs(columns))
    counts, used, gains_of = [], [], []
    for index in np.flatnonzero(selected):
        y, x = centers[index]
        place = slice(y, y + size), slice(x, x + size)
        points = np.stack([rows + y, columns + x], axis=-1)
        own = inside[place] & (nearest.query(points)[1] == index)
        for position, radius in zip(beads.positions[dark], beads.radius_px[dark], strict=True):
            if np.abs(position - centers[index]).max() < half + radius:
                own &= np.hypot(*np.moveaxis(points - position, -1, 0)) > radius + 1.0
        counts.append(photons[:, *place])
        used.append(own & (offset <= sizes[index, :, None, None] // 2))
        gains_of.append(gains[None, *place])
    return BeadWindows(
        torch.from_numpy(np.array(counts)),
        torch.from_numpy(np.array(used)).double(),
        torch.from_numpy(sizes[selected]),
        torch.from_numpy(centers[selected]),
        shape,
        torch.from_numpy(np.asarray(z_um, np.float64)),
        torch.from_numpy(np.array(gains_of)),
    )
