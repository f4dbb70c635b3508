"""Laws of pairing measured images by the names of their files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from napari_coordgate.data.pairing import describe_pairs, find_pairs
from napari_coordgate.errors import FrameMismatchError


def folder_of(path: Path, names: Sequence[str], values: Sequence[int]) -> Path:
    path.mkdir()
    for name, value in zip(names, values, strict=True):
        np.save(path / f"{name}.npy", np.full((3, 4), value, np.uint8))
    return path


@pytest.mark.parametrize(
    ("sharp", "blurred"),
    [
        (["b", "a", "c"], ["B", "A", "C"]),
        (["img_1", "img_2", "img_10"], ["img_01_soft", "img_02_soft", "img_10_soft"]),
        (["GT_7_60x", "GT_8_60x", "GT_9_60x"], ["007", "008", "009"]),
        (["cellA sharp", "cellB sharp", "dish sharp"], ["soft cellA", "soft cellB", "soft dish"]),
        (["p1_w1", "p1_w2", "p2_w1"], ["blur-p01-w01", "blur-p01-w02", "blur-p02-w01"]),
    ],
)
def test_files_are_paired_by_stem_or_number(
    tmp_path: Path, sharp: list[str], blurred: list[str]
) -> None:
    folders = (
        folder_of(tmp_path / "s", sharp, range(3)),
        folder_of(tmp_path / "b", blurred, range(3)),
    )
    pairs, passed_over = find_pairs(*folders)
    assert passed_over == []
    assert len(pairs) == 3
    assert all(one.read()[0, 0] == other.read()[0, 0] for one, other in pairs)
    is_same = [name.lower() for name in sharp] == [name.lower() for name in blurred]
    assert (describe_pairs(pairs) == "") == is_same


@pytest.mark.parametrize(
    ("sharp", "blurred", "alone"),
    [
        (["img_0", "img_1"], ["img_1", "img_2"], r"img_0\.npy, .*img_2\.npy have no partner"),
        (["a1", "b2"], ["b1", "a2"], "no partner"),
        (["1", "2"], ["1"], r"2\.npy has no partner"),
        (["x1", "x01"], ["y1", "y2"], "cannot be matched"),
    ],
)
def test_files_that_cannot_be_paired_are_refused(
    tmp_path: Path, sharp: list[str], blurred: list[str], alone: str
) -> None:
    folders = [
        folder_of(tmp_path / name, names, [1] * len(names))
        for name, names in (("s", sharp), ("b", blurred))
    ]
    with pytest.raises(FrameMismatchError, match=alone):
        find_pairs(*folders)


def test_lists_keep_their_order_where_names_cannot_tell(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "all", ["q", "r", "s", "t"], [0, 1, 0, 1])
    q, r, s, t = sorted(folder.iterdir())
    pairs, _ = find_pairs([q, r], [s, t])
    assert [[p.read()[0, 0] for p in pair] for pair in pairs] == [[0, 0], [1, 1]]
    with pytest.raises(FrameMismatchError, match="cannot be matched with arrays"):
        find_pairs(folder, np.zeros((4, 3, 4)))


def test_a_pair_that_cannot_be_read_costs_no_other(tmp_path: Path) -> None:
    folders = [folder_of(tmp_path / name, ["1", "2", "3"], [1, 2, 3]) for name in "sb"]
    (folders[0] / "1.npy").write_bytes(b"no image")
    np.save(folders[1] / "2.npy", np.zeros((5, 5)))
    pairs, passed_over = find_pairs(*folders)
    assert [Path(plane.name).stem for plane in pairs[0]] == ["3", "3"]
    assert ["1.npy" in passed_over[0], "2.npy" in passed_over[1]] == [True, True]
