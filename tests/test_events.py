"""Laws of a job's events: it ends once, with a reason."""

from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from napari_coordgate.errors import CanceledError, CoordGateError, ImageError
from napari_coordgate.events import (
    Event,
    Finished,
    Progress,
    Stopwatch,
    finish,
    pluralize,
    reporting_end,
)

OUTPUT = Path("written.tif")


def job(error: Exception | None, outputs: list[Path]) -> Iterator[Event]:
    """Job of two units that writes a file, and then completes or fails."""
    stopwatch = Stopwatch("working", 2)
    yield stopwatch.progress(1)
    outputs.append(OUTPUT)
    if error is not None:
        raise error
    yield stopwatch.progress(2, loss=0.5)
    yield Finished("completed", "Done.", outputs=(OUTPUT,), result=42)


def run(error: Exception | None = None) -> list[Event]:
    outputs: list[Path] = []
    return list(reporting_end(job(error, outputs), outputs))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (None, "completed"),
        (CanceledError("Stopped."), "canceled"),
        (ImageError("No image."), "failed"),
    ],
)
def test_a_job_ends_once_and_names_what_it_wrote(error: Exception | None, reason: str) -> None:
    events = run(error)
    ends = [event for event in events if isinstance(event, Finished)]
    assert ends == events[-1:]
    assert ends[0].reason == reason
    assert ends[0].outputs == (OUTPUT,)
    assert ends[0].error is (error if reason == "failed" else None)
    assert ends[0].message == (str(error) if error else "Done.")


def test_a_job_that_fails_before_it_writes_names_no_output() -> None:
    outputs: list[Path] = []

    def failing() -> Iterator[Event]:
        yield Stopwatch("working", 1).progress(0)
        raise ImageError("No image.")

    *_, end = reporting_end(failing(), outputs)
    assert isinstance(end, Finished)
    assert end.outputs == ()


def test_a_defect_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run(ZeroDivisionError())


def test_finishing_returns_the_end_or_raises_its_error() -> None:
    assert finish(run()).result == 42
    with pytest.raises(ImageError, match="No image"):
        finish(run(ImageError("No image.")))
    with pytest.raises(CanceledError, match="Stopped"):
        finish(run(CanceledError("Stopped.")))
    with pytest.raises(CoordGateError, match="without saying why"):
        finish([])


def test_time_left_goes_by_the_mean_pace() -> None:
    assert Progress("working", 1, 4, seconds=2.0).seconds_left == 6.0
    assert Progress("working", 4, 4, seconds=2.0).seconds_left == 0.0
    assert Progress("working", 0, 4, seconds=2.0).seconds_left is None


def test_a_stopwatch_goes_forward() -> None:
    stopwatch = Stopwatch("working", 3)
    first, second = stopwatch.progress(1), stopwatch.progress(2, loss=0.5)
    assert 0 <= first.seconds <= second.seconds <= stopwatch.seconds
    assert (second.stage, second.done, second.total) == ("working", 2, 3)
    assert second.metrics == {"loss": 0.5}


def test_events_are_frozen() -> None:
    event = Progress("working", 1, 2, 0.0)
    with pytest.raises(FrozenInstanceError):
        event.done = 2  # type: ignore[misc]  # the very thing that must fail
    with pytest.raises(TypeError):
        event.metrics["loss"] = 0.0  # type: ignore[index]  # likewise


def test_one_thing_is_named_as_one() -> None:
    named = [pluralize(number, "image") for number in (0, 1, 2)]
    assert named == ["0 images", "1 image", "2 images"]
