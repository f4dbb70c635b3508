"""Fig. 3: the matrix of Eq. 5, the bound on the PSNR, training, and resumed runs."""

import multiprocessing
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_coordgate.errors import CanceledError, OutputError
from napari_coordgate.events import Event, Progress, run
from paper.line import NETWORKS, psnr_bound, run_events
from paper.training_1d import (
    LENGTH,
    Network1D,
    Protocol,
    Row,
    convolution_matrix,
    make_samples,
    offset_and_width,
    train_all,
    train_and_measure,
)

TINY = Protocol(training=64, validation=16, test=16, validate_every=2, patience=2, max_steps=4)
CHOSEN = [network for network in NETWORKS if network.name in ("CNN(1,7,1)", "CG(1,7,3,2)")]


def test_the_width_is_continuous_at_the_middle_and_two_at_the_end() -> None:
    offset, width = offset_and_width(np.array([0.0, 14.999, 15.0, 30.0]))
    np.testing.assert_allclose(width, [0.5, 0.5, 0.5, 2.0], atol=1e-3)
    np.testing.assert_allclose(offset, [1.0, 0.0, 0.0, 0.0], atol=1e-3)


def test_rows_of_the_matrix_are_gaussians_of_their_pixel() -> None:
    matrix = convolution_matrix()
    assert matrix.shape == (LENGTH, LENGTH)
    assert matrix[0, 0] == pytest.approx(np.exp(-1 / (2 * 0.5**2)))
    np.testing.assert_array_equal(matrix[16:].argmax(1), np.arange(16, LENGTH))
    widths = matrix[16:26].sum(1) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(widths, offset_and_width(np.arange(16.0, 26))[1], rtol=0.12)


def test_the_psnr_bound_rises_with_channels_and_with_the_kernel_size() -> None:
    bounds = [psnr_bound(7, channels) for channels in (1, 2, 3, 7)]
    assert all(np.diff(bounds) > 0)
    assert psnr_bound(15, 15) > bounds[-1]


def test_samples_are_reproducible_and_within_their_range() -> None:
    first, second = (make_samples(8, 4, 4, low=-1.0) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert bool((one == other).all())
        assert float(one.min()) >= -1
        assert float(one.max()) <= 1


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_every_network_can_be_trained_and_measured(network: Network1D) -> None:
    (row,) = train_and_measure(network, [0], TINY)
    assert np.shape(row["figures"]["matrix"]) == (LENGTH, LENGTH)
    assert np.isfinite(row["figures"]["psnr"])


def test_seeds_trained_together_equal_seeds_trained_alone() -> None:
    together = train_and_measure(CHOSEN[1], [0, 1], TINY)
    alone = [train_and_measure(CHOSEN[1], [seed], TINY)[0] for seed in (0, 1)]
    for one, other in zip(together, alone, strict=True):
        assert one["figures"]["psnr"] == pytest.approx(other["figures"]["psnr"], abs=1e-4)


def test_networks_are_trained_in_processes_of_their_own() -> None:
    ((network, rows),) = train_all({CHOSEN[0]: [0, 1]}, TINY)
    assert network == CHOSEN[0]
    assert [row["seed"] for row in rows] == [0, 1]


def test_a_canceled_run_raises_and_keeps_nothing_running() -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CanceledError):
        list(train_all({CHOSEN[0]: [0]}, Protocol(), cancel))
    assert not multiprocessing.active_children()


def test_a_second_run_trains_only_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_this_process(
        missing: Mapping[Network1D, Sequence[int]], protocol: Protocol, cancel: object
    ) -> Iterator[tuple[Network1D, list[Row]]]:
        for network, seeds in missing.items():
            yield network, train_and_measure(network, seeds, protocol)

    monkeypatch.setattr("paper.line.train_all", in_this_process)

    def events(seeds: int, protocol: Protocol = TINY) -> Generator[Event, None, dict[str, Any]]:
        return run_events(tmp_path, seeds=seeds, networks=CHOSEN, protocol=protocol)

    first = run(events(1))
    assert [network["name"] for network in first["networks"]] == [n.name for n in CHOSEN]
    assert all((tmp_path / f"line.{suffix}").stat().st_size > 1000 for suffix in ("json", "png"))
    assert not [event for event in events(1) if isinstance(event, Progress)]
    more = run(events(2))
    assert [len(network["psnr"]) for network in more["networks"]] == [2, 2]
    with pytest.raises(OutputError, match="other settings"):
        run(events(1, Protocol()))
