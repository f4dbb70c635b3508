"""How wide a point spread function (PSF) is, in one number."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["fwhm_px"]


def fwhm_px(psfs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Full width at half maximum of the Gaussians that blur as much as PSFs do.

    A PSF of any shape is stood for by the Gaussian of the same noise-equivalent
    area, 1 / sum(psf^2): it lets as much of white noise through.

    Parameters
    ----------
    psfs : ndarray, shape (..., K, K)
        PSFs, each of sum 1.

    Returns
    -------
    ndarray, shape (...)
        Widths, pixels.
    """
    area = 1 / np.sum(np.square(psfs), axis=(-2, -1))
    widths: NDArray[np.float64] = 2 * np.sqrt(np.log(2) * area / (2 * np.pi))
    return widths
