"""Layers and verdict that show where a deblurred image can be trusted, in a real window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray
from qtpy.QtWidgets import QApplication

from napari_coordgate.config import RichardsonLucyConfig
from napari_coordgate.inference import assess
from napari_coordgate.optics import PSFField
from napari_coordgate.trust import TrustFinding, TrustVerdict
from napari_coordgate.widgets.choices import image_layers
from napari_coordgate.widgets.deblur import DeblurWidget
from napari_coordgate.widgets.forms import in_words
from napari_coordgate.widgets.parts import Part
from napari_coordgate.widgets.session import session_of
from napari_coordgate.widgets.trust import (
    CONTRADICTED,
    VERDICT_COLORS,
    TrustLayers,
    verdict_text,
)
from tests.widgets.acting import WAIT_MS, choose, click, wait_for_end

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from pytestqt.qtbot import QtBot

PLACE = {"scale": (0.5, 0.5), "translate": (7, 9), "units": ("um", "um"), "rotate": 20}


@pytest.fixture
def widget(viewer: Viewer, psf_field: PSFField) -> DeblurWidget:
    widget = DeblurWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Deblur")
    session_of(viewer).psf_fields["my lens"] = psf_field
    return widget


def test_a_tick_adds_layers_beside_the_result_and_a_verdict(
    qtbot: QtBot,
    viewer: Viewer,
    widget: DeblurWidget,
    psf_field: PSFField,
    sharp: NDArray[np.uint8],
) -> None:
    blurred = psf_field.blur(sharp[0].astype(np.float32))
    source = viewer.add_image(blurred, name="cells", **PLACE)
    click(widget.trust)
    click(widget.bar.run)
    assert wait_for_end(qtbot, widget.bar).reason == "completed"
    expected = assess(blurred, "universal", psf_field=psf_field)
    qtbot.waitUntil(lambda: "cells contradicted" in viewer.layers, timeout=WAIT_MS)
    names = ["deblurred", "finest detail (µm)", "expected error", "contradicted"]
    assert [layer.name for layer in viewer.layers[1:]] == [f"cells {name}" for name in names]
    arrays = (expected.image, expected.detail_um, expected.error_map, expected.contradiction_map)
    for layer, array in zip(viewer.layers[1:], arrays, strict=True):
        np.testing.assert_array_equal(layer.data, array)
        np.testing.assert_allclose(layer.extent.world, source.extent.world)
        np.testing.assert_allclose(layer.rotate, source.rotate)
        assert layer.units == source.units
    assert [layer.visible for layer in viewer.layers] == [True, True, False, False, True]
    assert viewer.layers.selection.active is viewer.layers["cells deblurred"]
    error = viewer.layers["cells expected error"]
    assert error.contrast_limits[0] == 0 < error.contrast_limits[1] <= error.data.max()
    assert [name for name, _ in image_layers(viewer)] == ["cells deblurred", "cells"]
    verdict = expected.verdict
    assert widget.bar.message.text() == in_words(verdict_text(verdict))
    assert VERDICT_COLORS[verdict.color] in widget.bar.message.styleSheet()


def test_only_contradicted_pixels_are_masked() -> None:
    colors = CONTRADICTED.map(np.array([0.0, 0.25, 0.49, 0.51, 1.0]))
    np.testing.assert_array_equal(colors[:, 3] > 0.99, [False, False, False, True, True])
    np.testing.assert_array_equal(colors[:, 3] < 0.01, [True, True, True, False, False])


def test_color_images_and_other_methods_have_maps_too(
    qtbot: QtBot,
    viewer: Viewer,
    widget: DeblurWidget,
    psf_field: PSFField,
    sharp: NDArray[np.uint8],
) -> None:
    blurred = np.moveaxis(psf_field.blur(sharp[:3].astype(np.float32)), 0, -1) / 255
    viewer.add_image(blurred, name="color", rgb=True)
    choose(widget.method.box, "Richardson-Lucy")
    widget.method.forms["Richardson-Lucy"].set_settings(RichardsonLucyConfig(num_iter=5))
    click(widget.trust)
    click(widget.bar.run)
    assert wait_for_end(qtbot, widget.bar).reason == "completed"
    qtbot.waitUntil(lambda: "color contradicted" in viewer.layers, timeout=WAIT_MS)
    assert viewer.layers["color contradicted"].data.shape == (48, 48)
    assert "color expected error" not in viewer.layers
    assert "predicted" in widget.note.text()


def test_the_verdict_names_what_is_wrong_before_what_is_doubtful() -> None:
    verdict = TrustVerdict(
        (
            TrustFinding("noise", "green", "The noise fits."),
            TrustFinding("lens", "amber", "The lens is in doubt; measure it."),
            TrustFinding("contradiction", "red", "The image contradicts it; check the lens."),
        )
    )
    first, second, third = verdict_text(verdict).splitlines()
    assert "Do not trust" in first
    assert (second, third) == (verdict.findings[2].message, verdict.findings[1].message)


def test_without_the_tick_there_is_only_the_result(
    qtbot: QtBot,
    viewer: Viewer,
    widget: DeblurWidget,
    psf_field: PSFField,
    sharp: NDArray[np.uint8],
) -> None:
    viewer.add_image(psf_field.blur(sharp[0].astype(np.float32)), name="cells")
    choose(widget.method.box, "Wiener")
    click(widget.bar.run)
    assert wait_for_end(qtbot, widget.bar).reason == "completed"
    assert [layer.name for layer in viewer.layers] == ["cells", "cells deblurred"]


def test_a_job_that_ends_after_its_window_was_closed_shows_nothing(viewer: Viewer) -> None:
    part = Part(viewer.add_image(np.ones((8, 8)), name="cells"))
    layers = TrustLayers(viewer, part, {"error_map": np.ones((8, 8), np.float32)})
    layers.show()
    viewer.close()
    QApplication.processEvents()
    assert not viewer.layers and layers.layer_of("error_map") is None
