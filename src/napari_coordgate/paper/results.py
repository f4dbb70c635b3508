"""What every figure leaves behind: its picture, and beside it the data, how they came about."""

import json
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from napari_coordgate.comparing import Comparison
from napari_coordgate.files import writing
from napari_coordgate.progress import Event, Finished

__all__ = ["completed", "flat_rows", "write_results"]

NOT_FOR_A_TABLE = {"fingerprint", "quality", "image_psnr", "stem"}


def flat_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Rows of a comparison as plain JSON values, figures of quality among the others."""
    return [
        {**row.model_dump(mode="json", exclude=NOT_FOR_A_TABLE), **row.quality}
        for row in comparison.rows
    ]


def write_results(
    folder: Path, name: str, data: Mapping[str, Any], comparison: Comparison, figure: Figure
) -> tuple[Path, Path]:
    """Write a figure and its data; those of an earlier start are replaced.

    Parameters
    ----------
    folder : Path
        Where to.
    name : str
        Name of the files, without suffix.
    data : mapping
        Plain JSON values.
    comparison : Comparison
        Where they come from: its settings, command and machine are written as well.
    figure : matplotlib.figure.Figure
        The picture.

    Returns
    -------
    tuple of Path
        The data and the picture.
    """
    origin = comparison.model_dump(
        mode="json", include={"settings", "methods", "command", "machine"}
    )
    data_path, picture = folder / f"{name}.json", folder / f"{name}.png"
    with writing(data_path, overwrite=True) as temporary:
        temporary.write_text(json.dumps({**data, **origin}, indent=1) + "\n", encoding="utf-8")
    with writing(picture, overwrite=True) as temporary:
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
        The job's own error if it failed; `CancelledError` if it was cancelled.
    """
    for event in events:
        if isinstance(event, Finished):
            event.raise_unless_completed()
            return event.result
        yield event
    raise AssertionError("A job ended without saying why.")
