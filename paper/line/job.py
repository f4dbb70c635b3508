"""The experiment on the line: train what is missing, measure, draw, and say what was found."""

import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from napari_coordgate.comparison.comparison import called_as, describe_machine
from napari_coordgate.events import Event, Finished, Stopwatch, pluralize, reporting_end
from napari_coordgate.io.files import check_writable
from paper.line.drawing import draw_line
from paper.line.findings import findings, summaries
from paper.line.models import MODELS, Model
from paper.line.pool import train_all
from paper.line.rows import LineRow, Rows
from paper.line.task import LENGTH, convolution_matrix, reachable_psnr
from paper.line.timing import gate_microseconds, inference_microseconds
from paper.line.training import Protocol
from paper.results import write_results

__all__ = ["SCALES", "Scale", "run"]


@dataclass(frozen=True)
class Scale:
    """Size of the experiment: how to train, and from how many seeds where nothing else is said."""

    protocol: Protocol
    seeds: int


SCALES: Mapping[str, Scale] = MappingProxyType(
    {
        "small": Scale(Protocol(), seeds=3),
        "full": Scale(Protocol(patience=5000, most_steps=100_000), seeds=10),
    }
)


def run(
    scale: Literal["small", "full"],
    seeds: int | None,
    output: Path,
    cancel: threading.Event | None = None,
    *,
    models: Sequence[Model] = MODELS,
    protocol: Protocol | None = None,
) -> Generator[Event]:
    """Train the networks of Fig. 3 on the convolution of Eq. 5, and draw the figure.

    Parameters
    ----------
    scale : {"small", "full"}
        How long a training may take, and how many there are.
    seeds : int or None
        Trainings of each network; none: as the scale has it.
    output : Path
        Folder of the rows, the figure and its data; a second start trains what is missing.
    cancel : threading.Event, optional
        Once set, trainings under way are given up and the job ends.
    models : sequence of Model
        The networks.
    protocol : Protocol, optional
        How to train, instead of the scale's way.

    Yields
    ------
    Progress
        Of the trainings.
    Finished
        Once, at the end. If completed, its result is the data of ``line.json``.
    """
    protocol = protocol or SCALES[scale].protocol
    count = seeds or SCALES[scale].seeds
    return reporting_end(_events(scale, protocol, range(count), output, models, cancel))


def _events(
    scale: str,
    protocol: Protocol,
    seeds: range,
    output: Path,
    models: Sequence[Model],
    cancel: threading.Event | None,
) -> Iterator[Event]:
    rows = Rows(output / "rows" / "line", protocol)
    wanted = {model: missing for model in models if (missing := rows.missing(model, seeds))}
    check_writable(output / "line.json")
    yield from _trained(rows, wanted, cancel)
    done = [row for model in models for seed in seeds if (row := rows.read(model, seed))]
    data = _data(done, models)
    data |= {"scale": scale, "seeds": len(seeds), "settings": asdict(protocol)}
    data |= {"command": called_as(), "machine": describe_machine(), "device": "cpu"}
    written = write_results(output, "line", data, draw_line(data))
    number = sum(map(len, wanted.values()))
    message = f"Trained {pluralize(number, 'network')} and wrote {written[1]}."
    yield Finished("completed", message, outputs=written, result=data)


def _trained(
    rows: Rows, wanted: Mapping[Model, Sequence[int]], cancel: threading.Event | None
) -> Iterator[Event]:
    """Train what is wanted, the longest first, and keep each network's rows at once."""
    if not wanted:
        return
    stopwatch, done = Stopwatch("networks trained", sum(map(len, wanted.values()))), 0
    yield stopwatch.progress(done)
    longest_first = sorted(wanted, key=lambda model: model.parameters * model.layers, reverse=True)
    for model, found in train_all({m: wanted[m] for m in longest_first}, rows.protocol, cancel):
        for row in found:
            rows.keep(model, row["seed"], row)
        done += len(found)
        yield stopwatch.progress(done, psnr=max(row["figures"]["psnr"] for row in found))


def _data(rows: Sequence[LineRow], models: Sequence[Model]) -> dict[str, Any]:
    """All that the figure and the page need, as plain JSON values."""
    networks = summaries(rows, inference_microseconds(models))
    gates = gate_microseconds()
    bounds = {
        f"{kernel},{channels}": reachable_psnr(kernel, channels)
        for kernel, channels in ((7, 1), (7, 2), (7, 3), (7, 4), (7, 7))
    }
    return {
        "length": LENGTH,
        "matrix": convolution_matrix().round(4).tolist(),
        "signals": "uniform random numbers between 0 and 1, peak of the PSNR 1",
        "reachable_psnr": bounds,
        "networks": networks,
        "gate_microseconds": gates,
        "findings": findings(networks, gates, bounds),
        "rows": [_without_matrix(row) for row in rows],
    }


def _without_matrix(row: LineRow) -> dict[str, Any]:
    """Row but for what takes room, and what all rows share."""
    kept = row.model_dump(mode="json", exclude={"fingerprint", "figures"})
    large = {"matrix", "pixel_errors"}
    return {**kept, **{k: v for k, v in row.figures.items() if k not in large}}
