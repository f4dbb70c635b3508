"""Tests of choosing a device and detecting that its memory is exhausted."""

from typing import Any

import pytest
import torch
from torch import nn

from napari_coordgate.config import Device, RuntimeConfig
from napari_coordgate.devices import (
    bfloat16_is_faster,
    free_device_memory,
    is_out_of_memory,
    resolve_device,
    to_device,
)
from napari_coordgate.errors import SettingsError


def mock_devices(monkeypatch: pytest.MonkeyPatch, *, cuda: bool, mps: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "best"), [(True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_auto_is_the_best_available_device(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, best: str
) -> None:
    mock_devices(monkeypatch, cuda=cuda, mps=mps)
    assert resolve_device("auto").type == best
    assert resolve_device("cpu").type == "cpu"


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_an_unavailable_device_is_an_error(monkeypatch: pytest.MonkeyPatch, device: Device) -> None:
    mock_devices(monkeypatch, cuda=False, mps=False)
    with pytest.raises(SettingsError, match=f"'{device}' is not available.*'cpu'"):
        resolve_device(device)


@pytest.mark.parametrize("device", ["gpu", "cuda:0", 0, torch.device("cpu")])
def test_a_misspelled_device_is_an_error_that_lists_the_choices(device: Any) -> None:
    with pytest.raises(SettingsError, match=r"no device .*; choose one of 'auto', 'cpu', 'cuda'"):
        resolve_device(device)
    with pytest.raises(SettingsError, match="choose one of 'auto'"):
        RuntimeConfig().on(device)


def test_free_memory_is_in_bytes() -> None:
    assert 2**20 < free_device_memory(torch.device("cpu")) < 2**50


def test_memory_cached_by_pytorch_counts_as_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (100, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 50)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 20)
    assert free_device_memory(torch.device("cuda")) == 130


def test_free_memory_of_an_apple_gpu_is_below_the_recommended_maximum(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 100)
    monkeypatch.setattr(torch.mps, "current_allocated_memory", lambda: 30)
    assert free_device_memory(torch.device("mps")) == 70


@pytest.mark.parametrize("faster", [True, False])
def test_bfloat16_is_faster_on_devices_with_matrix_units(
    monkeypatch: pytest.MonkeyPatch, faster: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": faster}, raising=False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: faster)
    assert bfloat16_is_faster(torch.device("cpu")) is faster
    assert bfloat16_is_faster(torch.device("cuda")) is faster
    assert not bfloat16_is_faster(torch.device("mps"))


def test_bfloat16_is_not_faster_if_pytorch_does_not_report_matrix_units(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not bfloat16_is_faster(torch.device("cpu"))


def test_a_failed_allocation_is_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**58, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."), True),
        (MemoryError(), True),
        (RuntimeError("could not create a primitive"), True),
        (RuntimeError("could not create a primitive descriptor for a convolution"), False),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9.06 GB)"), True),
        (RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_only_memory_errors_are_out_of_memory(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_a_moved_network_computes_the_same() -> None:
    network = nn.Sequential(nn.Conv2d(3, 5, 3, padding="same"), nn.ReLU(), nn.Conv2d(5, 1, 1))
    image = torch.rand(2, 3, 9, 8)
    expected = network(image)
    assert to_device(network, torch.device("cpu")) is network
    torch.testing.assert_close(network(image), expected)
