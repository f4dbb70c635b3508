"""The demonstration in a window: what a person sees after one command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_coordgate.io import find_images, read_image
from napari_coordgate.io.files import sample_data_folder
from napari_coordgate.metrics import psnr
from napari_coordgate.widgets.demo import OTHERS, show_demo
from tests.widgets.acting import WAIT_MS, wait_for_end

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from pytestqt.qtbot import QtBot


def test_it_shows_the_sample_deblurred_with_all_widgets_beside_it(
    qtbot: QtBot, viewer: Viewer
) -> None:
    deblur = show_demo(viewer)
    qtbot.waitUntil(lambda: deblur.bar.job is not None, timeout=WAIT_MS)
    assert wait_for_end(qtbot, deblur.bar).reason == "completed"
    blurred, deblurred = (layer.data for layer in viewer.layers)
    sharp = read_image(find_images(sample_data_folder() / "test")[0]).data
    y0, x0 = ((n - 256) // 2 for n in sharp.shape)
    truth = sharp[y0 : y0 + 256, x0 : x0 + 256].astype(float)
    assert psnr(truth, deblurred[0], 255) > psnr(truth, blurred[0], 255) + 3
    titles = " ".join(viewer.window.dock_widgets)
    assert all(name in titles for name in ("Deblur", *OTHERS))
