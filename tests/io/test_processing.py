"""Planes that cannot be processed are copied, and the others are processed."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_coordgate.errors import ConstantPlaneError, OutputError
from napari_coordgate.events import Event, Note, PlaneDone, Progress
from napari_coordgate.io import Image, process_planes
from napari_coordgate.normalization import check_plane


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def negative(source: Any, target: Any, name: str, check: Any) -> Iterator[None]:
    """Process a plane, which must not be constant."""
    check_plane(source, name)
    target[:, :] = -source[:, :].astype(np.float32)
    yield


def processed(image: Image) -> tuple[NDArray[np.float32], list[Event]]:
    out = np.full(image.data.shape, np.nan, np.float32)
    return out, list(process_planes(image, out, negative, 1, "tile"))


def stack(rng: np.random.Generator, *shape: int) -> NDArray[np.uint8]:
    return rng.integers(1, 255, shape).astype(np.uint8)


def test_a_constant_plane_of_a_stack_is_copied_with_a_note(rng: np.random.Generator) -> None:
    pixels = stack(rng, 4, 8, 8)
    pixels[1:3] = 7
    out, events = processed(Image(pixels, "TYX"))
    np.testing.assert_array_equal(out[[0, 3]], -pixels[[0, 3]].astype(np.float32))
    np.testing.assert_array_equal(out[1:3], 7)
    assert [e.text for e in events if isinstance(e, Note)] == [
        "The image: copied, as they are constant: plane 1; plane 2."
    ]
    assert sum(isinstance(event, PlaneDone) for event in events) == 4
    last = [event for event in events if isinstance(event, Progress)][-1]
    assert last.done == last.total


def test_an_image_of_one_constant_plane_is_an_error() -> None:
    with pytest.raises(ConstantPlaneError, match="7"):
        processed(Image(np.full((8, 8), 7, np.uint8), "YX"))


@pytest.mark.parametrize("samples", [2, 4])
def test_an_alpha_channel_is_copied(rng: np.random.Generator, samples: int) -> None:
    pixels = stack(rng, 8, 8, samples)
    out, events = processed(Image(pixels, "YXS"))
    np.testing.assert_array_equal(out[..., -1], pixels[..., -1])
    np.testing.assert_array_equal(out[..., :-1], -pixels[..., :-1].astype(np.float32))
    assert any(isinstance(event, Note) and "alpha" in event.text for event in events)


def test_a_color_image_without_alpha_has_no_note(rng: np.random.Generator) -> None:
    pixels = stack(rng, 8, 8, 3)
    out, events = processed(Image(pixels, "YXS"))
    np.testing.assert_array_equal(out, -pixels.astype(np.float32))
    assert not [event for event in events if isinstance(event, Note)]


@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
def test_a_result_with_nan_is_an_error_that_names_the_plane(
    rng: np.random.Generator, dtype: type
) -> None:
    def fails(source: Any, target: Any, name: str, check: Any) -> Iterator[None]:
        values = np.asarray(source[:, :], np.float32)
        if source.index[0] == 1:
            values[3, 4] = np.nan
        target[:, :] = values
        yield

    out: NDArray[Any] = np.zeros((3, 8, 8), dtype)
    image = Image(stack(rng, 3, 8, 8), "TYX")
    with pytest.raises(OutputError, match=r"plane 1: .*NaN"):
        list(process_planes(image, out, fails, 1, "tile"))


@pytest.mark.parametrize(("factor", "is_far"), [(8, False), (40, True)])
def test_a_result_far_outside_the_range_is_a_warning(
    rng: np.random.Generator, factor: float, is_far: bool
) -> None:
    def stretched(source: Any, target: Any, name: str, check: Any) -> Iterator[None]:
        target[:, :] = factor * np.asarray(source[:, :], np.float32)
        yield

    image = Image(stack(rng, 2, 8, 8), "TYX")
    out = np.zeros(image.data.shape, np.uint8)  # clipped, so the result alone does not tell
    notes = [e for e in process_planes(image, out, stretched, 1, "tile") if isinstance(e, Note)]
    assert [note.is_warning for note in notes] == [True] * is_far
    assert all("plane 0; plane 1" in note.text for note in notes)
