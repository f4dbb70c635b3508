import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from napari_coordgate.errors import OutputError
from napari_coordgate.io.locks import lock


def test_a_lock_is_refused_while_it_is_held_and_had_afterwards(tmp_path: Path) -> None:
    held = lock(tmp_path / "a.lock", "taken")
    with pytest.raises(OutputError, match="taken"):
        lock(tmp_path / "a.lock", "taken")
    held.release()
    lock(tmp_path / "a.lock", "taken").release()


def test_a_lock_where_nothing_can_be_made_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="Cannot write"):
        lock(tmp_path / "file" / "a.lock", "taken")


CLAIM = """
import sys, time
from napari_coordgate.io.locks import claim_place
print(claim_place(sys.argv[1], 2), claim_place(sys.argv[1], 2), flush=True)
time.sleep(60)
"""


@pytest.fixture
def claim() -> Iterator[Callable[[], tuple[subprocess.Popen[str], str]]]:
    """Another process that claims one of two places, twice; and which it got."""
    kind, processes = f"test-{os.getpid()}-{time.monotonic_ns()}", []

    def claim() -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-c", CLAIM, kind], stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        assert process.stdout is not None
        first, again = process.stdout.readline().split()
        assert first == again
        return process, first

    yield claim
    for process in processes:
        process.kill()
        process.communicate()


CLAIM_AGAIN = CLAIM.replace(
    "time.sleep(60)", "sys.stdin.readline(); print(claim_place(sys.argv[1], 2))"
)


ASK_AGAIN = CLAIM.replace(
    "time.sleep(60)", "sys.stdin.readline(); print(claim_place(sys.argv[1], 2))"
)


def test_a_process_keeps_its_place_when_another_one_comes_free(
    claim: Callable[[], tuple[subprocess.Popen[str], str]], tmp_path: Path
) -> None:
    first, _ = claim()
    second = subprocess.Popen(
        [sys.executable, "-c", ASK_AGAIN, str(first.args[-1])],  # type: ignore[index]
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert second.stdout is not None
    assert second.stdout.readline() == "1 1\n"
    first.kill()
    first.wait()
    out, _ = second.communicate("go on\n")
    assert out == "1\n"


def test_each_process_has_a_place_of_its_own_until_it_dies(
    claim: Callable[[], tuple[subprocess.Popen[str], str]],
) -> None:
    (first, place), (_, other) = claim(), claim()
    assert (place, other) == ("0", "1")
    assert claim()[1] in ("0", "1")  # there are no more: one is shared
    first.kill()
    first.wait()
    assert claim()[1] == "0"
