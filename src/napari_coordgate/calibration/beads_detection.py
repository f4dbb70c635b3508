"""Detection of beads: matched filters of different defocus, and which beads can be used."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import fft, ndimage
from skimage.feature import peak_local_max
from skimage.measure import block_reduce

from napari_coordgate.config import Lens
from napari_coordgate.events import raise_if_canceled
from napari_coordgate.optics.differentiable import COEFFICIENTS, PupilLight

Array = NDArray[np.float64]

RADII_PX = (0.0, 1.5, 2.5, 3.5, 5.0, 7.0, 9.5, 12.5, 16.0, 20.0)
"""Radii of the geometric blur of the matched filters."""
FOCUSED_RADIUS_PX = 2.5
"""What diffraction and the pixels add to the geometric blur."""
BLOCK = 8
BACKGROUND_PX = 136
"""Width of the median that is the background."""
SIDELOBE = 0.35
"""Least part of a peak that must remain after other beads are removed for it to be a bead."""
FULL_SCALES = (255, 1023, 4095, 16383, 65535)
"""Largest counts of cameras of 8, 10, 12, 14 and 16 bits."""


@dataclass(frozen=True, eq=False)
class Beads:
    """Beads that were detected in an image.

    Attributes
    ----------
    positions : ndarray, shape (N, 2)
        Frame pixel (row, column) of each.
    signal : ndarray, shape (N,)
        Signal of each, in standard deviations of the noise around it.
    radius_px : ndarray, shape (N,)
        Radius that contains most of the light.
    dropped : tuple of str
        Why a bead is not used; empty if it is.
    photons, background : ndarray, shape (N,)
        Light of each bead, and of each pixel around it; NaN before the fit, or if it is not used.
    width_px, model_width_px : ndarray, shape (N,)
        Full width at half maximum of each, measured, and of the lens; NaN as above.
    deviance : ndarray, shape (N,)
        Deviance of each from the lens, relative to that of noise alone; NaN as above.

    Examples
    --------
    >>> from napari_coordgate import detect_beads, read_image
    >>> image = read_image("sample_data/blurred/beads.tif")
    >>> detect_beads(image, "sample_data/lens.yaml").positions.shape
    (49, 2)
    """

    positions: Array
    signal: Array
    radius_px: Array
    dropped: tuple[str, ...]
    photons: Array
    background: Array
    width_px: Array
    model_width_px: Array
    deviance: Array

    @classmethod
    def detected(
        cls, positions: Array, signal: Array, radius_px: Array, dropped: tuple[str, ...]
    ) -> Beads:
        """Beads before the fit."""
        missing = np.full(len(positions), np.nan)
        return cls(positions, signal, radius_px, dropped, *[missing] * 5)

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Whether each bead can be used, (N,)."""
        return np.array([not reason for reason in self.dropped], bool)

    def summary(self) -> str:
        """Number of beads that are used, and of the others by reason."""
        return summarize(self.dropped)


def summarize(dropped: Sequence[str]) -> str:
    """How many beads are used, and how many are not for which reason."""
    reasons = Counter(reason for reason in dropped if reason)
    details = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    used = len(dropped) - reasons.total()
    return f"{used} of {len(dropped)} beads used" + (f" (not used: {details})" if details else "")


@dataclass(frozen=True, eq=False)
class FilterBank:
    """Images of beads at different defocus, and what each pixel of an image has of them.

    ``defocus_um`` (R,) and ``radii_px`` (R,) belong to the templates (R, S, S), of sum 1.
    """

    templates: Array
    defocus_um: Array
    radii_px: Array

    @classmethod
    def of(cls, lens: Lens, frame_shape: tuple[int, int], diameter_um: float) -> FilterBank:
        """Bank for a lens without aberrations, as far as its blur fits into the frame."""
        limit = min(frame_shape) / 8.0
        radii = np.array([r for r in RADII_PX if r <= max(limit, RADII_PX[1])])
        defocus = radii / blur_per_um(lens)
        coefficients = torch.zeros(len(radii), COEFFICIENTS, dtype=torch.float64)
        coefficients[:, 0] = torch.from_numpy(defocus)
        half = int(np.ceil(radii.max() * 1.15 + FOCUSED_RADIUS_PX + 2))
        half = min(half, (min(frame_shape) - 1) // 2)
        light = PupilLight(lens, 2 * half + 1, diameter_um=diameter_um)(coefficients).numpy()
        return cls(light / light.sum((1, 2), keepdims=True), defocus, radii)

    @property
    def cores_px(self) -> Array:
        """Radius of most of the light of each template."""
        return self.radii_px + FOCUSED_RADIUS_PX

    @property
    def matched(self) -> Array:
        """Filters (R, S, S), of sum 0, that estimate the light of a bead over a background."""
        half = self.templates.shape[1] // 2
        offset = np.hypot(*np.mgrid[-half : half + 1, -half : half + 1])
        filters = []
        for template, core in zip(self.templates, self.cores_px, strict=True):
            inside = offset <= core * 1.3 + 2.0
            centered = np.where(inside, template - template[inside].mean(), 0.0)
            filters.append(centered / np.sum(centered**2))
        return np.stack(filters)

    def scores(self, residual: Array) -> Array:
        """Signal (R, H, W) of a bead at each pixel, relative to noise of variance 1."""
        filters = self.matched
        half = filters.shape[1] // 2
        shape = [fft.next_fast_len(n + 2 * half, real=True) for n in residual.shape]
        spectrum = fft.rfft2(residual, shape)
        inner = tuple(slice(half, half + n) for n in residual.shape)
        scores = np.empty((len(filters), *residual.shape))
        for score, one in zip(scores, filters, strict=True):
            both = spectrum * fft.rfft2(one[::-1, ::-1], shape)
            score[:] = fft.irfft2(both, shape)[inner] / np.linalg.norm(one)
        return scores


def blur_per_um(lens: Lens) -> float:
    """Radius of the geometric blur that 1 um of defocus makes, pixels."""
    tangent = lens.na / np.sqrt(lens.refractive_index**2 - lens.na**2)
    return float(tangent / lens.pixel_size_um)


def estimate_background(plane: Array) -> Array:
    """Smooth background (H, W): a median over a wide neighborhood."""
    block = min(BLOCK, max(1, min(plane.shape) // 16))
    coarse = block_reduce(plane, block, np.median, cval=float(np.median(plane)))
    width = max(3, min(BACKGROUND_PX // block, min(coarse.shape)) | 1)
    smooth = ndimage.gaussian_filter(ndimage.median_filter(coarse, width, mode="nearest"), 1.0)
    where = [(np.arange(n) + 0.5) / block - 0.5 for n in plane.shape]
    grid = np.meshgrid(*where, indexing="ij")
    background: Array = ndimage.map_coordinates(smooth, grid, order=1, mode="nearest")
    return background


def estimate_noise_level(plane: Array) -> float:
    """Standard deviation of the noise of the background, from differences of neighbors."""
    difference = (plane[:, 1:] - plane[:, :-1]).ravel() / np.sqrt(2.0)
    deviation = float(difference.std())
    for _ in range(8):
        inside = difference[np.abs(difference) <= 3.0 * deviation]
        # A normal distribution that is cut at three standard deviations is narrower by 1.3 %.
        deviation = float(inside.std()) / 0.9866 if len(inside) else deviation
    steps = np.abs(difference[difference != 0])
    return max(deviation, float(steps.min()) / np.sqrt(12.0) if len(steps) else 0.0)


def find_beads(
    planes: Array,
    bank: FilterBank,
    threshold: float,
    saturation: float,
    cancel: threading.Event | None = None,
) -> tuple[Beads, Array]:
    """Beads in planes (P, H, W), and the signal (N, P, R) that each filter sees of them."""
    scores, residuals, noise = _scores(planes, bank, cancel)
    best = scores.max((0, 1))
    peaks = peak_local_max(best, min_distance=2, threshold_abs=threshold, exclude_border=False)
    peaks = peaks[np.argsort(-best[tuple(peaks.T)], kind="stable")]
    found = _without_sidelobes(peaks, scores, residuals, noise, bank, threshold)
    signals = np.array([_signals(scores, position) for position in found])
    signals = signals.reshape(len(found), *scores.shape[:2])
    positions = np.array(found, np.float64).reshape(-1, 2)
    by_filter = signals.max(1, initial=0.0)
    cores = bank.cores_px[by_filter.argmax(1)]
    dropped = drop_reasons(positions, cores, planes, saturation)
    return Beads.detected(positions, by_filter.max(1), cores, dropped), signals


def signals_at(planes: Array, bank: FilterBank, positions: Array) -> Array:
    """Signal (N, P, R) that each filter sees at positions (N, 2)."""
    scores = _scores(planes, bank)[0]
    pixels = np.clip(np.round(positions).astype(int), 0, np.array(planes.shape[1:]) - 1)
    signals = np.array([_signals(scores, pixel) for pixel in pixels])
    return signals.reshape(len(positions), *scores.shape[:2])


def _scores(
    planes: Array, bank: FilterBank, cancel: threading.Event | None = None
) -> tuple[Array, Array, Array]:
    """Signal (P, R, H, W) of beads, planes without background, and their noise (P,)."""
    residuals = planes - np.stack([estimate_background(plane) for plane in planes])
    noise = np.array([max(estimate_noise_level(plane), 1e-12) for plane in planes])
    scores = np.empty((len(planes), len(bank.radii_px), *planes.shape[1:]), np.float32)
    for score, residual, level in zip(scores, residuals, noise, strict=True):
        raise_if_canceled(cancel, "Canceled while detecting beads.")
        score[:] = bank.scores(residual) / level
    return scores, residuals, noise


def drop_reasons(
    positions: Array, cores: Array, planes: Array, saturation: float
) -> tuple[str, ...]:
    """Why each bead cannot be used: saturated, at the border, overlapping; else empty."""
    shape = planes.shape[1:]
    reasons = []
    for index, (position, core) in enumerate(zip(positions, cores, strict=True)):
        row, column = np.round(position).astype(int)
        reach = int(np.ceil(core))
        rows = slice(max(row - reach, 0), row + reach + 1)
        columns = slice(max(column - reach, 0), column + reach + 1)
        edge = min(row, column, shape[0] - 1 - row, shape[1] - 1 - column)
        distance = np.hypot(*(positions - position).T)
        distance[index] = np.inf
        if planes[:, rows, columns].max() >= saturation:
            reasons.append("saturated")
        elif edge < max(3.0, core / 2.0):
            reasons.append("at the border")
        elif (distance < np.maximum(core, cores) + 2.0).any():
            reasons.append("overlapping")
        else:
            reasons.append("")
    return tuple(reasons)


def saturation_level(pixels: NDArray[Any]) -> float:
    """Count at which the camera, or the file, ends; infinite if none is reached."""
    largest = float(pixels.max())
    at_the_top = int((pixels == pixels.max()).sum())
    if np.issubdtype(pixels.dtype, np.integer) and largest in FULL_SCALES:
        return largest
    return largest if at_the_top >= 5 and largest > float(np.median(pixels)) else np.inf


def _signals(scores: Array, position: NDArray[np.intp]) -> Array:
    """Largest signals (P, R) of each filter within a pixel of a position."""
    row, column = position
    rows, columns = slice(max(row - 1, 0), row + 2), slice(max(column - 1, 0), column + 2)
    signals: Array = scores[:, :, rows, columns].max((2, 3))
    return signals


def _without_sidelobes(
    peaks: NDArray[np.intp],
    scores: Array,
    residuals: Array,
    noise: Array,
    bank: FilterBank,
    threshold: float,
) -> list[NDArray[np.intp]]:
    """Peaks that remain when the beads of all stronger ones are removed from the image."""
    half = bank.templates.shape[1] // 2
    left = np.pad(residuals, ((0, 0), (half, half), (half, half)))
    filters = bank.matched
    norms = np.linalg.norm(filters, axis=(1, 2))
    found: list[NDArray[np.intp]] = []
    for peak in peaks:
        rows, columns = (slice(n, n + 2 * half + 1) for n in peak)
        window = left[:, rows, columns]
        amplitudes = np.tensordot(window, filters, axes=((1, 2), (1, 2)))  # (P, R)
        signals = amplitudes / norms / noise[:, None]
        original = scores[:, :, peak[0], peak[1]].max()
        if signals.max() < max(threshold, SIDELOBE * original):
            continue
        for plane, best in enumerate(signals.argmax(1)):
            window[plane] -= amplitudes[plane, best] * bank.templates[best]
        found.append(peak)
    return found
