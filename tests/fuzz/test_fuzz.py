"""Corrupted files are read or refused in one line; ``python -m tests.fuzz`` tests more inputs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.readers import READERS
from tests.fuzz.trial import GOOD, Workers

INPUTS = 150
SECONDS, MEMORY_MB = 5, 768


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    with Workers(tmp_path_factory.mktemp("corrupted")) as workers:
        yield workers


@pytest.mark.parametrize("reader", READERS)
def test_a_corrupted_file_is_read_or_refused(workers: Workers, reader: str) -> None:
    # Corrupted lines of a report are skipped, so it is rarely refused: more inputs are needed.
    inputs = 10 * INPUTS if reader == "batch report" else INPUTS
    trial = workers.run(reader, inputs, seed=0)
    assert trial.failures == []
    assert trial.kinds.total() == inputs
    assert min(trial.kinds[kind] for kind in GOOD) >= INPUTS / 50
    assert trial.slowest_seconds < SECONDS
    assert trial.grown_mb < MEMORY_MB


@pytest.mark.parametrize(
    ("reader", "kind", "why"),
    [
        ("abort", "crash", "SIGABRT"),
        ("loop", "crash", "SIGXCPU"),
        ("swallow", "exception", "MemoryError"),
        ("stumble", "exception", "KeyError"),
        ("unpickle", "forbidden", "pickle.find_class"),
        ("run", "forbidden", "subprocess.Popen"),
        ("write", "forbidden", "open"),
    ],
)
def test_forbidden_actions_of_a_reader_are_detected(
    tmp_path: Path, reader: str, kind: str, why: str
) -> None:
    with Workers(tmp_path, "tests.fuzz.bad_readers", cpu_seconds=1) as workers:
        trial = workers.run(reader, 2, seed=0)
    failure = trial.failures[0]
    assert (failure.kind, failure.reader) == (kind, reader)
    assert why in failure.why
    assert trial.kinds.total() == 2
