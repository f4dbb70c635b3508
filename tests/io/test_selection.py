"""Tests of selecting channels, times and planes."""

from typing import Any

import numpy as np
import pytest

from napari_coordgate.config import Selection
from napari_coordgate.errors import ImageError
from napari_coordgate.io import Image
from tests.io.examples import numbers

IMAGE = Image(
    numbers("TCZYX"), "TCZYX", z_step_um=0.5, time_step_s=2.0, channel_names=("DAPI", "GFP", "a, b")
)


class NeverLoaded:
    """Array that must not be loaded."""

    shape, dtype, ndim = (2, 3, 6, 7), np.dtype("u2"), 4

    def __getitem__(self, index: object) -> Any:
        pytest.fail("The array was loaded.")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", [0]),
        ("2,0", [2, 0]),
        ("1:", [1, 2]),
        ("::2", [0, 2]),
        (":9", [0, 1, 2]),
        ("-1", [2]),
        ("GFP", [1]),
        ("a, b", [2]),
        ("GFP, 0", [1, 0]),
        ("0:2, 1", [0, 1]),
    ],
)
def test_numbers_ranges_and_names_select_channels(text: str, expected: list[int]) -> None:
    part = IMAGE.select(Selection(channels=text))
    assert part.axes == IMAGE.axes
    np.testing.assert_array_equal(part.pixels, IMAGE.pixels[:, expected])
    assert part.channel_names == tuple(IMAGE.channel_names[number] for number in expected)


def test_a_selection_keeps_all_axes_and_adapts_steps() -> None:
    part = IMAGE.select(Selection(channels="DAPI", times="1", planes="::2"))
    np.testing.assert_array_equal(part.pixels, IMAGE.data[1:, :1, ::2])
    assert (part.z_step_um, part.time_step_s, part.channel_names) == (1.0, 2.0, ("DAPI",))
    assert IMAGE.select(Selection(planes="0,1,3")).z_step_um is None


def test_windows_of_a_selection_equal_those_of_the_image() -> None:
    part = IMAGE.select(Selection(channels="2,0", planes="1:3"))
    window = slice(2, 5), slice(None, None, 3)
    np.testing.assert_array_equal(
        part.view((1, 1, 0, slice(None), slice(None)))[window], IMAGE.data[1, 0, 1][window]
    )
    np.testing.assert_array_equal(
        part.data[0, :, 1, 2:4, 3],
        IMAGE.pixels[0, [2, 0], 2, 2:4, 3],
    )


def test_selecting_loads_nothing() -> None:
    part = Image(NeverLoaded(), "TCYX").select(Selection(channels="1,2", times="0"))
    assert part.data.shape == (1, 2, 6, 7)


def test_an_empty_selection_returns_the_image_itself() -> None:
    assert IMAGE.select(Selection()) is IMAGE


@pytest.mark.parametrize(
    ("selection", "problem"),
    [
        (Selection(channels="3"), r'no channel "3"; it has 3 channels \(0 to 2\), named DAPI'),
        (Selection(channels="Cy5"), r'no channel "Cy5"; it has 3 .* named DAPI, GFP'),
        (Selection(times="2"), r'no time "2"; it has 2 times \(0 to 1\)\.'),
        (Selection(times="GFP"), r'no time "GFP"'),
        (Selection(planes="4:"), r'no plane "4:"; it has 4 planes'),
        (Selection(planes="::0"), r'no plane "::0"'),
        (Selection(planes=""), r'no plane ""'),
        (Selection(planes="1-2"), r'no plane "1-2"'),
    ],
)
def test_an_element_that_does_not_exist_is_an_error_that_lists_what_exists(
    selection: Selection, problem: str
) -> None:
    with pytest.raises(ImageError, match=rf"^The image has {problem}"):
        IMAGE.select(selection)


def test_a_missing_axis_has_one_element() -> None:
    plane = Image(numbers("YX"), "YX", channel_names=("DAPI",))
    for text in ("0", "DAPI", ":"):
        assert plane.select(Selection(channels=text, times="0", planes="0")) is plane
    with pytest.raises(ImageError, match=r'no time "1"; it has 1 time \(0\)'):
        plane.select(Selection(times="1"))
