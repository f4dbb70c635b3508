"""Scenes for benchmarks: images of a folder, and procedural ones that nothing was tuned on."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from napari_coordgate import Camera, Lens, PSFField, simulate
from napari_coordgate.io import find_images, read_image

Float32 = NDArray[np.float32]

OPTICS = Lens(na=0.5, wavelength_nm=520, pixel_size_um=0.325)
CAMERA = {"read_noise": 3.0}
_MARGIN = 64


def draw_lens(rng: np.random.Generator) -> Lens:
    """Return a random lens: curvature 2 to 12 um, axis within 0.15, tilt within 2 um."""
    (tilt_y, tilt_x), (axis_y, axis_x) = rng.uniform(-2, 2, 2), rng.uniform(-0.15, 0.15, 2)
    return OPTICS.replace(
        field_curvature_um=float(rng.uniform(2, 12)),
        tilt_um=(float(tilt_y), float(tilt_x)),
        axis=(float(axis_y), float(axis_x)),
    )


def draw_photons(rng: np.random.Generator) -> float:
    """Return photons of a bright pixel, 200 to 5,000."""
    return float(np.exp(rng.uniform(np.log(200), np.log(5000))))


def scenes(
    kind: str, folder: Path, number: int, side: int, rng: np.random.Generator
) -> list[Float32]:
    """Return scenes of "nuclei" (random images of a folder), "filaments" or "cells"."""
    if kind == "nuclei" and side > 256:
        return [_mosaic(folder, side, rng) for _ in range(number)]
    if kind == "nuclei":
        return _nuclei(folder, number, side, rng)
    make = {"filaments": _filaments, "cells": _cells}[kind]
    return [make(side + 2 * _MARGIN, rng) for _ in range(number)]


def _nuclei(folder: Path, number: int, side: int, rng: np.random.Generator) -> list[Float32]:
    """Return images of a folder that are large enough and have contrast."""
    paths = find_images(folder)
    found: list[Float32] = []
    while len(found) < number:
        image = read_image(paths[rng.integers(len(paths))]).pixels.astype(np.float32)
        low, high = np.percentile(image, [1, 99.8])
        if min(image.shape) >= side and high - low >= 10:
            found.append(image)
    return found


def _mosaic(folder: Path, side: int, rng: np.random.Generator) -> Float32:
    """Return one scene composed of dark-field images of a folder, at random turns."""
    length = side + 2 * _MARGIN
    mosaic = np.zeros((length, length), np.float32)
    paths = find_images(folder)
    for y in range(0, length, 256):
        for x in range(0, length, 256):
            tile = None
            while tile is None or min(tile.shape) < 256 or np.median(tile) > 0.5:
                tile = read_image(paths[rng.integers(len(paths))]).pixels.astype(np.float32)
                low, high = np.percentile(tile, [1, 99.8])
                tile = (tile - low) / max(high - low, 10.0)
            tile = np.rot90(tile[:256, :256], int(rng.integers(4)))
            part = mosaic[y : y + 256, x : x + 256]
            part[:] = tile[: part.shape[0], : part.shape[1]]
    return mosaic


def _filaments(side: int, rng: np.random.Generator) -> Float32:
    """Return thin curved lines of different brightness."""
    scene = np.zeros((side, side), np.float32)
    for _ in range(round(side * side / 1500)):
        place, angle = rng.uniform(0, side, 2), rng.uniform(0, 2 * np.pi)
        light, bend = rng.uniform(0.2, 1.0), rng.normal(0, 0.01)
        for _ in range(rng.integers(60, 300)):
            row, column = np.floor(place).astype(int) % side
            scene[row, column] += light
            place = place + np.array([np.sin(angle), np.cos(angle)])
            angle += bend
    return gaussian_filter(scene, 0.6)


def _cells(side: int, rng: np.random.Generator) -> Float32:
    """Return few cells, as blobs with granules, on a dark ground."""
    y, x = np.mgrid[:side, :side].astype(np.float32)
    scene = np.zeros((side, side), np.float32)
    for _ in range(max(4, round(side * side / 6000))):
        angle, (long, short) = rng.uniform(0, np.pi), rng.uniform(6, 14, 2)
        u, v = y - rng.uniform(0, side), x - rng.uniform(0, side)
        along, across = u * np.cos(angle) + v * np.sin(angle), v * np.cos(angle) - u * np.sin(angle)
        inside = np.clip(1.5 * (1.0 - np.hypot(along / long, across / short)) + 0.5, 0, 1)
        grain = 1.0 + 0.4 * gaussian_filter(rng.normal(size=scene.shape), 1.5) * 5.0
        scene += rng.uniform(0.3, 1.0) * inside * np.clip(grain, 0, None).astype(np.float32)
    return scene


def record(
    sharp: list[Float32], lens: Lens, photons: float, side: int, rng: np.random.Generator
) -> Float32:
    """Return images (N, side, side) of scenes through a lens."""
    psf_field = PSFField.from_lens(lens, (side, side), tolerance=1e-2)
    camera = Camera(photons=photons, **CAMERA)
    return np.stack(
        [simulate(scene, psf_field, camera, int(rng.integers(2**31))) for scene in sharp]
    )


def central(scene: NDArray[Any], side: int) -> NDArray[Any]:
    """Return the part of a scene that the frame shows."""
    y, x = ((length - side) // 2 for length in scene.shape)
    return scene[y : y + side, x : x + side]
