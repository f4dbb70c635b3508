"""Run a long job with progress bars, and cancel it on Ctrl-C."""

import signal
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress as Bars, TaskID, TextColumn

from napari_coordgate.events import Event, Progress, format_count, run

R = TypeVar("R")

_METRIC_FORMATS = {"loss": "loss {:.2e}", "psnr": "PSNR {:.2f} dB"}


@contextmanager
def cancel_on_signal() -> Iterator[threading.Event]:
    """Event that is set by Ctrl-C or SIGTERM, so that a job can save its state.

    A second signal ends the process immediately.
    """
    cancel = threading.Event()

    def stop(caught: int, frame: FrameType | None) -> None:
        cancel.set()
        for number in previous:
            signal.signal(number, signal.SIG_DFL)

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield cancel
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def follow(events: Generator[Event, None, R]) -> R:
    """Run a job and return its result, with progress bars if standard error is a terminal."""
    with _progress_bars() as show:
        return run(events, show)


@contextmanager
def _progress_bars() -> Iterator[Callable[[Event], None]]:
    """Function that draws a bar for each stage of the `Progress` events it is called with."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        TextColumn("[green]{task.fields[count]}"),
        TextColumn("{task.fields[left]}"),
        TextColumn("[dim]{task.fields[figures]}"),
    )
    stages: dict[str, TaskID] = {}
    figures: dict[str, float] = {}
    with Bars(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:

        def show(event: Event) -> None:
            if not isinstance(event, Progress):
                return
            if event.stage not in stages:
                stages[event.stage] = bars.add_task(event.stage, count="", left="", figures="")
            figures.update(event.metrics)
            bars.update(
                stages[event.stage],
                completed=event.done,
                total=event.total,
                count=format_count(event),
                left=_time_left(event),
                figures=_format_metrics(figures),
            )

        yield show


def _time_left(event: Progress) -> str:
    if event.seconds_left is None:
        return ""
    return f"{timedelta(seconds=round(event.seconds_left))} left"


def _format_metrics(figures: dict[str, float]) -> str:
    return ", ".join(
        text.format(figures[name]) for name, text in _METRIC_FORMATS.items() if name in figures
    )
