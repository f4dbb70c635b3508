"""Tests of lazily loaded arrays."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as arrays

from napari_coordgate.errors import ImageError
from napari_coordgate.io.lazy import (
    AxisIndex,
    FileSnapshot,
    LazyArray,
    PlaneStackArray,
    RawFileArray,
    SubsetArray,
    as_index,
)

ARRAY = np.random.default_rng(0).integers(0, 60000, (2, 3, 1, 9, 700, 3)).astype(">u2")


class InMemoryStack(PlaneStackArray):
    """NumPy array that is indexed plane by plane along some of its axes."""

    def __init__(self, array: np.ndarray[Any, Any], stacked: set[int]) -> None:
        super().__init__(None, array.shape, array.dtype, stacked)
        self._array = array

    def _load_plane(self, indices: tuple[AxisIndex, ...]) -> np.ndarray[Any, Any]:
        assert all(isinstance(indices[axis], int) for axis in self._stack_axes)
        return self._array[tuple(map(as_index, indices))]


@st.composite
def forward_indices(draw: st.DrawFn) -> Any:
    """Index of integers and forward slices, with or without an ellipsis."""
    index = draw(arrays.basic_indices(ARRAY.shape, allow_newaxis=False))
    parts = index if isinstance(index, tuple) else (index,)
    forward = (
        slice(part.start, part.stop, part.step and abs(part.step))
        if isinstance(part, slice)
        else part
        for part in parts
    )
    return tuple(forward)


def raw_file_array(folder: str | Path, offset: int = 5) -> RawFileArray:
    path = Path(folder) / "pixels"
    path.write_bytes(bytes(offset) + ARRAY.tobytes())
    return RawFileArray(FileSnapshot(path), offset, ARRAY.shape, ARRAY.dtype)


@pytest.mark.parametrize("kind", ["block", "all stacked", "two stacked", "selected"])
def test_any_index_gives_what_numpy_gives(kind: str) -> None:
    with TemporaryDirectory() as folder:
        stored = raw_file_array(folder)
        lazy: dict[str, LazyArray] = {
            "block": stored,
            "all stacked": InMemoryStack(ARRAY[..., :5, :], set(range(6))),
            "two stacked": InMemoryStack(ARRAY, {0, 5}),
            "selected": SubsetArray(stored, {0: [1, 0], 5: range(3), 3: [*range(9)]}),
        }
        whole = {"all stacked": ARRAY[..., :5, :], "selected": ARRAY[::-1]}.get(kind, ARRAY)

        @settings(max_examples=60, deadline=None)
        @given(forward_indices())
        def equal(index: Any) -> None:
            try:
                expected = whole[index]
            except IndexError:
                with pytest.raises(IndexError):
                    lazy[kind][index]
                return
            np.testing.assert_array_equal(lazy[kind][index], expected)
            assert lazy[kind][index].dtype.newbyteorder("=") == np.uint16

        equal()
        np.testing.assert_array_equal(np.asarray(lazy[kind]), whole)
        assert (lazy[kind].shape, lazy[kind].ndim) == (whole.shape, whole.ndim)


def test_backward_and_out_of_range_indices_are_errors(tmp_path: Path) -> None:
    lazy = raw_file_array(tmp_path)
    for index in (slice(None, None, -1), 2, (0, 0, 1), (0,) * 7):
        with pytest.raises((IndexError, ValueError)):
            lazy[index]
    with pytest.raises(ValueError, match="must be loaded"):
        np.array(lazy, copy=False)


def test_a_raw_array_must_be_within_its_file(tmp_path: Path) -> None:
    raw_file_array(tmp_path)
    source = FileSnapshot(tmp_path / "pixels")
    with pytest.raises(ValueError, match="the file ends before the end of its pixels"):
        RawFileArray(source, 6, ARRAY.shape, ARRAY.dtype)
    with pytest.raises(ValueError, match="the file ends before the end of its pixels"):
        RawFileArray(source, 0, (1 << 40, 1 << 40), ARRAY.dtype)


def test_any_exception_of_a_reader_becomes_an_error_that_names_the_file(tmp_path: Path) -> None:
    class Broken(LazyArray):
        def _load(self, indices: tuple[AxisIndex, ...]) -> np.ndarray[Any, Any]:
            raise RuntimeError("bad blocks\nat 7")

    with pytest.raises(ImageError, match=r"^.*x\.tif cannot be read \(bad blocks\); it may be"):
        Broken(tmp_path / "x.tif", (4, 4), np.dtype("u1"))[1, 2]
