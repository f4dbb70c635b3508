import numpy as np
import pytest
from napari.layers import Image

from napari_coordgate.optics import PSFField
from napari_coordgate.widgets.layers import (
    frame_transform,
    metadata,
    provenance,
    psf_field_metadata,
    psf_field_of,
)


@pytest.mark.parametrize("pitch", [(1.0, 1.0), (2.0, 2.0), (4.0, 3.0)])
def test_the_outer_edges_of_an_image_are_those_of_the_frame(pitch: tuple[float, float]) -> None:
    frame = Image(np.zeros((12, 24)), **frame_transform((), 0.325))
    shape = tuple(int(n / p) for n, p in zip((12, 24), pitch, strict=True))
    image = Image(np.zeros(shape), **frame_transform((), 0.325, pitch))
    half = np.array(frame.scale) / 2
    edges = [frame.extent.world[0] - half, frame.extent.world[1] + half]
    half = np.array(image.scale) / 2
    np.testing.assert_allclose(edges[0], image.extent.world[0] - half, atol=1e-12)
    np.testing.assert_allclose(edges[1], image.extent.world[1] + half)


def test_without_a_pixel_size_pixels_are_the_unit() -> None:
    layer = Image(np.zeros((3, 4, 5)), **frame_transform(("channel",), None))
    assert [str(unit) for unit in layer.units] == ["pixel"] * 3
    assert layer.axis_labels == ("channel", "y", "x")


def test_a_layer_tells_how_it_came_about() -> None:
    layer = Image(np.zeros((4, 5)), metadata=metadata("sample", source="here"))
    assert provenance(layer.metadata) == {"kind": "sample", "source": "here"}
    assert psf_field_of(layer.metadata) is None


@pytest.mark.parametrize("foreign", [{}, {"napari_coordgate": 3}, {"other": {"kind": "psf field"}}])
def test_other_layers_tell_nothing(foreign: dict[str, object]) -> None:
    assert provenance(foreign) == {}
    assert psf_field_of(foreign) is None


def test_a_layer_carries_its_psf_field() -> None:
    field = PSFField.from_psfs(np.ones((1, 3, 3)), [(4, 4)], (8, 8))
    assert psf_field_of(psf_field_metadata(field)) is field
