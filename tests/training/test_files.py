"""Laws of the two files of a run."""

from contextlib import closing
from pathlib import Path

import pytest

from napari_coordgate.errors import OutputError
from napari_coordgate.io.files import last_checkpoint_path
from napari_coordgate.training.files import RunFiles


def test_a_claim_leaves_nothing_behind(tmp_path: Path) -> None:
    for output in (tmp_path / "new" / "deep" / "model.safetensors", tmp_path / "m.safetensors"):
        with closing(RunFiles(output)) as files:
            files.claim(overwrite=False)
    RunFiles(None).claim(overwrite=False)
    assert list(tmp_path.iterdir()) == []


def test_a_run_has_its_files_to_itself_until_it_closes_them(tmp_path: Path) -> None:
    output = tmp_path / ("long" * 57 + ".safetensors")
    with closing(RunFiles(output)) as first, closing(RunFiles(output)) as second:
        first.claim(overwrite=False)
        with pytest.raises(OutputError, match="Another training writes"):
            second.claim(overwrite=True)
        with pytest.raises(OutputError, match="Another training writes"):
            second.lock()
        with closing(RunFiles(tmp_path / "other.safetensors")) as other:
            other.claim(overwrite=False)
        first.close()
        second.claim(overwrite=False)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_had_begun_to_write_is_cleared_away(tmp_path: Path) -> None:
    output = tmp_path / "model.safetensors"
    names = ("model.safetensors", "model.last.safetensors", "other.safetensors")
    strays = [tmp_path / f".napari-coordgate-01234567-{name}" for name in names]
    for stray in strays:
        stray.touch()
    with closing(RunFiles(output)) as files:
        files.lock()
        assert [stray.exists() for stray in strays] == [False, False, True]


def test_a_claim_finds_that_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="not a file"):
        RunFiles(tmp_path / "file" / "model.safetensors").claim(overwrite=False)
    output = tmp_path / "model.safetensors"
    last_checkpoint_path(output).mkdir()
    with pytest.raises(OutputError, match=r"model\.last\.safetensors: it is a folder"):
        RunFiles(output).claim(overwrite=True)
