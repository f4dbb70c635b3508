"""The table of a comparison."""

import statistics
from collections.abc import Callable, Sequence

from napari_coordgate.comparison.comparison import Comparison
from napari_coordgate.comparison.rows import Row

__all__ = ["as_table", "mean_and_spread", "mean_psnr"]

Reader = Callable[[Row], float | None]


def _quality(name: str) -> Reader:
    return lambda row: row.quality.get(name)


COLUMNS: tuple[tuple[str, Reader, str, float], ...] = (
    ("PSNR, dB", _quality("psnr"), ".2f", 1),
    ("SSIM", _quality("ssim"), ".4f", 1),
    ("center, dB", _quality("psnr_center"), ".2f", 1),
    ("middle, dB", _quality("psnr_middle"), ".2f", 1),
    ("edge, dB", _quality("psnr_edge"), ".2f", 1),
    ("parameters", lambda row: row.parameters, ",.0f", 1),
    ("steps", lambda row: row.steps, ",.0f", 1),
    ("training, s", lambda row: row.training_seconds, ",.0f", 1),
    ("an image, ms", lambda row: row.inference_seconds, ",.3g", 1e3),
    ("memory, MB", lambda row: row.peak_memory_bytes, ",.0f", 1e-6),
)
"""Heading, figure, format, and factor to the heading's unit."""
WITH_SPREAD = 5
"""Columns, from the left, that tell the spread over the seeds."""

CAPTION = (
    "Mean ± standard deviation over the seeds. Center, middle, edge: PSNR in thirds of the field "
    "radius. Memory: beside the program and its libraries."
)


def as_table(comparison: Comparison) -> str:
    """Table of a comparison in Markdown, a line for each method in the order given.

    Parameters
    ----------
    comparison : Comparison
        What was compared.

    Returns
    -------
    str
        The table and a line that explains it.
    """
    lines = [["method", "seeds", *(heading for heading, *_ in COLUMNS)]]
    for name in comparison.names:
        rows = comparison.of(name)
        cells = [
            _cell([read(row) for row in rows], digits, factor, spread=number < WITH_SPREAD)
            for number, (_, read, digits, factor) in enumerate(COLUMNS)
        ]
        lines.append([name.replace("|", r"\|"), str(len(rows)), *cells])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    text = [
        " | ".join(
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in (lines[0], rule, *lines[1:])
    ]
    return "".join(f"| {line} |\n" for line in text) + f"\n{CAPTION}\n"


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and standard deviation; none of a single value."""
    mean = statistics.fmean(values)
    finite = len(values) > 1 and abs(mean) < float("inf")
    return mean, statistics.stdev(values) if finite else None


def mean_psnr(rows: Sequence[Row]) -> float:
    """PSNR of a method in dB, the mean over its seeds."""
    return statistics.fmean(row.quality["psnr"] for row in rows)


def _cell(values: Sequence[float | None], digits: str, factor: float, *, spread: bool) -> str:
    known = [factor * value for value in values if value is not None]
    if not known:
        return "-"
    mean, deviation = mean_and_spread(known)
    if deviation is None or not spread:
        return format(mean, digits)
    return f"{mean:{digits}} ± {deviation:{digits}}"
