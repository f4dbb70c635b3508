"""Random lenses, and their PSF fields on the windows of a training."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from napari_coordgate.config import GaussianLens, Lens, LensLibraryConfig
from napari_coordgate.errors import PSFError
from napari_coordgate.geometry import Window
from napari_coordgate.optics import PSFField
from napari_coordgate.optics.fitting import fit_lens
from napari_coordgate.optics.low_rank import chebyshev_nodes, fit_series, principal_components

WAVELENGTH_NM = 550.0
FRAME_SIDES = 96, 768
"""Range of the sides of the frames, pixels; drawn evenly on a logarithmic scale."""
ENCLOSED_ENERGY = 0.99
ORDER = 5
"""PSFs of a measured lens along each side of a window."""

Float64 = NDArray[np.float64]


class LensSample(NamedTuple):
    """A random lens on a window, and the lens that the network is given instead."""

    true: PSFField
    given: PSFField
    uncertainty: float
    """Largest relative error that the given lens was drawn with."""


def random_lens(rng: np.random.Generator, config: LensLibraryConfig) -> Lens | GaussianLens:
    """Lens of random aperture, sampling and aberrations."""
    axis = tuple(_sometimes(rng, config.axis, 2))
    if rng.random() < config.gaussian_fraction:
        center = rng.uniform(0.4, 1.5)
        edge = center + rng.uniform(0.2, 3)
        return GaussianLens(sigma_center_px=center, sigma_edge_px=edge, axis=axis)
    na = rng.uniform(config.min_na, config.max_na)
    index = 1.0 if na < 0.95 else 1.33 if na < 1.2 else 1.515
    um = _um_per_wave(na, index)
    extent = 1.0 if rng.random() < config.extreme_fraction else 0.5
    curvature = rng.uniform(-0.25, 1) * config.curvature_waves * extent
    return Lens(
        na=na,
        wavelength_nm=WAVELENGTH_NM,
        pixel_size_um=rng.uniform(config.min_sampling, config.max_sampling)
        * (WAVELENGTH_NM / 1000)
        / na,
        refractive_index=index,
        defocus_um=um * extent * rng.uniform(-1, 1) * config.defocus_waves,
        field_curvature_um=um * curvature,
        tilt_um=tuple(um * extent * _sometimes(rng, config.tilt_waves, 2)),
        astigmatism_waves=_sometimes(rng, config.aberration_waves)[0],
        coma_waves=_sometimes(rng, config.aberration_waves)[0],
        spherical_waves=_sometimes(rng, config.spherical_waves)[0],
        axial_astigmatism_waves=tuple(_sometimes(rng, config.aberration_waves / 2, 2)),
        axial_coma_waves=tuple(_sometimes(rng, config.aberration_waves / 2, 2)),
        axis=axis,
    )


def wrong_lens(
    lens: Lens | GaussianLens, rng: np.random.Generator, error: float
) -> Lens | GaussianLens:
    """Lens as an imperfect calibration gives it, with relative errors up to ``error``."""

    def factor(scale: float = 1.0) -> float:
        return 1 + scale * rng.uniform(-error, error)

    def shift(pair: tuple[float, float], scale: float) -> tuple[float, float]:
        return pair[0] + scale * rng.uniform(-error, error), pair[1] + scale * rng.uniform(
            -error, error
        )

    axis = shift(lens.axis, 0.3)
    if isinstance(lens, GaussianLens):
        center, edge = lens.sigma_center_px * factor(), lens.sigma_edge_px * factor()
        return lens.replace(sigma_center_px=center, sigma_edge_px=edge, axis=axis)
    um = _um_per_wave(lens.na, lens.refractive_index)
    return lens.replace(
        pixel_size_um=lens.pixel_size_um * factor(0.3),
        defocus_um=lens.defocus_um + 0.5 * um * rng.uniform(-error, error),
        field_curvature_um=lens.field_curvature_um * factor(),
        tilt_um=shift(lens.tilt_um, 0.5 * um),
        astigmatism_waves=lens.astigmatism_waves * factor(),
        coma_waves=lens.coma_waves * factor(),
        axial_astigmatism_waves=shift(lens.axial_astigmatism_waves, 0.2),
        axial_coma_waves=shift(lens.axial_coma_waves, 0.2),
        axis=axis,
    )


def lens_sample(seed: int, index: int, config: LensLibraryConfig) -> LensSample:
    """Sample of the library; depends on the seed and the index alone."""
    rng = np.random.default_rng([seed, index])
    if config.psf_fields and rng.random() < config.measured_fraction:
        return measured_sample(rng, config)
    while True:
        lens = random_lens(rng, config)
        side = int(rng.choice(config.window_sizes))
        frame = int(np.exp(rng.uniform(*np.log(FRAME_SIDES))))
        frame = max(frame, side)
        y0, x0 = rng.integers(0, frame - side + 1, 2).tolist()
        window = Window(y0, x0, side, side)
        error = float(rng.uniform(0, config.mismatch))
        try:
            true = window_psf_field(lens, (frame, frame), window, config)
            given = window_psf_field(wrong_lens(lens, rng, error), (frame, frame), window, config)
        except PSFError:
            continue  # more blur than a window can hold
        return LensSample(true, given, error)


def measured_sample(rng: np.random.Generator, config: LensLibraryConfig) -> LensSample:
    """Sample of a measured lens: a random window of its frame, flipped and turned.

    The network is given PSFs that are too wide or too narrow.
    """
    psf_field = _load(config.psf_fields[rng.integers(len(config.psf_fields))])
    height, width = psf_field.frame_shape
    side = min(int(rng.choice(config.window_sizes)), height, width)
    if psf_field.size > min(side, config.max_psf_size):
        raise PSFError(
            f"PSFs of {psf_field.size} pixels are larger than a training window of {side} or "
            f"max_psf_size ({config.max_psf_size}); raise both, or leave this PSF field out."
        )
    corner = rng.integers(0, np.subtract((height, width), side) + 1)
    pixels = corner + (chebyshev_nodes(ORDER) + 1) * side / 2 - 0.5
    psfs = np.stack([psf_field.psf_at(*pixel) for pixel in pixels])
    psfs = psfs.reshape(ORDER, ORDER, *psfs.shape[1:])
    if rng.random() < 0.5:
        psfs = np.swapaxes(np.swapaxes(psfs, 0, 1), 2, 3)
    turns = int(rng.integers(4))
    psfs = np.rot90(np.rot90(psfs, turns, axes=(0, 1)), turns, axes=(2, 3))
    psfs = psfs.reshape(-1, *psfs.shape[2:])
    error = float(rng.uniform(0, config.mismatch))
    factor = 1 + rng.uniform(-error, error)
    wrong = np.stack([magnified(psf, factor) for psf in psfs])
    true, given = (_interpolated(some, (side, side), config.tolerance) for some in (psfs, wrong))
    return LensSample(true, given, error)


def magnified(psf: Float64, factor: float) -> Float64:
    """PSF (K, K) of sum 1 that is wider by a factor."""
    center = psf.shape[0] // 2
    wide = affine_transform(psf, [1 / factor] * 2, center - center / factor, order=1)
    return np.asarray(wide / wide.sum())


def _interpolated(psfs: Float64, shape: tuple[int, int], tolerance: float) -> PSFField:
    """PSF field of the PSFs (N, K, K) at the Chebyshev nodes of a window."""
    kernels, weights = principal_components(psfs.reshape(len(psfs), -1), tolerance)
    return PSFField(kernels.reshape(-1, *psfs.shape[1:]), fit_series(weights, ORDER), shape)


@lru_cache(maxsize=16)
def _load(path: Path) -> PSFField:
    """PSF field of a file."""
    return PSFField.load(path)


def window_psf_field(
    lens: Lens | GaussianLens,
    frame_shape: tuple[int, int],
    window: Window,
    config: LensLibraryConfig,
) -> PSFField:
    """PSF field of a window of the frame, as if the window were a frame of its own."""
    fit = fit_lens(
        lens,
        frame_shape,
        config.tolerance,
        ENCLOSED_ENERGY,
        window=window,
        max_size=config.max_psf_size,
    )
    return PSFField(*fit.arrays, window.shape)


def _um_per_wave(na: float, index: float) -> float:
    """Defocus in um that makes a wavefront error of one wave at the edge of the pupil."""
    return float(WAVELENGTH_NM / 1000 / (index - np.sqrt(index**2 - na**2)))


def _sometimes(rng: np.random.Generator, limit: float, number: int = 1) -> NDArray[np.float64]:
    """Numbers up to the limit, all 0 in half of the cases."""
    values = rng.uniform(-limit, limit, number)
    return values if rng.random() < 0.5 else np.zeros(number)
