from .calibrating import CalibrationSample, calibrated
from .contradiction import (
    Reblurred,
    Residual,
    blur_again,
    contradiction_map,
)
from .detail import detail_map
from .trust_calibration import DEFAULT_TOLERANCE, TrustCalibration
from .verdict import (
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
