"""What every figure leaves behind: its picture, and beside it the data, how they came about."""

import json
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from napari_coordgate.comparison import Comparison
from napari_coordgate.events import Event, Finished
from napari_coordgate.io.files import atomic_write

__all__ = ["completed", "flat_rows", "gains_over", "origin_of", "write_results"]

NOT_FOR_A_TABLE = {"fingerprint", "quality", "image_psnr", "stem"}


def flat_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Rows of a comparison as plain JSON values, figures of quality among the others."""
    return [
        {**row.model_dump(mode="json", exclude=NOT_FOR_A_TABLE), **row.quality}
        for row in comparison.rows
    ]


def gains_over(base: str, rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], list[float]]:
    """How much more PSNR each network has than the base of its training, seed by seed.

    Parameters
    ----------
    base : str
        Method that all are held against.
    rows : sequence of mapping
        Rows with ``training``, ``method``, ``seed`` and ``psnr``; only those with a seed count.

    Returns
    -------
    dict
        Gains, dB, by training and method, in the order of the rows; those of the base are 0.
    """
    trained = [row for row in rows if row["seed"] is not None]
    bases = {(r["training"], r["seed"]): r["psnr"] for r in trained if r["method"] == base}
    gains: dict[tuple[str, str], list[float]] = {}
    for row in trained:
        gain = row["psnr"] - bases[row["training"], row["seed"]]
        gains.setdefault((row["training"], row["method"]), []).append(gain)
    return gains


def origin_of(comparison: Comparison) -> dict[str, Any]:
    """Settings, methods, command and machine of a comparison, as plain JSON values."""
    named = {"settings", "methods", "command", "machine"}
    return comparison.model_dump(mode="json", include=named)


def write_results(
    folder: Path, name: str, data: Mapping[str, Any], figure: Figure
) -> tuple[Path, Path]:
    """Write a figure and its data; those of an earlier start are replaced.

    Parameters
    ----------
    folder : Path
        Where to.
    name : str
        Name of the files, without suffix.
    data : mapping
        Plain JSON values, where they come from among them.
    figure : matplotlib.figure.Figure
        The picture.

    Returns
    -------
    tuple of Path
        The data and the picture.
    """
    data_path, picture = folder / f"{name}.json", folder / f"{name}.png"
    with atomic_write(data_path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    with atomic_write(picture, overwrite=True) as temporary:
        figure.savefig(temporary, dpi=150)
    return data_path, picture


def completed(events: Generator[Event]) -> Generator[Event, None, Any]:
    """Pass a job's events on, and return its result.

    Parameters
    ----------
    events : generator of Event
        The job.

    Yields
    ------
    Event
        All but its end.

    Returns
    -------
    Any
        Its result.

    Raises
    ------
    CoordGateError
        The job's own error if it failed; `CanceledError` if it was canceled.
    """
    for event in events:
        if isinstance(event, Finished):
            event.raise_unless_completed()
            return event.result
        yield event
    raise AssertionError("A job ended without saying why.")
