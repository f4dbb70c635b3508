"""Procedural images: structures as they occur in microscopy, from random fields.

They keep a network from learning one kind of sample. Each is a level set, a line, a spot or a
texture of Gaussian random fields.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


class RandomFields:
    """Gaussian random fields on a square of ``side`` pixels, of mean 0 and variance 1."""

    def __init__(self, rng: np.random.Generator, side: int) -> None:
        self.rng, self.side = rng, side
        self._wave_number_squared: Float64 = np.square(np.fft.fftfreq(side))[:, None] + np.square(
            np.fft.rfftfreq(side)
        )

    def matern(self, length: float, smoothness: float) -> Float64:
        """Field of a correlation length in pixels; its spectrum falls with this power."""
        white = self.rng.standard_normal((self.side, self.side))
        return self._scaled(white, (1 + self._wave_number_squared * length**2) ** (-smoothness / 2))

    def smoothed(self, image: Float64, sigma: float) -> Float64:
        """Image convolved with a Gaussian of peak 1."""
        spectrum = np.fft.rfft2(image) * np.exp(
            -2 * (np.pi * sigma) ** 2 * self._wave_number_squared
        )
        smoothed: Float64 = np.fft.irfft2(spectrum, image.shape) * 2 * np.pi * sigma**2
        return smoothed

    def _scaled(self, white: Float64, amplitude: Float64) -> Float64:
        field = np.fft.irfft2(np.fft.rfft2(white) * amplitude, white.shape)
        scaled: Float64 = (field - field.mean()) / (field.std() + 1e-12)
        return scaled


def _length(fields: RandomFields) -> float:
    """Random correlation length, pixels."""
    return float(fields.rng.uniform(15, 90))


def _ridges(fields: RandomFields, length: float) -> Float64:
    """Lines along the zeros of a smooth field."""
    width = float(fields.rng.uniform(0.03, 0.2))
    lines: Float64 = np.exp(-np.square(fields.matern(length, 4) / width))
    return lines


def membranes(fields: RandomFields) -> Float64:
    """Closed lines of varying brightness."""
    brightness = 0.4 + 0.3 * np.clip(fields.matern(60, 4) + 1, 0, 2)
    return _ridges(fields, _length(fields)) * brightness


def filaments(fields: RandomFields) -> Float64:
    """Several layers of crossing, interrupted lines."""
    length, threshold = 1.5 * _length(fields), float(fields.rng.uniform(-0.5, 1))
    layers = [_ridges(fields, length) * (fields.matern(40, 4) > threshold) for _ in range(4)]
    brightest: Float64 = np.max(layers, axis=0)
    return brightest


def vesicles(fields: RandomFields) -> Float64:
    """Many round spots of one size."""
    rng, side = fields.rng, fields.side
    number = int(rng.integers(20, 600) * (side / 136) ** 2) + 1
    points = np.zeros((side, side))
    rows, columns = rng.integers(0, side, (2, number))
    points[rows, columns] = rng.gamma(2, 0.5, number)
    return fields.smoothed(points, float(rng.uniform(0.5, 2.5)))


def beads(fields: RandomFields) -> Float64:
    """Few bright points on a dark background."""
    rng, side = fields.rng, fields.side
    points = np.zeros((side, side))
    rows, columns = rng.integers(0, side, (2, int(rng.integers(3, 30))))
    points[rows, columns] = rng.uniform(0.5, 2)
    return fields.smoothed(points, float(rng.uniform(0.4, 0.9)))


def textures(fields: RandomFields) -> Float64:
    """Cloudy texture with a power-law spectrum."""
    smoothness = float(fields.rng.uniform(2, 4))
    return np.clip(0.3 * fields.matern(_length(fields), smoothness) + 0.4, 0, None)


def cells(fields: RandomFields) -> Float64:
    """Textured regions with sharp borders."""
    texture = np.clip(fields.matern(_length(fields) / 2, 3), 0, None)
    cell: Float64 = 0.6 * texture * (fields.matern(80, 5) > 0)
    return cell


KINDS: tuple[Callable[[RandomFields], Float64], ...] = (
    membranes,
    filaments,
    vesicles,
    beads,
    textures,
    cells,
)
"""Kinds of procedural images."""


def procedural_image(rng: np.random.Generator, side: int) -> Float32:
    """Random image (side, side) of a random kind; about 0 (dark) to 1 (bright)."""
    kind = KINDS[rng.integers(len(KINDS))]
    image = kind(RandomFields(rng, side)) * rng.uniform(0.5, 1.2) + rng.uniform(0, 0.15)
    return np.clip(image, 0, 3).astype(np.float32)
