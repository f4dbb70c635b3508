"""Tests of images in memory."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_coordgate.errors import ImageError
from napari_coordgate.io import (
    Image,
    as_pixel_array,
    is_pixel_array,
    plane_indices,
    read_image,
    write_image,
)
from tests.io.examples import LENGTHS, numbers


@pytest.mark.parametrize("axes", ["YX", "ZYX", "CYX", "TYX", "TCZYX", "YXS", "YXC", "SYX", "YZXC"])
def test_plane_indices_cover_an_image_once(axes: str) -> None:
    pixels = np.zeros([LENGTHS[letter] for letter in axes])
    image = Image(pixels, axes)
    for index in plane_indices(image):
        assert image.plane(index).shape == image.frame_shape == (6, 7)
        pixels[index] += 1
    assert (pixels == 1).all()


def test_pixel_arrays_are_not_copied_and_others_are_converted(tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", numbers("ZYX"))
    mapped = np.load(tmp_path / "image.npy", mmap_mode="r")
    for array in (numbers("YX"), mapped):
        assert is_pixel_array(array)
        assert as_pixel_array(array) is array
    assert not is_pixel_array([[1, 2], [3, 4]])
    assert not is_pixel_array(tmp_path)
    assert as_pixel_array([[1, 2], [3, 4]]).shape == (2, 2)
    tensor = torch.ones(3, 4)
    assert not is_pixel_array(tensor)
    assert isinstance(as_pixel_array(tensor), np.ndarray)


def test_all_planes_together_are_the_pixels() -> None:
    image = Image(numbers("ZYX"), "ZYX")
    planes = [image.plane(index) for index in plane_indices(image)]
    np.testing.assert_array_equal(planes, image.pixels)
    np.testing.assert_array_equal(image.pixels, numbers("ZYX"))


@pytest.mark.parametrize(
    ("data", "axes", "problem"),
    [
        (np.zeros((0, 5)), "YX", "has no pixels"),
        (np.zeros((0, 5, 5)), "TYX", "has no pixels"),
        (np.zeros((5, 5), complex), "YX", "complex128"),
        (np.zeros((5, 5), object), "YX", "object"),
        (np.zeros((5, 5)), "XY", "Y and then X"),
        (np.zeros(5), "X", "Y and then X"),
    ],
)
def test_invalid_images_are_refused(data: NDArray[Any], axes: str, problem: str) -> None:
    with pytest.raises(ImageError, match=rf"^The image.*{problem}"):
        Image(data, axes)


def test_all_channels_have_names_or_none() -> None:
    assert (
        Image(numbers("CYX"), "CYX", channel_names=("a", "b", "c")).metadata.channel_names[2] == "c"
    )
    assert Image(numbers("YX"), "YX", channel_names=("a",)).channel_names == ("a",)
    for axes in ("CYX", "YX"):
        with pytest.raises(ImageError, match="2 channel names; give those of all"):
            Image(numbers(axes), axes, channel_names=("a", "b"))


def test_a_plane_view_reads_and_writes_windows() -> None:
    image = Image(np.zeros((2, 6, 7)), "ZYX")
    view = image.view((1, slice(None), slice(None)))
    assert (view.shape, view.dtype, view.ndim) == ((6, 7), np.dtype(float), 2)
    view[1:3, 2:4] = np.ones((2, 2))
    assert image.pixels.sum() == view[1:3, 2:4].sum() == 4


def test_masked_pixels_are_refused() -> None:
    pixels = np.ma.masked_array(np.ones((4, 4)), mask=np.eye(4, dtype=bool))
    with pytest.raises(ImageError, match="has masked pixels"):
        Image(pixels, "YX")


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".ome.zarr"])
def test_a_channel_name_that_is_no_text_is_written_with_question_marks(
    tmp_path: Path, suffix: str
) -> None:
    names = ("DAPI", "x\ud800")  # half of a character, as JSON can state it
    path = tmp_path / f"image{suffix}"
    write_image(path, Image(np.zeros((2, 8, 8), np.float32), "CYX", channel_names=names))
    assert read_image(path).channel_names == ("DAPI", "x?")
