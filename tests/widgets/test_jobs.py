"""Jobs in the background: each ends exactly once, whatever happens in it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from napari_coordgate.errors import CanceledError, SettingsError
from napari_coordgate.events import (
    Event,
    FileChanged,
    Finished,
    Progress,
    Stopwatch,
    reporting_end,
)
from napari_coordgate.widgets.jobs import Job

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

WAIT_MS = 10_000


def counting(total: int, seconds: float = 0.0) -> Callable[[Job], Iterator[Event]]:
    """A job that counts."""

    def work(job: Job) -> Iterator[Event]:
        stopwatch = Stopwatch("counting", total)
        for done in range(1, total + 1):
            if job.cancel_requested.is_set():
                raise CanceledError(f"Stopped at {done}.")
            if job.stop_requested.is_set():
                break
            time.sleep(seconds)
            yield stopwatch.progress(done, value=float(done))
        yield Finished("completed", f"Counted to {done}.", result=done)

    return lambda job: reporting_end(work(job))


@pytest.fixture
def seen() -> list[Event]:
    return []


def run(
    qtbot: QtBot, job: Job, seen: list[Event], after: Callable[[], object] | None = None
) -> Finished:
    """Start a job and wait for its end as a window does."""
    ends: list[Finished] = []
    job.happened.connect(seen.append)
    job.finished.connect(ends.append)
    job.start()
    if after is not None:
        qtbot.waitUntil(lambda: bool(seen), timeout=WAIT_MS)
        after()
    qtbot.waitUntil(lambda: bool(ends), timeout=WAIT_MS)
    qtbot.wait(50)
    assert len(ends) == 1
    assert seen[-1] is ends[0]
    assert not job.is_running
    return ends[0]


def test_its_events_come_in_the_main_thread(qtbot: QtBot, seen: list[Event]) -> None:
    threads = []
    job = Job("Count", counting(3))
    job.happened.connect(lambda _: threads.append(threading.current_thread()))
    assert run(qtbot, job, seen).result == 3
    assert set(threads) == {threading.main_thread()}


def test_quick_steps_are_drawn_a_few_times_a_second_and_lose_no_figure(
    qtbot: QtBot, seen: list[Event]
) -> None:
    run(qtbot, Job("Count", counting(2000, 1e-4)), seen)
    steps = [event for event in seen if isinstance(event, Progress)]
    assert len(steps) < 40
    assert steps[-1].done == 2000
    assert steps[-1].metrics["value"] == 2000


def test_files_in_their_thousands_come_in_a_few_handfuls_and_all_of_them(qtbot: QtBot) -> None:
    def work(_: Job) -> Iterator[Event]:
        for number in range(5000):
            yield FileChanged(Path(str(number)), "waiting")
        yield Finished("completed", "Told of all.")

    job, handfuls = Job("Tell", work), list[list[Event]]()
    job.handed_over.connect(handfuls.append)
    seen: list[Event] = []
    run(qtbot, job, seen)
    assert len(handfuls) < 50
    assert [event for handful in handfuls for event in handful] == seen
    assert len(seen) == 5001


def test_canceled_it_ends_as_canceled(qtbot: QtBot, seen: list[Event]) -> None:
    job = Job("Count", counting(10_000, 0.01))
    assert run(qtbot, job, seen, job.cancel).reason == "canceled"


def test_stopped_it_keeps_what_it_reached(qtbot: QtBot, seen: list[Event]) -> None:
    job = Job("Count", counting(10_000, 0.01))
    end = run(qtbot, job, seen, job.stop)
    assert end.reason == "completed"
    assert 0 < end.result < 10_000


def test_paused_it_rests_and_its_clock_too(qtbot: QtBot, seen: list[Event]) -> None:
    job = Job("Count", counting(60, 0.01))
    told: list[bool] = []
    job.paused_changed.connect(told.append)

    def rest() -> None:
        job.pause()
        qtbot.waitUntil(lambda: told == [True], timeout=WAIT_MS)
        before = len(seen)
        qtbot.wait(800)
        assert len(seen) <= before + 1
        job.resume()

    assert run(qtbot, job, seen, rest).reason == "completed"
    assert told == [True, False]
    last = [event for event in seen if isinstance(event, Progress)][-1]
    assert 0.5 < last.seconds < 1.3


def test_canceled_while_it_rests_it_ends(qtbot: QtBot, seen: list[Event]) -> None:
    job = Job("Count", counting(10_000, 0.01))
    told: list[bool] = []
    job.paused_changed.connect(told.append)

    def rest() -> None:
        job.pause()
        qtbot.waitUntil(lambda: told == [True], timeout=WAIT_MS)
        job.cancel()

    assert run(qtbot, job, seen, rest).reason == "canceled"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (SettingsError("the lens is missing."), "the lens is missing."),
        (RuntimeError("CUDA error: device-side assert"), "device-side assert"),
        (ValueError("boom"), "ValueError: boom"),
    ],
)
def test_an_error_is_its_end_also_one_that_workers_swallow(
    qtbot: QtBot, seen: list[Event], error: Exception, words: str
) -> None:
    def work(_: Job) -> Iterator[Event]:
        yield Progress("counting", 1, 2, 0.1)
        raise error

    end = run(qtbot, Job("Count", work, is_quiet=True), seen)
    assert end.reason == "failed"
    assert words in end.message
    assert end.error is not None


def test_paused_and_canceled_at_once_it_ends(qtbot: QtBot, seen: list[Event]) -> None:
    job = Job("Count", counting(10_000, 0.05))

    def at_once() -> None:
        job.pause()
        job.cancel()

    assert run(qtbot, job, seen, at_once).reason == "canceled"


def test_its_clock_rests_for_all_stages_that_the_rest_lies_in(
    qtbot: QtBot, seen: list[Event]
) -> None:
    def work(_: Job) -> Iterator[Event]:
        outer = Stopwatch("outer", 40)
        for done in range(1, 41):
            time.sleep(0.01)
            if done == 30:
                yield Progress("inner", 1, 1, 0.01)
            yield outer.progress(done)
        yield Finished("completed", "")

    job = Job("Count", work)

    def rest() -> None:
        job.pause()
        qtbot.wait(800)
        job.resume()

    run(qtbot, job, seen, rest)
    last = [event for event in seen if isinstance(event, Progress)][-1]
    assert (last.stage, last.done) == ("outer", 40)
    assert 0.35 < last.seconds < 0.8


def test_a_job_that_does_not_say_how_it_ended_has_failed(qtbot: QtBot, seen: list[Event]) -> None:
    def work(_: Job) -> Iterator[Event]:
        yield Progress("counting", 1, 2, 0.1)

    end = run(qtbot, Job("Count", work, is_quiet=True), seen)
    assert (end.reason, "without saying why" in end.message) == ("failed", True)


def test_what_comes_after_its_end_is_passed_over(qtbot: QtBot, seen: list[Event]) -> None:
    def work(_: Job) -> Iterator[Event]:
        yield Finished("completed", "done")
        raise ValueError

    assert run(qtbot, Job("Count", work), seen).message == "done"


def test_a_listener_that_fails_hides_the_end_from_nobody(qtbot: QtBot) -> None:
    def fail(_: Event) -> None:
        raise ValueError("cannot draw this")

    ends: list[Finished] = []
    job = Job("Count", counting(3))
    job.happened.connect(fail)
    job.finished.connect(ends.append)
    with qtbot.captureExceptions() as raised:
        job.start()
        qtbot.waitUntil(lambda: bool(ends), timeout=WAIT_MS)
    assert raised
    assert job.end is ends[0]


def test_the_first_event_of_a_stage_is_shown_at_once(qtbot: QtBot, seen: list[Event]) -> None:
    go_on = threading.Event()

    def work(_: Job) -> Iterator[Event]:
        yield Progress("reading", 1, 2, 0.1)
        go_on.wait(10)
        yield Finished("completed", "")

    run(qtbot, Job("Read", work), seen, go_on.set)
    assert seen[0] == Progress("reading", 1, 2, 0.1)
