"""Calibration of a model's errors, from pairs of results and scenes that it was not trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.errors import TrainingError
from napari_coordgate.trust.contradiction import Residual, contradiction_map
from napari_coordgate.trust.trust_calibration import TrustCalibration
from napari_coordgate.trust.verdict import AMBER_SHARE

COVERED = 0.9
"""Fraction of the pixels whose absolute error is below the bound."""
PASSED = 0.95
"""Fraction of good results that are not contradicted."""
GOOD_DB = 0.5
"""Least gain of a good result, dB."""

_MAX_TOLERANCE, _HALVINGS = 0.2, 7
_PIXELS = 2000
_LEAST = 10

Float32 = NDArray[np.float32]


class CalibrationSample(NamedTuple):
    """Figures of one deblurred image whose scene is known."""

    ratios: Float32
    """Absolute error of some pixels over its predicted bound."""
    rms_ratio: float
    """Root mean square of the error over that of the bound."""
    gain_db: float
    tolerance: float
    """Least tolerance with which the result is not contradicted."""

    @classmethod
    def of(
        cls,
        scene: Float32,
        deblurred: Float32,
        bound: Float32,
        blurred: Float32,
        residual: Residual,
    ) -> CalibrationSample:
        """Sample of a scaled plane, whose result has a predicted bound and a residual."""
        error = np.abs(deblurred - scene)
        ratios = (error / bound).ravel()
        mean, before = (float(np.mean(np.square(e))) for e in (error, blurred - scene))
        return cls(
            ratios[:: max(1, len(ratios) // _PIXELS)],
            math.sqrt(mean / float(np.mean(np.square(bound)))),
            10 * math.log10(before / mean),
            least_tolerance(residual),
        )


def least_tolerance(residual: Residual, share: float = AMBER_SHARE) -> float:
    """Least tolerance with which at most this share of the pixels is contradicted, by bisection."""
    low, high = 0.0, _MAX_TOLERANCE
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if np.mean(contradiction_map(residual, middle) > 1) > share:
            low = middle
        else:
            high = middle
    return high


def calibrated(samples: Sequence[CalibrationSample]) -> TrustCalibration:
    """Calibration by samples, each of which counts the same."""
    good = [sample.tolerance for sample in samples if sample.gain_db > GOOD_DB]
    if len(good) < _LEAST:
        raise TrainingError(
            f"Only {len(good)} of {len(samples)} images got better by deblurring; a calibration "
            f"needs {_LEAST}: train the model longer, or use more images."
        )
    ratios = np.concatenate([sample.ratios for sample in samples])
    factor = float(np.quantile(ratios, COVERED))
    return TrustCalibration(
        error_factor=factor,
        rms_factor=float(np.median([sample.rms_ratio for sample in samples])) / factor,
        tolerance=float(np.quantile(good, PASSED)),
        images=len(samples),
    )
