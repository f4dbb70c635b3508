"""How near a restored image comes to the sharp one, also against field radius."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

__all__ = ["ZONES", "psnr", "quality", "ssim", "zone_psnr"]

Image = NDArray[np.floating]

SSIM_WINDOW = 11
"""Side of the Gaussian window of SSIM, pixels."""

ZONES: Mapping[str, tuple[float, float]] = {
    "center": (0.0, 1 / 3),
    "middle": (1 / 3, 2 / 3),
    "edge": (2 / 3, np.inf),
}
"""Bounds of each zone in `field_radius`."""


def psnr(sharp: Image, restored: Image, data_range: float = 1.0) -> float:
    """Peak signal-to-noise ratio, 10 log10(data_range^2 / MSE) (paper, section 4.1).

    Parameters
    ----------
    sharp, restored : ndarray, any one shape
        Images, or selected pixels of them.
    data_range : float
        Range of the sharp intensities; 1 for scaled images.

    Returns
    -------
    float
        In dB; infinite where the images are equal.
    """
    error = float(np.mean(np.square(np.asarray(sharp, np.float64) - restored)))
    return float(10 * np.log10(data_range**2 / error)) if error else float("inf")


def ssim(sharp: Image, restored: Image, data_range: float = 1.0) -> float:
    """Structural similarity with the Gaussian window of Wang et al. (2004).

    Parameters
    ----------
    sharp, restored : ndarray, shape (H, W)
        Images. The published window of 11x11 pixels stays within them; where a
        side is shorter, they are mirrored for it.
    data_range : float
        Range of the sharp intensities; 1 for scaled images.

    Returns
    -------
    float
        1 where the images are equal.
    """
    # With Gaussian weights, scikit-image takes this as the border to leave out, and nothing else.
    win_size = min(SSIM_WINDOW, (min(sharp.shape) - 1) // 2 * 2 + 1)
    value = structural_similarity(
        np.asarray(sharp, np.float64),
        np.asarray(restored, np.float64),
        data_range=data_range,
        gaussian_weights=True,
        sigma=1.5,
        win_size=win_size,
        use_sample_covariance=False,
    )
    return float(value)


def zone_psnr(
    sharp: Image, restored: Image, radius: NDArray[np.float64], data_range: float = 1.0
) -> dict[str, float]:
    """PSNR of the pixels in each zone of the field.

    Parameters
    ----------
    sharp, restored, radius : ndarray, shape (H, W)
        Images, and the field radius of their pixels.
    data_range : float
        Range of the sharp intensities; 1 for scaled images.

    Returns
    -------
    dict of str to float
        PSNR in dB of each zone of `ZONES` that has pixels.
    """
    values = {}
    for zone, (inner, outer) in ZONES.items():
        inside = (radius >= inner) & (radius < outer)
        if inside.any():
            values[zone] = psnr(sharp[inside], restored[inside], data_range)
    return values


def quality(
    sharp: Image, restored: Image, radius: NDArray[np.float64], data_range: float = 1.0
) -> dict[str, float]:
    """PSNR and SSIM of an image, and PSNR in each zone of the field.

    Parameters
    ----------
    sharp, restored, radius : ndarray, shape (H, W)
        Images, and the field radius of their pixels.
    data_range : float
        Range of the sharp intensities; 1 for scaled images.

    Returns
    -------
    dict of str to float
        Keys ``psnr``, ``ssim``, and ``psnr_center``, ``psnr_middle``, ``psnr_edge``.
    """
    zones = zone_psnr(sharp, restored, radius, data_range)
    return {
        "psnr": psnr(sharp, restored, data_range),
        "ssim": ssim(sharp, restored, data_range),
        **{f"psnr_{zone}": value for zone, value in zones.items()},
    }
