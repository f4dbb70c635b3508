"""Where layers lie, by what is known of their images."""

import numpy as np
import pytest
from napari.layers import Image as ImageLayer

from napari_coordgate.io import Image
from napari_coordgate.widgets.layers import guess_axes, image_transform, pixel_size_um

PIXELS = np.zeros((2, 3, 4, 5, 6), np.uint8)


def test_a_layer_keeps_what_a_file_tells_of_its_axes() -> None:
    image = Image(PIXELS, "TCZYX", (0.2, 0.3), z_step_um=1.5, time_step_s=60.0)
    layer = ImageLayer(PIXELS, **image_transform(image))
    assert layer.scale.tolist() == [60.0, 1.0, 1.5, 0.2, 0.3]
    assert [str(unit) for unit in layer.units] == ["second", "pixel", *["micrometer"] * 3]
    assert guess_axes(layer) == image.axes
    assert pixel_size_um(layer) == pytest.approx(image.pixel_size_um)


def test_what_a_file_does_not_tell_is_a_pixel() -> None:
    layer = ImageLayer(PIXELS[0, 0], **image_transform(Image(PIXELS[0, 0], "ZYX")))
    assert layer.scale.tolist() == [1.0] * 3
    assert {str(unit) for unit in layer.units} == {"pixel"}
    assert pixel_size_um(layer) is None


def test_samples_of_color_are_no_axis_of_the_layer() -> None:
    color = PIXELS[0, 0, :, :, :3]
    layer = ImageLayer(color, **image_transform(Image(color, "YXS", (0.5, 0.5))))
    assert layer.rgb
    assert layer.scale.tolist() == [0.5, 0.5]
    assert guess_axes(layer) == "YXS"
