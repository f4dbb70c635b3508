"""The whole job by hand: from sample data through lens, training and gates to a sharper layer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_coordgate.config import CGUNetConfig, GaussianLens
from napari_coordgate.metrics import psnr
from napari_coordgate.optics import PSFField
from napari_coordgate.widgets.batch import BatchWidget
from napari_coordgate.widgets.deblur import DeblurWidget
from napari_coordgate.widgets.gating_maps import GatingMapsWidget
from napari_coordgate.widgets.lens_psf import LensPSFWidget
from napari_coordgate.widgets.train import TRAINING, TrainWidget
from tests.widgets.acting import WAIT_MS, click, wait_for_end
from tests.widgets.conftest import TINY

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from pytestqt.qtbot import QtBot

PLUGIN = "napari-coordgate"
FRAME = (96, 96)
LENS = GaussianLens(sigma_center_px=1.5, sigma_edge_px=4.0, pixel_size_um=0.325)


def open_widget(viewer: Viewer, name: str) -> Any:
    """Open a widget as the menu does."""
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, name)
    return widget


def test_from_sample_data_to_a_sharper_layer(qtbot: QtBot, viewer: Viewer, tmp_path: Path) -> None:
    viewer.open_sample(PLUGIN, "nuclei_to_train_on")
    sharp = list(viewer.layers)

    train: TrainWidget = open_widget(viewer, "Train")
    lens: LensPSFWidget = open_widget(viewer, "Lens PSF")
    lens.image.set_value(None)
    for box, length in zip(lens.frame.boxes, FRAME, strict=True):
        box.setValue(length)
    lens.set_lens(LENS)
    click(lens.bar.run)
    wait_for_end(qtbot, lens.bar)
    # Two widgets are open at once: the lens made in one is chosen in the other.
    assert train.inputs.psf_field.name == "lens"

    train.inputs.layers.tick(*sharp)
    network = CGUNetConfig(depth=2, base_channels=8)
    train.form.set_settings(TINY.model_copy(update={"network": network, "steps": 600}))
    train.output.value = tmp_path / "nuclei.safetensors"
    click(train.bar.run)
    qtbot.waitUntil(lambda: any(train.session.running(TRAINING)), timeout=WAIT_MS)
    assert wait_for_end(qtbot, train.bar).reason == "completed"

    gates: GatingMapsWidget = open_widget(viewer, "Gating maps")
    qtbot.waitUntil(lambda: bool(gates.maps), timeout=WAIT_MS)
    assert gates.model.name == "nuclei"
    before = len(viewer.layers)
    click(gates.show_maps)
    assert len(viewer.layers) == before + len(gates.maps)

    batch: BatchWidget = open_widget(viewer, "Batch deblur")
    batch.method.box.setCurrentText("Model")
    assert batch.session.files[batch.method.require()] == tmp_path / "nuclei.safetensors"

    # An image that the network never saw.
    viewer.open_sample(PLUGIN, "nuclei_sharp")
    truth = viewer.layers["nuclei, sharp"].data[0, 80:176, 80:176].astype(np.float32)
    blurred = PSFField.from_lens(LENS, FRAME).blur(truth)
    viewer.add_image(blurred, name="blurred nuclei", scale=(0.325, 0.325), units=("um", "um"))
    deblur: DeblurWidget = open_widget(viewer, "Deblur")
    assert deblur.method.box.currentText() == "Universal network"  # the lens is known
    deblur.method.box.setCurrentText("Model")
    assert (deblur.image.name, deblur.method.name) == ("blurred nuclei", "nuclei")
    click(deblur.bar.run)
    assert wait_for_end(qtbot, deblur.bar).reason == "completed"
    result = viewer.layers["blurred nuclei deblurred"].data
    most = float(truth.max())
    assert psnr(truth, result, most) > psnr(truth, blurred, most) + 1
