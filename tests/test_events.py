"""Events of long jobs, and running one."""

from collections.abc import Generator
from dataclasses import FrozenInstanceError

import pytest

from napari_coordgate.errors import CanceledError, ImageError
from napari_coordgate.events import Event, Progress, Stopwatch, pluralize, run


def job(error: Exception | None = None) -> Generator[Event, None, int]:
    """Job of two units that returns 42, or fails after the first unit."""
    stopwatch = Stopwatch("working", 2)
    yield stopwatch.progress(1)
    if error is not None:
        raise error
    yield stopwatch.progress(2, loss=0.5)
    return 42


def test_run_returns_the_result_and_passes_each_event_to_the_callback() -> None:
    events: list[Event] = []
    assert run(job(), events.append) == 42
    assert [event.done for event in events if isinstance(event, Progress)] == [1, 2]


@pytest.mark.parametrize(
    "error", [CanceledError("Stopped."), ImageError("No image."), ValueError()]
)
def test_run_raises_the_error_of_the_job(error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        run(job(error))
    assert raised.value is error


def test_time_left_is_estimated_from_the_mean_speed() -> None:
    assert Progress("working", 1, 4, seconds=2.0).seconds_left == 6.0
    assert Progress("working", 4, 4, seconds=2.0).seconds_left == 0.0
    assert Progress("working", 0, 4, seconds=2.0).seconds_left is None


def test_a_stopwatch_reports_progress_of_its_stage() -> None:
    stopwatch = Stopwatch("working", 3)
    first, second = stopwatch.progress(1), stopwatch.progress(2, loss=0.5)
    assert 0 <= first.seconds <= second.seconds <= stopwatch.seconds
    assert (second.stage, second.done, second.total) == ("working", 2, 3)
    assert second.metrics == {"loss": 0.5}


def test_events_are_frozen() -> None:
    event = Progress("working", 1, 2, 0.0)
    with pytest.raises(FrozenInstanceError):
        event.done = 2  # type: ignore[misc]  # must fail
    with pytest.raises(TypeError):
        event.metrics["loss"] = 0.0  # type: ignore[index]  # must fail


def test_pluralize_adds_an_s_except_for_one() -> None:
    phrases = [pluralize(number, "image") for number in (0, 1, 2)]
    assert phrases == ["0 images", "1 image", "2 images"]
