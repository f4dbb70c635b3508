"""Simulated images of beads, to test what a calibration finds."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from napari_coordgate.calibration.lens_parameters import lens_vector, wavefront_coefficients
from napari_coordgate.config import Lens
from napari_coordgate.geometry import pixel_coordinates
from napari_coordgate.optics.differentiable import PupilLight


def simulate_beads(
    lens: Lens,
    positions: ArrayLike,
    photons: ArrayLike,
    frame_shape: tuple[int, int],
    *,
    background: float = 0.0,
    read_noise: float = 0.0,
    diameter_um: float = 0.0,
    z_um: Sequence[float] = (0.0,),
    size: int = 81,
    rng: int | np.random.Generator | None = None,
) -> NDArray[np.float64]:
    """Photoelectrons (P, H, W) of beads at frame pixels (N, 2), which may be fractional.

    ``photons`` are the light of each bead, ``background`` that of a pixel; the random generator
    adds noise, None adds no noise. The light beyond ``size`` pixels around a bead is left out.
    """
    pupil = PupilLight(lens, size, diameter_um=diameter_um)
    clean = beads_light(pupil, lens, positions, photons, frame_shape, z_um) + background
    if rng is None:
        return clean
    generator = np.random.default_rng(rng)
    noisy = generator.poisson(clean) + read_noise * generator.standard_normal(clean.shape)
    return np.asarray(noisy, np.float64)


def beads_light(
    pupil: PupilLight,
    lens: Lens,
    positions: ArrayLike,
    photons: ArrayLike,
    frame_shape: tuple[int, int],
    z_um: Sequence[float] = (0.0,),
) -> NDArray[np.float64]:
    """Light (P, H, W) of beads, whose wavefronts are those of a lens, in any pupil."""
    where, size = np.asarray(positions, np.float64), pupil.size
    pixels = np.round(where).astype(int)
    coordinates = torch.from_numpy(pixel_coordinates(where, frame_shape))
    optical = wavefront_coefficients(torch.from_numpy(lens_vector(lens)), coordinates, frame_shape)
    coefficients = torch.cat([optical, torch.from_numpy(where - pixels)], dim=1)
    planes = np.zeros((len(z_um), frame_shape[0] + 2 * size, frame_shape[1] + 2 * size))
    corners = pixels + size - size // 2
    brightness = np.broadcast_to(np.asarray(photons, np.float64), len(where))
    for plane, z in zip(planes, z_um, strict=True):
        coefficients[:, 0] = optical[:, 0] + z
        for (y, x), light in zip(
            corners, pupil(coefficients).numpy() * brightness[:, None, None], strict=True
        ):
            plane[y : y + size, x : x + size] += light
    return planes[:, size:-size, size:-size]
