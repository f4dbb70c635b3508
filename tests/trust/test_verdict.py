"""Laws of the verdict: the worst finding decides, and each finding says what to do."""

import pytest

from napari_coordgate import Check
from napari_coordgate.calibration import Finding
from napari_coordgate.trust import Color, PlaneSummary, verdict_of

FITS = Check((Finding("lens", "green", "The lens fits.", 5.0, 5.0),))
WRONG = Check((Finding("lens", "red", "The curvature is 5 um; the lens is for 8.", 5.0, 8.0),))
GOOD, DENIED = PlaneSummary("a", 0.0, 5.0), PlaneSummary("b", 0.3, 5.0)


@pytest.mark.parametrize(
    ("check", "plane", "color"),
    [
        (FITS, GOOD, "green"),
        (None, GOOD, "green"),
        (WRONG, GOOD, "red"),
        (FITS, DENIED, "red"),
        (FITS, PlaneSummary("c", 0.01, 5.0), "amber"),
        (FITS, PlaneSummary("d", 0.0, 0.1), "amber"),
        (FITS, PlaneSummary("e", None, None), "green"),
    ],
)
def test_the_worst_part_decides(check: Check | None, plane: PlaneSummary, color: Color) -> None:
    assert verdict_of(check, [plane]).color == color


def test_the_worst_plane_is_named_and_findings_say_what_to_do() -> None:
    verdict = verdict_of(WRONG, [GOOD, DENIED])
    messages = {finding.subject: finding.message for finding in verdict.findings}
    assert "of b" in messages["contradiction"]
    assert "calibrate" in messages["lens"]


def test_a_lens_that_was_neither_measured_nor_checked_is_doubtful() -> None:
    unchecked = Check((), ("The lens was not checked: it is small.",))
    assert verdict_of(unchecked, [GOOD], is_measured=False).color == "amber"
    verdict = verdict_of(unchecked, [GOOD], is_measured=True)
    assert verdict.color == "green"
    assert verdict.notes == unchecked.notes


def test_a_guess_that_the_image_does_not_contradict_is_doubtful() -> None:
    verdict = verdict_of(FITS, [GOOD], is_measured=False)
    assert verdict.color == "amber"
    assert "measure it" in verdict.findings[0].message
