"""Tests of writing images, at once and window by window."""

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_coordgate.config import Compression
from napari_coordgate.errors import ImageError, OutputError
from napari_coordgate.io import (
    Image,
    PlaneView,
    create_image,
    plane_indices,
    read_image,
    write_image,
)
from tests.io.examples import PIXEL_SIZE_UM, numbers

PLANE = Image(numbers("YX", "f4"), "YX")


@pytest.mark.parametrize(
    ("name", "axes", "dtype", "advice"),
    [
        ("image.jpg", "YX", "u1", "choose .tif, .ome.zarr, .png or .npy"),
        ("image", "YX", "u1", "choose .tif"),
        ("image.png", "YX", "f4", "choose .tif"),
        ("image.png", "ZYX", "u1", "choose .tif"),
        ("image.png", "YXS", "u2", "choose .tif"),
        ("image.ome.tif", "YX", "f2", "use a name that ends in .tif only"),
        ("image.tif", "YXS", "?", "use uint8 pixels"),
        ("image.ome.zarr", "CYXS", "u1", "choose .tif"),
    ],
)
def test_what_a_format_cannot_hold_is_an_error_before_writing(
    tmp_path: Path, name: str, axes: str, dtype: str, advice: str
) -> None:
    path = tmp_path / "folder" / name
    with pytest.raises(OutputError, match=advice) as caught:
        write_image(path, Image(numbers(axes, dtype), axes))
    assert str(path) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["image.tif", "image.ome.tif", "image.png", "image.npy", "image.zarr"]
)
def test_an_image_is_overwritten_only_on_request(tmp_path: Path, name: str) -> None:
    first, second = Image(numbers("YX", "u1"), "YX"), Image(numbers("YX", "u1") + 1, "YX")
    write_image(tmp_path / name, first)
    with pytest.raises(OutputError, match="already exists"):
        write_image(tmp_path / name, second)
    assert np.array_equal(read_image(tmp_path / name).pixels, first.pixels)
    write_image(tmp_path / name, second, overwrite=True)
    assert np.array_equal(read_image(tmp_path / name).pixels, second.pixels)
    assert list(tmp_path.iterdir()) == [tmp_path / name]


@pytest.mark.parametrize("name", ["image.tif", "image.npy", "image.ome.zarr"])
def test_an_image_can_replace_the_file_that_it_was_read_from(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_image(path, Image(numbers("YX"), "YX"))
    write_image(path, read_image(path), overwrite=True)
    assert np.array_equal(read_image(path).pixels, numbers("YX"))


@pytest.mark.parametrize("name", ["image.tif", "image.ome.tif", "image.npy", "image.ome.zarr"])
@pytest.mark.parametrize("dtype", ["u1", "f4", "f8", ">u2"])
@pytest.mark.parametrize("axes", ["YX", "ZYX", "TCZYX", "YXS", "CYX"])
def test_an_image_written_window_by_window_equals_one_written_at_once(
    tmp_path: Path, name: str, axes: str, dtype: str
) -> None:
    pixels = numbers(axes, dtype)
    names = ("a", "b", "c") if "C" in axes else ()
    image = Image(pixels, axes, PIXEL_SIZE_UM, z_step_um=0.5, channel_names=names)
    with create_image(tmp_path / name, image, chunk=(4, 4)) as array:
        assert not (tmp_path / name).exists()
        assert (array.shape, array.ndim) == (pixels.shape, pixels.ndim)
        for index in plane_indices(image):
            for window in ((slice(0, 4), slice(0, 7)), (slice(4, 6), slice(0, 7))):
                PlaneView(array, index)[window] = image.view(index)[window]
    write_image(tmp_path / f"whole-{name}", image)
    stated = axes if name == "image.npy" else None
    by_windows = read_image(tmp_path / name, stated)
    whole = read_image(tmp_path / f"whole-{name}", stated)
    assert (by_windows.axes, by_windows.metadata) == (whole.axes, whole.metadata)
    np.testing.assert_array_equal(by_windows.pixels, whole.pixels)
    assert by_windows.data.dtype.newbyteorder("=") == pixels.dtype.newbyteorder("=")


@pytest.mark.parametrize("name", ["image.tif", "image.ome.zarr"])
def test_shape_and_type_can_differ_from_the_other_image(tmp_path: Path, name: str) -> None:
    like = Image(numbers("ZYX"), "ZYX", PIXEL_SIZE_UM)
    with create_image(tmp_path / name, like, shape=(2, 3, 5), dtype="f4") as array:
        array[1, :, :] = np.ones((3, 5))
    image = read_image(tmp_path / name)
    assert (image.data.shape, image.data.dtype) == ((2, 3, 5), np.dtype("f4"))
    assert image.pixels.sum() == image.pixels[1].sum() == 15
    with pytest.raises(ImageError, match="axes"), create_image(tmp_path / "b", like, shape=(3, 5)):
        pytest.fail("The body was run.")


@pytest.mark.parametrize("name", ["image.tif", "image.ome.zarr"])
def test_an_interrupted_image_leaves_nothing(tmp_path: Path, name: str) -> None:
    by_windows = create_image(tmp_path / name, PLANE)
    with pytest.raises(KeyboardInterrupt), by_windows as array:
        array[:3, :] = np.ones((3, 7))
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
def test_packed_formats_cannot_be_written_window_by_window(
    tmp_path: Path, name: str, dtype: str, advice: str
) -> None:
    by_windows = create_image(tmp_path / name, PLANE, dtype=dtype)
    with pytest.raises(OutputError, match=advice), by_windows:
        pytest.fail("The body was run.")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["image.tif", "image.ome.zarr"])
def test_an_image_too_large_for_the_disk_is_refused_at_the_start(tmp_path: Path, name: str) -> None:
    by_windows = create_image(tmp_path / name, PLANE, shape=(1 << 20, 1 << 22))
    with pytest.raises(OutputError, match="disk"), by_windows:
        pytest.fail("The body was run.")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def nearly_full_disk() -> Iterator[None]:
    """Let no file grow beyond 2 kB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("nearly_full_disk")
@pytest.mark.parametrize(
    "name", ["image.tif", "image.ome.tif", "image.npy", "image.png", "image.zarr"]
)
def test_a_full_disk_is_a_one_line_error_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    with pytest.raises(OutputError, match=r"image.*; .* choose another disk\.$") as caught:
        write_image(tmp_path / name, Image(noise, "YX"))
    assert str(tmp_path / name) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["image.tif", "image.ome.zarr"])
def test_an_array_is_written_with_the_last_axes_or_the_given_ones(
    tmp_path: Path, name: str
) -> None:
    pixels = numbers("ZYX", "u2")
    write_image(tmp_path / name, pixels)
    written = read_image(tmp_path / name)
    assert written.axes == "ZYX"
    np.testing.assert_array_equal(written.pixels, pixels)
    write_image(tmp_path / name, pixels, overwrite=True, axes="CYX")
    assert read_image(tmp_path / name).axes == "CYX"


def test_exchanged_arguments_are_an_error_that_says_their_order(tmp_path: Path) -> None:
    path: Any = tmp_path / "image.tif"
    images: list[Any] = [numbers("YX"), Image(numbers("YX"), "YX")]
    for image in images:
        with pytest.raises(OutputError, match=r"got \w+; call write_image\(path, image\)"):
            write_image(image, path)
    with pytest.raises(ImageError, match="is not an image"):
        write_image(path, path)


@pytest.mark.parametrize("compression", ["auto", "zlib", "zstd"])
@pytest.mark.parametrize("axes", ["CYX", "YXS"])
def test_large_planes_of_ome_tiff_are_pyramids(
    tmp_path: Path, axes: str, compression: Compression
) -> None:
    shape = [{"C": 2, "Y": 2051, "X": 37, "S": 3}[axis] for axis in axes]
    pixels = np.random.default_rng(0).integers(0, 9, shape).astype(np.uint8)
    image = Image(pixels, axes, (0.2, 0.1))
    write_image(tmp_path / "a.ome.tif", image, compression=compression)
    with create_image(tmp_path / "b.ome.tif", image, compression=compression) as out:
        for index in plane_indices(image):
            out[index] = image.plane(index)
    for name in ("a.ome.tif", "b.ome.tif"):
        kept = read_image(tmp_path / name)
        assert (kept.axes, kept.pixel_size_um) == (axes, (0.2, 0.1))
        np.testing.assert_array_equal(kept.pixels, pixels)
        with tifffile.TiffFile(tmp_path / name) as tiff:
            fine, coarse = tiff.series[0].levels
            assert (fine.keyframe.compression != 1) is (compression != "auto")
            planes = pixels if axes == "CYX" else np.moveaxis(pixels, -1, 0)
            means = planes[:, :2050, :36].reshape(-1, 1025, 2, 18, 2).mean((2, 4))
            half = coarse.asarray() if axes == "CYX" else np.moveaxis(coarse.asarray(), -1, 0)
            assert half.shape == (len(planes), 1026, 19)
            np.testing.assert_allclose(half[:, :1025, :18], means, atol=0.5)


@pytest.mark.parametrize("compression", ["none", "zlib", "zstd"])
def test_results_are_compressed_without_loss(tmp_path: Path, compression: Compression) -> None:
    image = Image(np.tile(np.float32(0.1), (2, 600, 700)), "ZYX", z_step_um=0.5)
    for name in ("a.tif", "a.ome.tif", "a.ome.zarr"):
        write_image(tmp_path / name, image, compression=compression)
        kept = read_image(tmp_path / name)
        assert (kept.axes, kept.z_step_um) == ("ZYX", 0.5)
        np.testing.assert_array_equal(kept.pixels, image.pixels)
        files = [path for path in (tmp_path / name).rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files or [tmp_path / name])
        assert (size < image.pixels.nbytes / 10) is (compression != "none")
    if compression != "none":
        with pytest.raises(OutputError, match=r"Cannot compress .*a\.npy; choose \.tif"):
            write_image(tmp_path / "a.npy", image, compression=compression)
