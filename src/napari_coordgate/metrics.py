"""Image quality metrics, also as a function of the field radius."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from napari_coordgate.errors import ImageError
from napari_coordgate.geometry import field_radius as pixel_field_radius, format_shape

Image = NDArray[Any]

SSIM_WINDOW = 11
"""Side of the Gaussian window of SSIM, in pixels."""

ZONES: Mapping[str, tuple[float, float]] = {
    "center": (0.0, 1 / 3),
    "middle": (1 / 3, 2 / 3),
    "edge": (2 / 3, np.inf),
}
"""Bounds of each zone in `field_radius`."""


def psnr(sharp: Image, restored: Image, data_range: float | None = None) -> float:
    """Peak signal-to-noise ratio, 10 log10(data_range^2 / MSE).

    Parameters
    ----------
    sharp, restored : ndarray, any one shape
        Images, or selected pixels of them.
    data_range : float, optional
        Range of the sharp intensities; default: 1 for floats, that of their type for integers.

    Returns
    -------
    float
        PSNR in dB; infinite if the images are equal.

    Raises
    ------
    ImageError
        If the images have different shapes.

    References
    ----------
    S. Howard, P. Norreys and A. Döpp, "CoordGate: Efficiently Computing Spatially-Varying
    Convolutions in Convolutional Neural Networks", section 4.1.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_coordgate import psnr
    >>> round(psnr(np.zeros((8, 8)), np.full((8, 8), 0.1)), 6)
    20.0
    """
    data_range = _check(sharp, restored, data_range)
    error = float(np.mean(np.square(np.asarray(sharp, np.float64) - restored)))
    return float(10 * np.log10(data_range**2 / error)) if error else float("inf")


def ssim(sharp: Image, restored: Image, data_range: float | None = None) -> float:
    """Structural similarity with the Gaussian window of 11x11 pixels of Wang et al. [1]_.

    Parameters
    ----------
    sharp, restored : ndarray, shape (H, W)
        Images. Pixels whose window reaches beyond the border are left out; images with a side
        of less than 11 pixels get a smaller window.
    data_range : float, optional
        Range of the sharp intensities; default: 1 for floats, that of their type for integers.

    Returns
    -------
    float
        Mean SSIM, 1 if the images are equal.

    Raises
    ------
    ImageError
        If the images have different shapes.

    References
    ----------
    .. [1] Z. Wang et al., "Image quality assessment: from error visibility to structural
       similarity", IEEE Transactions on Image Processing 13, 600 (2004).

    Examples
    --------
    >>> import numpy as np
    >>> from napari_coordgate import ssim
    >>> ssim(np.eye(16), np.eye(16))
    1.0
    """
    data_range = _check(sharp, restored, data_range)
    # With Gaussian weights, scikit-image uses this only as the width of the border to leave out.
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
    sharp: Image,
    restored: Image,
    field_radius: NDArray[np.float64] | None = None,
    data_range: float | None = None,
) -> dict[str, float]:
    """PSNR in the center, the middle and the edge of the frame.

    Parameters
    ----------
    sharp, restored : ndarray, shape (H, W)
        Images.
    field_radius : ndarray, shape (H, W), optional
        Distance of each pixel from the optical axis, 1 at half the diagonal of the frame;
        default: that of a whole frame with the axis in its center.
    data_range : float, optional
        Range of the sharp intensities; default: 1 for floats, that of their type for integers.

    Returns
    -------
    dict of str to float
        PSNR in dB of the zones ``center`` (radius below 1/3), ``middle`` and ``edge`` (from
        2/3 on); a zone without pixels is left out.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_coordgate import zone_psnr
    >>> radius = np.tile(np.linspace(0, 1, 9), (9, 1))
    >>> {zone: round(dB) for zone, dB in zone_psnr(radius, radius + 0.1, radius).items()}
    {'center': 20, 'middle': 20, 'edge': 20}
    """
    data_range = _check(sharp, restored, data_range)
    if field_radius is None:
        field_radius = _default_field_radius(sharp)
    _check(sharp, field_radius, data_range)
    values = {}
    for zone, (inner, outer) in ZONES.items():
        inside = (field_radius >= inner) & (field_radius < outer)
        if inside.any():
            values[zone] = psnr(sharp[inside], restored[inside], data_range)
    return values


def quality(
    sharp: Image,
    restored: Image,
    field_radius: NDArray[np.float64] | None = None,
    data_range: float | None = None,
) -> dict[str, float]:
    """PSNR and SSIM of an image, and PSNR in each zone of the frame.

    Parameters
    ----------
    sharp, restored, field_radius : ndarray, shape (H, W)
        Images and field radius, as for `zone_psnr`.
    data_range : float, optional
        Range of the sharp intensities; default: 1 for floats, that of their type for integers.

    Returns
    -------
    dict of str to float
        Keys ``psnr``, ``ssim``, and ``psnr_center``, ``psnr_middle``, ``psnr_edge``.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_coordgate import quality
    >>> list(quality(np.eye(16), np.zeros((16, 16)), np.ones((16, 16))))
    ['psnr', 'ssim', 'psnr_edge']
    """
    zones = zone_psnr(sharp, restored, field_radius, data_range)
    return {
        "psnr": psnr(sharp, restored, data_range),
        "ssim": ssim(sharp, restored, data_range),
        **{f"psnr_{zone}": value for zone, value in zones.items()},
    }


def _check(sharp: Image, other: Image, data_range: float | None) -> float:
    """Data range, by default that of the pixel type, of images that must have one shape."""
    shape, other_shape = np.shape(sharp), np.shape(other)
    if shape != other_shape:
        raise ImageError(
            f"The images have different shapes, {format_shape(shape)} and "
            f"{format_shape(other_shape)}; compare images of the same shape."
        )
    if data_range is not None:
        return data_range
    dtype = np.asarray(sharp).dtype
    return float(np.iinfo(dtype).max) - np.iinfo(dtype).min if dtype.kind in "iu" else 1.0


def _default_field_radius(image: Image) -> NDArray[np.float64]:
    """Field radius (H, W) of a whole frame with the axis in its center."""
    if image.ndim != 2:
        raise ImageError(f"Zones need an image of shape (H, W), got {format_shape(image.shape)}.")
    height, width = image.shape
    return pixel_field_radius((height, width))
