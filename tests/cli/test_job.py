import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from napari_coordgate.cli.job import cancel_on_signal, follow
from napari_coordgate.errors import CanceledError, ImageError
from napari_coordgate.events import Event, Finished, Stopwatch, reporting_end

DEAF = """
import time
from napari_coordgate.cli.job import cancel_on_signal
with cancel_on_signal() as cancel:
    print("ready", flush=True)
    while not cancel.is_set():
        time.sleep(0.01)
    print("told", flush=True)
    time.sleep(60)
"""


def training() -> Iterator[Event]:
    stopwatch = Stopwatch("training", 2)
    yield stopwatch.progress(1, loss=0.25, psnr=31.5)
    yield stopwatch.progress(2, loss=0.125)
    yield Finished("completed", "done", result=7)


def test_a_job_ends_with_its_result() -> None:
    assert follow(training()).result == 7


def test_a_terminal_shows_stage_time_left_and_figures(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    follow(training())
    out, err = capsys.readouterr()
    assert out == ""
    for words in ("training", "left", "1.25e-01", "PSNR 31.50 dB"):
        assert words in err


def test_it_is_quiet_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    follow(training())
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("error", [CanceledError("stopped"), ImageError("bad")])
def test_a_job_that_does_not_complete_raises_its_error(error: Exception) -> None:
    def events() -> Iterator[Event]:
        yield from ()
        raise error

    with pytest.raises(type(error), match=str(error)):
        follow(reporting_end(events()))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_and_afterwards_means_what_it_did(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with cancel_on_signal() as cancel:
        assert not cancel.is_set()
        signal.raise_signal(number)
        assert cancel.is_set()
    assert signal.getsignal(number) == before


def test_a_second_ctrl_c_ends_the_process_on_the_spot() -> None:
    with subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE, text=True) as deaf:
        assert deaf.stdout is not None
        for word in ("ready", "told"):
            assert deaf.stdout.readline().strip() == word
            deaf.send_signal(signal.SIGINT)
        assert deaf.wait(5) == -signal.SIGINT
