"""Verdicts on the claims follow from the data, seed by seed."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from paper.claims import answer_lens_claims, own_network, verdict_of

AS_CLAIMED = {
    "U-Net(3)": 28.0,
    "U-Net(4)": 29.0,
    "U-Net(5)": 30.0,
    "U-Net(6)": 30.1,
    "CG U-Net(3)": 31.0,
    "CG U-Net(6)": 32.0,
    "CoordConv-UNet(6)": 30.1,
    "MultiWienerNet(6)": 30.5,
    "MultiWienerNet(3)": 29.5,
    "CG-WienerNet(3)": 31.5,
}
CENTER = {"CG U-Net(3)": 5.0}
"""Additional gain near the center, dB."""


def rows(psnr: Mapping[str, float], seeds: int = 2) -> list[dict[str, Any]]:
    return [
        {
            "method": name,
            "seed": seed,
            "parameters": 100 if "(3)" in name else 6000,
            "psnr": value + 0.01 * seed,
            "psnr_center": value + CENTER.get(name, 0.0),
            "psnr_middle": value,
            "psnr_edge": value,
        }
        for name, value in psnr.items()
        for seed in range(seeds)
    ]


def verdicts(**changes: float) -> list[str]:
    names = {"cg3": "CG U-Net(3)", "u4": "U-Net(4)", "u6": "U-Net(6)", "cc": "CoordConv-UNet(6)"}
    changed = AS_CLAIMED | {names[short]: value for short, value in changes.items()}
    return [answer.verdict for answer in answer_lens_claims(rows(changed))]


def test_all_claims_hold_if_the_order_is_that_of_the_paper() -> None:
    assert verdicts() == ["holds"] * 7


def test_the_evidence_contains_psnr_and_the_ratio_of_parameters() -> None:
    answers = answer_lens_claims(rows(AS_CLAIMED))
    assert [answer.number for answer in answers] == list(range(1, 8))
    assert "31.00" in answers[2].evidence or "31.01" in answers[2].evidence
    assert "60 times fewer" in answers[2].evidence


def test_a_claim_does_not_hold_if_the_order_is_reversed() -> None:
    assert verdicts(cg3=29.9)[2] == "does not hold"
    assert verdicts(cg3=33.0)[3] == "does not hold"


def test_a_claim_of_several_orders_holds_in_part_if_one_is_reversed() -> None:
    assert verdicts(u4=27.0)[0] == "holds in part"


def test_a_little_better_does_not_hold_for_a_large_difference() -> None:
    assert verdicts(u6=30.9)[1] == verdicts(u6=29.0)[1] == "does not hold"
    assert verdicts(u6=29.9)[1] == "holds in part"


def test_coordconv_is_similar_only_within_the_margin_in_both_directions() -> None:
    assert verdicts(cc=30.39)[4] == "holds"
    assert verdicts(cc=29.0)[4] == verdicts(cc=31.0)[4] == "does not hold"


def test_a_larger_gain_at_the_edge_is_not_a_gain_at_the_center() -> None:
    edge = [
        {**row, "psnr_edge": row["psnr_edge"] + (20 if row["method"] == "CG U-Net(3)" else 0)}
        for row in rows(AS_CLAIMED)
    ]
    assert answer_lens_claims(edge)[6].verdict == "holds in part"


@pytest.mark.parametrize(
    ("orders", "verdict"),
    [
        ([[1.0, 2.0]], "holds"),
        ([[1.0, -0.5]], "holds in part"),
        ([[-1.0, 0.5]], "does not hold"),
        ([[1.0], [-1.0]], "holds in part"),
        ([[-1.0], [-1.0]], "does not hold"),
        ([[1.0], []], "not measured"),
    ],
)
def test_a_verdict_considers_every_seed(orders: Sequence[Sequence[float]], verdict: str) -> None:
    assert verdict_of(*orders) == verdict


def test_claims_without_data_are_not_measured() -> None:
    assert {answer.verdict for answer in answer_lens_claims([])} == {"not measured"}
    assert own_network([])[0] == "not measured"


def test_our_own_network_must_beat_both_parents() -> None:
    assert own_network(rows(AS_CLAIMED))[0] == "holds"
    assert own_network(rows(AS_CLAIMED | {"MultiWienerNet(3)": 40.0}))[0] == "holds in part"
