import itertools
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile
import torch
from numpy.typing import NDArray

from napari_coordgate.errors import ImageError, OutputError
from napari_coordgate.images import (
    Image,
    as_pixels,
    create_image,
    find_images,
    is_pixels,
    planes,
    read_image,
    write_image,
)

LENGTHS = {"T": 2, "C": 3, "Z": 4, "Y": 6, "X": 7, "S": 3}
DTYPES = ["?", "u1", "u2", "u4", "i2", "i4", "f2", "f4", "f8", ">u2", ">i4", ">f4", ">f8"]
ALL_AXES = ["".join(extra) + "YX" for n in range(4) for extra in itertools.permutations("TCZ", n)]
PIXEL_SIZE_UM = (0.325, 0.11)


def numbers(axes: str, dtype: str = "u2") -> NDArray[Any]:
    shape = [LENGTHS[letter] for letter in axes]
    return (np.arange(np.prod(shape)).reshape(shape) % 251).astype(dtype)


def rearranged(image: Image, axes: str) -> NDArray[Any]:
    """Pixels of an image with its axes in another order."""
    assert sorted(image.axes) == sorted(axes)
    pixels: NDArray[Any] = image.data.transpose([image.axes.index(letter) for letter in axes])
    return pixels


def assert_refused(path: Path, problem: str) -> None:
    with pytest.raises(ImageError, match=problem) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


# Round trips


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".TIFF"])
@pytest.mark.parametrize("axes", [*ALL_AXES, "YXS", "TZYXS"])
def test_axes_and_pixel_size_survive_a_tiff(tmp_path: Path, axes: str, suffix: str) -> None:
    for dtype, size in itertools.product(["u1", "f4", "i4"], [PIXEL_SIZE_UM, None]):
        path = tmp_path / f"{dtype}{size is None}{suffix}"
        write_image(path, Image(numbers(axes, dtype), axes, size))
        image = read_image(path)
        assert np.array_equal(rearranged(image, axes), numbers(axes, dtype))
        assert image.pixel_size_um == (None if size is None else pytest.approx(size, rel=1e-4))
        assert image.path == path


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_a_usual_tiff_opens_in_imagej(tmp_path: Path, dtype: str) -> None:
    write_image(tmp_path / "image.tif", Image(numbers("TCYX", dtype), "TCYX", PIXEL_SIZE_UM))
    with tifffile.TiffFile(tmp_path / "image.tif") as tiff:
        assert tiff.is_imagej
        assert tiff.imagej_metadata is not None
        assert tiff.imagej_metadata["unit"] == "um"
        assert (tiff.imagej_metadata["frames"], tiff.imagej_metadata["channels"]) == (2, 3)


@pytest.mark.parametrize("suffix", [".tif", ".npy"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_of_pixel_survives(tmp_path: Path, dtype: str, suffix: str) -> None:
    path = tmp_path / f"image{suffix}"
    write_image(path, Image(numbers("ZYX", dtype), "ZYX"))
    image = read_image(path)
    assert image.axes == "ZYX"
    assert image.data.dtype.newbyteorder("=") == np.dtype(dtype).newbyteorder("=")
    assert np.array_equal(image.data, numbers("ZYX", dtype))


@pytest.mark.parametrize(
    ("axes", "dtype"), [("YX", "?"), ("YX", "u1"), ("YX", "u2"), ("YXS", "u1")]
)
def test_png_keeps_pixels(tmp_path: Path, axes: str, dtype: str) -> None:
    write_image(tmp_path / "image.png", Image(numbers(axes, dtype), axes))
    image = read_image(tmp_path / "image.png")
    assert (image.axes, image.pixel_size_um) == (axes, None)
    assert image.data.dtype == np.dtype(dtype)
    assert np.array_equal(image.data, numbers(axes, dtype))


def test_an_image_that_is_none_for_png_is_told_what_to_choose(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"choose \.tif, or --keep-dtype\."):
        write_image(tmp_path / "image.png", Image(numbers("YX", "f4"), "YX"))


def test_a_big_endian_image_becomes_a_true_png(tmp_path: Path) -> None:
    write_image(tmp_path / "image.png", Image(numbers("YX", ">u2"), "YX"))
    assert np.array_equal(read_image(tmp_path / "image.png").data, numbers("YX"))


@pytest.mark.parametrize("name", ["image.NPY", "image.PNG", "image.TIF"])
def test_suffixes_may_be_in_capitals(tmp_path: Path, name: str) -> None:
    write_image(tmp_path / name, Image(numbers("YX"), "YX"))
    assert np.array_equal(read_image(tmp_path / name).data, numbers("YX"))
    assert find_images(tmp_path) == [tmp_path / name]


# What a file does not tell


@pytest.mark.parametrize("shape", [(6, 7), (6, 7, 3), (6, 7, 4), (4, 6, 7)])
def test_unnamed_axes_are_plane_colours_or_stack(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "image.npy", np.zeros(shape))
    image = read_image(tmp_path / "image.npy")
    assert image.axes == {(6, 7): "YX", (4, 6, 7): "ZYX"}.get(shape, "YXS")
    assert image.frame_shape == (6, 7)


def test_more_unnamed_axes_must_be_stated(tmp_path: Path) -> None:
    pixels = numbers("TCYX")
    np.save(tmp_path / "image.npy", pixels)
    tifffile.imwrite(tmp_path / "image.tif", pixels, photometric="minisblack")
    for path in find_images(tmp_path):
        assert_refused(path, r"does not name its axes \(2 x 3 x 6 x 7\); state them")
        assert read_image(path, axes="tcyx").axes == "TCYX"


@pytest.mark.parametrize(
    ("axes", "problem"),
    [
        ("ZYX", "are 3 letters for 4 axes"),
        ("", "are 0 letters"),
        ("QZYX", "have letters other than TCZYXS"),
        ("ZZYX", "name one axis twice"),
        ("TCZX", "do not hold Y and then X"),
        ("TCXY", "do not hold Y and then X"),
    ],
)
def test_wrong_axes_are_refused(tmp_path: Path, axes: str, problem: str) -> None:
    path = tmp_path / "image.npy"
    np.save(path, numbers("TCYX"))
    with pytest.raises(ImageError, match=rf'image.npy: the axes "{axes}" {problem}'):
        read_image(path, axes=axes)


def test_an_opaque_alpha_channel_is_left_out(tmp_path: Path) -> None:
    for mode, axes in {"RGBA": "YXS", "LA": "YX"}.items():
        PIL.Image.new(mode, (7, 6), "teal").save(tmp_path / f"{mode}.png")
        assert read_image(tmp_path / f"{mode}.png").axes == axes
        PIL.Image.new(mode, (7, 6)).save(tmp_path / f"{mode}-clear.png")
        assert read_image(tmp_path / f"{mode}-clear.png").data.shape == (6, 7, len(mode))


def test_a_palette_is_read_as_its_colours(tmp_path: Path) -> None:
    picture = PIL.Image.fromarray(numbers("YXS", "u1") // 128 * 128)
    picture.quantize(8).save(tmp_path / "palette.png")
    image = read_image(tmp_path / "palette.png")
    assert np.array_equal(image.data, np.asarray(picture))


# Planes


@pytest.mark.parametrize("axes", ["YX", "ZYX", "CYX", "TYX", "TCZYX", "YXS", "YXC", "SYX", "YZXC"])
def test_planes_cover_an_image_once(axes: str) -> None:
    image = Image(np.zeros([LENGTHS[letter] for letter in axes]), axes)
    for index in planes(image):
        assert image.data[index].shape == image.frame_shape == (6, 7)
        image.data[index] += 1
    assert (image.data == 1).all()


def test_arrays_serve_as_they_are_and_anything_else_becomes_one(tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", numbers("ZYX"))
    mapped = np.load(tmp_path / "image.npy", mmap_mode="r")
    for array in (numbers("YX"), mapped):
        assert is_pixels(array)
        assert as_pixels(array) is array
    assert not is_pixels([[1, 2], [3, 4]])
    assert not is_pixels(tmp_path)
    assert as_pixels([[1, 2], [3, 4]]).shape == (2, 2)
    tensor = torch.ones(3, 4)
    assert not is_pixels(tensor)
    assert isinstance(as_pixels(tensor), np.ndarray)


def test_an_image_gives_its_planes_and_all_its_pixels() -> None:
    image = Image(numbers("ZYX"), "ZYX")
    np.testing.assert_array_equal([image.plane(index) for index in planes(image)], image.pixels)
    np.testing.assert_array_equal(image.pixels, numbers("ZYX"))


@pytest.mark.parametrize(
    ("data", "axes", "problem"),
    [
        (np.zeros((0, 5)), "YX", "holds no pixels"),
        (np.zeros((0, 5, 5)), "TYX", "holds no pixels"),
        (np.zeros((5, 5), complex), "YX", "complex128"),
        (np.zeros((5, 5), object), "YX", "object"),
        (np.zeros((5, 5)), "XY", "Y and then X"),
        (np.zeros(5), "X", "Y and then X"),
    ],
)
def test_what_is_no_image_is_refused(data: NDArray[Any], axes: str, problem: str) -> None:
    with pytest.raises(ImageError, match=rf"^The image.*{problem}"):
        Image(data, axes)


# Bad files


def test_missing_files_folders_and_other_kinds_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "empty.tif").touch()
    assert_refused(tmp_path / "none.tif", "does not exist")
    assert_refused(tmp_path, "is a folder")
    assert_refused(tmp_path / "notes.txt", r"give .tif, .tiff, .png or .npy")
    assert_refused(tmp_path / "empty.tif", r"is empty \(0 bytes\)")
    assert_refused(tmp_path / ("n" * 300 + ".tif"), "cannot be read")


@pytest.mark.parametrize("name", ["text.tif", "text.ome.tif", "text.png", "text.npy"])
def test_a_text_in_disguise_is_refused(tmp_path: Path, name: str) -> None:
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


def test_arrays_of_objects_never_unpickle(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([[Path()]]), allow_pickle=True)
    assert_refused(tmp_path / "objects.npy", "cannot be read")


def test_complex_and_scalar_arrays_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "complex.npy", np.eye(4) * 1j)
    np.save(tmp_path / "scalar.npy", 4.0)
    np.save(tmp_path / "line.npy", np.arange(4))
    assert_refused(tmp_path / "complex.npy", "complex128")
    assert_refused(tmp_path / "scalar.npy", "axes|read")
    assert_refused(tmp_path / "line.npy", "axes")


def test_16_bit_colours_of_png_are_refused_rather_than_cut(tmp_path: Path) -> None:
    path = tmp_path / "colours.png"
    PIL.Image.new("RGB", (7, 6)).save(path)
    contents = bytearray(path.read_bytes())
    contents[24] = 16  # bits of a sample
    path.write_bytes(contents)
    assert_refused(path, "16-bit colours|cannot be read")


# Writing


@pytest.mark.parametrize(
    ("name", "axes", "dtype", "advice"),
    [
        ("image.jpg", "YX", "u1", "choose .tif, .tiff, .png or .npy"),
        ("image", "YX", "u1", "choose .tif"),
        ("image.png", "YX", "f4", "choose .tif"),
        ("image.png", "ZYX", "u1", "choose .tif"),
        ("image.png", "YXS", "u2", "choose .tif"),
        ("image.ome.tif", "YX", "f2", "choose a name that ends in .tif alone"),
        ("image.tif", "YXS", "?", "choose uint8 pixels"),
    ],
)
def test_what_a_format_cannot_hold_is_said_before_writing(
    tmp_path: Path, name: str, axes: str, dtype: str, advice: str
) -> None:
    path = tmp_path / "folder" / name
    with pytest.raises(OutputError, match=advice) as caught:
        write_image(path, Image(numbers(axes, dtype), axes))
    assert str(path) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["image.tif", "image.ome.tif", "image.png", "image.npy"])
def test_an_image_is_overwritten_only_when_asked(tmp_path: Path, name: str) -> None:
    first, second = Image(numbers("YX", "u1"), "YX"), Image(numbers("YX", "u1") + 1, "YX")
    write_image(tmp_path / name, first)
    with pytest.raises(OutputError, match="already exists"):
        write_image(tmp_path / name, second)
    assert np.array_equal(read_image(tmp_path / name).data, first.data)
    write_image(tmp_path / name, second, overwrite=True)
    assert np.array_equal(read_image(tmp_path / name).data, second.data)
    assert list(tmp_path.iterdir()) == [tmp_path / name]


def test_an_image_can_take_the_place_of_the_file_it_is_mapped_from(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    write_image(path, Image(numbers("YX"), "YX"))
    write_image(path, read_image(path), overwrite=True)
    assert np.array_equal(read_image(path).data, numbers("YX"))


@pytest.mark.parametrize("name", ["image.tif", "image.ome.tif", "image.npy"])
@pytest.mark.parametrize("dtype", ["u1", "f4", "f8", ">u2"])
@pytest.mark.parametrize("axes", ["YX", "ZYX", "TCZYX", "YXS", "CYX"])
def test_an_image_written_piece_by_piece_equals_one_written_whole(
    tmp_path: Path, name: str, axes: str, dtype: str
) -> None:
    pixels = numbers(axes, dtype)
    with create_image(tmp_path / name, pixels.shape, dtype, axes, PIXEL_SIZE_UM) as array:
        assert not (tmp_path / name).exists()
        assert array.shape == pixels.shape
        for index in planes(Image(pixels, axes)):
            array[index] = pixels[index]
    write_image(tmp_path / f"whole-{name}", Image(pixels, axes, PIXEL_SIZE_UM))
    stated = axes if name == "image.npy" else None
    piecewise = read_image(tmp_path / name, stated)
    whole = read_image(tmp_path / f"whole-{name}", stated)
    assert (piecewise.axes, piecewise.pixel_size_um) == (whole.axes, whole.pixel_size_um)
    assert np.array_equal(rearranged(piecewise, axes), pixels)


def test_an_image_abandoned_halfway_leaves_nothing(tmp_path: Path) -> None:
    piecewise = create_image(tmp_path / "image.tif", (6, 7), "f4", "YX")
    with pytest.raises(KeyboardInterrupt), piecewise as array:
        array[:3] = 1
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "dtype", "advice"),
    [
        ("image.png", "u1", "choose .npy"),
        ("image.tif", "?", "choose .npy"),
        ("image.jpg", "u1", "choose .tif"),
    ],
)
def test_packed_formats_are_not_written_piece_by_piece(
    tmp_path: Path, name: str, dtype: str, advice: str
) -> None:
    piecewise = create_image(tmp_path / name, (6, 7), dtype, "YX")
    with pytest.raises(OutputError, match=advice), piecewise:
        pytest.fail("The body must not run.")
    assert list(tmp_path.iterdir()) == []


def test_an_image_too_large_for_the_disk_is_refused_at_once(tmp_path: Path) -> None:
    piecewise = create_image(tmp_path / "image.tif", (1 << 20, 1 << 22), "f4", "YX")
    with pytest.raises(OutputError, match="disk"), piecewise:
        pytest.fail("The body must not run.")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def nearly_full_disk() -> Iterator[None]:
    """Let no file grow beyond 2 kB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("nearly_full_disk")
@pytest.mark.parametrize("name", ["image.tif", "image.ome.tif", "image.npy", "image.png"])
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    with pytest.raises(OutputError, match=r"image.*; .* choose another disk\.$") as caught:
        write_image(tmp_path / name, Image(noise, "YX"))
    assert str(tmp_path / name) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


# Folders


def test_images_of_a_folder_come_sorted(tmp_path: Path) -> None:
    for name in ("b.tif", "a.PNG", "c.npy", "notes.txt", ".hidden.tif"):
        (tmp_path / name).touch()
    (tmp_path / "folder.tif").mkdir()
    assert [path.name for path in find_images(tmp_path)] == ["a.PNG", "b.tif", "c.npy"]


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ImageError, match="holds no images"):
        find_images(tmp_path)
    for folder in (tmp_path / "none", tmp_path / "notes.txt"):
        with pytest.raises(ImageError, match="is not a folder"):
            find_images(folder)
