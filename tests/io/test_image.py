"""Laws of images in memory."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_coordgate.errors import ImageError
from napari_coordgate.io import Image, as_pixels, is_pixels, planes
from tests.io.examples import LENGTHS, numbers


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


def test_channels_have_a_name_each_or_none() -> None:
    assert Image(numbers("CYX"), "CYX", channels=("a", "b", "c")).metadata.channels[2] == "c"
    assert Image(numbers("YX"), "YX", channels=("a",)).channels == ("a",)
    for axes in ("CYX", "YX"):
        with pytest.raises(ImageError, match="names for 2; name each or none"):
            Image(numbers(axes), axes, channels=("a", "b"))


def test_a_window_of_a_plane_is_read_and_written_alone() -> None:
    image = Image(np.zeros((2, 6, 7)), "ZYX")
    view = image.view((1, slice(None), slice(None)))
    assert (view.shape, view.dtype, view.ndim) == ((6, 7), np.dtype(float), 2)
    view[1:3, 2:4] = np.ones((2, 2))
    assert image.data.sum() == view[1:3, 2:4].sum() == 4
