"""Forms are as they were left, also after a restart of napari."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_coordgate.widgets import remembering
from napari_coordgate.widgets.deblur import DeblurWidget
from napari_coordgate.widgets.remembering import Memory
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
    qtbot.waitUntil(lambda: "DeblurWidget" in remembering.store().allKeys(), timeout=WAIT_MS)

    after_restart = DeblurWidget(viewer)
    qtbot.addWidget(after_restart)
    memory = Memory(after_restart)
    assert after_restart.method.box.currentText() == "Wiener"
    assert after_restart.form.settings.keep_dtype
    memory.links.linkActivated.emit("0")
    assert not after_restart.form.settings.keep_dtype
