"""Layers as images of the core, their transforms, and the metadata that say how they were made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.layers import Image as ImageLayer
from napari.layers._source import layer_source

from napari_coordgate.errors import ImageError
from napari_coordgate.io import Image, write_image
from napari_coordgate.optics import PSFField
from napari_coordgate.widgets.layers import (
    copy_appearance,
    copy_transform,
    frame_transform,
    guess_axes,
    image_of,
    image_transform,
    metadata,
    pixel_size_um,
    provenance,
    psf_field_metadata,
    psf_field_of,
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
def test_axes_are_guessed_from_names_or_from_their_number(
    shape: tuple[int, ...], labels: tuple[str, ...] | None, axes: str
) -> None:
    assert guess_axes(ImageLayer(np.zeros(shape), axis_labels=labels)) == axes


def test_a_color_image_has_samples() -> None:
    assert guess_axes(ImageLayer(np.zeros((4, 5, 3)), rgb=True)) == "YXS"
    image = image_of(ImageLayer(np.zeros((4, 5, 3)), rgb=True))
    assert (image.axes, image.frame_shape) == ("YXS", (4, 5))


def test_more_than_five_axes_are_refused() -> None:
    with pytest.raises(ImageError, match="hyper has 6 axes"):
        guess_axes(ImageLayer(np.zeros((1, 1, 1, 1, 4, 5)), name="hyper"))


@pytest.mark.parametrize("unit", [("um", 1.0), ("nm", 1e-3), ("mm", 1e3)])
def test_the_pixel_size_is_converted_to_um(unit: tuple[str, float]) -> None:
    name, factor = unit
    layer = ImageLayer(np.zeros((3, 4, 5)), scale=(9, 0.5, 0.25), units=("s", name, name))
    assert pixel_size_um(layer) == pytest.approx((0.5 * factor, 0.25 * factor))


def test_the_pixel_size_is_that_of_the_whole_transform() -> None:
    """Plugins put the size into the affine matrix, and a stage turns the camera."""
    affine = np.diag([3.0, 0.4, 0.2, 1.0])
    stack = ImageLayer(np.zeros((2, 4, 5)), affine=affine, units=("um",) * 3, rotate=(0, 0, 0))
    assert pixel_size_um(stack) == pytest.approx((0.4, 0.2))
    assert image_of(stack).z_step_um == pytest.approx(3.0)
    turned = ImageLayer(np.zeros((4, 5)), scale=(0.5, 0.5), rotate=30, units=("um", "um"))
    assert pixel_size_um(turned) == pytest.approx((0.5, 0.5))


def test_without_units_there_is_no_pixel_size() -> None:
    assert pixel_size_um(ImageLayer(np.zeros((4, 5)), scale=(2, 2))) is None


def test_what_a_reader_left_out_is_taken_from_the_file_of_the_layer(tmp_path: Path) -> None:
    """napari's own reader keeps only the pixels of a TIFF file."""
    pixels = np.zeros((2, 3, 16, 20), np.uint16)
    names = ("DAPI", "GFP")
    image = Image(pixels, "CZYX", (0.3, 0.2), z_step_um=1.5, channel_names=names)
    write_image(tmp_path / "a.ome.tif", image)
    with layer_source(path=str(tmp_path / "a.ome.tif")):
        whole = ImageLayer(pixels, name="a")
        channel = ImageLayer(pixels[1], name="a GFP")
        binned = ImageLayer(pixels[:, :, ::2, ::2], name="binned")
    read = image_of(whole)
    assert (read.axes, read.pixel_size_um, read.z_step_um) == ("CZYX", (0.3, 0.2), 1.5)
    assert read.channel_names == names
    assert (image_of(channel).axes, image_of(channel).channel_names) == ("ZYX", ("GFP",))
    assert image_of(binned).pixel_size_um is None


def test_a_mask_and_axes_that_are_not_those_on_view_are_refused() -> None:
    with pytest.raises(ImageError, match=r"^nuclei is a mask; choose"):
        image_of(ImageLayer(np.zeros((4, 5), bool), name="nuclei"))
    with pytest.raises(ImageError, match=r"must end with YX"):
        image_of(ImageLayer(np.zeros((2, 2, 8, 8)), name="cells"), "YXTZ")


def test_wrong_axes_are_an_error_that_names_the_layer() -> None:
    with pytest.raises(ImageError, match=r"^cells: .*TCYX"):
        image_of(ImageLayer(np.zeros((4, 5)), name="cells"), "ZYX")


def test_a_multiscale_layer_is_used_at_full_resolution() -> None:
    layer = ImageLayer([np.zeros((8, 8)), np.zeros((4, 4))], multiscale=True)
    assert image_of(layer).frame_shape == (8, 8)


def test_a_result_has_the_transform_and_appearance_of_its_source() -> None:
    source = ImageLayer(
        np.random.default_rng(0).random((2, 4, 5)),
        scale=(3, 0.5, 0.25),
        translate=(1, 2, 3),
        rotate=30,
        units=("s", "um", "um"),
        axis_labels=("t", "y", "x"),
        contrast_limits=(0.2, 0.7),
        colormap="magma",
        blending="additive",
        opacity=0.6,
    )
    result = ImageLayer(np.ones((2, 4, 5)), **copy_transform(source), **copy_appearance(source))
    np.testing.assert_allclose(result.extent.world, source.extent.world)
    np.testing.assert_allclose(result.data_to_world((1, 2, 3)), source.data_to_world((1, 2, 3)))
    assert result.units == source.units
    assert result.axis_labels == source.axis_labels
    assert result.contrast_limits == source.contrast_limits
    assert result.colormap.name == "magma"
    assert (result.blending, result.opacity) == ("additive", 0.6)


def test_a_plane_has_the_transform_of_its_stack() -> None:
    source = ImageLayer(np.zeros((2, 4, 5)), scale=(3, 0.5, 0.25), translate=(1, 2, 3))
    plane = ImageLayer(np.ones((4, 5)), **copy_transform(source, 2))
    np.testing.assert_allclose(plane.extent.world, source.extent.world[:, 1:])
    turned = ImageLayer(
        np.zeros((2, 4, 5)), scale=(3, 0.5, 0.25), translate=(1, 2, 3), rotate=30, shear=(0, 0, 0.5)
    )
    window = copy_transform(turned, 2)
    window["translate"] = window["translate"] + window["scale"] * (2, 1)
    moved = ImageLayer(np.ones((2, 3)), **window)
    for pixel in ((0, 0), (1, 2)):
        expected = turned.data_to_world((0, pixel[0] + 2, pixel[1] + 1))[1:]
        np.testing.assert_allclose(moved.data_to_world(pixel), expected)


PIXELS = np.zeros((2, 3, 4, 5, 6), np.uint8)


def test_a_layer_keeps_the_axes_and_steps_of_a_file() -> None:
    image = Image(PIXELS, "TCZYX", (0.2, 0.3), z_step_um=1.5, time_step_s=60.0)
    layer = ImageLayer(PIXELS, **image_transform(image))
    assert layer.scale.tolist() == [60.0, 1.0, 1.5, 0.2, 0.3]
    assert [str(unit) for unit in layer.units] == ["second", "pixel", *["micrometer"] * 3]
    assert guess_axes(layer) == image.axes
    assert pixel_size_um(layer) == pytest.approx(image.pixel_size_um)


def test_unknown_steps_are_one_pixel() -> None:
    layer = ImageLayer(PIXELS[0, 0], **image_transform(Image(PIXELS[0, 0], "ZYX")))
    assert layer.scale.tolist() == [1.0] * 3
    assert {str(unit) for unit in layer.units} == {"pixel"}
    assert pixel_size_um(layer) is None


def test_color_samples_are_no_axis_of_the_layer() -> None:
    color = PIXELS[0, 0, :, :, :3]
    layer = ImageLayer(color, **image_transform(Image(color, "YXS", (0.5, 0.5))))
    assert layer.rgb
    assert layer.scale.tolist() == [0.5, 0.5]
    assert guess_axes(layer) == "YXS"


@pytest.mark.parametrize("pitch", [(1.0, 1.0), (2.0, 2.0), (4.0, 3.0)])
def test_the_outer_edges_of_an_image_are_those_of_the_frame(pitch: tuple[float, float]) -> None:
    frame = ImageLayer(np.zeros((12, 24)), **frame_transform((), 0.325))
    shape = tuple(int(n / p) for n, p in zip((12, 24), pitch, strict=True))
    image = ImageLayer(np.zeros(shape), **frame_transform((), 0.325, pitch))
    half = np.array(frame.scale) / 2
    edges = [frame.extent.world[0] - half, frame.extent.world[1] + half]
    half = np.array(image.scale) / 2
    np.testing.assert_allclose(edges[0], image.extent.world[0] - half, atol=1e-12)
    np.testing.assert_allclose(edges[1], image.extent.world[1] + half)


def test_without_a_pixel_size_pixels_are_the_unit() -> None:
    layer = ImageLayer(np.zeros((3, 4, 5)), **frame_transform(("channel",), None))
    assert [str(unit) for unit in layer.units] == ["pixel"] * 3
    assert layer.axis_labels == ("channel", "y", "x")


def test_a_layer_records_how_it_was_made() -> None:
    layer = ImageLayer(np.zeros((4, 5)), metadata=metadata("sample", source="here"))
    assert provenance(layer.metadata) == {"kind": "sample", "source": "here"}
    assert psf_field_of(layer.metadata) is None


@pytest.mark.parametrize("foreign", [{}, {"napari_coordgate": 3}, {"other": {"kind": "psf field"}}])
def test_other_layers_have_no_provenance(foreign: dict[str, object]) -> None:
    assert provenance(foreign) == {}
    assert psf_field_of(foreign) is None


def test_a_layer_carries_its_psf_field() -> None:
    psf_field = PSFField(np.ones((1, 3, 3)) / 9, np.ones((1, 1, 1)), (8, 8))
    assert psf_field_of(psf_field_metadata(psf_field)) is psf_field
