"""Run a long job with progress bars, and cancel it on Ctrl-C."""

import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress as Bars, TaskID, TextColumn

from napari_coordgate.cli.messages import printable, say
from napari_coordgate.cli.verbosity import is_quiet
from napari_coordgate.events import Event, Note, Progress, format_count, run

R = TypeVar("R")

LINE_SECONDS = 30.0
"""Minimum time between two lines of progress in a log."""

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
    """Run a job and return its result; show its progress as bars, or as lines in a log."""
    if is_quiet():
        return run(events, _say_warning)
    console = Console(stderr=True)
    if not console.is_terminal:
        return run(events, _ProgressLines())
    with _progress_bars(console) as show:
        return run(events, show)


def _say_warning(event: Event) -> None:
    """Print a `Note` that is a warning."""
    if isinstance(event, Note) and event.is_warning:
        say(event.text)


class _ProgressLines:
    """Prints a line about `Progress` events, at most every 30 s, and about each `Note`."""

    def __init__(self) -> None:
        self._printed = time.monotonic()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Note):
            say(event.text)
        if not isinstance(event, Progress) or time.monotonic() - self._printed < LINE_SECONDS:
            return
        self._printed = time.monotonic()
        parts = (format_count(event), _time_left(event), _format_metrics(event.metrics))
        say(f"{event.stage}: {', '.join(filter(None, parts))}", err=True)


@contextmanager
def _progress_bars(console: Console) -> Iterator[Callable[[Event], None]]:
    """Function that draws a bar for each stage of the `Progress` events it is called with."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        TextColumn("[green]{task.fields[count]}"),
        TextColumn("{task.fields[left]}"),
        TextColumn("[dim]{task.fields[figures]}"),
    )
    stages: dict[str, TaskID] = {}
    figures: dict[str, float] = {}
    with Bars(*columns, console=console, transient=True) as bars:

        def show(event: Event) -> None:
            if isinstance(event, Note):
                bars.console.print(printable(event.text), markup=False)
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


def _format_metrics(figures: Mapping[str, float]) -> str:
    return ", ".join(
        text.format(figures[name]) for name, text in _METRIC_FORMATS.items() if name in figures
    )
