"""Sources: sharp parts of blurred images, to train on instead of sharp images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.config import Camera
from napari_coordgate.errors import SettingsError
from napari_coordgate.geometry import Window, format_shape
from napari_coordgate.normalization import Normalizer
from napari_coordgate.optics import PSFField

Float32 = NDArray[np.float32]

MAX_WIDTH = 1.3
"""Width of the PSF, relative to the smallest of the frame, up to which an image is sharp."""
MIN_SIDE = 12
"""Least side of the sharp part of a frame, pixels."""
MIN_PIXELS = 48 * 48
"""Least area of all sources together."""
MAX_SHARE = 0.9
"""Largest part of the noise that a source may bring with it."""
_NODES = 33


@dataclass(frozen=True)
class Source:
    """Sharp part (h, w) of an image, with the range of the whole image and its own noise."""

    image: Float32
    """In the units of the image."""
    range: Normalizer
    """Intensities of the whole image that are scaled to 0 and 1."""
    variance: float
    """Variance of what is left of its noise in a bright pixel once it is blurred again, scaled."""


def sharp_window(psf_field: PSFField, max_width: float = MAX_WIDTH) -> Window:
    """Largest window of the frame in which the width of the PSF is close to the smallest."""
    rows, columns = (
        np.linspace(0, n - 1, min(n, _NODES)).round().astype(int) for n in psf_field.frame_shape
    )
    widths = np.array([[psf_field.fwhm_px(y, x) for x in columns] for y in rows])
    top, bottom, left, right = largest_rectangle(widths <= max_width * widths.min())
    y0, x0 = int(rows[top]), int(columns[left])
    window = Window(y0, x0, int(rows[bottom]) + 1 - y0, int(columns[right]) + 1 - x0)
    if min(window.shape) < MIN_SIDE:
        raise SettingsError(
            f"The lens is sharp (PSF within {max_width:g} times the best) on only "
            f"{format_shape(window.shape)} pixels of the frame; train with sharp images instead."
        )
    return window


def largest_rectangle(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """First and last row, first and last column of the largest rectangle that is all true."""
    best, area = (0, 0, 0, 0), 0
    for top in range(len(mask)):
        inside = np.ones(mask.shape[1], bool)
        for bottom in range(top, len(mask)):
            inside &= mask[bottom]
            edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(int)))
            if not len(edges):
                break
            starts, ends = edges[::2], edges[1::2]
            longest = int(np.argmax(ends - starts))
            size = (bottom - top + 1) * int(ends[longest] - starts[longest])
            if size > area:
                best, area = (top, bottom, int(starts[longest]), int(ends[longest]) - 1), size
    return best


def remaining_noise(camera: Camera, variance: float) -> Camera:
    """Camera that adds the noise which a scene with noise of this variance does not have yet.

    Scaled intensities; the variance is that of a bright pixel.
    """
    if camera.photons is None or variance == 0:
        return camera
    total = (camera.photons + camera.read_noise**2) / camera.photons**2
    missing = 1 - min(variance / total, MAX_SHARE)
    return Camera(
        photons=camera.photons / missing, read_noise=camera.read_noise / math.sqrt(missing)
    )


def check_enough(sources: Sequence[Source], images: int) -> None:
    """Raise a SettingsError if there is too little to train on."""
    pixels = sum(source.image.size for source in sources)
    if pixels < MIN_PIXELS:
        raise SettingsError(
            f"Too little is sharp in the blurred images: {len(sources)} of {images} have structure "
            f"in the sharpest part of the frame, {pixels} pixels together, and at least "
            f"{MIN_PIXELS} are needed; give more images."
        )
