"""Laws of resource estimates: they predict a run, and leave nothing behind."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_coordgate.config import CGUNetConfig, GaussianLens, TrainingConfig
from napari_coordgate.errors import CanceledError, DeviceMemoryError, SettingsError
from napari_coordgate.events import Event, Progress
from napari_coordgate.networks import UNet
from napari_coordgate.optics import PSFField
from napari_coordgate.training import (
    ResourceEstimate,
    estimate as estimate_module,
    estimate_resources,
    estimate_resources_events,
    train,
)
from tests.training.running import Ended, ended

FRAME = (32, 40)
FIELD = PSFField.from_lens(GaussianLens(sigma_edge_px=1.2), FRAME)
SHARP = np.random.default_rng(0).random((8, *FRAME))
SMALL: dict[str, Any] = {
    "network": {"base_channels": 8, "depth": 2},
    "window_size": 16,
    "batch_size": 4,
    "steps": 1000,
}


def estimate(field: PSFField = FIELD, **changes: Any) -> ResourceEstimate:
    config = TrainingConfig(**SMALL | changes)
    return estimate_resources(SHARP, field, config=config, device="cpu")


def end_of(config: TrainingConfig, **arguments: Any) -> Ended:
    events = estimate_resources_events(SHARP, FIELD, config=config, device="cpu", **arguments)
    return ended(events)


def test_it_ends_with_an_estimate_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    events, result, _ = end_of(TrainingConfig(**SMALL))
    steps = [e.done for e in events if isinstance(e, Progress) and e.stage == "estimating"]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert result.device == "cpu"
    assert result.fits
    assert result.seconds > 1000 * result.seconds_per_step > 0
    assert len(str(result).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_longer_run_takes_longer_and_so_do_more_validations() -> None:
    one, two = (estimate(steps=steps, validate_every=10**6) for steps in (10**6, 10**7))
    each = [run.seconds / run.seconds_per_step for run in (one, two)]
    np.testing.assert_allclose(each, [1e6, 1e7], rtol=0.1)
    looked_at = estimate(steps=1000, validate_every=1)
    assert looked_at.seconds > 1.2 * 1000 * looked_at.seconds_per_step


def test_the_memory_is_counted_the_same_each_time() -> None:
    assert estimate().memory_bytes == estimate(seed=1).memory_bytes


def test_the_memory_of_a_step_grows_in_proportion_to_its_pixels() -> None:
    few, more, most, wide = (
        estimate(batch_size=batch, window_size=side).memory_bytes
        for batch, side in ((32, 16), (64, 16), (96, 16), (32, 32))
    )
    assert most - more == more - few > 0
    assert wide - few == pytest.approx(3 * (more - few), rel=0.01)


def test_large_frames_count_even_where_the_windows_are_small() -> None:
    frame = (512, 512)
    field = PSFField.from_lens(GaussianLens(sigma_edge_px=1.2), frame)
    assert estimate(field, batch_size=1).memory_bytes > 10 * 8 * 4 * frame[0] * frame[1]


def test_the_weights_count_five_times() -> None:
    shape = {"base_channels": 64, "depth": 4}
    network = UNet.from_config(CGUNetConfig(**shape))
    weights = sum(weight.nbytes for weight in network.parameters())
    counted = estimate(network=shape, batch_size=1, window_size=8).memory_bytes
    assert 5 * weights < counted < 6 * weights


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_run_shorter_than_the_trial_is_estimated(steps: int) -> None:
    assert estimate(steps=steps).seconds > 0


def test_a_run_that_the_free_memory_does_not_hold_is_not_tried_on_a_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(estimate_module, "free_device_memory", lambda _: 1000)
    end = end_of(TrainingConfig(**SMALL))
    assert not end.result.fits
    assert np.isnan(end.result.seconds)
    assert "lower the batch size" in str(end.result)


def test_too_little_memory_ends_it_and_names_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = UNet.forward

    def limited(self: UNet, blurred: Tensor, *arguments: Any) -> Tensor:
        if blurred.numel() > 2 * 16 * 16:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(self, blurred, *arguments)

    monkeypatch.setattr(UNet, "forward", limited)
    end = end_of(TrainingConfig(**SMALL))
    assert isinstance(end.error, DeviceMemoryError)
    assert "batch_size 2 with windows of 16 pixels fits" in str(end.error)


def test_it_can_be_canceled() -> None:
    cancel = threading.Event()
    events = []

    def watch(event: Event) -> None:
        if isinstance(event, Progress) and event.stage == "estimating":
            events.append(event.done)
            cancel.set()

    with pytest.raises(CanceledError):
        estimate_resources(
            SHARP, FIELD, config=TrainingConfig(**SMALL), callback=watch, cancel=cancel
        )
    assert events == [1]


def test_it_starts_where_the_run_would(tmp_path: Path) -> None:
    output = tmp_path / "model.safetensors"
    train(SHARP, FIELD, config=TrainingConfig(**SMALL | {"steps": 2}), output=output)
    assert end_of(TrainingConfig(**SMALL), init=output).error is None
    other = TrainingConfig(**SMALL | {"network": {"base_channels": 4, "depth": 2}})
    assert isinstance(end_of(other, init=output).error, SettingsError)


def test_little_memory_is_shown_in_mb() -> None:
    estimate = ResourceEstimate(0.1, 500.0, 56_000_000, 8_000_000_000, "cpu")
    assert "with 56 MB of memory (8.0 GB are free)" in str(estimate)
