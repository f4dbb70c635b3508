"""Laws of a training whose device has too little memory."""

import weakref
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_coordgate.config import CGUNetConfig, GaussianLens, TrainingConfig
from napari_coordgate.errors import CoordGateError, DeviceMemoryError
from napari_coordgate.networks import UNet
from napari_coordgate.optics import PSFField
from napari_coordgate.training import train
from napari_coordgate.training.learner import try_or_oom

FRAME = (32, 40)
FIELD = PSFField.from_lens(GaussianLens(sigma_edge_px=1.2), FRAME)
SHARP = np.random.default_rng(0).random((8, *FRAME))
NETWORK = CGUNetConfig(base_channels=4, depth=2)


def run_with(batch_size: int) -> None:
    """Train on windows of 16 pixels."""
    config = TrainingConfig(network=NETWORK, window_size=16, batch_size=batch_size, steps=2)
    train(SHARP, FIELD, config=config)


def failure(batch_size: int) -> CoordGateError:
    """The error of a run that fails, known to be one line of too little memory."""
    with pytest.raises(DeviceMemoryError) as caught:
        run_with(batch_size)
    assert len(str(caught.value).splitlines()) == 1
    return caught.value


def limited_to(pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the network run out of memory beyond a number of pixels."""
    forward = UNet.forward

    def limited(self: UNet, blurred: Tensor, *arguments: Any) -> Tensor:
        if blurred.numel() > pixels:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(self, blurred, *arguments)

    monkeypatch.setattr(UNet, "forward", limited)


@pytest.mark.parametrize(
    ("pixels", "advice"),
    [
        (4 * 16 * 16, "batch_size 4 with windows of 16 pixels fits"),
        (3 * 16 * 16, "batch_size 2 with windows of 16 pixels fits"),
        (100, "batch_size 1 with windows of 8 pixels fits"),
        (1, "choose a smaller network"),
    ],
)
def test_too_little_memory_is_an_error_that_names_what_fits(
    monkeypatch: pytest.MonkeyPatch, pixels: int, advice: str
) -> None:
    limited_to(pixels, monkeypatch)
    error = failure(batch_size=8)
    assert "at batch_size 8 with windows of 16 pixels" in str(error)
    assert advice in str(error)


def test_the_batch_that_is_named_does_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    limited_to(FRAME[0] * FRAME[1], monkeypatch)
    assert "batch_size 5" in str(failure(batch_size=11))
    run_with(batch_size=5)


def test_running_out_of_memory_in_a_validation_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    limited_to(2 * 16 * 16, monkeypatch)
    assert "validating on frames of 32x40 pixels" in str(failure(batch_size=2))


def test_memory_that_did_not_suffice_is_free_before_less_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held: list[weakref.ref[Tensor]] = []

    def failing(_: UNet, blurred: Tensor, *__: Any) -> Tensor:
        assert not any(activations() is not None for activations in held)
        activations = blurred.clone()
        held.append(weakref.ref(activations))
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(UNet, "forward", failing)
    failure(batch_size=8)
    assert len(held) > 3


def test_any_other_failure_of_torch_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Tensor:
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(UNet, "forward", broken)
    with pytest.raises(RuntimeError, match="multiplied"):
        run_with(batch_size=2)


def test_an_attempt_returns_what_it_computes_or_none_for_want_of_memory() -> None:
    assert try_or_oom(lambda: 42) == 42
    assert try_or_oom(lambda: torch.empty(2**58, dtype=torch.uint8)) is None
    with pytest.raises(ZeroDivisionError):
        try_or_oom(lambda: 1 // 0)
