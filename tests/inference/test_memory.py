"""Tiles adapt to the memory limit."""

import resource
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from napari_coordgate.config import DeblurConfig, DeblurRuntime
from napari_coordgate.errors import DeviceMemoryError, FrameMismatchWarning
from napari_coordgate.geometry import Window
from napari_coordgate.inference import Predictor, deblur, deblur_planes
from napari_coordgate.io import Image
from napari_coordgate.model import Model
from napari_coordgate.networks import FEATURES_PER_PIXEL, UNet
from soak.commands import Call
from tests.inference.making import (
    deblur_stack,
    identity_model,
    noise,
    random_model,
)

SIDE, LIMIT = 700, 150_000_000


def deblur_within_limit(folder: Path, kind: str, moment: str) -> None:
    """Deblur an image in a process that may take little memory; write the result."""
    image = Image(np.load(folder / "in.npy"), "YX")
    model = Model.load(folder / "model.safetensors")

    def limit() -> None:
        taken = psutil.Process().memory_info()
        most = LIMIT + (taken.vms if kind == "AS" else taken.data)
        resource.setrlimit(getattr(resource, f"RLIMIT_{kind}"), (most, most))

    if moment == "before":
        limit()
    predictor = Predictor(model, DeblurConfig(), DeblurRuntime(device="cpu", memory_gb=100))
    if moment == "later":
        limit()
    out = np.empty((SIDE, SIDE), np.float32)
    for _ in deblur_planes(predictor, image, out, Window.whole((SIDE, SIDE))):
        pass
    np.save(folder / "out.npy", out)
    print(predictor.tile_size)  # noqa: T201


@pytest.mark.parametrize(("kind", "moment"), [("AS", "before"), ("DATA", "later")])
def test_a_memory_limit_does_not_change_the_result(tmp_path: Path, kind: str, moment: str) -> None:
    model, image = random_model((SIDE, SIDE), depth=2, channels=16), noise((SIDE, SIDE))
    model.save(tmp_path / "model.safetensors")
    np.save(tmp_path / "in.npy", image)
    expected = deblur(image, model)
    assert Predictor(model, DeblurConfig()).tile_size >= SIDE
    assert FEATURES_PER_PIXEL * 4 * 16 * SIDE**2 > 2 * LIMIT
    process = Call(deblur_within_limit, tmp_path, kind, moment)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert int(out) < SIDE
    restored = np.load(tmp_path / "out.npy")
    np.testing.assert_allclose(restored, expected, atol=1e-4 * np.ptp(expected))


def test_a_tile_uses_a_safe_fraction_of_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model((700, 700), depth=2)
    sizes = []
    for free in (10**10, 10**8, 10**7, 0):
        monkeypatch.setattr(
            "napari_coordgate.inference.predictor.free_device_memory", lambda _, free=free: free
        )
        size = Predictor(model, DeblurConfig()).tile_size
        sizes.append(size)
        assert Predictor(model, DeblurConfig(), DeblurRuntime(tile=500)).tile_size == 500
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[1] > sizes[2] > sizes[3] > 2 * model.network.receptive_radius
    assert FEATURES_PER_PIXEL * 4 * 4 * sizes[2] ** 2 < 10**7 / 2


def test_a_result_larger_than_the_memory_is_an_error() -> None:
    huge = np.broadcast_to(noise((1, 24, 24)), (2**40, 24, 24))
    with pytest.raises(DeviceMemoryError, match="result to a file"):
        deblur(Image(huge, "ZYX"), random_model((24, 24)))


class SmallMemory:
    """Stand-in for a device: a network's forward pass that fails beyond so many pixels."""

    def __init__(self, side: int) -> None:
        self.side = side
        self.tried: list[int] = []
        self._forward = UNet.forward

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def forward(network: UNet, blurred: torch.Tensor, *rest: Any) -> torch.Tensor:
            self.tried.append(max(blurred.shape))
            if self.tried[-1] > self.side:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return self._forward(network, blurred, *rest)

        monkeypatch.setattr(UNet, "forward", forward)


def test_tiles_shrink_when_memory_runs_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, stack = random_model((200, 160), depth=2), noise((2, 200, 160))
    expected = deblur(stack, model)
    memory = SmallMemory(60)
    memory.install(monkeypatch)
    predictor = Predictor(model, DeblurConfig())
    restored = deblur_stack(predictor, stack)
    np.testing.assert_allclose(restored, expected, atol=1e-4 * np.ptp(expected))
    failed = [side for side in memory.tried if side > 60]
    assert len(failed) == 2, "each size is tried once, for all planes"
    assert predictor.tile_size <= 60


def test_too_little_memory_for_the_smallest_tile_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    SmallMemory(0).install(monkeypatch)
    with pytest.raises(DeviceMemoryError, match="no smaller tile"):
        deblur(noise((400, 300)), random_model((400, 300)))


def test_a_configured_tile_is_not_shrunk_but_a_smaller_one_suggested(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = SmallMemory(90)
    memory.install(monkeypatch)
    with pytest.raises(DeviceMemoryError, match="tile of 60"):
        deblur(noise((400, 120)), random_model((400, 120)), runtime=DeblurRuntime(tile=120))
    assert memory.tried == [120]


def test_too_little_memory_for_resampling_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("napari_coordgate.inference.alignment.free_host_memory", lambda: 100_000)
    with (
        pytest.warns(FrameMismatchWarning),
        pytest.raises(DeviceMemoryError, match=r"48x60 to 96x120 .*resample it"),
    ):
        deblur(noise((48, 60)), identity_model((96, 120)), config=DeblurConfig(whole_frame=True))
