"""The Gating maps widget: maps over the frame, and the network at one place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from napari.layers import Image as ImageLayer
from numpy.typing import NDArray

from napari_coordgate.config import (
    CGUNetConfig,
    TrainingConfig,
    UNetConfig,
    UniversalTrainingConfig,
    UnrolledConfig,
)
from napari_coordgate.inference import (
    PHOTONS,
    by_variance,
    effective_kernel,
    gating_maps,
    noise_gates,
    universal_gating_maps,
)
from napari_coordgate.model import Model
from napari_coordgate.networks import UNet, UnrolledNetwork
from napari_coordgate.optics import PSFField
from napari_coordgate.universal_model import UniversalModel
from napari_coordgate.widgets.gating_maps import GatingMapsWidget, around_center, gate_values
from napari_coordgate.widgets.layers import gate_layers, map_pitch_px, plane_on_view
from napari_coordgate.widgets.session import session_of
from tests.widgets.acting import WAIT_MS, choose, click

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from pytestqt.qtbot import QtBot


@pytest.fixture
def widget(viewer: Viewer) -> GatingMapsWidget:
    widget = GatingMapsWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Gating maps")
    return widget


@pytest.fixture
def filled(qtbot: QtBot, widget: GatingMapsWidget, model: Model) -> GatingMapsWidget:
    """The widget with a network whose maps have been computed."""
    widget.session.models["tiny"] = model
    qtbot.waitUntil(lambda: bool(widget.maps), timeout=WAIT_MS)
    return widget


def bars_of(widget: GatingMapsWidget) -> NDArray[np.float64]:
    (bars,) = [item for item in widget.bars.axes.listDataItems() if "height" in item.opts] or [
        item
        for item in widget.bars.axes.getPlotItem().items
        if hasattr(item, "opts") and "height" in item.opts
    ]
    return np.asarray(bars.opts["height"])


def test_the_gates_of_the_shipped_universal_model_are_plotted_over_the_noise(
    qtbot: QtBot, viewer: Viewer, widget: GatingMapsWidget, tmp_path: Path
) -> None:
    assert widget.model.name == "shipped"
    qtbot.waitUntil(lambda: widget.gates is not None, timeout=WAIT_MS)
    expected = noise_gates(UniversalModel.load())
    choose(widget.gate, "stage 2 up 1")
    curves = widget.curves.axes.listDataItems()
    varies_most = np.argsort(-expected["stage 2 up 1"].std(axis=0), kind="stable")
    for curve, channel in zip(curves, varies_most, strict=False):
        np.testing.assert_allclose(curve.yData, expected["stage 2 up 1"][:, channel], rtol=1e-6)
        np.testing.assert_allclose(curve.xData, PHOTONS)
    assert len(curves) == 4
    assert "noise" in widget.note.text()
    for part in (widget.show_maps, widget.pixel, widget.kernels, widget.bars):
        assert not part.isVisible()
    widget.save_sheet(tmp_path / "sheet.png")
    qtbot.waitUntil((tmp_path / "sheet.png").exists, timeout=WAIT_MS)


def test_gates_that_depend_on_the_lens_are_shown_over_its_frame(
    qtbot: QtBot, viewer: Viewer, widget: GatingMapsWidget, psf_field: PSFField, tmp_path: Path
) -> None:
    network = UnrolledConfig(coordinates=("noise", "psf"), base_channels=4, stages=1)
    config = UniversalTrainingConfig(network=network)
    own = UniversalModel(config, UnrolledNetwork(network).state_dict())
    own.save(tmp_path / "own.safetensors")
    session = session_of(viewer)
    session.load_model(tmp_path / "own.safetensors")
    qtbot.waitUntil(lambda: widget.model.name == "own", timeout=WAIT_MS)
    qtbot.waitUntil(lambda: "describe one in Lens PSF" in widget.note.text(), timeout=WAIT_MS)
    session.psf_fields["my lens"] = psf_field
    qtbot.waitUntil(lambda: bool(widget.maps), timeout=WAIT_MS)
    image = viewer.add_image(np.zeros((48, 48)), scale=(0.5, 0.5), units=("um", "um"))
    click(widget.show_maps)
    maps = universal_gating_maps(own, psf_field)
    layers = [layer for layer in viewer.layers if layer is not image]
    assert [layer.data.shape for layer in layers] == [gate.shape for gate in maps.values()]
    for layer in layers:
        np.testing.assert_allclose(layer.extent.world[:, 1:], image.extent.world)
    widget.inspect(3, 44)
    choose(widget.gate, "stage 1 up 1")
    gate = maps["stage 1 up 1"]
    np.testing.assert_allclose(bars_of(widget), gate[by_variance(gate)][:, 3, 44], rtol=1e-6)
    assert not widget.kernels.isVisible() and not widget.curves.isVisible()


def test_each_gate_becomes_a_layer_over_the_image(
    viewer: Viewer, filled: GatingMapsWidget, model: Model
) -> None:
    image = viewer.add_image(
        np.random.default_rng(0).random((48, 48)),
        scale=(0.5, 0.5),
        translate=(3, 4),
        units=("um", "um"),
    )
    click(filled.show_maps)
    maps = gating_maps(model)
    layers = [layer for layer in viewer.layers if layer is not image]
    assert len(layers) == len(maps)
    for layer, (name, gate) in zip(layers, maps.items(), strict=True):
        assert name in layer.name
        assert f"{len(gate)} channels" in layer.name
        assert layer.data.shape == gate.shape
        np.testing.assert_allclose(layer.extent.world[:, 1:], image.extent.world)


def test_maps_over_a_stack_have_a_slider_of_their_own_that_counts_as_the_bars(
    viewer: Viewer, filled: GatingMapsWidget, model: Model
) -> None:
    stack = viewer.add_image(np.ones((4, 48, 48)), scale=(3, 0.5, 0.5), rotate=(0, 0, 30))
    before = plane_on_view(viewer, stack)
    click(filled.show_maps)
    name, gate = next(iter(gating_maps(model).items()))
    layer = next(layer for layer in viewer.layers if name in layer.name)
    assert viewer.dims.ndim == 4
    assert layer.data.shape == (len(gate), 4, 48, 48)
    np.testing.assert_allclose(
        layer.data_to_world((0, 1, 2, 3))[1:], stack.data_to_world((1, 2, 3))
    )
    viewer.dims.set_current_step(0, len(gate) - 1)
    assert plane_on_view(viewer, stack) == before
    filled.inspect(3, 44)
    np.testing.assert_allclose(bars_of(filled), layer.data[:, 0, 3, 44], rtol=1e-6)


def test_maps_are_sorted_by_their_variation_or_kept_in_order(
    viewer: Viewer, filled: GatingMapsWidget, model: Model
) -> None:
    click(filled.show_maps)
    spread = viewer.layers[0].data.std(axis=(1, 2))
    assert np.all(np.diff(spread) <= 0)
    viewer.layers.clear()
    filled.order.setCurrentText("as in the network")
    click(filled.show_maps)
    np.testing.assert_array_equal(viewer.layers[0].data, gating_maps(model)["down 1"])


def test_the_bars_are_the_values_of_the_gate_at_the_pixel(
    filled: GatingMapsWidget, model: Model
) -> None:
    filled.inspect(3, 44)
    filled.gate.setCurrentText("up 1")
    gate = gating_maps(model)["up 1"]
    np.testing.assert_allclose(bars_of(filled), gate[by_variance(gate)][:, 3, 44])
    filled.order.setCurrentText("as in the network")
    np.testing.assert_allclose(bars_of(filled), gate[:, 3, 44])


def test_the_kernel_and_the_psf_of_the_pixel_are_shown(
    qtbot: QtBot, filled: GatingMapsWidget, model: Model, psf_field: PSFField
) -> None:
    filled.inspect(40, 5)
    qtbot.waitUntil(lambda: not filled.inspection.is_busy, timeout=WAIT_MS)
    kernel = around_center(effective_kernel(model, 40, 5), 12)
    np.testing.assert_allclose(filled.kernels.pictures[0].image, kernel, atol=1e-6)
    psf = around_center(psf_field.psf_at(40, 5), 12)
    np.testing.assert_allclose(filled.kernels.pictures[1].image, psf, atol=1e-6)


def test_the_cursor_over_the_image_selects_the_pixel(
    viewer: Viewer, filled: GatingMapsWidget
) -> None:
    viewer.add_image(np.random.default_rng(0).random((2, 48, 48)), scale=(1, 0.5, 0.5))
    viewer.cursor.position = (0, 5.0, 7.0)
    assert filled.pixel.value() == (10, 14)
    viewer.cursor.position = (0, -5.0, 7.0)
    assert filled.pixel.value() == (10, 14)
    filled.follows.setChecked(False)
    viewer.cursor.position = (0, 1.0, 1.0)
    assert filled.pixel.value() == (10, 14)


def test_the_overview_of_the_maps_is_saved(
    qtbot: QtBot, filled: GatingMapsWidget, tmp_path: Path
) -> None:
    sheet = tmp_path / "sheet.png"
    filled.save_sheet(sheet)
    qtbot.waitUntil(sheet.exists, timeout=WAIT_MS)
    assert sheet.read_bytes().startswith(b"\x89PNG")


def test_maps_shown_again_reuse_their_layers(viewer: Viewer, filled: GatingMapsWidget) -> None:
    click(filled.show_maps)
    before = list(viewer.layers)
    filled.order.setCurrentText("as in the network")
    click(filled.show_maps)
    assert list(viewer.layers) == before


def test_a_model_without_gates_is_reported(
    qtbot: QtBot, viewer: Viewer, widget: GatingMapsWidget
) -> None:
    settings = UNetConfig(depth=2, base_channels=4)
    network = UNet.from_config(settings)
    plain = Model(TrainingConfig(network=settings), network.state_dict(), (48, 48))
    session_of(viewer).models["plain"] = plain
    qtbot.waitUntil(lambda: "no gates" in widget.note.text(), timeout=WAIT_MS)
    widget.inspect(3, 4)  # a look at a place does not take the note away
    qtbot.waitUntil(lambda: not widget.inspection.is_busy, timeout=WAIT_MS)
    assert "no gates" in widget.note.text()
    assert not widget.show_maps.isEnabled()


@pytest.mark.parametrize("longest_side", [None, 16])
def test_gate_values_are_those_of_the_map_at_the_frame_pixel(
    longest_side: int | None,
) -> None:
    """Also where the frame is padded to a multiple of what a coarsest feature covers."""
    config = CGUNetConfig(depth=4, base_channels=2)
    frame = (61, 45)
    torch.manual_seed(0)
    network = UNet.from_config(config)
    for gate in (*network.down_gates, *network.up_gates):
        torch.nn.init.normal_(gate.encoder[-1].weight)
    model = Model(TrainingConfig(network=config), network.state_dict(), frame)
    maps = gating_maps(model, longest_side=longest_side)
    layers = gate_layers(model, maps, "net")
    for (name, gate), (pixels, options, _) in zip(maps.items(), layers, strict=True):
        layer = ImageLayer(pixels, scale=options["scale"], translate=options["translate"])
        for row, column in ((0, 0), (33, 20), (60, 44)):
            _, y, x = np.round(layer.world_to_data((0, row, column))).astype(int)
            values = gate_values(gate, map_pitch_px(name, maps, frame), row, column)
            np.testing.assert_array_equal(values, gate[:, y, x])


def test_a_small_kernel_is_padded_with_zeros_and_a_large_one_is_cropped() -> None:
    image = np.arange(25.0).reshape(5, 5)
    np.testing.assert_array_equal(around_center(image, 1), image[1:4, 1:4])
    assert around_center(image, 4)[4, 4] == image[2, 2]
    assert around_center(image, 2) is not None and around_center(image, 2).shape == (5, 5)
