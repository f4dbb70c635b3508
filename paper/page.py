"""The page that answers the paper's claims, built from the figures' data alone."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from napari_coordgate.errors import OutputError
from paper.claims import (
    Answer,
    answer_lens_claims,
    answer_line_claims,
    own_network,
)
from paper.results import gains_over

__all__ = ["build_page"]

Data = Mapping[str, Any]

INTRODUCTION = """\
# The paper, reproduced

What holds in our hands of Howard, Norreys and Döpp, "CoordGate: Efficiently Computing
Spatially-Varying Convolutions in Convolutional Neural Networks". Every figure comes from one
command; its data, seeds, settings and software stand beside it in [paper/](paper/). This page is
built from them by `python -m benchmarks.paper_page`: no verdict is written by hand.

A claim **holds** if its order is found with every seed, **holds in part** if on the mean of the
seeds, or for a part of the claim, and else **does not hold**. Nothing was tuned on test images.
"""


def build_page(folder: Path) -> str:
    """Page of all figures whose data lie in a folder.

    Parameters
    ----------
    folder : Path
        With ``padding.json``, ``line.json``, ``lens.json`` and ``ablation.json``, or some of
        them, as `napari-coordgate paper` writes them, and the pictures of the same names.

    Returns
    -------
    str
        Markdown; links to the pictures begin with the folder's name.

    Raises
    ------
    OutputError
        If the folder holds none of them, or one that cannot be read.
    """
    data = {
        name: _read(folder / f"{name}.json") for name in ("padding", "line", "lens", "ablation")
    }
    if not any(data.values()):
        raise OutputError(f"{folder} holds no figure's data; 'napari-coordgate paper' makes them.")
    parts = [INTRODUCTION, _answers(data)]
    parts += [section(found, folder.name) for name, section in SECTIONS if (found := data[name])]
    return "\n".join(parts)


def _read(path: Path) -> Data | None:
    try:
        found: Data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: cannot be read ({error}); make the figure anew.") from None
    return found


def _answers(data: Mapping[str, Data | None]) -> str:
    answers: list[Answer] = []
    if (lens := data["lens"]) is not None:
        answers += answer_lens_claims(lens["rows"])
    if (line := data["line"]) is not None:
        answers += answer_line_claims(line)
    rows = [
        (str(a.number), a.claim, f"**{a.verdict}**", a.evidence, f"`{a.figure}`") for a in answers
    ]
    return "## The claims\n\n" + table(("", "the paper's claim", "", "our figures", "from"), rows)


def table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown table; what stands in its cells stays in them."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join(f"| {' | '.join(map(_escaped, line))} |\n" for line in lines)


def _escaped(cell: str) -> str:
    return cell.replace("|", r"\|")


def _origin(data: Data) -> str:
    """Where a figure comes from, in one paragraph."""
    machine = ", ".join(f"{name} {value}" for name, value in data["machine"].items())
    return f"Made by `{data['command']}` ({data['scale']} scale; {machine})."


def _padding(data: Data, folder: str) -> str:
    rows = [
        (
            case["name"],
            f"{case['side_px']}x{case['side_px']}",
            str(case["convolutions"]),
            f"{case['reach_px']:.0f}",
            f"{100 * case['informed']:.0f} %",
        )
        for case in data["cases"]
    ]
    heading = ("network", "image", "convolutions", "reach, pixels", "pixels that know")
    return (
        f"## What padding tells: `padding` (Fig. 1)\n\n![Zero padding]({folder}/padding.png)\n\n"
        f"{_origin(data)} A uniform image of ones goes through uniform 3x3 convolutions with zeros "
        "around it; the U-Nets average 2x2 pixels down and repeat them up, without skip "
        f"connections. A pixel *knows* of the border where it is off by more than "
        f"{data['visible']:g}; the *reach* is counted from the border along the middle row. n "
        "convolutions reach n pixels; at equal convolution count, down-sampling carries the "
        f"border to the middle, coarsely.\n\n{table(heading, rows)}"
    )


def _line(data: Data, folder: str) -> str:
    networks = {network["name"]: network for network in data["networks"]}
    rows = [
        (
            name,
            f"{network['median_psnr']:.1f}",
            f"{min(network['psnr']):.1f} to {max(network['psnr']):.1f}",
            f"{network['parameters']:,}",
            f"{network['microseconds']:.2f}",
            str(sum(row["converged"] for row in data["rows"] if row["model"] == name)),
        )
        for name, network in networks.items()
    ]
    heading = ("network", "PSNR, dB", "over the seeds", "parameters", "µs a signal", "converged")
    count = len(next(iter(networks.values()))["psnr"])
    reachable = ", ".join(
        f"{psnr:.1f} dB with {channels} channels"
        for channels, psnr in (
            (key.partition(",")[2], v) for key, v in data["reachable_psnr"].items()
        )
    )
    return (
        f"## On a line: `line` (Fig. 3)\n\n![Learned matrices and PSNR]({folder}/line.png)\n\n"
        f"{_origin(data)} {count} seeds each; {data['signals']}. A layer of 7 taps behind any "
        f"gate can reach {reachable}: what H puts beyond the 7 taps is lost to it. *Converged* "
        "counts the seeds whose training had ended before the most steps allowed.\n\n"
        f"{table(heading, rows)}\n{_coordconv(networks)}"
    )


def _coordconv(networks: Mapping[str, Any]) -> str:
    """Why CoordConv does not fail, as its variants tell."""
    wanted = (
        "cCNN(4,7,4)",
        "CNN(4,7,4)",
        "linear cCNN(4,7,4)",
        "linear CNN(4,7,4)",
        "cCNN(4,7,4), padded once",
        "CNN(4,7,4), padded once",
        "linear cCNN(4,7,4), padded once",
    )
    if not set(wanted) <= networks.keys():
        return ""
    found = [f"{networks[name]['median_psnr']:.1f} dB" for name in wanted]
    with_relu, plain, linear, linear_plain, once, plain_once, linear_once = found
    units = networks["cCNN(4,7,4)"].get("switching_units")
    switching = (
        ""
        if units is None
        else (
            f" In cCNN(4,7,4), {100 * units:.0f} % of the hidden units are always on at some "
            "pixels and always off at others."
        )
    )
    return (
        "**Why CoordConv need not fail.** The paper argues that coordinates within a weighted sum "
        "act on every sample in a way that depends on its values. That is so for a *linear* "
        "network, where they can only add an offset at each place: without help from the padding "
        f"(zeros around the signal alone), the linear cCNN reaches {linear_once}. With a ReLU, "
        "coordinates move a unit's threshold: it is on in one part of the line and off in "
        "another, which is a gate, if a hard one. Padded once, the cCNN with ReLU reaches "
        f"{once}, the CNN {plain_once}; padded as usual {with_relu} and {plain}, their linear "
        f"relatives {linear} and {linear_plain}.{switching}\n"
    )


def _lens(data: Data, folder: str) -> str:
    training = data["settings"]["training"]
    told = (
        f"{training['steps']} steps of {training['batch_size']} whole frames, "
        f"{training['camera']['photons']:g} photons at full brightness and "
        f"{training['camera']['read_noise']:g} electrons of read noise"
    )
    verdict, evidence = own_network(data["rows"])
    columns = ("psnr", "psnr_center", "psnr_middle", "psnr_edge", "ssim")
    names = dict.fromkeys(row["method"] for row in data["rows"])
    rows = []
    for name in names:
        own = [row for row in data["rows"] if row["method"] == name]
        means = [fmean(row[column] for row in own) for column in columns]
        cells = [f"{value:.2f}" for value in means[:-1]] + [f"{means[-1]:.3f}"]
        spread = [row["psnr"] for row in own]
        cells[0] += f" ({min(spread):.2f} to {max(spread):.2f})" if len(own) > 1 else ""
        seconds = own[0]["inference_seconds"]
        cells += [f"{own[0]['parameters']:,}", "-" if seconds is None else f"{1e3 * seconds:.1f}"]
        rows.append((name, *cells))
    heading = (
        "method",
        "PSNR, dB",
        "center",
        "middle",
        "edge",
        "SSIM",
        "parameters",
        "ms an image",
    )
    heading_line = "## Behind a lens: `lens` (Fig. 4b and 5)"
    return (
        f"{heading_line}\n\n![Methods behind a lens]({folder}/lens.png)\n\n{_origin(data)} "
        f"Frames and protocol: {told}. PSNR is the mean over the test images, and over the seeds "
        "with their range; center, middle and edge are thirds of the field radius.\n\n"
        f"{table(heading, rows)}\n{_best(data)}\n\n"
        f"**One of our own.** CG-WienerNet(3), gates on a bank of Wiener filters, beats both of "
        f"its parents at equal parameters: **{verdict}** ({evidence}).\n"
    )


def _best(data: Data) -> str:
    """Which methods are best, and what the scale leaves open."""
    learned: dict[str, list[float]] = defaultdict(list)
    fixed: dict[str, list[float]] = defaultdict(list)
    for row in data["rows"]:
        (learned if row["parameters"] else fixed)[row["method"]].append(row["psnr"])
    told = [
        f"{kind} {name} ({fmean(methods[name]):.2f} dB)"
        for kind, methods in (("of the networks", learned), ("without training", fixed))
        if methods and (name := max(methods, key=lambda name: fmean(methods[name])))
    ]
    caveat = (
        " At the small scale all networks have few steps, which is hardest on the deepest; what "
        "order the paper's 600 epochs would bring, `--scale full` tells, which has not been run."
    )
    return f"**Best:** {', '.join(told)}.{caveat if data['scale'] == 'small' else ''}"


def _ablation(data: Data, folder: str) -> str:
    base = data["base"]
    trained = [row for row in data["rows"] if row["seed"] is not None]
    rows = []
    for key, gains in gains_over(base, trained).items():
        own = [row for row in trained if (row["training"], row["method"]) == key]
        told = ", ".join(f"{gain:+.2f}" for gain in gains) if key[1] != base else "-"
        psnr, count = fmean(row["psnr"] for row in own), f"{own[0]['parameters']:,}"
        rows.append((key[0], key[1], f"{psnr:.2f}", told, count))
    once = len({row["seed"] for row in trained}) == 1
    caution = "Each was trained once: some tenths of a dB may be the seed's." if once else ""
    heading = ("training", "network", "PSNR, dB", f"over {base}, each seed", "parameters")
    return (
        "## What matters in the CG U-Net: `ablation` (the paper's supplement)\n\n"
        f"![Variants of the CG U-Net]({folder}/ablation.png)\n\n{_origin(data)} The lens of the "
        f"figure above; one thing differs from {base} at a time. {caution}\n\n"
        f"{table(heading, rows)}"
    )


SECTIONS = (
    ("padding", _padding),
    ("line", _line),
    ("lens", _lens),
    ("ablation", _ablation),
)
"""Sections of the page, in their order."""
