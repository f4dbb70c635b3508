"""Forms are as they were left, also after a restart of napari."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_coordgate.widgets import kept
from napari_coordgate.widgets.batch import BatchWidget
from napari_coordgate.widgets.deblur import DeblurWidget
from napari_coordgate.widgets.lens_psf import LensPSFWidget
from napari_coordgate.widgets.remembering import Memory
from napari_coordgate.widgets.train import TrainWidget
from tests.widgets.acting import WAIT_MS, choose

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from pytestqt.qtbot import QtBot


def test_a_form_is_as_it_was_left_until_its_defaults_are_restored(
    qtbot: QtBot, viewer: Viewer
) -> None:
    _, widget = viewer.window.add_plugin_dock_widget("napari-coordgate", "Deblur")
    qtbot.waitUntil(widget.isVisible, timeout=WAIT_MS)
    choose(widget.method.box, "Wiener")
    widget.form.editors["keep_dtype"].set_value(True)
    qtbot.waitUntil(lambda: "DeblurWidget" in kept.store().allKeys(), timeout=WAIT_MS)

    after_restart = DeblurWidget(viewer)
    qtbot.addWidget(after_restart)
    memory = Memory(after_restart)
    assert after_restart.method.box.currentText() == "Wiener"
    assert after_restart.form.settings.keep_dtype
    memory.links.linkActivated.emit("0")
    assert not after_restart.form.settings.keep_dtype


def test_folders_are_kept_while_they_exist(qtbot: QtBot, viewer: Viewer, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    _, widget = viewer.window.add_plugin_dock_widget("napari-coordgate", "Batch deblur")
    widget.folder.value, widget.output.value = images, tmp_path / "sharp"
    qtbot.waitUntil(lambda: "BatchWidget" in kept.store().allKeys(), timeout=WAIT_MS)

    after_restart = BatchWidget(viewer)
    qtbot.addWidget(after_restart)
    Memory(after_restart)
    folders = after_restart.folder.value, after_restart.output.value
    assert folders == (images, tmp_path / "sharp")

    kept.keep_folder("Models (*.safetensors)", images / "a.safetensors")
    assert kept.last_folder("Models (*.safetensors)") == str(images)
    images.rmdir()
    assert kept.last_folder("Models (*.safetensors)") == ""
    assert kept.kept_folder(str(images)) is None


WRITTEN: tuple[Any, ...] = (
    5,
    {"forms": 5, "others": 5},
    {"forms": [5, "x", None, {"na": "x"}, {"no": 1}], "others": {"kind": "gaussian"}},
    {"others": {"kind": 1, "name": None, "folder": 3, "output": [], "method": {}, "trust": []}},
    {"others": {"folder": "\0", "output": "\0", "method": "no such"}},
)
"""What other versions, or other hands, may have written."""


def test_what_another_version_wrote_does_not_prevent_opening(qtbot: QtBot, viewer: Viewer) -> None:
    for kind in (LensPSFWidget, DeblurWidget, TrainWidget, BatchWidget):
        widget: Any = kind(viewer)
        qtbot.addWidget(widget)
        for written in WRITTEN:
            kept.store().setValue(kind.__name__, json.dumps(written))
            Memory(widget)
