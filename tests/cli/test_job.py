import signal
import subprocess
import sys
import time
from collections.abc import Generator
from itertools import count

import pytest

from napari_coordgate.cli.job import cancel_on_signal, follow
from napari_coordgate.errors import CanceledError, ImageError
from napari_coordgate.events import Event, Progress, Stopwatch

IGNORES_CANCEL = """
import time
from napari_coordgate.cli.job import cancel_on_signal
with cancel_on_signal() as cancel:
    print("ready", flush=True)
    while not cancel.is_set():
        time.sleep(0.01)
    print("canceled", flush=True)
    time.sleep(60)
"""


def training() -> Generator[Event, None, int]:
    stopwatch = Stopwatch("training", 2)
    yield stopwatch.progress(1, loss=0.25, psnr=31.5)
    yield stopwatch.progress(2, loss=0.125)
    return 7


def test_follow_returns_the_result_of_the_job() -> None:
    assert follow(training()) == 7


def test_a_terminal_shows_stage_remaining_time_and_metrics(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    follow(training())
    out, err = capsys.readouterr()
    assert out == ""
    for words in ("training", "left", "1.25e-01", "PSNR 31.50 dB"):
        assert words in err


def test_nothing_is_printed_about_a_short_job_without_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    follow(training())
    assert capsys.readouterr() == ("", "")


def test_a_log_shows_a_line_of_progress_every_30_s(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = count(step=12.0)
    monkeypatch.setattr(time, "monotonic", lambda: next(seconds))

    def events() -> Generator[Event]:
        for done in range(1, 7):
            yield Progress("training", done, 10, seconds=60.0 * done, metrics={"loss": 0.25})

    follow(events())
    out, err = capsys.readouterr()
    assert out == ""
    first, *_ = lines = err.splitlines()
    assert 1 <= len(lines) <= 2
    assert first == "training: 3/10, 0:07:00 left, loss 2.50e-01"


@pytest.mark.parametrize("error", [CanceledError("stopped"), ImageError("bad")])
def test_follow_raises_the_error_of_the_job(error: Exception) -> None:
    def events() -> Generator[Event]:
        yield from ()
        raise error

    with pytest.raises(type(error), match=str(error)):
        follow(events())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_and_its_handler_is_restored_afterwards(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with cancel_on_signal() as cancel:
        assert not cancel.is_set()
        signal.raise_signal(number)
        assert cancel.is_set()
    assert signal.getsignal(number) == before


def test_a_second_ctrl_c_ends_the_process_immediately() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", IGNORES_CANCEL], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for word in ("ready", "canceled"):
            assert process.stdout.readline().strip() == word
            process.send_signal(signal.SIGINT)
        assert process.wait(5) == -signal.SIGINT
