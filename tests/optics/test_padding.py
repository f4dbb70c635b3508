"""Tests of the scene around a window: mirrored as in NumPy, with an exact transpose."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_coordgate.errors import FrameMismatchError
from napari_coordgate.geometry import Window, mirror_indices
from napari_coordgate.optics.padding import (
    as_tensor,
    pad_mirror,
    pad_mirror_adjoint,
    resolve_windows,
)

REGION = Window(3, -2, 5, 4)
WINDOWS = [
    Window(4, -1, 3, 2),
    Window(3, -2, 5, 4),
    Window(1, -4, 9, 5),
    Window(-20, -30, 50, 61),
    Window(40, 30, 3, 2),
]


@pytest.fixture
def image() -> torch.Tensor:
    return torch.randn(2, *REGION.shape, generator=torch.Generator().manual_seed(0)).double()


@pytest.mark.parametrize("margin", [0, 1, 5, 6, 23])
@pytest.mark.parametrize("length", [1, 2, 5])
def test_mirroring_equals_that_of_numpy(margin: int, length: int) -> None:
    indices = mirror_indices(-margin, length + 2 * margin, length)
    np.testing.assert_array_equal(indices, np.pad(np.arange(length), margin, mode="symmetric"))


@pytest.mark.parametrize("window", WINDOWS)
def test_beyond_the_image_the_scene_is_mirrored(window: Window, image: torch.Tensor) -> None:
    margin = 60
    plane = np.pad(image.numpy(), [(0, 0), (margin, margin), (margin, margin)], mode="symmetric")
    rows, columns = window.within(REGION.expanded(margin))
    scene = pad_mirror(image, REGION, window)
    np.testing.assert_array_equal(scene, plane[:, rows, columns])


def test_a_scene_inside_the_image_is_not_copied(image: torch.Tensor) -> None:
    scene = pad_mirror(image, REGION, Window(4, -1, 3, 2))
    assert scene.untyped_storage().data_ptr() == image.untyped_storage().data_ptr()


@pytest.mark.parametrize("window", WINDOWS)
def test_the_adjoint_is_the_transpose_of_the_padding(window: Window, image: torch.Tensor) -> None:
    light = torch.randn(2, *window.shape, generator=torch.Generator().manual_seed(1)).double()
    forward = torch.sum(pad_mirror(image, REGION, window) * light)
    adjoint = torch.sum(image * pad_mirror_adjoint(light, REGION, window))
    assert forward.item() == pytest.approx(adjoint.item(), rel=1e-12)


def test_the_default_window_is_the_whole_frame() -> None:
    frame = Window.whole((8, 9))
    assert resolve_windows((3, 8, 9), (0, 0), None, (8, 9)) == (frame, frame)


def test_an_image_may_extend_beyond_the_frame_and_the_window() -> None:
    window, region = resolve_windows((20, 30), (-4, -5), Window(1, 2, 3, 4), (8, 9))
    assert window == Window(1, 2, 3, 4)
    assert region == Window(-4, -5, 20, 30)


@pytest.mark.parametrize(
    ("shape", "origin", "window", "message"),
    [
        ((8,), (0, 0), None, "not an image"),
        ((0, 9), (0, 0), None, "not an image"),
        ((8, 8), (0, 0), None, "8x8 pixels.*does not cover.*8x9"),
        ((8, 9), (1, 0), None, "does not cover"),
        ((8, 9), (0, 0), Window(0, 0, 0, 3), "not inside the frame"),
        ((8, 9), (0, 0), Window(6, 0, 3, 3), "not inside the frame"),
        ((8, 9), (0, 0), Window(-1, 0, 3, 3), "not inside the frame"),
        ((4, 4), (0, 0), Window(2, 2, 3, 3), "does not cover"),
    ],
)
def test_an_image_that_does_not_cover_its_window_is_refused(
    shape: tuple[int, ...], origin: tuple[int, int], window: Window | None, message: str
) -> None:
    with pytest.raises(FrameMismatchError, match=message) as caught:
        resolve_windows(shape, origin, window, (8, 9))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("bool", torch.float32),
        ("u1", torch.float32),
        ("<u2", torch.float32),
        (">u2", torch.float32),
        ("f2", torch.float32),
        ("<f4", torch.float32),
        (">f4", torch.float32),
        ("<f8", torch.float64),
        (">f8", torch.float64),
    ],
)
def test_arrays_of_any_type_are_converted_to_native_floats(kind: str, dtype: torch.dtype) -> None:
    array = np.array([[0, 1], [1, 0]]).astype(kind)
    tensor, adjoint = as_tensor(array)
    assert tensor.dtype == dtype
    np.testing.assert_array_equal(adjoint(tensor), array)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bfloat16, torch.float32])
def test_tensors_are_returned_as_tensors(dtype: torch.dtype) -> None:
    tensor, adjoint = as_tensor(torch.ones(2, 2, dtype=dtype))
    assert tensor.dtype == torch.float32
    assert isinstance(adjoint(tensor), torch.Tensor)


def test_read_only_and_reversed_arrays_are_accepted() -> None:
    array: NDArray[Any] = np.arange(6, dtype=np.float32).reshape(2, 3)
    array.flags.writeable = False
    np.testing.assert_array_equal(as_tensor(array[::-1, ::-1])[0], array[::-1, ::-1])
    np.testing.assert_array_equal(as_tensor(array)[0], array)
