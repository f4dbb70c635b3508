"""Laws of finding the planes of images."""

import gc
import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from napari_coordgate.config import Scaling
from napari_coordgate.data import find_planes, planes as planes_module
from napari_coordgate.errors import ImageError
from napari_coordgate.io import Image, write_image
from napari_coordgate.normalization import Normalizer

STACK = np.arange(2 * 3 * 5 * 4, dtype=np.uint16).reshape(2, 3, 5, 4)


class LazyArray:
    """Array that is loaded when it is indexed, as those of dask and zarr; it counts."""

    def __init__(self, pixels: NDArray[Any]) -> None:
        self._pixels = pixels
        self.shape, self.dtype, self.ndim = pixels.shape, pixels.dtype, pixels.ndim
        self.loaded: list[tuple[int, ...]] = []

    def __getitem__(self, index: tuple[int | slice, ...]) -> NDArray[Any]:
        self.loaded.append(self._pixels[index].shape)
        return self._pixels[index].copy()


def test_a_stack_in_memory_is_its_planes_without_a_copy() -> None:
    found = find_planes(STACK)
    assert [plane.name for plane in found][:2] == ["image 0, plane 0", "image 0, plane 1"]
    assert np.array_equal([plane.read() for plane in found], STACK.reshape(6, 5, 4))
    assert all(np.shares_memory(plane.read(), STACK) for plane in found)


def test_images_of_several_shapes_stand_in_one_sequence(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif", Image(STACK, "TCYX"))
    for images in (
        [STACK, STACK[0, 0], tmp_path / "a.tif"],
        (STACK[0, 0], str(tmp_path / "a.tif")),
    ):
        planes = [plane.read() for plane in find_planes(images)]
        assert np.array_equal(planes[-6:], STACK.reshape(6, 5, 4))


def test_the_images_of_a_folder_are_sorted_by_name(tmp_path: Path) -> None:
    for number in (2, 0, 1):
        write_image(tmp_path / f"{number}.tif", Image(STACK[0, number], "YX"))
    (tmp_path / "notes.txt").write_text("not an image")
    found = find_planes(tmp_path)
    assert np.array_equal([plane.read() for plane in found], STACK[0])
    assert [plane.name for plane in found] == [str(tmp_path / f"{n}.tif") for n in range(3)]


def test_a_plane_of_a_file_is_named_by_its_index(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif", Image(STACK, "TCYX"))
    last = find_planes(tmp_path / "a.tif")[-1]
    assert last.name == f"{tmp_path / 'a.tif'}, plane [1, 2]"
    assert np.array_equal(last.read(), STACK[1, 2])


def test_every_image_of_a_file_has_planes(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as writer:
        for stack in STACK:
            writer.write(stack, photometric="minisblack", metadata={"axes": "ZYX"})
    found = find_planes(tmp_path / "a.ome.tif")
    assert np.array_equal([plane.read() for plane in found], STACK.reshape(6, 5, 4))
    assert len({plane.name for plane in found}) == 6


def test_color_samples_are_planes(tmp_path: Path) -> None:
    color = STACK[0].transpose(1, 2, 0).astype(np.uint8)
    write_image(tmp_path / "a.png", Image(color, "YXS"))
    assert np.array_equal([p.read() for p in find_planes(tmp_path / "a.png")], STACK[0])


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_planes_of_files_are_kept_by_their_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(planes_module, "MAX_CACHED_BYTES", 5 * 20)
    for number in range(8):
        write_image(tmp_path / f"{number}.{kind}", Image(STACK[0, 0].astype(np.uint8), "YX"))
    planes = find_planes(tmp_path)
    first = [plane.read() for plane in planes]
    latest = zip(planes[:1:-1], first[:1:-1], strict=True)
    kept = [np.shares_memory(plane.read(), pixels) for plane, pixels in latest]
    assert kept == [True] * 5 + [False]


def test_a_plane_of_a_stack_is_loaded_alone(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif", Image(STACK, "TCYX"))
    pixels = find_planes(tmp_path / "a.tif")[4].read()
    assert np.array_equal(pixels, STACK[1, 1])
    assert pixels.base is None


def test_a_file_that_is_not_an_image_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"Image 1 has shape \(5,\)"):
        find_planes((STACK, np.zeros(5)))
    with pytest.raises(ImageError, match="No image was given"):
        find_planes([])
    with pytest.raises(ImageError, match="has no images"):
        find_planes(tmp_path)
    (tmp_path / "false.tif").write_text("no TIFF")
    with pytest.raises(ImageError, match=r"false\.tif"):
        find_planes(tmp_path)
    with pytest.raises(ImageError, match=r"absent\.tif"):
        find_planes(tmp_path / "absent.tif")


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    for plane in STACK[0].astype(np.uint8):
        write_image(path, Image(plane, "YX"), overwrite=True)
        (found,) = find_planes(path)
        assert np.array_equal(found.read(), plane)


def test_a_deleted_file_is_an_error(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif", Image(STACK, "TCYX"))
    plane = find_planes(tmp_path / "a.tif")[0]
    (tmp_path / "a.tif").unlink()
    with pytest.raises(ImageError, match=r"a\.tif does not exist"):
        plane.read()


def test_a_lazy_stack_is_loaded_plane_by_plane_and_only_when_read() -> None:
    lazy = LazyArray(STACK)
    found = find_planes([lazy, STACK[0, 0]])
    assert len(found) == 7
    assert [plane.name for plane in find_planes(lazy)] == [plane.name for plane in found[:6]]
    assert lazy.loaded == []
    assert np.array_equal([plane.read() for plane in found[:6]], STACK.reshape(6, 5, 4))
    assert lazy.loaded == 6 * [(5, 4)]


def test_a_lazy_plane_is_kept_for_the_next_time() -> None:
    lazy = LazyArray(STACK)
    plane, other = find_planes(lazy)[:2]
    assert plane.read() is plane.read()
    other.read()
    plane.read()
    assert len(lazy.loaded) == 2


def test_lazy_planes_are_kept_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planes_module, "MAX_CACHED_BYTES", 2 * STACK[0, 0].nbytes)
    lazy = LazyArray(STACK)
    first, second, third = find_planes(lazy)[:3]
    for plane in (first, second, third, third, second):
        plane.read()
    assert len(lazy.loaded) == 3
    first.read()
    assert len(lazy.loaded) == 4


def test_pixels_go_when_their_plane_goes() -> None:
    found = find_planes(LazyArray(STACK))
    pixels = weakref.ref(found[0].read())
    assert pixels() is not None
    del found
    gc.collect()
    assert pixels() is None


def test_a_plane_knows_its_shape(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif", Image(STACK.transpose(0, 2, 1, 3), "TYZX"))
    for images in (STACK, LazyArray(STACK), tmp_path / "a.tif"):
        assert {plane.shape for plane in find_planes(images)} == {(5, 4)}


def test_the_intensity_range_of_an_unchanged_file_is_computed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, scaling = tmp_path / "a.tif", Scaling()
    write_image(path, Image(STACK[0, 0], "YX"))
    (plane,), (again,) = find_planes(path), find_planes(path)
    first = plane.normalizer(scaling)
    monkeypatch.setattr(planes_module, "fit_normalizer", lambda *_: Normalizer(0, 1))
    assert again.normalizer(scaling) == first
    assert plane.normalizer(Scaling(low_percentile=30)) == Normalizer(0, 1)
    os.utime(path, ns=(1, 1))
    assert again.normalizer(scaling) == Normalizer(0, 1)
