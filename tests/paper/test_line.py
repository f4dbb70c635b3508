"""Laws of the experiment on the line: the matrix of Eq. 5, its bounds, and runs that go on."""

from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest

from napari_coordgate.events import Event, Progress, finish
from paper.line import run
from paper.line.models import MODELS
from paper.line.task import (
    LENGTH,
    convolution_matrix,
    make_samples,
    offset_and_width,
    reachable_psnr,
)
from paper.line.training import Protocol

TINY = Protocol(training=64, validation=16, test=16, check_every=2, patience=2, most_steps=4)
CHOSEN = [model for model in MODELS if model.name in ("CNN(1,7,1)", "CG(1,7,3,2)")]


def test_the_width_is_continuous_at_the_middle_and_two_at_the_end() -> None:
    offset, width = offset_and_width(np.array([0.0, 14.999, 15.0, 30.0]))
    np.testing.assert_allclose(width, [0.5, 0.5, 0.5, 2.0], atol=1e-3)
    np.testing.assert_allclose(offset, [1.0, 0.0, 0.0, 0.0], atol=1e-3)


def test_rows_of_the_matrix_are_gaussians_of_their_place() -> None:
    matrix = convolution_matrix()
    assert matrix.shape == (LENGTH, LENGTH)
    assert matrix[0, 0] == pytest.approx(np.exp(-1 / (2 * 0.5**2)))
    np.testing.assert_array_equal(matrix[16:].argmax(1), np.arange(16, LENGTH))
    widths = matrix[16:26].sum(1) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(widths, offset_and_width(np.arange(16.0, 26))[1], rtol=0.12)


def test_more_channels_reach_further_and_as_many_as_taps_reach_all_within_them() -> None:
    reachable = [reachable_psnr(7, channels) for channels in (1, 2, 3, 7)]
    assert all(np.diff(reachable) > 0)
    assert reachable_psnr(15, 15) > reachable[-1]


def test_samples_are_the_same_at_every_call_and_within_their_range() -> None:
    first, second = (make_samples(8, 4, 4, low=-1.0) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert bool((one == other).all())
        assert float(one.min()) >= -1
        assert float(one.max()) <= 1


def test_a_second_start_trains_only_what_is_missing(tmp_path: Path) -> None:
    def events(seeds: int) -> Generator[Event]:
        return run("small", seeds, tmp_path, models=CHOSEN, protocol=TINY)

    first = finish(events(1))
    assert {path.name for path in first.outputs} == {"line.json", "line.png"}
    assert [network["name"] for network in first.result["networks"]] == [m.name for m in CHOSEN]
    again = list(events(1))
    assert not [event for event in again if isinstance(event, Progress)]
    more = finish(events(2))
    assert [len(network["psnr"]) for network in more.result["networks"]] == [2, 2]
