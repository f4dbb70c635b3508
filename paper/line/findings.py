"""What the networks of the line tell of the paper's claims, and why CoordConv does not fail."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from paper.line.rows import LineRow

__all__ = ["findings", "summaries"]

MEDIANS = (
    "relative_error_db",
    "matrix_error_db",
    "nonlinearity",
    "psnr_without_coordinates",
    "switching_units",
    "decided",
    "coordinate_weights",
)
"""Figures of which the median over the seeds is told, where a network has them."""
HALF = 15
"""Pixel at which the first row of Eq. 5 ends."""

Summary = dict[str, Any]


def summaries(rows: Sequence[LineRow], microseconds: Mapping[str, float]) -> list[Summary]:
    """Figures of each network over its seeds, in the order of the rows.

    Parameters
    ----------
    rows : sequence of LineRow
        One for each network and seed.
    microseconds : mapping of str to float
        Inference time of each network.

    Returns
    -------
    list of dict
        ``name``, ``parameters``, ``microseconds``; ``psnr`` of each seed, and their
        ``median_psnr``, dB; ``median_steps``; the ``matrix`` and ``pixel_errors`` of the
        best seed; and medians of other figures that the network has.
    """
    told = []
    for name in dict.fromkeys(row.model for row in rows):
        own = [row for row in rows if row.model == name]
        psnr = [row.figures["psnr"] for row in own]
        best = max(own, key=lambda row: row.figures["psnr"])
        told.append(
            {
                "name": name,
                "parameters": own[0].parameters,
                "microseconds": microseconds[name],
                "psnr": psnr,
                "median_psnr": median(psnr),
                "median_steps": median(row.steps for row in own),
                "matrix": best.figures["matrix"],
                "pixel_errors": best.figures["pixel_errors"],
                **{
                    figure: median(row.figures[figure] for row in own)
                    for figure in MEDIANS
                    if figure in own[0].figures
                },
            }
        )
    return told


def findings(
    networks: Sequence[Summary],
    gates: Mapping[str, Mapping[str, float]],
    bounds: Mapping[str, float],
) -> dict[str, Any]:
    """Figures behind the answers to the paper's claims 8, 9 and 10.

    Parameters
    ----------
    networks : sequence of dict
        From `summaries`.
    gates : mapping
        From `gate_microseconds`.
    bounds : mapping
        Reachable PSNR, dB, by ``"kernel_size,channels"``.

    Returns
    -------
    dict
        ``gate_over_none``: time with a kept gating map over that without a gate, by channels;
        ``share_of_bound``: median PSNR of the gated layers less what they could reach, dB;
        ``error_by_half``: mean squared error of the first and the second half of the line of
        each plain CNN, whose padding tells of the border alone; ``psnr``: of each network,
        median, least and largest, dB.
    """
    by_name = {network["name"]: network for network in networks}
    return {
        "gate_over_none": {
            channels: times["kept"] / times["without"] for channels, times in gates.items()
        },
        "share_of_bound": {
            str(channels): by_name[name]["median_psnr"] - bounds[f"7,{channels}"]
            for channels in (3, 4)
            if (name := f"CG(1,7,{channels},2)") in by_name
        },
        "error_by_half": {
            network["name"]: [
                sum(part) / len(part)
                for part in (network["pixel_errors"][:HALF], network["pixel_errors"][HALF:])
            ]
            for network in networks
            if network["name"].startswith("CNN")
        },
        "psnr": {
            name: [network["median_psnr"], min(network["psnr"]), max(network["psnr"])]
            for name, network in by_name.items()
        },
    }
