"""Files that match a pattern, and unique names of results."""

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from napari_coordgate.batch.sources import (
    REPORT_NAME,
    find_sources,
    size_and_mtime,
    target_names,
)
from napari_coordgate.config import OutputFormat
from napari_coordgate.errors import ImageError

NAMES = st.lists(
    st.from_regex(r"([abAB]/)?[abA](\.[o]me)?\.(tif|tiff|png|TIF|npy|ome\.zarr)", fullmatch=True),
    unique=True,
    max_size=12,
)


@given(NAMES, st.sampled_from(["ome-tiff", "ome-zarr"]), st.data())
def test_no_two_results_share_a_name_and_old_ones_keep_theirs(
    names: list[str], file_format: OutputFormat, data: st.DataObject
) -> None:
    before = data.draw(st.lists(st.sampled_from(names), unique=True)) if names else []
    kept = target_names(before, file_format, {})
    targets = target_names(names, file_format, kept)
    assert set(targets) == set(names)
    assert len({target.lower() for target in targets.values()}) == len(names)
    assert {name: targets[name] for name in kept} == kept
    for name, target in targets.items():
        assert Path(target).parent == Path(name).parent
        assert target.endswith({"ome-tiff": ".ome.tif", "ome-zarr": ".ome.zarr"}[file_format])


def test_names_are_short_unless_another_result_has_the_name() -> None:
    names = ["a.ome.tif", "b.tif", "b.png", "c.v2.czi", "well.1/d.ome.zarr"]
    assert target_names(names, "ome-tiff", {}) == {
        "a.ome.tif": "a.ome.tif",
        "b.tif": "b.ome.tif",
        "b.png": "b.png.ome.tif",
        "c.v2.czi": "c.v2.ome.tif",
        "well.1/d.ome.zarr": "well.1/d.ome.tif",
    }


@given(NAMES, st.data())
def test_no_two_results_share_a_name_with_any_report(names: list[str], data: st.DataObject) -> None:
    reported = st.sampled_from(["a.ome.tif", "A.ome.tif", "a/a.ome.tif", "b.ome.zarr"])
    kept = data.draw(st.dictionaries(st.sampled_from([*names, "gone.tif"]), reported))
    targets = target_names(names, "ome-tiff", kept)
    taken = {target.lower() for name, target in kept.items() if name not in names}
    results = [target.lower() for target in targets.values()]
    assert len(set(results)) == len(names)
    assert not taken & set(results)


def found(folder: Path, pattern: str = "*") -> list[str]:
    return [source.name for source in find_sources(folder, pattern, folder / "results")]


def test_hidden_files_and_results_are_not_found(tmp_path: Path) -> None:
    for name in ("b.TIF", "a.tif", "notes.txt", ".hidden.tif", "x/.y/e.tif", "x/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1234")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "a.ome.tif").touch()
    (tmp_path / "x" / "d.ome.zarr" / "c").mkdir(parents=True)
    (tmp_path / "x" / "d.ome.zarr" / "c" / "0.tif").write_bytes(b"12345678")
    assert found(tmp_path) == ["a.tif", "b.TIF", "notes.txt", "x/c.png", "x/d.ome.zarr"]
    assert found(tmp_path, "*.tif") == ["a.tif", "b.TIF"]
    assert found(tmp_path, "*.png, *.zarr") == ["x/c.png", "x/d.ome.zarr"]
    assert found(tmp_path, "x/*.png,B*") == ["b.TIF", "x/c.png"]
    sources = {source.name: source for source in find_sources(tmp_path, "*", tmp_path / "results")}
    assert not sources["notes.txt"].is_image
    assert sources["a.tif"].is_image
    assert sources["x/d.ome.zarr"].size == 8
    with pytest.raises(ImageError, match="pattern"):
        found(tmp_path, "*.czi")
    with pytest.raises(ImageError, match="folder"):
        found(tmp_path / "missing")


def test_files_that_cannot_be_read_are_found_with_a_problem(tmp_path: Path) -> None:
    (tmp_path / "gone.tif").symlink_to(tmp_path / "nowhere.tif")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xb5.tif")).touch()
    sources = {source.name: source for source in find_sources(tmp_path, "*", tmp_path / "results")}
    assert "cannot be read" in sources["gone.tif"].problem
    assert "link to a folder" in sources["link"].problem
    assert "UTF-8" in sources["?.tif"].problem


def test_names_that_a_disk_may_take_for_one_are_different_results() -> None:
    composed, decomposed = (unicodedata.normalize(form, "é.tif") for form in ("NFC", "NFD"))
    targets = target_names([composed, decomposed, "É.tif", "É.TIF"], "ome-tiff", {}).values()
    assert len({unicodedata.normalize("NFC", target).lower() for target in targets}) == 4


def test_a_folder_that_is_too_deep_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_coordgate.batch.sources.MAX_DEPTH", 2)
    for name in ("a.tif", "1/2/b.tif", "1/2/3/c.tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    sources = {source.name: source for source in find_sources(tmp_path, "*", tmp_path / "out")}
    assert sources.keys() == {"a.tif", "1/2/b.tif", "1/2/3"}
    assert "nested too deeply" in sources["1/2/3"].problem


def test_results_of_another_batch_are_not_found(tmp_path: Path) -> None:
    for name in ("a.tif", "earlier/a.ome.tif", f"earlier/{REPORT_NAME}"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert found(tmp_path) == ["a.tif"]


def test_files_of_file_managers_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / ".zattrs").write_text("{}")
    before = size_and_mtime(tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / ".DS_Store").write_text("icons")
    assert size_and_mtime(tmp_path / "a.zarr") == before


def test_a_change_in_an_image_that_is_a_folder_is_detected(tmp_path: Path) -> None:
    piece = tmp_path / "a.zarr" / "c" / "0"
    piece.parent.mkdir(parents=True)
    piece.write_bytes(np.zeros(8).tobytes())
    before = size_and_mtime(tmp_path / "a.zarr")
    piece.write_bytes(np.ones(8).tobytes())
    assert size_and_mtime(tmp_path / "a.zarr") != before
    assert size_and_mtime(tmp_path / "missing") == (0, 0)


def test_a_folder_that_may_not_be_entered_costs_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lost+found").mkdir()
    np.save(tmp_path / "a.npy", np.zeros((4, 4)))

    def forbidden(path: Path) -> bool:  # root may enter any folder
        if path.name == "lost+found":
            raise PermissionError(13, "Permission denied", str(path))
        return False

    monkeypatch.setattr("napari_coordgate.batch.sources.is_zarr", forbidden)
    (source,) = find_sources(tmp_path, "*", tmp_path / "out")
    assert source.name == "a.npy"
