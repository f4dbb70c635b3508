"""What the paper claims, and whether it holds in our hands.

Each claim is a function of measured figures, so that a new run gives new answers. A
claim holds if its order is found with every seed, in part if it is found on the mean or
for a part of what is claimed, and does not hold otherwise.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean
from typing import Any, Literal

__all__ = [
    "ALIKE_DB",
    "Answer",
    "answer_lens_claims",
    "answer_line_claims",
    "own_network",
    "verdict_of",
]

Verdict = Literal["holds", "holds in part", "does not hold", "not measured"]
Rows = Sequence[Mapping[str, Any]]

ALIKE_DB = 0.3
"""Difference of PSNR below which two methods are called alike, dB."""


@dataclass(frozen=True)
class Answer:
    """One claim of the paper, and what we found.

    Attributes
    ----------
    number : int
        Its place in the list.
    claim : str
        What the paper says.
    verdict : str
        Whether it holds.
    evidence : str
        The figures behind the verdict.
    figure : str
        The figure whose command measured them.
    """

    number: int
    claim: str
    verdict: Verdict
    evidence: str
    figure: str


class Measured:
    """Figures of a comparison, by method.

    Parameters
    ----------
    rows : sequence of mapping
        Rows of a comparison, each of one method and seed.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def of(self, method: str, figure: str = "psnr") -> dict[int, float]:
        """A figure of a method, by seed."""
        return {row["seed"]: row[figure] for row in self._rows if row["method"] == method}

    def gains(self, method: str, over: str, figure: str = "psnr") -> list[float]:
        """How much more a method has than another, seed by seed."""
        own, other = self.of(method, figure), self.of(over, figure)
        return [own[seed] - other[seed] for seed in own if seed in other]

    def told(self, method: str, figure: str = "psnr") -> str:
        """Mean of a figure in dB, with its range over the seeds."""
        values = list(self.of(method, figure).values())
        spread = f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
        return f"{method} {mean(values):.2f} dB{spread}"


def verdict_of(*orders: Sequence[float]) -> Verdict:
    """Verdict on one or several orders, each given by gains that should all be positive."""
    if not all(orders):
        return "not measured"
    if all(gain > 0 for gains in orders for gain in gains):
        return "holds"
    found = [mean(gains) > 0 for gains in orders]
    return "holds in part" if any(found) else "does not hold"


def _improves_with_depth(measured: Measured) -> tuple[Verdict, str]:
    names = [f"U-Net({depth})" for depth in (3, 4, 5, 6)]
    steps = [measured.gains(deeper, shallower) for shallower, deeper in pairwise(names)]
    if not all(steps):
        return "not measured", ""
    return verdict_of(*steps), ", ".join(measured.told(name) for name in names)


def _is_little_better(measured: Measured) -> tuple[Verdict, str]:
    gains = measured.gains("U-Net(6)", "U-Net(5)")
    if not gains:
        return "not measured", ""
    gain = mean(gains)
    told = f"U-Net(6) over U-Net(5): {gain:+.2f} dB (only a little: at most {ALIKE_DB})"
    if abs(gain) > ALIKE_DB:
        return "does not hold", told
    return ("holds" if gain >= 0 else "holds in part"), told


def _shallow_beats_deep(measured: Measured) -> tuple[Verdict, str]:
    gains = measured.gains("CG U-Net(3)", "U-Net(6)")
    if not gains:
        return "not measured", ""
    counts = (measured.of(name, "parameters") for name in ("U-Net(6)", "CG U-Net(3)"))
    deep, shallow = (next(iter(count.values())) for count in counts)
    told = ", ".join(measured.told(name) for name in ("CG U-Net(3)", "U-Net(6)"))
    return verdict_of(
        gains
    ), f"{told}; {shallow:,} against {deep:,} parameters, {deep / shallow:.0f} times fewer"


def _deep_gates_are_better(measured: Measured) -> tuple[Verdict, str]:
    gains = measured.gains("CG U-Net(6)", "CG U-Net(3)")
    told = ", ".join(measured.told(name) for name in ("CG U-Net(6)", "CG U-Net(3)") if gains)
    return verdict_of(gains), told


def _coordconv_is_alike(measured: Measured) -> tuple[Verdict, str]:
    gains = measured.gains("CoordConv-UNet(6)", "U-Net(6)")
    if not gains:
        return "not measured", ""
    told = f"CoordConv-UNet(6) over U-Net(6): {mean(gains):+.2f} dB (alike: within {ALIKE_DB})"
    alike = [abs(gain) <= ALIKE_DB for gain in gains]
    if all(alike):
        return "holds", told
    return ("holds in part" if abs(mean(gains)) <= ALIKE_DB else "does not hold"), told


def _wiener_lies_between(measured: Measured) -> tuple[Verdict, str]:
    above = measured.gains("MultiWienerNet(6)", "U-Net(6)")
    below = measured.gains("CG U-Net(3)", "MultiWienerNet(6)")
    names = ("MultiWienerNet(6)", "U-Net(6)", "CG U-Net(3)")
    told = ", ".join(measured.told(name) for name in names if above and below)
    return verdict_of(above, below), told


def _gain_is_at_the_center(measured: Measured) -> tuple[Verdict, str]:
    zones = {
        zone: measured.gains("CG U-Net(3)", "U-Net(6)", f"psnr_{zone}")
        for zone in ("center", "middle", "edge")
    }
    if not all(zones.values()):
        return "not measured", ""
    told = ", ".join(f"{zone} {mean(gains):+.2f} dB" for zone, gains in zones.items())
    beyond = [center - max(others) for center, *others in zip(*zones.values(), strict=True)]
    return verdict_of(zones["center"], beyond), f"CG U-Net(3) over U-Net(6): {told}"


def own_network(rows: Rows) -> tuple[Verdict, str]:
    """Whether the gated network on Wiener filters is better than both of its parents.

    Parameters
    ----------
    rows : sequence of mapping
        Rows of the figure ``lens``.

    Returns
    -------
    verdict, evidence : str
        As in `Answer`.
    """
    measured = Measured(rows)
    own, parents = "CG-WienerNet(3)", ("CG U-Net(3)", "MultiWienerNet(3)")
    gains = [measured.gains(own, parent) for parent in parents]
    if not all(gains):
        return "not measured", ""
    names = (own, *parents)
    counts = (f"{next(iter(measured.of(name, 'parameters').values())):,}" for name in names)
    told = ", ".join(measured.told(name) for name in names)
    return verdict_of(*gains), f"{told}; {', '.join(counts)} parameters"


LENS_CLAIMS: tuple[tuple[int, str, Callable[[Measured], tuple[Verdict, str]]], ...] = (
    (1, "The U-Net improves with depth.", _improves_with_depth),
    (2, "U-Net(6) is only a little better than U-Net(5).", _is_little_better),
    (
        3,
        "CG U-Net(3) beats U-Net(6) with about 60 times fewer parameters.",
        _shallow_beats_deep,
    ),
    (4, "CG U-Net(6) beats CG U-Net(3).", _deep_gates_are_better),
    (5, "CoordConv-UNet(6) does as well as U-Net(6), no better.", _coordconv_is_alike),
    (6, "MultiWienerNet(6) beats U-Net(6) and loses to CG U-Net(3).", _wiener_lies_between),
    (
        7,
        "The gain of CG U-Net(3) over the deep U-Net lies near the center of the field.",
        _gain_is_at_the_center,
    ),
)
"""Claims of section 4.2, which the figure ``lens`` answers."""


def answer_lens_claims(rows: Rows) -> list[Answer]:
    """Answers to the claims about the lens.

    Parameters
    ----------
    rows : sequence of mapping
        Rows of the figure ``lens``: ``method``, ``seed``, ``parameters``, ``psnr`` and the
        PSNR of each zone.

    Returns
    -------
    list of Answer
        Claims 1 to 7.
    """
    measured = Measured(rows)
    return [
        Answer(number, claim, *answer(measured), "lens") for number, claim, answer in LENS_CLAIMS
    ]


LEARNED_DB = 25.0
"""PSNR from which a network is said to have learned the convolution of the line, dB."""
CHEAP = 1.25
"""Time with a kept gating map over that without a gate, up to which a gate is cheap."""


def answer_line_claims(data: Mapping[str, Any]) -> list[Answer]:
    """Answers to the claims about the line, and about the cost of a gate.

    Parameters
    ----------
    data : mapping
        Of ``line.json``: ``networks`` and ``findings``.

    Returns
    -------
    list of Answer
        Claims 8 to 10.
    """
    networks = {network["name"]: network for network in data["networks"]}
    return [
        Answer(8, ONE_LAYER, *_one_layer_learns(networks), "line"),
        Answer(9, RANDOM, *_random_numbers_fail(networks), "line"),
        Answer(10, CHEAP_GATE, *_gates_are_cheap(data["findings"]["gate_over_none"]), "line"),
    ]


ONE_LAYER = (
    "One gated layer, CG(1,7,3,2), learns H; plain CNNs improve with layers, as the effect of "
    "their padding moves inwards, and more channels do not help."
)
RANDOM = "With random numbers in place of coordinates the training does not converge."
CHEAP_GATE = "At inference a gate costs one multiplication."


def _one_layer_learns(networks: Mapping[str, Mapping[str, Any]]) -> tuple[Verdict, str]:
    layered = ("CNN(1,7,1)", "CNN(3,7,4)", "CNN(4,7,4)", "CNN(8,7,4)")
    if not {*layered, "CNN(4,7,20)", "CG(1,7,3,2)"} <= networks.keys():
        return "not measured", ""
    gated, deep, wide = (networks[n]["psnr"] for n in ("CG(1,7,3,2)", "CNN(8,7,4)", "CNN(4,7,20)"))
    medians = [networks[name]["median_psnr"] for name in layered]
    gains = [
        [psnr - LEARNED_DB for psnr in gated],
        [ours - theirs for ours, theirs in zip(gated, deep, strict=True)],
        [ours - theirs for ours, theirs in zip(gated, wide, strict=True)],
        [after - before for before, after in pairwise(medians)],
        [medians[-1] - networks["CNN(4,7,20)"]["median_psnr"]],
    ]
    told = ", ".join(_range(name, networks) for name in ("CG(1,7,3,2)", *layered, "CNN(4,7,20)"))
    return verdict_of(*gains), f"{told} (learned: {LEARNED_DB:g} dB or more)"


def _random_numbers_fail(networks: Mapping[str, Mapping[str, Any]]) -> tuple[Verdict, str]:
    names = [name for name in networks if name.endswith(", random numbers")]
    pairs = [(name, name.removesuffix(", random numbers")) for name in names]
    if not names or not all(gated in networks for _, gated in pairs):
        return "not measured", ""
    short = [[LEARNED_DB - psnr for psnr in networks[name]["psnr"]] for name in names]
    told = ", ".join(_range(name, networks) for pair in pairs for name in pair)
    return verdict_of(*short), told


def _gates_are_cheap(ratios: Mapping[str, float]) -> tuple[Verdict, str]:
    told = ", ".join(f"{value:.2f} at {channels} channels" for channels, value in ratios.items())
    evidence = f"time with the gating map kept, over that without the gate: {told}"
    return verdict_of(*([CHEAP - ratio] for ratio in ratios.values())), evidence


def _range(name: str, networks: Mapping[str, Mapping[str, Any]]) -> str:
    """Median PSNR of a network, with its range over the seeds."""
    network = networks[name]
    low, high = min(network["psnr"]), max(network["psnr"])
    return f"{name} {network['median_psnr']:.1f} dB ({low:.1f} to {high:.1f})"
