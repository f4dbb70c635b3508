"""Calibration of what is said about the results of a model, stored in its file."""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from napari_coordgate.config.base import Settings

DEFAULT_TOLERANCE = 0.01
"""Tolerance of the contradiction for methods without calibration."""
BOUND_LIMITS = 0.003, 1.0
"""Range of the bound before its factor, of full brightness; sharp images have noise, too."""


class TrustCalibration(Settings):
    """What is known about the errors of a universal model, from images that it was not trained on.

    Examples
    --------
    >>> TrustCalibration(error_factor=1.2).error_factor
    1.2
    """

    error_factor: float = Field(
        1.0,
        gt=0,
        description="Factor of the predicted 90 % quantile of the absolute error, so that it "
        "covers 90 % of the pixels of the calibration's images.",
    )
    rms_factor: float = Field(
        0.5, gt=0, description="Root mean square of the error, relative to that of its bound."
    )
    tolerance: float = Field(
        DEFAULT_TOLERANCE,
        ge=0,
        description="Systematic error of good results, relative to full brightness, that does not "
        "count as a contradiction.",
    )
    images: int = Field(0, ge=0, description="Number of images of the calibration.")

    def bound(self, log_error: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bound of the absolute error (H, W), at most full brightness, from its logarithm.

        Of the predicted logarithm, the mean of neighbors is taken: the network doubles its
        features in size, which leaves a pattern of 2 pixels.
        """
        bound: NDArray[np.float32] = np.exp(np.minimum(_without_pattern(log_error), 0))
        return bound * np.float32(self.error_factor)


def _without_pattern(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values (H, W) without what alternates from pixel to pixel."""
    padded = np.pad(values, 1, mode="edge")
    rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    smooth: NDArray[np.float32] = (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 16
    return smooth
