"""Laws of the two files of a run."""

from pathlib import Path

import pytest

from napari_coordgate.errors import OutputError
from napari_coordgate.files import last_checkpoint_path
from napari_coordgate.training.files import RunFiles


def test_a_claim_leaves_nothing_behind(tmp_path: Path) -> None:
    RunFiles(tmp_path / "new" / "model.safetensors").claim(overwrite=False)
    RunFiles(None).claim(overwrite=False)
    assert list(tmp_path.iterdir()) == []


def test_a_claim_finds_that_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="not a file"):
        RunFiles(tmp_path / "file" / "model.safetensors").claim(overwrite=False)
    output = tmp_path / "model.safetensors"
    last_checkpoint_path(output).mkdir()
    with pytest.raises(OutputError, match=r"model\.last\.safetensors: it is a folder"):
        RunFiles(output).claim(overwrite=True)
