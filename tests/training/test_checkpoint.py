"""Laws of checkpoints, and of the files of a training."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from napari_coordgate.config import CGUNetConfig, TrainingConfig
from napari_coordgate.errors import ModelError, OutputError
from napari_coordgate.io.files import atomic_write, hidden_name, last_checkpoint_path
from napari_coordgate.model import Model, is_checkpoint
from napari_coordgate.networks import build_network
from napari_coordgate.training.checkpoint import Checkpoint, TrainingFiles

CONFIG = TrainingConfig(network=CGUNetConfig(base_channels=4, depth=2))


def test_a_claim_leaves_nothing_behind(tmp_path: Path) -> None:
    for output in (tmp_path / "new" / "deep" / "model.safetensors", tmp_path / "m.safetensors"):
        with closing(TrainingFiles(output)) as files:
            files.claim(overwrite=False)
    TrainingFiles(None).claim(overwrite=False)
    assert list(tmp_path.iterdir()) == []


def test_a_run_has_its_files_to_itself_until_it_closes_them(tmp_path: Path) -> None:
    output = tmp_path / ("long" * 57 + ".safetensors")
    with closing(TrainingFiles(output)) as first, closing(TrainingFiles(output)) as second:
        first.claim(overwrite=False)
        with pytest.raises(OutputError, match="Another training is writing"):
            second.claim(overwrite=True)
        with pytest.raises(OutputError, match="Another training is writing"):
            second.lock()
        nested = TrainingFiles(last_checkpoint_path(output))
        with closing(nested), pytest.raises(OutputError, match="Another training is writing"):
            nested.claim(overwrite=True)
        with closing(TrainingFiles(tmp_path / "other.safetensors")) as other:
            other.claim(overwrite=False)
        first.close()
        second.claim(overwrite=False)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_had_begun_to_write_is_cleared_away(tmp_path: Path) -> None:
    output = tmp_path / "model.safetensors"
    names = ("model.safetensors", "model.last.safetensors", "other.safetensors")
    with atomic_write(tmp_path / "living.safetensors") as living:
        strays = [tmp_path / hidden_name("01234567", name, 2**31 - 1) for name in names]
        for stray in strays:
            stray.touch()
        with closing(TrainingFiles(output)) as files:
            files.lock()
            assert not any(stray.exists() for stray in strays)
            assert living.exists()


def test_a_claim_finds_that_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="not a file"):
        TrainingFiles(tmp_path / "file" / "model.safetensors").claim(overwrite=False)
    output = tmp_path / "model.safetensors"
    last_checkpoint_path(output).mkdir()
    with pytest.raises(OutputError, match=r"model\.last\.safetensors: it is a folder"):
        TrainingFiles(output).claim(overwrite=True)


def test_a_checkpoint_is_loaded_as_it_was_saved_and_also_as_a_model(tmp_path: Path) -> None:
    network = build_network(CONFIG.network)
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.rand(1, 1, 8, 8), torch.rand(1, 2, 8, 8)).sum().backward()
    optimizer.step()
    model = Model(CONFIG, build_network(CONFIG.network).state_dict(), (24, 20), step=3)
    progress = {"images": 3, "learning_rate": 0.1, "plateau": None}
    saved, path = Checkpoint.capture(model, network, optimizer, progress), tmp_path / "m.last"
    saved.save(path)
    loaded = Checkpoint.load(path)
    assert loaded.progress == progress
    assert loaded.tensors.keys() == saved.tensors.keys()
    assert all(torch.equal(loaded.tensors[name], saved.tensors[name]) for name in saved.tensors)
    other = build_network(CONFIG.network)
    loaded.restore(other, torch.optim.Adam(other.parameters()))
    assert all(
        torch.equal(a, b) for a, b in zip(other.parameters(), network.parameters(), strict=True)
    )
    assert Model.load(path).header() == model.header()
    assert is_checkpoint(path)


Tamper = Callable[[dict[str, torch.Tensor]], object]
TAMPERS: dict[str, Tamper] = {
    "a tensor less": lambda tensors: tensors.popitem(),
    "no tensors": lambda tensors: tensors.clear(),
    "another type": lambda tensors: tensors.update({k: v.int() for k, v in tensors.items()}),
    "another shape": lambda tensors: tensors.update({k: v[None] for k, v in tensors.items()}),
}


@pytest.mark.parametrize("tamper", TAMPERS)
def test_a_checkpoint_with_other_tensors_is_refused(tmp_path: Path, tamper: str) -> None:
    network, path = build_network(CONFIG.network), tmp_path / "m.last"
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.rand(1, 1, 8, 8), torch.rand(1, 2, 8, 8)).sum().backward()
    optimizer.step()
    model = Model(CONFIG, build_network(CONFIG.network).state_dict(), (24, 20))
    progress = {"images": 3, "learning_rate": 0.1, "plateau": None}
    checkpoint = Checkpoint.capture(model, network, optimizer, progress)
    tensors = dict(checkpoint.tensors)
    TAMPERS[tamper](tensors)
    replace(checkpoint, tensors=tensors).save(path)
    with pytest.raises((ModelError, RuntimeError, ValueError)):  # the trainer names the file
        Checkpoint.load(path).restore(network, optimizer)


def test_a_checkpoint_with_a_damaged_header_is_refused(tmp_path: Path) -> None:
    network = build_network(CONFIG.network)
    model = Model(CONFIG, build_network(CONFIG.network).state_dict(), (24, 20))
    for progress in ({}, {"images": 3}):
        optimizer = torch.optim.Adam(network.parameters())
        Checkpoint.capture(model, network, optimizer, progress).save(tmp_path / "m.last")
        with pytest.raises(ModelError, match="damaged header"):
            Checkpoint.load(tmp_path / "m.last")
    model.save(tmp_path / "m.safetensors")
    with pytest.raises(ModelError, match="contains a finished model"):
        Checkpoint.load(tmp_path / "m.safetensors")
