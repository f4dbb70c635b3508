"""The demonstration in a window: what a person sees after one command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_coordgate.widgets.deblur import DEBLURRING
from napari_coordgate.widgets.demo import NAME, Demo
from napari_coordgate.widgets.dock import TRUST
from napari_coordgate.widgets.jobs import Job
from napari_coordgate.widgets.lens_psf import COMPUTING, LensPSFWidget
from tests.widgets.acting import WAIT_MS

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from pytestqt.qtbot import QtBot


def test_it_goes_through_the_steps_and_shows_richardson_lucy_beside_the_result(
    qtbot: QtBot,
    viewer: Viewer,
    sharp: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # An image this small does not tell its lens: the one of the form is used.
    monkeypatch.setattr(LensPSFWidget, "_estimate", LensPSFWidget.run)
    demo = Demo(viewer, np.tile(sharp[:2], (1, 2, 2)))
    qtbot.waitUntil(lambda: viewer.canvas.grid.enabled, timeout=WAIT_MS)
    shown = [layer.name for layer in viewer.layers if layer.visible]
    ends = ("", " deblurred", " expected error", " Richardson-Lucy")
    assert shown == [f"{NAME}{end}" for end in ends]
    assert demo.dock.tabs.currentIndex() == TRUST
    assert demo.dock.trust.swipe.is_possible

    assert not demo.is_running
    dock = demo.dock
    dock.session.start(Job.from_function(COMPUTING, lambda _: 0))  # of the user, afterwards
    qtbot.waitUntil(lambda: not list(dock.session.running(COMPUTING)), timeout=WAIT_MS)
    assert not list(dock.session.running(DEBLURRING))
