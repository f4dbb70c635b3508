"""Tests of reading: unnamed axes, bad files and files that change."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_coordgate.errors import ImageError
from napari_coordgate.io import Image, find_images, is_image, read_image, write_image
from tests.io.examples import numbers

STACK = np.random.default_rng(0).integers(0, 60000, (4, 20, 17), np.uint16)
FILES = ["stack.tif", "stack.ome.tif", "stack.npy", "deflated.tif", "stack.ome.zarr"]


def write_file(path: Path) -> Path:
    """Write a stack of noise, compressed if the name says so."""
    if path.name == "deflated.tif":
        tifffile.imwrite(path, STACK, compression="zlib", rowsperstrip=7, photometric="minisblack")
    else:
        write_image(path, Image(STACK, "ZYX"))
    return path


def assert_refused(path: Path, problem: str) -> None:
    with pytest.raises(ImageError, match=problem) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("shape", [(6, 7), (6, 7, 3), (6, 7, 4), (4, 6, 7)])
def test_unnamed_axes_are_a_plane_colors_or_a_stack(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "image.npy", np.zeros(shape))
    image = read_image(tmp_path / "image.npy")
    assert image.axes == {(6, 7): "YX", (4, 6, 7): "ZYX"}.get(shape, "YXS")
    assert image.frame_shape == (6, 7)


def test_more_unnamed_axes_must_be_stated(tmp_path: Path) -> None:
    pixels = numbers("TCYX")
    np.save(tmp_path / "image.npy", pixels)
    tifffile.imwrite(tmp_path / "image.tif", pixels, photometric="minisblack")
    for path in find_images(tmp_path):
        assert_refused(path, r"does not state its axes \(2 x 3 x 6 x 7\); state them")
        assert read_image(path, axes="tcyx").axes == "TCYX"


@pytest.mark.parametrize(
    ("axes", "problem"),
    [
        ("ZYX", "are 3 letters for 4 axes"),
        ("", "are 0 letters"),
        ("TSZYXC", "are 6 letters for 4 axes"),
        ("QZYX", "have letters other than TCZYXS"),
        ("ZZYX", "name an axis twice"),
        ("TCZX", "do not contain Y and then X"),
        ("TCXY", "do not contain Y and then X"),
    ],
)
def test_wrong_axes_are_refused(tmp_path: Path, axes: str, problem: str) -> None:
    path = tmp_path / "image.npy"
    np.save(path, numbers("TCYX"))
    with pytest.raises(ImageError, match=rf'image.npy: the axes "{axes}" {problem}'):
        read_image(path, axes=axes)


# Bad files


def test_missing_files_folders_and_other_formats_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "empty.tif").touch()
    assert_refused(tmp_path / "none.tif", "does not exist")
    assert_refused(tmp_path, "is a folder")
    assert_refused(tmp_path / "notes.txt", r"is not a supported image file; use .tif, ")
    assert_refused(tmp_path / "empty.tif", r"is empty \(0 bytes\)")
    assert_refused(tmp_path / ("n" * 300 + ".tif"), "cannot be read")


@pytest.mark.parametrize("name", ["text.tif", "text.ome.tif", "text.png", "text.npy"])
def test_a_text_file_with_the_suffix_of_an_image_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("This is not an image.\nNot at all.\n")
    assert_refused(tmp_path / name, r"cannot be read \(.*copy or export it again")


@pytest.mark.parametrize("name", ["image.png", "image.npy"])
def test_a_truncated_file_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_image(path, Image(np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8), "YX"))
    contents = path.read_bytes()
    for length in range(1, len(contents) - 20, 37):
        path.write_bytes(contents[:length])
        assert_refused(path, "cannot be read")


def test_object_arrays_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([[Path()]]), allow_pickle=True)
    assert_refused(tmp_path / "objects.npy", "cannot be read")


def test_complex_and_scalar_arrays_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "complex.npy", np.eye(4) * 1j)
    np.save(tmp_path / "scalar.npy", 4.0)
    np.save(tmp_path / "line.npy", np.arange(4))
    assert_refused(tmp_path / "complex.npy", "complex128")
    assert_refused(tmp_path / "scalar.npy", "axes|read")
    assert_refused(tmp_path / "line.npy", "axes")


# Files that claim more than they contain, and files that change


def test_a_numpy_file_that_claims_terabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "image.npy"
    write_image(path, Image(numbers("ZYX"), "ZYX"))
    contents = path.read_bytes()
    path.write_bytes(contents.replace(b"(4, 6, 7), }         ", b"(4, 600000000, 7000),"))
    assert_refused(path, "cannot be read")


@pytest.mark.parametrize("name", FILES)
def test_pixels_are_loaded_only_when_accessed(tmp_path: Path, name: str) -> None:
    path = write_file(tmp_path / name)
    image = read_image(path)
    for file in [path] if path.is_file() else path.glob("0/c/*/*/*"):
        file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ImageError, match=re.escape(str(path))) as caught:
        image.view((3, slice(None), slice(None)))[:, :]
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", [name for name in FILES if not name.endswith(".zarr")])
def test_a_file_that_changes_while_it_is_read_is_an_error(tmp_path: Path, name: str) -> None:
    path = write_file(tmp_path / name)
    image = read_image(path)
    contents = path.read_bytes()
    for changed, problem in [
        (contents[: len(contents) // 2], "became shorter"),
        (contents + b"more", "changed while it was read"),
    ]:
        path.write_bytes(changed)
        with pytest.raises(ImageError, match=rf"{re.escape(name)} {problem}"):
            image.plane((0, slice(None), slice(None)))
    path.unlink()
    with pytest.raises(ImageError, match="cannot be read \\(no such file"):
        image.plane((0, slice(None), slice(None)))


@pytest.mark.parametrize("name", FILES)
def test_threads_can_share_an_image(tmp_path: Path, name: str) -> None:
    image = read_image(write_file(tmp_path / name))
    rows = [slice(top, top + 3) for top in range(0, 20, 3)] * 8
    with ThreadPoolExecutor(4) as pool:
        views = pool.map(lambda row: image.data[2, row, 3:11], rows)
        for row, window in zip(rows, views, strict=True):
            np.testing.assert_array_equal(window, STACK[2, row, 3:11])


# Folders


def test_images_of_a_folder_are_sorted_by_name(tmp_path: Path) -> None:
    for name in ("b.tif", "a.PNG", "c.npy", "e.JPG", "notes.txt", ".hidden.tif", "f.zarr"):
        (tmp_path / name).touch()
    for name in ("folder.tif", "d.ome.zarr", ".hidden.zarr"):
        (tmp_path / name).mkdir()
    found = ["a.PNG", "b.tif", "c.npy", "d.ome.zarr", "e.JPG"]
    assert [path.name for path in find_images(tmp_path)] == found
    assert sorted(path.name for path in tmp_path.iterdir() if is_image(path)) == found


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ImageError, match="has no images"):
        find_images(tmp_path)
    for folder in (tmp_path / "none", tmp_path / "notes.txt"):
        with pytest.raises(ImageError, match="is not a folder"):
            find_images(folder)
