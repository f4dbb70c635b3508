"""Jobs in the background: each ends exactly once, whatever happens in it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from napari_coordgate.errors import CanceledError, SettingsError
from napari_coordgate.events import Event, FileChanged, Progress, Stopwatch
from napari_coordgate.widgets.jobs import Job, JobEnd

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

WAIT_MS = 10_000


def counting(total: int, seconds: float = 0.0) -> Callable[[Job], Generator[Event, None, int]]:
    """A job that counts."""

    def work(job: Job) -> Generator[Event, None, int]:
        done = 0
        stopwatch = Stopwatch("counting", total)
        for done in range(1, total + 1):
            if job.cancel_requested.is_set():
                raise CanceledError(f"Stopped at {done}.")
            if job.stop_requested.is_set():
                break
            time.sleep(seconds)
            yield stopwatch.progress(done, value=float(done))
        return done

    return work


@pytest.fixture
def seen() -> list[Event]:
    return []


def run(
    qtbot: QtBot, job: Job, seen: list[Event], after: Callable[[], object] | None = None
) -> JobEnd:
    """Start a job and wait for its end as a window does."""
    ends: list[JobEnd] = []
    job.happened.connect(seen.append)
    job.finished.connect(ends.append)
    job.start()
    if after is not None:
        qtbot.waitUntil(lambda: bool(seen), timeout=WAIT_MS)
        after()
    qtbot.waitUntil(lambda: bool(ends), timeout=WAIT_MS)
    qtbot.wait(50)
    assert len(ends) == 1
    assert job.end is ends[0]
    assert not job.is_running
    return ends[0]


def test_events_are_emitted_in_the_main_thread(qtbot: QtBot, seen: list[Event]) -> None:
    threads = []
    job = Job("Count", counting(3))
    job.happened.connect(lambda _: threads.append(threading.current_thread()))
    assert run(qtbot, job, seen).result == 3
    assert set(threads) == {threading.main_thread()}


def test_fast_steps_are_emitted_a_few_times_a_second_with_all_metrics(
    qtbot: QtBot, seen: list[Event]
) -> None:
    run(qtbot, Job("Count", counting(2000, 1e-4)), seen)
    steps = [event for event in seen if isinstance(event, Progress)]
    assert len(steps) < 40
    assert steps[-1].done == 2000
    assert steps[-1].metrics["value"] == 2000


def test_thousands_of_files_are_emitted_in_a_few_batches(qtbot: QtBot) -> None:
    def work(_: Job) -> Generator[Event]:
        for number in range(5000):
            yield FileChanged(Path(str(number)), "waiting")

    job, batches = Job("Report", work), list[list[Event]]()
    job.batched.connect(batches.append)
    seen: list[Event] = []
    run(qtbot, job, seen)
    assert len(batches) < 50
    assert [event for batch in batches for event in batch] == seen
    assert len(seen) == 5000


def test_a_canceled_job_ends_as_canceled(qtbot: QtBot, seen: list[Event]) -> None:
    job = Job("Count", counting(10_000, 0.01))
    assert run(qtbot, job, seen, job.cancel).reason == "canceled"


def test_a_stopped_job_keeps_its_result_so_far(qtbot: QtBot, seen: list[Event]) -> None:
    job = Job("Count", counting(10_000, 0.01))
    end = run(qtbot, job, seen, job.stop)
    assert end.reason == "completed"
    assert end.result is not None
    assert 0 < end.result < 10_000


def test_a_paused_job_waits_and_the_pause_is_not_counted(qtbot: QtBot, seen: list[Event]) -> None:
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


def test_a_paused_job_can_be_canceled(qtbot: QtBot, seen: list[Event]) -> None:
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
def test_an_error_ends_the_job_even_if_workers_swallow_it(
    qtbot: QtBot, seen: list[Event], error: Exception, words: str
) -> None:
    def work(_: Job) -> Generator[Event]:
        yield Progress("counting", 1, 2, 0.1)
        raise error

    end = run(qtbot, Job("Count", work, is_quiet=True), seen)
    assert end.reason == "failed"
    assert words in end.message
    assert end.error is not None


def test_a_job_paused_and_canceled_at_once_ends(qtbot: QtBot, seen: list[Event]) -> None:
    job = Job("Count", counting(10_000, 0.05))

    def at_once() -> None:
        job.pause()
        job.cancel()

    assert run(qtbot, job, seen, at_once).reason == "canceled"


def test_a_pause_is_not_counted_in_any_stage_that_contains_it(
    qtbot: QtBot, seen: list[Event]
) -> None:
    def work(_: Job) -> Generator[Event]:
        outer = Stopwatch("outer", 40)
        for done in range(1, 41):
            time.sleep(0.01)
            if done == 30:
                yield Progress("inner", 1, 1, 0.01)
            yield outer.progress(done)

    job = Job("Count", work)

    def rest() -> None:
        job.pause()
        qtbot.wait(800)
        job.resume()

    run(qtbot, job, seen, rest)
    last = [event for event in seen if isinstance(event, Progress)][-1]
    assert (last.stage, last.done) == ("outer", 40)
    assert 0.35 < last.seconds < 0.8


def test_a_message_about_the_result_is_part_of_the_end(qtbot: QtBot, seen: list[Event]) -> None:
    job = Job("Count", counting(3), done_message=lambda done: f"Counted to {done}.")
    end = run(qtbot, job, seen)
    assert (end.reason, end.message, end.result) == ("completed", "Counted to 3.", 3)


def test_a_function_is_a_job_without_events(qtbot: QtBot, seen: list[Event]) -> None:
    job = Job.from_function("Name", lambda job: job.title)
    assert run(qtbot, job, seen).result == "Name"
    assert seen == []


def test_a_slot_that_fails_does_not_hide_the_end(qtbot: QtBot) -> None:
    def fail(_: Event) -> None:
        raise ValueError("cannot draw this")

    ends: list[JobEnd] = []
    job = Job("Count", counting(3))
    job.happened.connect(fail)
    job.finished.connect(ends.append)
    with qtbot.captureExceptions() as raised:
        job.start()
        qtbot.waitUntil(lambda: bool(ends), timeout=WAIT_MS)
    assert raised
    assert job.end is ends[0]


def test_the_first_event_of_a_stage_is_emitted_at_once(qtbot: QtBot, seen: list[Event]) -> None:
    go_on = threading.Event()

    def work(_: Job) -> Generator[Event]:
        yield Progress("reading", 1, 2, 0.1)
        go_on.wait(10)

    run(qtbot, Job("Read", work), seen, go_on.set)
    assert seen[0] == Progress("reading", 1, 2, 0.1)
