"""Layers as images of the core: axes, pixel size, and results that lie where they belong."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image as ImageLayer

from napari_coordgate.errors import ImageError
from napari_coordgate.widgets.layers import (
    copy_appearance,
    copy_transform,
    guess_axes,
    image_of,
    pixel_size_um,
)

UM = {"scale": (0.5, 0.25), "units": ("um", "um")}


@pytest.mark.parametrize(
    ("shape", "labels", "axes"),
    [
        ((4, 5), None, "YX"),
        ((2, 4, 5), None, "ZYX"),
        ((2, 3, 4, 5), None, "TZYX"),
        ((2, 2, 3, 4, 5), None, "TCZYX"),
        ((2, 4, 5), ("t", "y", "x"), "TYX"),
        ((2, 4, 5), ("Channel", "Y", "X"), "CYX"),
        ((2, 4, 5), ("time", "row", "column"), "TYX"),
        ((2, 4, 5), ("stage", "y", "x"), "ZYX"),
        ((2, 3, 4, 5), ("c", "c", "y", "x"), "TZYX"),
    ],
)
def test_axes_are_guessed_from_names_or_else_from_their_number(
    shape: tuple[int, ...], labels: tuple[str, ...] | None, axes: str
) -> None:
    assert guess_axes(ImageLayer(np.zeros(shape), axis_labels=labels)) == axes


def test_a_color_image_has_samples() -> None:
    assert guess_axes(ImageLayer(np.zeros((4, 5, 3)), rgb=True)) == "YXS"
    image = image_of(ImageLayer(np.zeros((4, 5, 3)), rgb=True))
    assert (image.axes, image.frame_shape) == ("YXS", (4, 5))


def test_more_axes_than_have_letters_are_no_image() -> None:
    with pytest.raises(ImageError, match="hyper has 6 axes"):
        guess_axes(ImageLayer(np.zeros((1, 1, 1, 1, 4, 5)), name="hyper"))


@pytest.mark.parametrize("unit", [("um", 1.0), ("nm", 1e-3), ("mm", 1e3)])
def test_the_pixel_size_is_in_um_whatever_the_layers_unit(unit: tuple[str, float]) -> None:
    name, factor = unit
    layer = ImageLayer(np.zeros((3, 4, 5)), scale=(9, 0.5, 0.25), units=("s", name, name))
    assert pixel_size_um(layer) == pytest.approx((0.5 * factor, 0.25 * factor))


def test_without_units_there_is_no_pixel_size() -> None:
    assert pixel_size_um(ImageLayer(np.zeros((4, 5)), scale=(2, 2))) is None


def test_wrong_axes_are_an_error_that_names_the_layer() -> None:
    with pytest.raises(ImageError, match=r"^cells: .*TCYX"):
        image_of(ImageLayer(np.zeros((4, 5)), name="cells"), "ZYX")


def test_pixels_of_many_scales_are_those_of_the_finest() -> None:
    layer = ImageLayer([np.zeros((8, 8)), np.zeros((4, 4))], multiscale=True)
    assert image_of(layer).frame_shape == (8, 8)


def test_a_result_lies_and_looks_like_its_source() -> None:
    source = ImageLayer(
        np.random.default_rng(0).random((2, 4, 5)),
        scale=(3, 0.5, 0.25),
        translate=(1, 2, 3),
        rotate=30,
        units=("s", "um", "um"),
        axis_labels=("t", "y", "x"),
        contrast_limits=(0.2, 0.7),
        colormap="magma",
    )
    result = ImageLayer(np.ones((2, 4, 5)), **copy_transform(source), **copy_appearance(source))
    np.testing.assert_allclose(result.extent.world, source.extent.world)
    np.testing.assert_allclose(result.data_to_world((1, 2, 3)), source.data_to_world((1, 2, 3)))
    assert result.units == source.units
    assert result.axis_labels == source.axis_labels
    assert result.contrast_limits == source.contrast_limits
    assert result.colormap.name == "magma"


def test_a_plane_of_a_stack_lies_where_the_stack_does() -> None:
    source = ImageLayer(np.zeros((2, 4, 5)), scale=(3, 0.5, 0.25), translate=(1, 2, 3))
    plane = ImageLayer(np.ones((4, 5)), **copy_transform(source, 2))
    np.testing.assert_allclose(plane.extent.world, source.extent.world[:, 1:])
