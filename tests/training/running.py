"""Runs a job of events to its end, for tests."""

from collections.abc import Callable, Generator
from typing import Any, NamedTuple

from napari_coordgate.errors import CoordGateError
from napari_coordgate.events import Event, run


class Ended(NamedTuple):
    """Events of a job, and its result or its error."""

    events: list[Event]
    result: Any = None
    error: CoordGateError | None = None


def ended(
    events: Generator[Event, None, Any], watch: Callable[[Event], None] | None = None
) -> Ended:
    """Run a job to its end; ``watch`` is called with each event."""
    seen: list[Event] = []

    def see(event: Event) -> None:
        seen.append(event)
        if watch is not None:
            watch(event)

    try:
        result = run(events, see)
    except CoordGateError as error:
        return Ended(seen, None, error)
    return Ended(seen, result)
