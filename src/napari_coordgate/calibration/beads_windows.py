"""Windows around beads, as photons; each pixel belongs to the nearest bead."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_coordgate.calibration.beads_noise import CountNoise
from napari_coordgate.calibration.beads_solver import BeadWindows

Array = NDArray[np.float64]

MAX_HALF = 32


def window_size(cores_px: Array, frame_shape: tuple[int, int]) -> int:
    """Odd side of windows that contain most of the light of most beads."""
    half = int(np.ceil(1.25 * np.quantile(cores_px, 0.95) + 3.0))
    return 2 * min(half, MAX_HALF, (min(frame_shape) - 1) // 2) + 1


def cut_windows(
    planes: Array,
    positions: Array,
    selected: NDArray[np.bool_],
    size: int,
    noise: CountNoise,
    z_um: Array,
) -> BeadWindows:
    """Windows around the selected ones of the beads at positions (N, 2), in planes (P, H, W).

    Pixels outside the frame, or nearer to another bead, selected or not, are not used.
    """
    half, shape = size // 2, planes.shape[1:]
    photons = np.pad(noise.photons(planes), ((0, 0), (half, half), (half, half)), mode="edge")
    inside = np.pad(np.ones(shape, bool), half)
    centers = np.clip(np.round(positions).astype(int), 0, np.array(shape) - 1)
    offsets = np.stack(np.mgrid[-half : half + 1, -half : half + 1], axis=-1)
    nearest = cKDTree(positions)
    counts, used = [], []
    for index in np.flatnonzero(selected):
        y, x = centers[index]
        place = slice(y, y + size), slice(x, x + size)
        own = nearest.query(offsets + centers[index])[1] == index
        counts.append(photons[:, *place])
        used.append((own & inside[place])[None])
    return BeadWindows(
        torch.from_numpy(np.array(counts)),
        torch.from_numpy(np.array(used)).double(),
        torch.from_numpy(centers[selected]),
        (shape[0], shape[1]),
        torch.from_numpy(np.asarray(z_um, np.float64)),
    )
