"""Tables of rows: Markdown with the spread over the seeds, and CSV."""

import csv
import io
import statistics
from collections.abc import Callable, Sequence

from napari_coordgate.comparison.comparison import BLURRED, Row

Reader = Callable[[Row], float | None]
METRICS = ("psnr", "ssim", "psnr_center", "psnr_middle", "psnr_edge")
TRUST = ("verdict", "contradicted", "expected_error")
"""Fields of rows where the sharp image is unknown."""


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
    ("inference, ms", lambda row: row.inference_seconds, ",.3g", 1e3),
)
"""Heading, value, format, and factor to the unit of the heading."""

CAPTION = (
    "Mean ± standard deviation over the seeds. Center, middle, edge: PSNR in thirds of the field "
    "radius. Inference: time for one image."
)


def as_table(rows: Sequence[Row]) -> str:
    """Table in Markdown with a line for each method, and a caption."""
    lines = [["method", "seeds", *(heading for heading, *_ in COLUMNS)]]
    for name in dict.fromkeys(row.method for row in rows):
        own = [row for row in rows if row.method == name]
        cells = [
            _cell([read(row) for row in own], digits, factor, spread=number < len(METRICS))
            for number, (_, read, digits, factor) in enumerate(COLUMNS)
        ]
        lines.append([name.replace("|", r"\|"), str(len(own)), *cells])
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


def as_csv(rows: Sequence[Row], delimiter: str = ",") -> str:
    """Table for spreadsheets with a line for each row; unknown values are empty."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(["method", *METRICS, *TRUST, "seconds", "parameters", "note"])
    for row in rows:
        metrics = [row.quality.get(name) for name in METRICS]
        parameters = row.parameters or None
        trust = [getattr(row, name) for name in TRUST]
        end = [row.inference_seconds, parameters, row.note]
        writer.writerow([row.method, *metrics, *trust, *end])
    return text.getvalue()


def summarize(rows: Sequence[Row]) -> str:
    """Sentence that names the method with the highest PSNR, the mean over its seeds."""
    means: dict[str, float] = {
        name: statistics.fmean(row.quality["psnr"] for row in rows if row.method == name)
        for name in dict.fromkeys(row.method for row in rows)
    }
    best = max(means, key=lambda name: means[name])
    if best == BLURRED:
        return f"No method is better than the blurred images ({means[BLURRED]:.2f} dB)"
    return f"{best} is best: {means[best]:.2f} dB, blurred {means[BLURRED]:.2f} dB"


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and standard deviation; None for a single value."""
    mean = statistics.fmean(values)
    finite = len(values) > 1 and abs(mean) < float("inf")
    return mean, statistics.stdev(values) if finite else None


def _cell(values: Sequence[float | None], digits: str, factor: float, *, spread: bool) -> str:
    known = [factor * value for value in values if value is not None]
    if not known:
        return "-"
    mean, deviation = mean_and_spread(known)
    if deviation is None or not spread:
        return format(mean, digits)
    return f"{mean:{digits}} ± {deviation:{digits}}"
