"""Tests of frame coordinates, windows and tiles."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from napari_coordgate.errors import FrameMismatchError, SettingsError
from napari_coordgate.geometry import (
    Window,
    as_origin,
    as_window,
    coordinate_axis,
    field_radius,
    field_vectors,
    frame_coordinates,
    tiles,
)

lengths = st.integers(1, 60)
starts = st.integers(-80, 80)
windows = st.builds(Window, starts, starts, lengths, lengths)
shapes = st.tuples(lengths, lengths)


@given(shapes)
def test_coordinates_are_those_of_pixel_centers(shape: tuple[int, int]) -> None:
    coordinates = frame_coordinates(shape)
    rows, columns = np.indices(shape)
    np.testing.assert_allclose(coordinates[0], (2 * rows + 1) / shape[0] - 1, atol=1e-7)
    np.testing.assert_allclose(coordinates[1], (2 * columns + 1) / shape[1] - 1, atol=1e-7)
    # The edges of the outermost pixels, half a pixel from their centers, are -1 and 1.
    np.testing.assert_allclose(coordinates, -coordinates[:, ::-1, ::-1], atol=1e-7)


@given(shapes, windows)
def test_a_window_has_the_coordinates_of_its_position_in_the_frame(
    shape: tuple[int, int], window: Window
) -> None:
    around = Window.whole(shape).expanded(150)
    cut = frame_coordinates(shape, around)[:, *window.within(around)]
    assert np.array_equal(cut, frame_coordinates(shape, window))


@given(st.integers(1, 30), st.integers(-50, 50), lengths)
def test_averaging_two_pixels_gives_the_coordinates_of_a_frame_of_half_the_size(
    half: int, start: int, length: int
) -> None:
    pairs = coordinate_axis(2 * start, 2 * length, 2 * half).reshape(-1, 2).mean(axis=1)
    np.testing.assert_allclose(pairs, coordinate_axis(start, length, half), atol=1e-12)


@given(windows, st.integers(0, 20))
def test_an_expanded_window_contains_the_window_at_its_center(window: Window, margin: int) -> None:
    around = window.expanded(margin)
    rows, columns = window.within(around)
    assert (rows.start, columns.start) == (margin, margin)
    assert (rows.stop - rows.start, columns.stop - columns.start) == window.shape
    assert (around.y1 - window.y1, around.x1 - window.x1) == (margin, margin)


@given(windows, st.sampled_from([1, 2, 8]))
def test_a_snapped_window_is_the_smallest_one_on_multiples(window: Window, multiple: int) -> None:
    snapped = window.snapped(multiple)
    assert snapped.contains(window)
    assert all(side % multiple == 0 for side in (*snapped.origin, snapped.y1, snapped.x1))
    assert max(snapped.height - window.height, snapped.width - window.width) <= 2 * (multiple - 1)
    assert snapped.snapped(multiple) == snapped


@given(windows, shapes)
def test_clipping_keeps_the_pixels_inside_the_frame(window: Window, shape: tuple[int, int]) -> None:
    kept = window.clipped(shape)
    rows = set(range(window.y0, window.y1)) & set(range(shape[0]))
    columns = set(range(window.x0, window.x1)) & set(range(shape[1]))
    assert set(range(kept.y0, kept.y1)) == rows
    assert set(range(kept.x0, kept.x1)) == columns


@given(windows, windows)
def test_slices_require_that_one_window_contains_the_other(inner: Window, outer: Window) -> None:
    if outer.contains(inner):
        assert np.empty(outer.shape)[inner.within(outer)].shape == inner.shape
    else:
        with pytest.raises(FrameMismatchError, match="inside"):
            inner.within(outer)


tilings = st.tuples(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.integers(1, 60),
    st.integers(0, 12),
    st.sampled_from([1, 2, 4, 8]),
).filter(lambda tiling: tiling[1] // tiling[3] >= 2 * -(-tiling[2] // tiling[3]) + 1)


@given(tilings)
def test_tiles_cover_every_pixel_once(tiling: tuple[tuple[int, int], int, int, int]) -> None:
    covered = np.zeros(tiling[0], int)
    whole = Window.whole(tiling[0])
    for tile, _ in tiles(*tiling):
        covered[tile.within(whole)] += 1
    assert (covered == 1).all()


@given(tilings)
def test_windows_of_tiles_contain_the_overlap_inside_the_image(
    tiling: tuple[tuple[int, int], int, int, int],
) -> None:
    shape, size, overlap, multiple = tiling
    for tile, window in tiles(*tiling):
        assert window.contains(tile.expanded(overlap).clipped(shape))
        assert Window.whole(shape).contains(window)
        assert max(window.shape) <= max(size, multiple)
        assert window.y0 % multiple == window.x0 % multiple == 0


@given(shapes)
def test_an_image_no_larger_than_a_tile_is_one_tile(shape: tuple[int, int]) -> None:
    assert list(tiles(shape, max(shape), 40, 8)) == [(Window.whole(shape), Window.whole(shape))]


def test_a_tile_smaller_than_its_overlap_is_refused_with_the_smallest_size() -> None:
    with pytest.raises(SettingsError, match="at least 44 pixels"):
        list(tiles((100, 100), 40, 18, 4))
    assert list(tiles((100, 100), 44, 18, 4))


@given(shapes)
def test_field_radius_is_one_at_the_corners_of_the_frame(shape: tuple[int, int]) -> None:
    height, width = shape
    radius = field_radius(shape)
    # The center of the corner pixel is half a pixel inside the corner.
    inset = np.hypot(height - 1, width - 1) / np.hypot(height, width)
    assert radius[0, 0] == pytest.approx(inset)
    assert radius.max() == pytest.approx(inset)
    assert radius.max() < 1
    np.testing.assert_allclose(radius, radius[::-1, ::-1])


def test_field_radius_of_a_window_is_cropped_from_that_of_the_frame() -> None:
    window = Window(3, 5, 7, 11)
    cut = field_radius((20, 30))[window.within(Window.whole((20, 30)))]
    assert np.array_equal(cut, field_radius((20, 30), window))


@given(shapes, st.floats(-1, 1), st.floats(-1, 1))
def test_field_radius_is_the_distance_from_the_optical_axis(
    shape: tuple[int, int], y: float, x: float
) -> None:
    height, width = shape
    rows, columns = np.indices(shape)
    axis_row, axis_column = (y + 1) * height / 2 - 0.5, (x + 1) * width / 2 - 0.5
    pixels = np.hypot(rows - axis_row, columns - axis_column)
    expected = pixels / (np.hypot(height, width) / 2)
    np.testing.assert_allclose(field_radius(shape, axis=(y, x)), expected, atol=1e-12)
    vectors = field_vectors(np.moveaxis(frame_coordinates(shape), 0, -1), shape, (y, x))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), expected, atol=1e-6)


@pytest.mark.parametrize("wrong", [(1, 2), (1, 2, 3, 4.5), 7, "abcd"])
def test_a_window_is_four_whole_numbers(wrong: Any) -> None:
    assert as_window((1, 2, 3, 4)) == Window(1, 2, 3, 4)
    assert isinstance(as_window(list(np.arange(4))), Window)
    with pytest.raises(FrameMismatchError, match=r"pass Window\(y0, x0, height, width\)"):
        as_window(wrong)


@pytest.mark.parametrize("wrong", [(1, 2, 3), (0.5, 2), 7, "ab"])
def test_an_origin_is_two_whole_numbers(wrong: Any) -> None:
    assert as_origin([3, -2]) == (3, -2)
    with pytest.raises(FrameMismatchError, match=r"two whole numbers, got .*; pass the"):
        as_origin(wrong)
