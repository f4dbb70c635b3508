import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from napari_coordgate.errors import OutputError
from napari_coordgate.io.locks import acquire_lock


def test_a_lock_can_be_acquired_again_only_after_its_release(tmp_path: Path) -> None:
    held = acquire_lock(tmp_path / "a.lock", "taken")
    with pytest.raises(OutputError, match="taken"):
        acquire_lock(tmp_path / "a.lock", "taken")
    held.release()
    acquire_lock(tmp_path / "a.lock", "taken").release()


def test_a_lock_is_no_link_to_another_file(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    for link in ((tmp_path / "a.lock").symlink_to, (tmp_path / "a.lock").hardlink_to):
        link(tmp_path / "mine")
        with pytest.raises(OutputError, match="is a link"):
            acquire_lock(tmp_path / "a.lock", "taken")
        (tmp_path / "a.lock").unlink()
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_lock_that_cannot_be_created_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="Cannot write"):
        acquire_lock(tmp_path / "file" / "a.lock", "taken")


ACQUIRE = """
import sys, time
from napari_coordgate.io.locks import acquire_slot
print(acquire_slot(sys.argv[1], 2), acquire_slot(sys.argv[1], 2), flush=True)
time.sleep(60)
"""

ACQUIRE_AGAIN = ACQUIRE.replace(
    "time.sleep(60)", "sys.stdin.readline(); print(acquire_slot(sys.argv[1], 2))"
)


@pytest.fixture
def acquire() -> Iterator[Callable[[], tuple[subprocess.Popen[str], str]]]:
    """Start another process that acquires one of two slots, twice; gives process and slot."""
    kind, processes = f"test-{os.getpid()}-{time.monotonic_ns()}", []

    def acquire() -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-c", ACQUIRE, kind], stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        assert process.stdout is not None
        first, again = process.stdout.readline().split()
        assert first == again
        return process, first

    yield acquire
    for process in processes:
        process.kill()
        process.communicate()


def test_a_process_keeps_its_slot_when_another_becomes_free(
    acquire: Callable[[], tuple[subprocess.Popen[str], str]], tmp_path: Path
) -> None:
    first, _ = acquire()
    second = subprocess.Popen(
        [sys.executable, "-c", ACQUIRE_AGAIN, str(first.args[-1])],  # type: ignore[index]
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert second.stdout is not None
    assert second.stdout.readline() == "1 1\n"
    first.kill()
    first.wait()
    out, _ = second.communicate("continue\n")
    assert out == "1\n"


def test_each_process_has_its_own_slot_until_it_exits(
    acquire: Callable[[], tuple[subprocess.Popen[str], str]],
) -> None:
    (first, slot), (_, other) = acquire(), acquire()
    assert (slot, other) == ("0", "1")
    assert acquire()[1] in ("0", "1")  # no slot is free: one is shared
    first.kill()
    first.wait()
    assert acquire()[1] == "0"
