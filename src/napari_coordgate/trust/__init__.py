"""Statistics of results: contradiction with the image, expected error, detail that survives."""

from napari_coordgate.trust.calibrated import DEFAULT_TOLERANCE, TrustCalibration
from napari_coordgate.trust.calibrating import CalibrationSample, calibrated
from napari_coordgate.trust.contradiction import (
    Reblurred,
    Residual,
    blur_again,
    contradiction_map,
)
from napari_coordgate.trust.detail import detail_map
from napari_coordgate.trust.verdict import (
    Color,
    PlaneSummary,
    TrustFinding,
    TrustVerdict,
    contradiction_finding,
    expected_gain_db,
    gain_finding,
    verdict_of,
)

__all__ = [
    "DEFAULT_TOLERANCE",
    "CalibrationSample",
    "Color",
    "PlaneSummary",
    "Reblurred",
    "Residual",
    "TrustCalibration",
    "TrustFinding",
    "TrustVerdict",
    "blur_again",
    "calibrated",
    "contradiction_finding",
    "contradiction_map",
    "detail_map",
    "expected_gain_db",
    "gain_finding",
    "verdict_of",
]
