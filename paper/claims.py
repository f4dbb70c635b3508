"""The paper's claims, and whether they hold in our measurements.

Each claim is a function of the measured data. It holds if its order is found with every seed, in
part if it is found for the mean of the seeds or for a part of what is claimed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean
from typing import Any, Literal

Verdict = Literal["holds", "holds in part", "does not hold", "not measured"]
Rows = Sequence[Mapping[str, Any]]
Networks = Mapping[str, Mapping[str, Any]]

SIMILAR_DB = 0.3
"""Difference of PSNR, dB, below which two methods are considered similar."""
LEARNED_DB = 25.0
"""PSNR, dB, from which a network is considered to have learned H."""
CHEAP = 1.25
"""Time with a cached gating map relative to no gate, up to which a gate is considered cheap."""


@dataclass(frozen=True)
class Answer:
    """A claim of the paper with our verdict, its evidence and the figure that measures it."""

    number: int
    claim: str
    verdict: Verdict
    evidence: str
    figure: str


class NotMeasuredError(Exception):
    """The data lacks a method that a claim is about."""


class Measured:
    """Metrics of the lens comparison by method."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def of(self, method: str, metric: str = "psnr") -> dict[int, float]:
        """Return a metric of a method by seed."""
        return {row["seed"]: row[metric] for row in self._rows if row["method"] == method}

    def gains(self, method: str, over: str, metric: str = "psnr") -> list[float]:
        """Return the difference between two methods for each seed that both have."""
        own, other = self.of(method, metric), self.of(over, metric)
        gains = [own[seed] - other[seed] for seed in own if seed in other]
        if not gains:
            raise NotMeasuredError
        return gains

    def parameters(self, method: str) -> int:
        """Return the number of parameters of a method."""
        return int(next(iter(self.of(method, "parameters").values())))

    def describe(self, *methods: str) -> str:
        """Return the mean PSNR of each method, with its range over the seeds."""
        return ", ".join(f"{name} {_mean_and_range(self.of(name).values())}" for name in methods)


def _mean_and_range(psnr: Any) -> str:
    values = list(psnr)
    spread = f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
    return f"{mean(values):.2f} dB{spread}"


def verdict_of(*orders: Sequence[float]) -> Verdict:
    """Judge one or several orders, each given by gains that should all be positive."""
    if not all(orders):
        return "not measured"
    if all(gain > 0 for gains in orders for gain in gains):
        return "holds"
    return "holds in part" if any(mean(gains) > 0 for gains in orders) else "does not hold"


# Claims about the lens (section 4.2)


def _improves_with_depth(measured: Measured) -> tuple[Verdict, str]:
    names = [f"U-Net({depth})" for depth in (3, 4, 5, 6)]
    steps = [measured.gains(deeper, shallower) for shallower, deeper in pairwise(names)]
    return verdict_of(*steps), measured.describe(*names)


def _is_little_better(measured: Measured) -> tuple[Verdict, str]:
    gain = mean(measured.gains("U-Net(6)", "U-Net(5)"))
    evidence = f"U-Net(6) over U-Net(5): {gain:+.2f} dB (only a little: at most {SIMILAR_DB})"
    if abs(gain) > SIMILAR_DB:
        return "does not hold", evidence
    return ("holds" if gain >= 0 else "holds in part"), evidence


def _shallow_beats_deep(measured: Measured) -> tuple[Verdict, str]:
    gains = measured.gains("CG U-Net(3)", "U-Net(6)")
    shallow, deep = (measured.parameters(name) for name in ("CG U-Net(3)", "U-Net(6)"))
    parameters = f"{shallow:,} against {deep:,} parameters, {deep / shallow:.0f} times fewer"
    return verdict_of(gains), f"{measured.describe('CG U-Net(3)', 'U-Net(6)')}; {parameters}"


def _deep_gates_are_better(measured: Measured) -> tuple[Verdict, str]:
    names = ("CG U-Net(6)", "CG U-Net(3)")
    return verdict_of(measured.gains(*names)), measured.describe(*names)


def _coordconv_is_similar(measured: Measured) -> tuple[Verdict, str]:
    gains = measured.gains("CoordConv-UNet(6)", "U-Net(6)")
    evidence = (
        f"CoordConv-UNet(6) over U-Net(6): {mean(gains):+.2f} dB (alike: within {SIMILAR_DB})"
    )
    if all(abs(gain) <= SIMILAR_DB for gain in gains):
        return "holds", evidence
    return ("holds in part" if abs(mean(gains)) <= SIMILAR_DB else "does not hold"), evidence


def _wiener_is_between(measured: Measured) -> tuple[Verdict, str]:
    above = measured.gains("MultiWienerNet(6)", "U-Net(6)")
    below = measured.gains("CG U-Net(3)", "MultiWienerNet(6)")
    evidence = measured.describe("MultiWienerNet(6)", "U-Net(6)", "CG U-Net(3)")
    return verdict_of(above, below), evidence


def _gain_is_at_the_center(measured: Measured) -> tuple[Verdict, str]:
    zones = {
        zone: measured.gains("CG U-Net(3)", "U-Net(6)", f"psnr_{zone}")
        for zone in ("center", "middle", "edge")
    }
    evidence = ", ".join(f"{zone} {mean(gains):+.2f} dB" for zone, gains in zones.items())
    excess = [center - max(others) for center, *others in zip(*zones.values(), strict=True)]
    return verdict_of(zones["center"], excess), f"CG U-Net(3) over U-Net(6): {evidence}"


def _gated_wiener_is_best(measured: Measured) -> tuple[Verdict, str]:
    own, *parents = names = ("CG-WienerNet(3)", "CG U-Net(3)", "MultiWienerNet(3)")
    gains = [measured.gains(own, parent) for parent in parents]
    counts = ", ".join(f"{measured.parameters(name):,}" for name in names)
    return verdict_of(*gains), f"{measured.describe(*names)}; {counts} parameters"


Judge = Callable[[Measured], tuple[Verdict, str]]
LENS_CLAIMS: tuple[tuple[int, str, Judge], ...] = (
    (1, "The U-Net improves with depth.", _improves_with_depth),
    (2, "U-Net(6) is only a little better than U-Net(5).", _is_little_better),
    (3, "CG U-Net(3) beats U-Net(6) with about 60 times fewer parameters.", _shallow_beats_deep),
    (4, "CG U-Net(6) beats CG U-Net(3).", _deep_gates_are_better),
    (5, "CoordConv-UNet(6) does as well as U-Net(6), no better.", _coordconv_is_similar),
    (6, "MultiWienerNet(6) beats U-Net(6) and loses to CG U-Net(3).", _wiener_is_between),
    (
        7,
        "The gain of CG U-Net(3) over the deep U-Net lies near the center of the field.",
        _gain_is_at_the_center,
    ),
)


def answer_lens_claims(rows: Rows) -> list[Answer]:
    """Answer claims 1 to 7 from the rows of ``lens.json``."""
    return [Answer(n, claim, *_judge(judge, rows), "lens") for n, claim, judge in LENS_CLAIMS]


def own_network(rows: Rows) -> tuple[Verdict, str]:
    """Judge whether the gated network on Wiener filters beats both of its parents."""
    return _judge(_gated_wiener_is_best, rows)


def _judge(judge: Judge, rows: Rows) -> tuple[Verdict, str]:
    try:
        return judge(Measured(rows))
    except NotMeasuredError:
        return "not measured", ""


# Claims about the line (section 4.1) and the cost of a gate

ONE_LAYER = (
    "One gated layer, CG(1,7,3,2), learns H; plain CNNs improve with layers, as the effect of "
    "their padding moves inwards, and more channels do not help."
)
RANDOM = "With random numbers in place of coordinates the training does not converge."
CHEAP_GATE = "At inference a gate costs one multiplication."


def answer_line_claims(data: Mapping[str, Any]) -> list[Answer]:
    """Answer claims 8 to 10 from ``line.json``."""
    networks = {network["name"]: network for network in data["networks"]}
    return [
        Answer(8, ONE_LAYER, *_one_layer_learns(networks), "line"),
        Answer(9, RANDOM, *_random_numbers_fail(networks), "line"),
        Answer(10, CHEAP_GATE, *_gates_are_cheap(data["findings"]["gate_over_none"]), "line"),
    ]


def _one_layer_learns(networks: Networks) -> tuple[Verdict, str]:
    layered = ("CNN(1,7,1)", "CNN(3,7,4)", "CNN(4,7,4)", "CNN(8,7,4)")
    names = ("CG(1,7,3,2)", *layered, "CNN(4,7,20)")
    if not set(names) <= networks.keys():
        return "not measured", ""
    gated, deep, wide = (networks[n]["psnr"] for n in ("CG(1,7,3,2)", "CNN(8,7,4)", "CNN(4,7,20)"))
    medians = [networks[name]["median_psnr"] for name in layered]
    gains = [
        [psnr - LEARNED_DB for psnr in gated],
        [ours - theirs for ours, theirs in zip(gated, deep, strict=True)],
        [ours - theirs for ours, theirs in zip(gated, wide, strict=True)],
        [deeper - shallower for shallower, deeper in pairwise(medians)],
        [medians[-1] - networks["CNN(4,7,20)"]["median_psnr"]],
    ]
    evidence = f"{_describe(names, networks)} (learned: {LEARNED_DB:g} dB or more)"
    return verdict_of(*gains), evidence


def _random_numbers_fail(networks: Networks) -> tuple[Verdict, str]:
    names = [name for name in networks if name.endswith(", random numbers")]
    pairs = [(name, name.removesuffix(", random numbers")) for name in names]
    if not names or not all(gated in networks for _, gated in pairs):
        return "not measured", ""
    shortfalls = [[LEARNED_DB - psnr for psnr in networks[name]["psnr"]] for name in names]
    return verdict_of(*shortfalls), _describe([name for pair in pairs for name in pair], networks)


def _gates_are_cheap(ratios: Mapping[str, float]) -> tuple[Verdict, str]:
    values = ", ".join(f"{value:.2f} at {channels} channels" for channels, value in ratios.items())
    evidence = f"time with the gating map kept, over that without the gate: {values}"
    return verdict_of(*([CHEAP - ratio] for ratio in ratios.values())), evidence


def _describe(names: Sequence[str], networks: Networks) -> str:
    """Return the median PSNR of each network, with its range over the seeds."""
    return ", ".join(
        f"{name} {networks[name]['median_psnr']:.1f} dB "
        f"({min(networks[name]['psnr']):.1f} to {max(networks[name]['psnr']):.1f})"
        for name in names
    )
