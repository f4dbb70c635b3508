"""Laws of processes that train together: what one of them finds, all of them do."""

import json
import os
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from napari_coordgate.config import (
    CGUNetConfig,
    GaussianLens,
    RuntimeConfig,
    TrainingConfig,
    TrainingSettings,
    UNetConfig,
)
from napari_coordgate.config.training import STORE
from napari_coordgate.data import SimulatedPairs
from napari_coordgate.errors import CoordGateError, ImageError, SettingsError
from napari_coordgate.events import Event, Progress
from napari_coordgate.networks import UNet
from napari_coordgate.optics import PSFField
from napari_coordgate.training import train, train_events
from napari_coordgate.training.distributed import ProcessGroup, rank
from soak.commands import Call

SMALL = TrainingConfig(network=CGUNetConfig(base_channels=4, depth=2))
SHORT = SMALL.replace(window_size=16, batch_size=3, steps=6, validate_every=3)
STEEP = SHORT.replace(
    network=UNetConfig(base_channels=4, depth=6), schedule="plateau", learning_rate=1.0
)
ALONE, TWO = RuntimeConfig(device="cpu"), RuntimeConfig(device="cpu", devices=2)
FIELD = PSFField.from_lens(GaussianLens(sigma_edge_px=1.2), (32, 40))


def meet_trouble(folder: Path) -> None:
    """What each of two processes does; the second one meets all the trouble."""
    sharp = np.random.default_rng(0).random((8, 32, 40)).astype(np.float32)
    group, found = ProcessGroup(TWO), dict[str, Any]()
    mine = group.rank == 1
    found["any"] = group.any_reduce(mine, False)
    found["gathered"] = group.gather(group.rank)
    found["broadcast"] = group.broadcast(f"from {group.rank}")
    try:
        with group.sync_errors():
            if mine:
                raise ImageError("torn")
    except ImageError as error:
        found["error"] = str(error)

    def end(config: TrainingConfig = SHORT, canceled_after: int | None = None) -> str:
        """Message of the end of a run, which this rank may cancel."""
        cancel = threading.Event()
        done = 0
        events = train_events(sharp, FIELD, config=config, runtime=TWO, cancel=cancel)
        try:
            for event in events:
                if isinstance(event, Progress) and event.stage == "training":
                    done = event.done
                    if done == canceled_after:
                        cancel.set()
        except CoordGateError as error:
            return str(error)
        return f"Trained {done} steps"

    def out_of_memory(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    def torn(_: object, number: int) -> None:
        raise ImageError(f"sample {number} is torn")

    found["completed"] = end()
    found["canceled"] = end(canceled_after=2 if mine else None)
    found["diverged"] = end(STEEP)
    with pytest.MonkeyPatch.context() as patch:
        if mine:
            patch.setattr(SimulatedPairs, "sample", torn)
        found["unreadable"] = end()
    with pytest.MonkeyPatch.context() as patch:
        if mine:
            patch.setattr(UNet, "forward", out_of_memory)
        found["out of memory"] = end()
    (folder / str(group.rank)).write_text(json.dumps(found))
    if mine:
        SimulatedPairs.sample = lambda *_: os._exit(0)  # type: ignore[method-assign]
    (folder / "gone").write_text(end())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where each of two processes writes what it found; the second one meets all the trouble."""
    folder = tmp_path_factory.mktemp("ranks")
    variables = {**os.environ, STORE: str(folder / "store"), "WORLD_SIZE": "2"}
    ranks = [variables | {"LOCAL_RANK": number, "RANK": number} for number in "01"]
    for process in [Call(meet_trouble, folder, variables=each) for each in ranks]:
        process.communicate(timeout=120)
        assert process.returncode == 0
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> list[dict[str, Any]]:
    return [json.loads((folder / str(rank)).read_text()) for rank in range(2)]


def test_all_find_the_same(found: list[dict[str, Any]]) -> None:
    assert found[0] == found[1]


def test_what_one_says_or_asks_for_reaches_all(found: list[dict[str, Any]]) -> None:
    assert found[0]["any"] == [True, False]
    assert found[0]["gathered"] == [0, 1]
    assert found[0]["broadcast"] == "from 0"
    assert found[0]["error"] == "torn"


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        ("completed", "Trained 6 steps"),
        ("canceled", "Stopped after 2 of 6 steps"),
        ("diverged", "The training diverged"),
        ("unreadable", "sample 1 is torn"),
        ("out of memory", "ran out of memory"),
    ],
)
def test_a_run_ends_on_all_as_on_one_of_them(
    found: list[dict[str, Any]], trouble: str, message: str
) -> None:
    assert message in found[0][trouble]


def test_one_that_is_gone_is_not_waited_for(folder: Path) -> None:
    assert "Lost another process of the training" in (folder / "gone").read_text()


def test_a_process_alone_is_all_of_them() -> None:
    group = ProcessGroup(ALONE)
    assert (group.size, group.rank, group.is_main) == (1, 0, True)
    assert group.any_reduce(True, False) == (True, False)
    assert group.gather("mine") == ["mine"]
    assert group.broadcast("mine") == "mine"
    with pytest.raises(ImageError, match="torn"), group.sync_errors():
        raise ImageError("torn")


def test_a_job_that_is_led_keeps_its_events_its_result_and_its_error() -> None:
    def job(error: ImageError | None) -> Generator[Event, None, str]:
        yield Progress("reading", 1, 2, 0.1)
        if error is not None:
            raise error
        return "read"

    events = ProcessGroup(ALONE).run_on_main(job(None))
    assert next(events) == Progress("reading", 1, 2, 0.1)
    with pytest.raises(StopIteration) as end:
        next(events)
    assert end.value.value == "read"
    with pytest.raises(ImageError, match="torn"):
        list(ProcessGroup(ALONE).run_on_main(job(ImageError("torn"))))


@given(st.integers(1, 40), st.integers(1, 9))
def test_shares_are_all_of_it_and_alike(number: int, size: int) -> None:
    group, shares = ProcessGroup.__new__(ProcessGroup), []
    group.size = size
    for group.rank in range(size):
        shares.append(group.share(number))
    assert [place for share in shares for place in share] == list(range(number))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_processes_that_nobody_has_started_are_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with pytest.raises(SettingsError, match="command line"):
        train(np.ones((2, 32, 40)), FIELD, config=SMALL, runtime=TWO)


def test_missing_scheduler_variables_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"SLURM_NTASKS": "2", "SLURM_JOB_NAME": "training", "SLURM_JOB_ID": "1"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match="ntasks-per-node"):
        rank(TWO)


def test_every_device_has_a_share_of_a_batch() -> None:
    with pytest.raises(SettingsError, match="batch_size is shared"):
        TrainingSettings(batch_size=3, devices=2, nodes=2)
