"""Images into the window and out of it, as a person opens, chooses and saves them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from napari_coordgate.io import Image, read_image, write_image
from napari_coordgate.optics import PSFField
from napari_coordgate.widgets.deblur import DeblurWidget
from napari_coordgate.widgets.preferences import Preferences
from tests.widgets.acting import WAIT_MS, choose, click, wait_for_end

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from pytestqt.qtbot import QtBot

NAMES = ("DAPI", "GFP")


@pytest.fixture
def widget(qtbot: QtBot, viewer: Viewer) -> DeblurWidget:
    widget = DeblurWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Deblur")
    qtbot.waitUntil(widget.isVisible, timeout=WAIT_MS)
    return widget


def two_channels(path: Path) -> Image:
    """Image of two channels of two planes in a file."""
    pixels = np.random.default_rng(0).integers(90, 300, (2, 2, 48, 48)).astype(np.uint16)
    image = Image(pixels, "CZYX", (0.5, 0.5), z_step_um=1.5, channel_names=NAMES)
    write_image(path, image)
    return image


def test_what_is_loaded_and_deblurred_is_saved_with_all_that_its_file_states(
    qtbot: QtBot,
    viewer: Viewer,
    widget: DeblurWidget,
    psf_field: PSFField,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = two_channels(tmp_path / "cells.ome.tif")
    chosen = str(tmp_path / "cells.ome.tif")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (chosen, ""))
    click(widget.image.button)
    qtbot.waitUntil(lambda: widget.image.name == "cells", timeout=WAIT_MS)
    loaded = viewer.layers["cells"]
    assert loaded.axis_labels == ("c", "z", "y", "x")
    np.testing.assert_allclose(loaded.scale, (1, 1.5, 0.5, 0.5))
    assert not isinstance(loaded.data, np.ndarray)  # it is read when it is shown

    widget.session.psf_fields["lens"] = psf_field
    choose(widget.method.box, "Wiener")
    click(widget.bar.run)
    assert wait_for_end(qtbot, widget.bar).reason == "completed"
    result = viewer.layers["cells deblurred"]
    viewer.layers.selection = {result}
    for name in ("saved.tif", "saved.ome.zarr"):
        (path,) = viewer.layers.save(str(tmp_path / name), selected=True)
        saved = read_image(path)
        assert (saved.axes, saved.channel_names) == (source.axes, source.channel_names)
        assert (saved.pixel_size_um, saved.z_step_um) == (source.pixel_size_um, 1.5)
        assert saved.processing is not None and "wiener" in saved.processing["settings"]
        np.testing.assert_array_equal(saved.pixels, result.data)
    typed = str(tmp_path / "kept")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (typed, ""))
    click(widget.save)
    qtbot.waitUntil((tmp_path / "kept.ome.tif").exists, timeout=WAIT_MS)


def test_an_image_of_others_is_saved_by_napari(viewer: Viewer, tmp_path: Path) -> None:
    layer = viewer.add_image(np.eye(9, dtype=np.uint8))
    (path,) = layer.save(str(tmp_path / "eye.tif"))
    with tifffile.TiffFile(path) as file:
        assert not file.is_ome and not file.is_imagej


def test_color_images_and_masks_are_shown_with_what_to_do(
    viewer: Viewer, widget: DeblurWidget
) -> None:
    viewer.add_image(np.eye(8, dtype=np.uint8) * 255, name="mask")
    viewer.add_image(np.ones((8, 8)), name="cells")
    viewer.add_image(np.ones((8, 8, 3), np.uint8), name="photo", rgb=True)
    assert (widget.image.name, widget.adaptation.sharp.box.count()) == ("cells", 4)
    model = widget.adaptation.sharp.box.model()
    assert model is not None
    items = {model.index(row, 0).data(): model.index(row, 0) for row in range(4)}
    for name, advice in (("mask", "made from"), ("photo", "Split RGB")):
        assert not items[name].flags() & Qt.ItemFlag.ItemIsEnabled
        assert advice in items[name].data(Qt.ItemDataRole.ToolTipRole)


def test_models_of_the_folder_are_offered_and_read_when_they_are_chosen(
    qtbot: QtBot,
    viewer: Viewer,
    model_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copy(model_file, tmp_path / "mine.safetensors")
    shutil.copy(model_file, tmp_path / "mine.last.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"broken")
    monkeypatch.setattr(
        "napari_coordgate.widgets.choices.load_preferences",
        lambda: Preferences(model_folder=tmp_path),
    )
    widget = DeblurWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Deblur")
    qtbot.waitUntil(widget.method.box.isVisible, timeout=WAIT_MS)
    choose(widget.method.box, "Model")
    box = widget.method.model.box
    assert [box.itemText(n) for n in range(box.count())] == ["none yet", "mine", "starter"]
    assert widget.method.value is None
    choose(box, "mine")
    qtbot.waitUntil(lambda: widget.method.value is not None, timeout=WAIT_MS)
    assert widget.method.name == "mine"
    assert [box.itemText(n) for n in range(box.count())] == ["mine", "starter"]
