"""Synthetic scenes and their images through a lens, for the tests of calibration."""

import numpy as np
from numpy.typing import NDArray

from napari_coordgate import Camera, Lens, PSFField, simulate

LENS = Lens(na=0.5, wavelength_nm=520, pixel_size_um=0.325)


def texture(rng: np.random.Generator, side: int) -> NDArray[np.float32]:
    """Random texture of the power spectrum of natural scenes."""
    radius = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    spectrum = np.fft.rfft2(rng.normal(size=(side, side))) * (radius**2 + 1e-4) ** -0.7
    scene = np.fft.irfft2(spectrum, (side, side))
    low, high = np.percentile(scene, [0.5, 99.5])
    clipped: NDArray[np.float32] = np.clip((scene - low) / (high - low), 0, 1).astype(np.float32)
    return clipped


def cells(rng: np.random.Generator, side: int, number: int = 60) -> NDArray[np.float32]:
    """Bright ellipses with sharp edges on a dark background."""
    y, x = np.mgrid[:side, :side].astype(np.float32)
    scene = np.zeros((side, side), np.float32)
    for _ in range(number):
        angle, (long, short) = rng.uniform(0, np.pi), rng.uniform(4, 12, 2)
        u, v = y - rng.uniform(0, side), x - rng.uniform(0, side)
        along, across = u * np.cos(angle) + v * np.sin(angle), v * np.cos(angle) - u * np.sin(angle)
        scene[(along / long) ** 2 + (across / short) ** 2 < 1] += rng.uniform(0.3, 1)
    return scene


def photographed(
    scenes: list[NDArray[np.float32]], lens: Lens, photons: float = 2000.0, side: int = 256
) -> NDArray[np.float32]:
    """Images (N, side, side) of scenes through a lens."""
    psf_field = PSFField.from_lens(lens, (side, side), tolerance=1e-2)
    camera = Camera(photons=photons, read_noise=3)
    return np.stack([simulate(scene, psf_field, camera, seed) for seed, scene in enumerate(scenes)])


def focus_series(lens: Lens, z_um: NDArray[np.float64], side: int = 160) -> NDArray[np.float32]:
    """Planes (P, side, side) of a thin sample at positions that add to the defocus."""
    scene = cells(np.random.default_rng(5), side, 120)
    return np.stack(
        [
            simulate(
                scene,
                PSFField.from_lens(
                    lens.replace(defocus_um=lens.defocus_um + z), scene.shape, 0.1, 0.9
                ),
                Camera(photons=1000, read_noise=3),
                plane,
            )
            for plane, z in enumerate(z_um)
        ]
    )
