"""The documentation page ``docs/paper.md``, built from the data of the figures alone."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from napari_coordgate.errors import OutputError
from paper import unrolled
from paper.ablation import gains_over
from paper.claims import answer_lens_claims, answer_line_claims, own_network

Data = Mapping[str, Any]

INTRODUCTION = """\
# The paper, reproduced

Which claims of Howard, Norreys and Döpp, "CoordGate: Efficiently Computing Spatially-Varying
Convolutions in Convolutional Neural Networks", we can confirm. Each figure is made by one command;
its data, with seeds, settings and software, are in `docs/paper/`. `python -m paper page` builds
this page from the data: no verdict is written by hand.

A claim **holds** if its order is found with every seed. It **holds in part** if the order is found
for the mean of the seeds or for a part of the claim. Otherwise it **does not hold**. Nothing was
tuned on test images.
"""


def build_page(folder: Path) -> str:
    """Return the Markdown page of the figures whose data and pictures are in a folder."""
    data = {name: found for name in SECTIONS if (found := _read(folder / f"{name}.json"))}
    if not data:
        raise OutputError(
            f"{folder} contains no data of a figure; run 'python -m paper FIGURE' first."
        )
    sections = [SECTIONS[name](found, folder.name) for name, found in data.items()]
    return "\n".join([INTRODUCTION, _claims(data), *sections])


def _read(path: Path) -> Data | None:
    try:
        data: Data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: cannot be read ({error}); make the figure again.") from None
    return data


def _claims(data: Mapping[str, Data]) -> str:
    answers = answer_lens_claims(data["lens"]["rows"]) if "lens" in data else []
    answers += answer_line_claims(data["line"]) if "line" in data else []
    rows = [
        (str(a.number), a.claim, f"**{a.verdict}**", a.evidence, f"`{a.figure}`") for a in answers
    ]
    heading = ("", "claim of the paper", "", "our measurement", "figure")
    return f"## The claims\n\n{_table(heading, rows)}"


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    escaped = ((cell.replace("|", r"\|") for cell in line) for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in escaped)


def _provenance(data: Data) -> str:
    machine = ", ".join(f"{name} {value}" for name, value in data["machine"].items())
    return f"Made by `{data['command']}` ({data['scale']} scale; {machine})."


def _padding(data: Data, folder: str) -> str:
    heading = ("network", "image", "convolutions", "reach, pixels", "informed pixels")
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
    return (
        f"## What padding reveals: `padding` (Fig. 1)\n\n![Zero padding]({folder}/padding.png)\n\n"
        f"{_provenance(data)} A uniform image of ones is convolved with uniform 3x3 kernels and "
        "zero padding. The U-Nets average 2x2 pixels on the way down and repeat them on the way "
        "up, without skip connections. A pixel is *informed* about the border if it deviates from "
        f"1 by more than {data['visible']:g}; the *reach* is counted from the border along the "
        "middle row. n convolutions reach at most n pixels. With as many convolutions, "
        "down-sampling carries the effect of the border to the middle, at a coarse resolution.\n\n"
        f"{_table(heading, rows)}"
    )


def _line(data: Data, folder: str) -> str:
    networks = {network["name"]: network for network in data["networks"]}
    heading = ("network", "PSNR, dB", "over the seeds", "parameters", "µs / signal", "converged")
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
    bounds = {key.partition(",")[2]: psnr for key, psnr in data["reachable_psnr"].items()}
    reachable = ", ".join(f"{psnr:.1f} dB with {count} channels" for count, psnr in bounds.items())
    return (
        f"## On a line: `line` (Fig. 3)\n\n![Learned matrices and PSNR]({folder}/line.png)\n\n"
        f"{_provenance(data)} {len(next(iter(networks.values()))['psnr'])} seeds per network; "
        f"{data['signals']}. A gated layer with a kernel of 7 taps can reach at most {reachable}, "
        "because H extends beyond the 7 taps. *Converged* counts the seeds whose training ended "
        f"before the maximum number of steps.\n\n{_table(heading, rows)}\n{_coordconv(networks)}"
    )


COORDCONV = (
    "cCNN(4,7,4)",
    "CNN(4,7,4)",
    "linear cCNN(4,7,4)",
    "linear CNN(4,7,4)",
    "cCNN(4,7,4), padded once",
    "CNN(4,7,4), padded once",
    "linear cCNN(4,7,4), padded once",
)


def _coordconv(networks: Mapping[str, Any]) -> str:
    """Explain by the variants of CoordConv why it need not fail."""
    if not set(COORDCONV) <= networks.keys():
        return ""
    with_relu, plain, linear, linear_plain, once, plain_once, linear_once = (
        f"{networks[name]['median_psnr']:.1f} dB" for name in COORDCONV
    )
    units = networks["cCNN(4,7,4)"].get("switching_units")
    switching = (
        ""
        if units is None
        else f" In cCNN(4,7,4), {100 * units:.0f} % of the hidden units are always on at some "
        "pixels and always off at others."
    )
    return (
        "**Why CoordConv need not fail.** The paper argues that coordinates within a weighted sum "
        "act on every sample in a way that depends on its values. That is true for a *linear* "
        "network, in which coordinates can only add an offset to each pixel: without information "
        f"from the padding (zeros around the signal only), the linear cCNN reaches {linear_once}. "
        "With a ReLU, coordinates shift a unit's threshold: the unit is on in one part of the line "
        "and off in another, which is a hard gate. Padded once, the cCNN with ReLU reaches "
        f"{once}, the CNN {plain_once}; padded in every layer, {with_relu} and {plain}, their "
        f"linear variants {linear} and {linear_plain}.{switching}\n"
    )


def _lens(data: Data, folder: str) -> str:
    training, camera = data["settings"]["training"], data["settings"]["training"]["camera"]
    verdict, evidence = own_network(data["rows"])
    heading = ("method", "PSNR, dB", "center", "middle", "edge", "SSIM", "parameters", "ms / image")
    methods = _by_method(data["rows"])
    rows = [(name, *_metrics(method_rows)) for name, method_rows in methods.items()]
    return (
        "## Behind a lens: `lens` (Fig. 4b and 5)\n\n"
        f"![Methods behind a lens]({folder}/lens.png)\n\n{_provenance(data)} "
        f"Training: {training['steps']} steps of {training['batch_size']} whole frames, "
        f"{camera['photons']:g} photons at full brightness and {camera['read_noise']:g} electrons "
        "of read noise. PSNR is the mean over the test images and seeds, with its range over the "
        "seeds; center, middle and edge are thirds of the field radius.\n\n"
        f"{_table(heading, rows)}\n{_best(methods, data['scale'])}\n\n"
        f"**Our own network.** CG-WienerNet(3), gates on a bank of Wiener filters, beats both of "
        f"its parents at equal parameters: **{verdict}** ({evidence}).\n"
    )


def _by_method(rows: Sequence[Data]) -> dict[str, list[Data]]:
    names = dict.fromkeys(row["method"] for row in rows)
    return {name: [row for row in rows if row["method"] == name] for name in names}


def _metrics(rows: Sequence[Data]) -> list[str]:
    """Return the table cells of a method."""
    columns = ("psnr", "psnr_center", "psnr_middle", "psnr_edge")
    cells = [f"{fmean(row[column] for row in rows):.2f}" for column in columns]
    if len(rows) > 1:
        psnr = [row["psnr"] for row in rows]
        cells[0] += f" ({min(psnr):.2f} to {max(psnr):.2f})"
    seconds = rows[0]["inference_seconds"]
    return [
        *cells,
        f"{fmean(row['ssim'] for row in rows):.3f}",
        f"{rows[0]['parameters']:,}",
        "-" if seconds is None else f"{1e3 * seconds:.1f}",
    ]


def _best(methods: Mapping[str, Sequence[Data]], scale: str) -> str:
    """Name the best network and the best method without training."""
    means = {name: fmean(row["psnr"] for row in rows) for name, rows in methods.items()}
    best = []
    for kind, is_network in (("network", True), ("without training", False)):
        names = [
            name for name, rows in methods.items() if bool(rows[0]["parameters"]) is is_network
        ]
        if names:
            name = max(names, key=means.__getitem__)
            best.append(f"{kind}: {name} ({means[name]:.2f} dB)")
    caveat = (
        " At the small scale all networks are trained for few steps, which affects the deepest "
        "most. `--scale full` has the 600 epochs of the paper; it has not been run."
    )
    return f"**Best** {', '.join(best)}.{caveat if scale == 'small' else ''}"


def _ablation(data: Data, folder: str) -> str:
    base = data["base"]
    trained = [row for row in data["rows"] if row["seed"] is not None]
    rows = []
    for (training, method), gains in gains_over(base, trained).items():
        own = [r for r in trained if (r["training"], r["method"]) == (training, method)]
        gain = "-" if method == base else ", ".join(f"{gain:+.2f}" for gain in gains)
        psnr = f"{fmean(row['psnr'] for row in own):.2f}"
        rows.append((training, method, psnr, gain, f"{own[0]['parameters']:,}"))
    heading = ("training", "network", "PSNR, dB", f"gain over {base} per seed", "parameters")
    caution = (
        " Each variant was trained once; a few tenths of a dB may depend on the seed."
        if len({row["seed"] for row in trained}) == 1
        else ""
    )
    return (
        "## What matters in the CG U-Net: `ablation` (supplement)\n\n"
        f"![Variants of the CG U-Net]({folder}/ablation.png)\n\n{_provenance(data)} The lens is "
        f"that of the figure above. Each variant differs from {base} in one thing.{caution}\n\n"
        f"{_table(heading, rows)}"
    )


def _deconvolution(data: Data, folder: str) -> str:
    heading = ("photons", "method", "PSNR, dB", "center", "middle", "edge", "SSIM", "ms / image")
    rows = []
    for row in data["rows"]:
        *quality, _, time = _metrics([row])
        rows.append((f"{row['photons']:g}", row["method"], *quality, time))
    return (
        "## Richardson-Lucy, tuned: `deconvolution` (supplement)\n\n"
        f"![Settings of Richardson-Lucy]({folder}/deconvolution.png)\n\n{_provenance(data)} The "
        "test pairs at 5,000 photons are those of the lens figure above, whose rows of "
        "Richardson-Lucy were made before its defaults were tuned. The first two rows of each "
        "number of photons have the defaults: 40 iterations and a total variation that follows the "
        "noise. They were tuned on other images behind other lenses "
        "(`python -m benchmarks.richardson_lucy`). The last two rows, with each pixel's own PSF, "
        "are better in the center and on windows that are nearly empty, the defaults at the edge. "
        "Times are those of a busy machine.\n\n"
        f"{_table(heading, rows)}"
    )


def _unrolled(data: Data, folder: str) -> str:
    heading = (
        "photons",
        "method",
        "PSNR, dB",
        "over Richardson-Lucy, dB (95 % interval)",
        "seeds",
        "parameters",
    )
    rows = [
        (
            f"{gain['photons']:g}",
            gain["method"],
            f"{gain['psnr']:.2f}",
            f"{gain['gain']:+.2f} ({gain['interval'][0]:+.2f} to {gain['interval'][1]:+.2f})",
            str(len(gain["seeds"])) if gain["parameters"] else "",
            f"{gain['parameters']:,}" if gain["parameters"] else "",
        )
        for gain in sorted(unrolled.gains(data["rows"]), key=lambda gain: -gain["photons"])
    ]
    return (
        "## What the gates learn where the network knows the lens: `unrolled` (supplement)\n\n"
        f"![Unrolled Richardson-Lucy and its gates]({folder}/unrolled.png)\n\n"
        f"{_provenance(data)} Test pairs and training images are those of the lens figure. "
        "Each network was trained from scratch for this lens and this noise level, with the loss "
        "of the universal model. *One stage* starts from Richardson-Lucy estimates after 5, 15 "
        "and 40 iterations, makes a further step with each pixel's own PSF, and corrects it by a "
        "U-Net of three levels; *three stages* repeat step and correction, with U-Nets of two "
        "levels. Gates on the position get (y, x), gates on the PSF its logarithmic widths along "
        "y and x. The CG U-Net is the paper's: it sees the blurred image alone. The universal "
        "model is as shipped, not trained for this lens. Intervals are over the test images.\n\n"
        f"{_table(heading, rows)}"
    )


SECTIONS = {
    "padding": _padding,
    "line": _line,
    "lens": _lens,
    "ablation": _ablation,
    "deconvolution": _deconvolution,
    "unrolled": _unrolled,
}
"""Sections of the page by figure, in their order."""
