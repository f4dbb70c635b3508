"""Verdict on a deblurred image: can it be trusted, and if not, why and what to do."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from napari_coordgate.calibration import Check, Finding
from napari_coordgate.calibration.checking import Verdict

Color = Verdict
"""``"green"``, ``"amber"`` or ``"red"``."""

AMBER_SHARE, RED_SHARE = 0.002, 0.05
"""Fractions of contradicted pixels from which a plane is amber or red."""
LEAST_GAIN_DB = 0.5
"""Expected gain below which a result is too uncertain."""

_ADVICE = {
    "pixel size": "correct the one that is wrong, or use a lens for this pixel size",
    "noise": "measure the camera's noise (calibrate noise), or leave the camera out",
    "lens": "measure the lens (calibrate) with beads or with images from this microscope",
}
_GUESSED = (
    "but the lens is a guess: measure it (calibrate) with beads or with images from this microscope"
)
_UNCHECKED = (
    "The lens was neither measured nor checked with this image, and a wrong lens makes images "
    "worse: measure it (calibrate)."
)


class TrustFinding(NamedTuple):
    """One part of a verdict.

    Attributes
    ----------
    subject : {"pixel size", "noise", "lens", "contradiction", "expected error", "range"}
        What was looked at.
    color : {"green", "amber", "red"}
        Whether it is fine, doubtful, or wrong.
    message : str
        One sentence that says what was found and what to do.

    Examples
    --------
    >>> TrustFinding("lens", "green", "The lens fits.").color
    'green'
    """

    subject: str
    color: Color
    message: str


@dataclass(frozen=True)
class TrustVerdict:
    """Whether a deblurred image can be trusted.

    Attributes
    ----------
    findings : tuple of TrustFinding
        The check of lens and noise, the contradiction with the image, and the expected error.
    notes : tuple of str
        What could not be judged, and why.

    Examples
    --------
    >>> message = "3 % of the pixels contradict the image: check the lens and the noise."
    >>> verdict = TrustVerdict((TrustFinding("contradiction", "red", message),))
    >>> verdict.color
    'red'
    """

    findings: tuple[TrustFinding, ...]
    notes: tuple[str, ...] = ()

    @property
    def color(self) -> Color:
        """Worst color of the findings."""
        return worst_color(finding.color for finding in self.findings)


def worst_color(colors: Iterable[Color]) -> Color:
    """Worst of some colors; green if there are none."""
    present = set(colors)
    return "red" if "red" in present else "amber" if "amber" in present else "green"


class PlaneSummary(NamedTuple):
    """Figures of one plane for the verdict; None where they are not known."""

    name: str
    contradicted: float | None
    """Fraction of pixels that contradict the image."""
    gain_db: float | None
    """Expected gain over the blurred image, dB."""


def verdict_of(
    check: Check | None,
    planes: Sequence[PlaneSummary],
    notes: Sequence[str] = (),
    *,
    is_measured: bool = True,
) -> TrustVerdict:
    """Verdict of a check, if there was one, and of the planes of an image.

    ``is_measured`` is False for a lens that was described, not measured: then it is doubtful also
    where the image does not contradict it.
    """
    checked = () if check is None else check.findings
    findings = [_with_advice(finding, is_measured) for finding in checked]
    if check is not None:
        notes = (*check.notes, *notes)
    if not is_measured and not any(finding.subject == "lens" for finding in findings):
        findings.append(TrustFinding("lens", "amber", _UNCHECKED))
    found = contradiction_finding(planes), gain_finding(planes)
    findings += [finding for finding in found if finding is not None]
    return TrustVerdict(tuple(findings), tuple(notes))


def _with_advice(finding: Finding, is_measured: bool) -> TrustFinding:
    """Finding of a check, with what to do."""
    if finding.verdict == "green" and finding.subject == "lens" and not is_measured:
        message = f"{finding.message.rstrip('.')}; {_GUESSED}."
        return TrustFinding(finding.subject, "amber", message)
    if finding.verdict == "green":
        return TrustFinding(finding.subject, "green", finding.message)
    message = f"{finding.message.rstrip('.')}; {_ADVICE[finding.subject]}."
    return TrustFinding(finding.subject, finding.verdict, message)


def contradiction_finding(planes: Sequence[PlaneSummary]) -> TrustFinding | None:
    """Finding about the plane that contradicts its image most; None if none was compared."""
    shares = [(plane.contradicted, plane) for plane in planes if plane.contradicted is not None]
    if not shares:
        return None
    share, plane = max(shares, key=lambda pair: pair[0])
    if share < AMBER_SHARE:
        message = "The result, blurred again, agrees with the image up to its noise."
        return TrustFinding("contradiction", "green", message)
    color: Color = "red" if share >= RED_SHARE else "amber"
    where = f" of {plane.name}" if len(planes) > 1 else ""
    is_universal = plane.gain_db is not None  # others predict no error
    instead = "" if is_universal else ", or deblur with the universal model"
    message = (
        f"The image contradicts the result at {_percent(share)} of the pixels{where}: do not use "
        f"these places, and check that lens and noise are right{instead}."
    )
    return TrustFinding("contradiction", color, message)


def gain_finding(planes: Sequence[PlaneSummary]) -> TrustFinding | None:
    """Finding about the plane that is expected to gain least; None if no error was predicted."""
    gains = [(plane.gain_db, plane) for plane in planes if plane.gain_db is not None]
    if not gains:
        return None
    gain, plane = min(gains, key=lambda pair: pair[0])
    if gain >= LEAST_GAIN_DB:
        message = (
            f"The result is expected to have {_less_error(gain):.0f} % less error than the image "
            f"({gain:.1f} dB)."
        )
        return TrustFinding("expected error", "green", message)
    where = f" of {plane.name}" if len(planes) > 1 else ""
    message = (
        f"The result{where} is hardly better than the image ({_less_error(gain):.0f} % less error, "
        f"{gain:.1f} dB): collect more light, or use the image as it is."
    )
    return TrustFinding("expected error", "amber", message)


def _less_error(gain_db: float) -> float:
    """Percentage by which a gain makes the error smaller."""
    return 100 * (1 - float(10 ** (-gain_db / 20)))


def expected_gain_db(squared_change: float, squared_error: float) -> float:
    """Expected gain of a result over its image, dB, from the means of both squares.

    The error of the best estimate is uncorrelated with the image, so that the expected squared
    error of the image is the sum of both.
    """
    return 10 * math.log10(1 + squared_change / max(squared_error, 1e-12))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"
