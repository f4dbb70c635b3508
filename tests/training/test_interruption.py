"""Trainings that are canceled, stopped, resumed or previewed."""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_coordgate.config import CGUNetConfig, GaussianLens, RuntimeConfig, TrainingConfig
from napari_coordgate.errors import CanceledError
from napari_coordgate.events import Event, Preview, Progress
from napari_coordgate.io.files import last_checkpoint_path
from napari_coordgate.model import Model
from napari_coordgate.normalization import Normalizer
from napari_coordgate.optics import PSFField
from napari_coordgate.training import Checkpoint, train_events
from napari_coordgate.training.validation import PreviewTimer
from tests.training.running import Ended, ended

FRAME = (32, 40)
FIELD = PSFField.from_lens(GaussianLens(sigma_center_px=0.6, sigma_edge_px=1.2), FRAME)
SHARP = np.random.default_rng(0).random((12, 48, 56)).astype(np.float32)
COSINE = TrainingConfig(
    network=CGUNetConfig(base_channels=4, depth=2),
    window_size=16,
    batch_size=2,
    steps=12,
    validate_every=4,
    validation_fraction=0.3,
)
PLATEAU = COSINE.model_copy(
    update={"schedule": "plateau", "ema_decay": 0.0, "patience_epochs": 1, "learning_rate": 1e-12}
)
BOTH = pytest.mark.parametrize("config", [COSINE, PLATEAU], ids=["cosine", "plateau"])

When = Callable[[Event], bool]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def events_of(config: TrainingConfig, **arguments: Any) -> list[Event]:
    """Events of a run that completes."""
    return list(train_events(SHARP, FIELD, config=config, device="cpu", **arguments))


def ended_early(request: str, when: When, config: TrainingConfig, output: Path) -> Ended:
    """End of a run that is asked to stop, or canceled, at an event."""
    flag = threading.Event()
    arguments: dict[str, Any] = {"output": output, request: flag}

    def watch(event: Event) -> None:
        if when(event):
            flag.set()

    return ended(train_events(SHARP, FIELD, config=config, **arguments), watch)


def steps_of(end: Ended) -> list[float]:
    """Numbers of the steps that were taken."""
    return [
        e.metrics["step"] for e in end.events if isinstance(e, Progress) and "loss" in e.metrics
    ]


def step(number: int) -> When:
    return lambda e: isinstance(e, Progress) and (e.stage, e.done) == ("training", number)


def validating(number: int, image: int) -> When:
    """An image of a validation, by the numbers of both."""
    seen = []

    def when(event: Event) -> bool:
        if not isinstance(event, Progress) or event.stage != "validating":
            return False
        seen.append(event)
        return (event.done, len(seen)) == (image, (number - 1) * event.total + image)

    return when


def assert_same_run(one: Path, other: Path) -> None:
    """Best and last checkpoints are equal, to the last bit."""
    a, b = (Checkpoint.load(last_checkpoint_path(path)) for path in (one, other))
    for first, second in ((Model.load(one), Model.load(other)), (a.model, b.model)):
        assert first.header() == second.header()
        assert_same_weights(first, second)
    assert a.progress == b.progress
    assert all(torch.equal(a.tensors[name], b.tensors[name]) for name in a.tensors)


def assert_same_weights(one: Model, other: Model) -> None:
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)


# Progress and cancellation of a validation


def test_a_validation_reports_progress_for_each_image() -> None:
    progress = [e for e in events_of(COSINE) if isinstance(e, Progress) and e.stage == "validating"]
    assert [(e.done, e.total) for e in progress] == 3 * [(1, 4), (2, 4), (3, 4), (4, 4)]


@BOTH
@pytest.mark.parametrize(("number", "image"), [(1, 1), (2, 2), (2, 3), (3, 2)])
def test_a_run_canceled_during_a_validation_resumes_exactly(
    tmp_path: Path, config: TrainingConfig, number: int, image: int
) -> None:
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    events_of(config, output=whole)
    end = ended_early("cancel", validating(number, image), config, parts)
    assert isinstance(end.error, CanceledError)
    assert f"{4 * number} of 12 steps; resume" in str(end.error)
    assert Model.load(last_checkpoint_path(parts)).step == 4 * number
    assert len(Model.load(last_checkpoint_path(parts)).history) == number - 1
    events = events_of(config, output=parts, resume=True)
    first = next(e for e in events if isinstance(e, Progress) and e.stage != "reading images")
    assert first.stage == "validating"
    assert_same_run(whole, parts)


# Saved by time


@pytest.mark.parametrize(
    ("minutes", "saved"),
    [(1e-9, list(range(1, 13))), (60.0, 3 * [0] + 4 * [4] + 4 * [8] + [12]), (0.0, None)],
)
def test_a_run_is_saved_when_the_time_is_up_beside_its_validations(
    output: Path, minutes: float, saved: list[int] | None
) -> None:
    runtime, seen = RuntimeConfig(autosave_minutes=minutes), []
    for event in train_events(SHARP, FIELD, config=COSINE, runtime=runtime, output=output):
        if isinstance(event, Progress) and event.stage == "training":
            last = last_checkpoint_path(output)
            seen.append(Model.load(last).step if last.exists() else 0)
    assert seen == (saved or 3 * [0] + 4 * [4] + 4 * [8] + [12])


@BOTH
@pytest.mark.parametrize("number", [1, 4, 7])
def test_a_killed_run_resumes_exactly_from_its_checkpoint(
    tmp_path: Path, config: TrainingConfig, number: int
) -> None:
    runtime = RuntimeConfig(autosave_minutes=1e-9)
    whole, killed = tmp_path / "whole" / "m.safetensors", tmp_path / "killed" / "m.safetensors"
    for event in train_events(SHARP, FIELD, config=config, runtime=runtime, output=whole):
        if step(number)(event):
            shutil.copytree(whole.parent, killed.parent)
    assert Model.load(last_checkpoint_path(killed)).step == number
    events_of(config, output=killed, resume=True)
    assert_same_run(whole, killed)
    assert {path.name for path in killed.parent.iterdir()} == {
        "m.safetensors",
        "m.last.safetensors",
    }


# Stop


@BOTH
def test_a_run_that_is_stopped_validates_and_completes_with_its_best_weights(
    config: TrainingConfig, output: Path
) -> None:
    end = ended_early("stop", step(6), config, output)
    assert steps_of(end)[-1] == 6
    assert set(output.parent.iterdir()) == {output, last_checkpoint_path(output)}
    last = Model.load(last_checkpoint_path(output))
    assert [figures["step"] for figures in last.history] == [4, 6]
    best = min(last.history, key=lambda figures: figures["validation_loss"])
    assert end.result.step == Model.load(output).step == best["step"]
    assert_same_weights(end.result, Model.load(output))


def test_a_run_stopped_at_or_during_a_validation_validates_once(tmp_path: Path) -> None:
    for name, when in {"at": step(8), "during": validating(2, 2)}.items():
        end = ended_early("stop", when, COSINE, tmp_path / f"{name}.safetensors")
        assert steps_of(end)[-1] == 8
        last = Model.load(last_checkpoint_path(tmp_path / f"{name}.safetensors"))
        assert [figures["step"] for figures in last.history] == [4, 8]


@BOTH
def test_an_extra_validation_does_not_change_a_resumed_run(
    tmp_path: Path, config: TrainingConfig
) -> None:
    whole, parts = (last_checkpoint_path(tmp_path / f"{n}.safetensors") for n in ("one", "two"))
    events_of(config, output=tmp_path / "one.safetensors")
    ended_early("stop", step(5), config, tmp_path / "two.safetensors")
    events_of(config, output=tmp_path / "two.safetensors", resume=True)
    one, two = (Checkpoint.load(path) for path in (whole, parts))
    assert_same_weights(one.model, two.model)
    assert one.progress == two.progress
    assert [figures for figures in two.model.history if figures["step"] != 5] == list(
        one.model.history
    )


def test_a_stop_before_the_first_step_is_a_cancel(output: Path) -> None:
    def reading(event: Event) -> bool:
        return isinstance(event, Progress) and event.stage == "reading images"

    end = ended_early("stop", reading, COSINE, output)
    assert isinstance(end.error, CanceledError)
    assert list(output.parent.iterdir()) == []


def test_a_stop_at_the_last_step_is_none(output: Path) -> None:
    end = ended_early("stop", step(12), COSINE, output)
    assert steps_of(end)[-1] == 12
    assert end.error is None


# Previews


def test_previews_between_validations_change_nothing() -> None:
    plain, previewed = (
        ended(train_events(SHARP, FIELD, config=COSINE, preview_seconds=seconds))
        for seconds in (None, 0.0)
    )
    steps = [e.step for e in previewed.events if isinstance(e, Preview)]
    assert {4, 8, 12} < set(steps)
    assert steps == sorted(set(steps))
    assert [e.step for e in plain.events if isinstance(e, Preview)] == [4, 8, 12]
    assert_same_weights(plain.result, previewed.result)
    assert plain.result.history == previewed.result.history


def test_a_preview_shows_the_first_image_of_a_validation() -> None:
    seen = [e for e in events_of(COSINE, preview_seconds=0.0) if isinstance(e, Preview)]
    assert all(np.array_equal(e.blurred, seen[0].blurred) for e in seen)
    for event in seen:  # the sharp pixels are a part of an image that was given
        assert event.source is SHARP
        pixels = Normalizer(*event.intensities).normalize(SHARP[event.index])
        np.testing.assert_array_equal(pixels, event.sharp)


@pytest.mark.parametrize(("seconds", "cost"), [(5.0, 0.1), (5.0, 3.0), (0.5, 1.0)])
def test_previews_take_at_most_a_tenth_of_the_time(
    monkeypatch: pytest.MonkeyPatch, seconds: float, cost: float
) -> None:
    clock = 0.0
    monkeypatch.setattr("time.perf_counter", lambda: clock)
    timer, shown = PreviewTimer(seconds), []
    for _ in range(2000):
        clock += 0.25
        if timer.is_due:
            shown.append(clock)
            clock += cost
            timer.restart(cost)
    assert len(shown) * cost <= clock / 10
    gaps = np.diff(shown)[1:]
    np.testing.assert_allclose(gaps, max(seconds, 10 * cost) + cost, atol=0.26)


def test_without_a_wish_for_previews_none_is_ever_due() -> None:
    assert not PreviewTimer(None).is_due
