"""Tests of microscope file formats: pixels, axes, sizes and channel names."""

import gc
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray
from pylibCZIrw.czi import create_czi

from napari_coordgate.errors import ImageError
from napari_coordgate.io import find_images, plane_indices, read_image, read_images
from tests.io.microscopes.files import write_czi, write_lif, write_nd2

LENGTHS = {"P": 2, "M": 2, "T": 2, "C": 3, "Z": 4, "Y": 6, "X": 7, "S": 3}
NAMES = ("DAPI", "GFP", "Cy5")


def numbers(axes: str, dtype: str = "u2") -> NDArray[Any]:
    shape = [LENGTHS[letter] for letter in axes]
    return (np.arange(np.prod(shape)).reshape(shape) % 251).astype(dtype)


def czi(path: Path, dtype: str = "u2") -> Path:
    write_czi(path / "a.czi", [numbers("TCZYX", dtype)], NAMES, pixel_um=0.3, z_um=1.5)
    return path / "a.czi"


def nd2(path: Path, dtype: str = "u2") -> Path:
    steps = {"T": 2.5, "Z": 1.5}
    write_nd2(path / "a.nd2", "TZCYX", nd2_order(numbers("TCZYX", dtype)), NAMES, 0.3, steps)
    return path / "a.nd2"


def nd2_order(pixels: NDArray[Any]) -> NDArray[Any]:
    return pixels.swapaxes(1, 2)


def lif(path: Path, dtype: str = "u2") -> Path:
    steps = {"T": 2.5, "Z": 1.5e-6, "Y": 0.3e-6, "X": 0.3e-6}
    write_lif(path / "a.lif", [("TCZYX", numbers("TCZYX", dtype))], NAMES, steps)
    return path / "a.lif"


FORMATS: dict[str, Callable[..., Path]] = {"czi": czi, "nd2": nd2, "lif": lif}
formats = pytest.mark.parametrize("kind", FORMATS)


@pytest.fixture
def file(tmp_path: Path, kind: str) -> Path:
    return FORMATS[kind](tmp_path)


@formats
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_pixels_and_metadata_are_read(tmp_path: Path, kind: str, dtype: str) -> None:
    path = FORMATS[kind](tmp_path, dtype)
    image = read_image(path)
    assert (image.axes, image.path) == ("TCZYX", path)
    assert image.data.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(image.pixels, numbers("TCZYX", dtype))
    assert image.pixel_size_um == pytest.approx((0.3, 0.3))
    assert image.z_step_um == pytest.approx(1.5)
    assert image.time_step_s == (None if kind == "czi" else pytest.approx(2.5))
    assert image.channel_names == NAMES


@formats
def test_every_window_equals_that_of_the_whole_image(file: Path) -> None:
    image, whole = read_image(file), numbers("TCZYX")
    for index in plane_indices(image):
        np.testing.assert_array_equal(image.plane(index), whole[index])
        window = image.view(index)[2:5, 1:6]
        np.testing.assert_array_equal(window, whole[index][2:5, 1:6])
    parts: list[tuple[int | slice, ...]] = [
        (slice(None, None, 2), 1, slice(1, 3), slice(1, 5, 2), slice(None, None, 3)),
        (-1, slice(0, 2), -2, 3, slice(5, 5)),
        (0, 1, 2, 3, 4),
        (slice(1, 1),),
    ]
    for part in parts:
        np.testing.assert_array_equal(image.data[part], whole[part])
    with pytest.raises(IndexError):
        image.data[2, 0, 0]


@formats
def test_threads_can_share_an_image(file: Path) -> None:
    image, whole = read_image(file), numbers("TCZYX")
    start = threading.Barrier(4)

    def read(number: int) -> bool:
        start.wait()
        return all(np.array_equal(image.plane(at), whole[at]) for at in plane_indices(image))

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(read, range(4)))


@formats
def test_the_file_is_closed_with_the_image(file: Path) -> None:
    process = psutil.Process()
    image = read_image(file)
    image.plane(next(plane_indices(image)))
    del image
    gc.collect()
    assert str(file) not in [opened.path for opened in process.open_files()]
    assert all(str(file) != mapped.path for mapped in process.memory_maps())


@formats
def test_pixels_outlive_the_image(file: Path) -> None:
    image = read_image(file)
    plane = image.plane(next(plane_indices(image)))
    del image
    gc.collect()
    np.testing.assert_array_equal(plane, numbers("TCZYX")[0, 0, 0])


@formats
def test_a_file_of_one_plane_has_two_axes(tmp_path: Path, kind: str) -> None:
    plane = numbers("YX")
    path = tmp_path / f"a.{kind}"
    match kind:
        case "czi":
            write_czi(path, [plane[None, None, None]])
        case "nd2":
            write_nd2(path, "CYX", plane[None])
        case "lif":
            write_lif(path, [("YX", plane)])
    image = read_image(path)
    assert (image.axes, image.pixel_size_um) == ("YX", None)
    assert (image.z_step_um, image.time_step_s) == (None, None)
    np.testing.assert_array_equal(image.pixels, plane)


@formats
def test_colors_are_red_green_and_blue(tmp_path: Path, kind: str) -> None:
    pixels, path = numbers("ZYXS", "u1"), tmp_path / f"a.{kind}"
    match kind:
        case "czi":
            write_czi(path, [pixels[None, None]])
        case "nd2":
            write_nd2(path, "ZYXS", pixels)
        case "lif":
            write_lif(path, [("ZYXS", pixels)], blue_first=True)
    image = read_image(path)
    assert image.axes == "ZYXS"
    np.testing.assert_array_equal(image.pixels, pixels)
    np.testing.assert_array_equal(image.data[1, 2:4, 3, 1], pixels[1, 2:4, 3, 1])


@formats
def test_every_one_of_several_images_is_read(tmp_path: Path, kind: str) -> None:
    first, path = numbers("ZYX"), tmp_path / f"a.{kind}"
    match kind:
        case "czi":
            write_czi(path, [first[None, None], first[None, None, :2] + 1])
        case "nd2":
            write_nd2(path, "PZCYX", np.stack([first[:, None], first[:, None] + 1]))
        case "lif":
            write_lif(path, [("MZYX", np.stack([first, first + 1])), ("YX", first[0] + 2)])
    images = read_images(path)
    names = ["image 0 tile 0", "image 0 tile 1", "image 1"] if kind == "lif" else ["0", "1"]
    assert [image.scene for image in images] == names
    for number, image in enumerate(images[:2]):
        np.testing.assert_array_equal(image.pixels, (first + number)[: len(image.pixels)])
    if kind == "lif":
        np.testing.assert_array_equal(images[2].pixels, first[0] + 2)
    with pytest.warns(UserWarning, match=f"has {len(names)} images; only the first one"):
        np.testing.assert_array_equal(read_image(path).pixels, first)


def test_positions_may_be_the_inner_loop_of_an_nd2_file(tmp_path: Path) -> None:
    pixels = numbers("TPYX")
    write_nd2(tmp_path / "a.nd2", "TPCYX", pixels[:, :, None])
    for position in range(2):
        image = read_image(tmp_path / "a.nd2", scene=position)
        np.testing.assert_array_equal(image.pixels, pixels[:, position])


def test_tiles_of_a_czi_scene_are_one_plane(tmp_path: Path) -> None:
    pixels = numbers("TCZYX")
    write_czi(tmp_path / "a.czi", [pixels], tiles=3)
    np.testing.assert_array_equal(read_image(tmp_path / "a.czi").pixels, pixels)


def test_compressed_files_are_read(tmp_path: Path) -> None:
    pixels = numbers("ZYX")
    write_czi(tmp_path / "a.czi", [pixels[None, None]], compression="zstd1:ExplicitLevel=2")
    write_nd2(tmp_path / "a.nd2", "ZCYX", pixels[:, None], compressed=True)
    for path in find_images(tmp_path):
        np.testing.assert_array_equal(read_image(path).pixels, pixels)


@pytest.mark.parametrize("axes", ["CZYX", "ZYCX", "YCX", "XY", "ZTYX", "YXC"])
def test_the_axes_of_a_lif_file_may_have_any_order(tmp_path: Path, axes: str) -> None:
    pixels = numbers(axes)
    write_lif(tmp_path / "a.lif", [(axes, pixels)], row_padding=3)
    image = read_image(tmp_path / "a.lif")
    expected = pixels.transpose([axes.index(letter) for letter in image.axes])
    np.testing.assert_array_equal(image.pixels, expected)


@formats
def test_a_missing_library_is_an_error_with_the_install_command(
    file: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = {"czi": "pylibCZIrw.czi", "nd2": "nd2", "lif": "liffile"}[kind]
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImageError) as caught:
        read_image(file)
    assert f'python -m pip install "napari-coordgate[{kind}]"' in str(caught.value)
    assert str(file) in str(caught.value)


@formats
def test_a_damaged_or_foreign_file_is_an_error_that_names_it(file: Path) -> None:
    contents = file.read_bytes()
    for bad in (contents[: len(contents) // 2], contents[:20], b"A letter to a friend. " * 99):
        file.write_bytes(bad)
        with pytest.raises(ImageError, match="cannot be read") as caught:
            image = read_image(file)
            image.plane(next(plane_indices(image)))
        assert str(file) in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


@formats
def test_a_file_that_is_truncated_while_open_is_an_error(file: Path) -> None:
    image = read_image(file)
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size // 2)
    with pytest.raises(ImageError, match="became shorter") as caught:
        image.plane(next(plane_indices(image)))
    assert str(file) in str(caught.value)


def test_a_czi_file_with_missing_planes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.czi"
    with create_czi(str(path)) as czi:
        for time in (0, 1_000_000):
            czi.write(numbers("YX"), plane={"T": time})
    with pytest.raises(ImageError, match="planes are missing"):
        read_image(path)


def test_a_czi_file_with_two_pixel_types_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.czi"
    with create_czi(str(path)) as czi:
        for channel, dtype in enumerate(("u1", "u2")):
            czi.write(numbers("YX", dtype), plane={"C": channel})
    with pytest.raises(ImageError, match="Gray16, Gray8"):
        read_image(path)


def test_a_file_that_claims_more_pixels_than_it_has_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.lif"
    write_lif(path, [("YX", numbers("YX"))])
    whole, claim = (f'NumberOfElements="{rows}"'.encode("utf-16-le") for rows in (6, 9))
    assert whole in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(whole, claim))
    with pytest.raises(ImageError, match="ends before the end of its pixels"):
        read_image(path)


def test_unknown_axes_are_refused(tmp_path: Path) -> None:
    write_lif(tmp_path / "a.lif", [("LYX", numbers("TYX"))])
    with pytest.raises(ImageError, match=r"a\.lif has an axis other than"):
        read_image(tmp_path / "a.lif")
