"""Planes that are larger than the memory, and threads that share a predictor."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr

from napari_coordgate import normalization
from napari_coordgate.config import DeblurConfig, DeblurRuntime
from napari_coordgate.geometry import Window
from napari_coordgate.inference import Predictor, deblur, deblur_planes, predictor as predicting
from napari_coordgate.io import Image
from napari_coordgate.networks import UNet
from tests.inference.making import Pixels, deblur_stack, noise, random_model


class WindowsOnly:
    """Target or source that serves no more than a window at a time."""

    def __init__(self, pixels: Pixels, most: int) -> None:
        self.pixels = pixels
        self.most = most
        self.shape, self.dtype, self.ndim = pixels.shape, pixels.dtype, pixels.ndim
        self.written: list[tuple[int | slice, ...]] = []

    def __getitem__(self, index: tuple[int | slice, ...]) -> Pixels:
        part: Pixels = self.pixels[index]
        assert part.size <= self.most, "too much is loaded at once"
        return part.copy()

    def __setitem__(self, index: tuple[int | slice, ...], part: Pixels) -> None:
        assert part.size <= self.most, "too much is written at once"
        self.pixels[index] = part
        self.written.append(index)


@pytest.mark.parametrize("axes", ["ZYX", "YZX", "YXZ"])
def test_a_large_plane_is_read_and_written_by_windows(
    monkeypatch: pytest.MonkeyPatch, axes: str
) -> None:
    for module in (normalization, predicting):
        monkeypatch.setattr(module, "STRIP_BYTES", 4 * 16 * 300)
    order = tuple("ZYX".index(letter) for letter in axes)
    model, stack = random_model((200, 300), depth=2), noise((2, 200, 300))
    expected = deblur(stack, model, runtime=DeblurRuntime(tile=1000)).transpose(order)
    source = WindowsOnly(stack.transpose(order), 64 * 300)
    target = WindowsOnly(np.zeros(source.shape, np.float32), 64 * 64)
    predictor = Predictor(model, DeblurConfig(), DeblurRuntime(tile=64))
    list(deblur_planes(predictor, Image(source, axes), target, Window.whole((200, 300))))
    np.testing.assert_allclose(target.pixels, expected, atol=1e-4 * np.ptp(expected))
    step = predictor.tile_shape((200, 300))
    starts = {
        (part.start % side, part.stop - part.start)
        for index in target.written
        for part, side in zip((p for p in index if isinstance(p, slice)), step, strict=True)
    }
    assert {start for start, _ in starts} == {0}
    assert max(length for _, length in starts) == max(step)


def test_the_result_can_be_written_to_a_zarr_array_by_its_chunks(tmp_path: Path) -> None:
    model, stack = random_model((90, 130), depth=2), noise((2, 90, 130), np.uint16)
    predictor = Predictor(model, DeblurConfig(), DeblurRuntime(tile=64))
    source, target = (
        zarr.create_array(tmp_path / name, shape=stack.shape, chunks=(1, *chunk), dtype=dtype)
        for name, chunk, dtype in (
            ("in", (32, 32), "u2"),
            ("out", predictor.tile_shape((90, 130)), "f4"),
        )
    )
    source[...] = stack
    list(deblur_planes(predictor, Image(source, "ZYX"), target, Window.whole((90, 130))))
    np.testing.assert_allclose(np.asarray(target[...]), deblur(stack, model), atol=1e-2)


class Counting:
    """Forward passes of a network, and the most that ran beside each other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.running, self.most, self._count = 0, 0, threading.Lock()
        forward = UNet.forward

        def counted(network: UNet, *inputs: Any) -> torch.Tensor:
            self._change(1)
            time.sleep(0.001)
            result = forward(network, *inputs)
            self._change(-1)
            return result

        monkeypatch.setattr(UNet, "forward", counted)

    def _change(self, number: int) -> None:
        with self._count:
            self.running += number
            self.most = max(self.most, self.running)


def test_threads_share_a_predictor_and_compute_one_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = random_model((90, 90), depth=2)
    stacks = [noise((6, 90, 90), seed=seed) for seed in range(4)]
    runtime = DeblurRuntime(tile=64)
    expected = [deblur(stack, model, runtime=runtime) for stack in stacks]
    counting = Counting(monkeypatch)
    predictor = Predictor(model, DeblurConfig(), runtime)

    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(partial(deblur_stack, predictor), stacks))
    np.testing.assert_array_equal(results, expected)
    assert counting.most == 1
