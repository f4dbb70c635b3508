"""The CoordGate dock, from an image to a verdict, clicked as a person would."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from napari.layers import Image as ImageLayer
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QFileDialog

from benchmarks.dock import walk_by_tab
from napari_coordgate.config import GaussianLens, Lens
from napari_coordgate.geometry import Window
from napari_coordgate.io import Image, write_image
from napari_coordgate.optics import PSFField
from napari_coordgate.widgets.deblur import DeblurWidget
from napari_coordgate.widgets.dock import DEBLUR, LENS, TRUST, CoordGateWidget
from napari_coordgate.widgets.parts import Part
from napari_coordgate.widgets.tabbing import tab_stops
from tests.widgets.acting import WAIT_MS, choose, click

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from pytestqt.qtbot import QtBot

PLUGIN = "napari-coordgate"
LENS_PX = GaussianLens(sigma_center_px=0.8, sigma_edge_px=1.2, pixel_size_um=0.5)
GAUSSIAN = "Gaussian, blur width only"


def open_dock(viewer: Viewer) -> CoordGateWidget:
    _, dock = viewer.window.add_plugin_dock_widget(PLUGIN, "CoordGate")
    assert isinstance(dock, CoordGateWidget)
    window = dock.window()
    assert window is not None
    window.activateWindow()
    QApplication.processEvents()
    return dock


def add_image(viewer: Viewer, pixels: NDArray[np.float32], name: str) -> None:
    viewer.add_image(pixels, name=name, scale=(0.5, 0.5), units=("um", "um"))


def test_an_image_is_deblurred_in_three_clicks_and_judged(
    qtbot: QtBot, viewer: Viewer, psf_field: PSFField, sharp: NDArray[np.uint8]
) -> None:
    blurred = psf_field.blur(sharp[0].astype(np.float32))
    add_image(viewer, blurred, "cells")
    dock = open_dock(viewer)  # the first click
    assert "48 x 48" in dock.image.facts.text() and "0.5 µm" in dock.image.facts.text()
    qtbot.waitUntil(lambda: dock.tabs.currentIndex() == LENS, timeout=WAIT_MS)
    choose(dock.lens.preset, GAUSSIAN)
    click(dock.lens.bar.run)
    qtbot.waitUntil(lambda: dock.tabs.currentIndex() == DEBLUR, timeout=WAIT_MS)
    run = dock.deblur.bar.run
    place = run.mapToGlobal(run.rect().center())
    click(dock.deblur.bar.run)
    qtbot.waitUntil(lambda: dock.deblur.verdict is not None, timeout=WAIT_MS)
    moved = run.mapToGlobal(run.rect().center()) - place
    assert moved.manhattanLength() <= 1  # the message has grown meanwhile
    qtbot.waitUntil(lambda: dock.deblur.fit.verdict is not None, timeout=WAIT_MS)
    assert [dock.tabs.tabText(step)[-1] for step in range(4)] == list("✓!✓!")  # the lens is a guess
    assert dock.deblur.verdict is not None and dock.deblur.verdict.color != "green"  # a guess
    click(dock.next)
    assert dock.tabs.currentIndex() == TRUST
    assert "●" in dock.trust.verdict.text()
    dock.trust.links.linkActivated.emit("1")  # measure the lens
    assert dock.tabs.currentIndex() == LENS
    qtbot.waitUntil(dock.lens.measure.isVisible, timeout=WAIT_MS)
    dock.deblur.bar.next.linkActivated.emit("2")  # see why
    assert dock.tabs.currentIndex() == TRUST

    dock.trust.slider.setValue(50)
    qtbot.waitUntil(lambda: "cells contradicted" in viewer.layers, timeout=WAIT_MS)
    assert dock.trust.maps["contradiction_map"].isEnabled()
    before = viewer.layers["cells before"]
    np.testing.assert_array_equal(before.data, blurred[:, :24])
    qtbot.mousePress(dock.trust.blink, Qt.MouseButton.LeftButton)
    assert not viewer.layers["cells deblurred"].visible
    qtbot.mouseRelease(dock.trust.blink, Qt.MouseButton.LeftButton)
    assert viewer.layers["cells deblurred"].visible

    dock.deblur.form.editors["keep_dtype"].set_value(True)
    assert dock.trust.stale.isVisible()
    assert [dock.tabs.tabText(step)[-1] for step in range(4)] == list("✓!r!")
    add_image(viewer, blurred, "other")
    assert "●" not in dock.trust.verdict.text()  # the verdict was on the former image


def test_an_image_of_another_frame_gets_a_link_instead_of_a_refusal(
    qtbot: QtBot, viewer: Viewer, psf_field: PSFField, sharp: NDArray[np.uint8]
) -> None:
    dock = open_dock(viewer)
    dock.session.psf_fields["mine"] = psf_field
    add_image(viewer, sharp[0].astype(np.float32), "cells")
    dock.go(DEBLUR)
    assert dock.is_done[LENS] and not dock.missing.isVisible()
    add_image(viewer, sharp[1, :40, :40].astype(np.float32), "other")
    assert dock.image.layer is viewer.layers["other"]
    assert not dock.is_done[LENS]
    assert "40 x 40" in dock.deblur.bar.message.text()
    bar = dock.tabs.tabBar()
    assert bar is not None
    bar.setFocus()
    QApplication.processEvents()  # it is laid out
    assert walk_by_tab(dock) == tab_stops(dock)  # in the order on the screen
    dock.links.setFocus()
    qtbot.keyClick(dock.links, Qt.Key.Key_Tab)  # to the link in it
    qtbot.keyClick(dock.links, Qt.Key.Key_Return)
    assert dock.tabs.currentIndex() == LENS


def test_each_image_has_the_lens_of_its_frame(
    viewer: Viewer, psf_field: PSFField, sharp: NDArray[np.uint8]
) -> None:
    dock = open_dock(viewer)
    fields = dock.session.psf_fields
    fields["large"], fields["small"] = psf_field, PSFField.from_lens(LENS_PX, (40, 40))
    dock.go(DEBLUR)
    for name, side in (("large", 48), ("small", 40), ("large", 48)):
        add_image(viewer, sharp[0, :side, :side].astype(np.float32), f"{name} image")
        assert dock.deblur.method.name == name
        assert dock.is_done[LENS]


def test_a_corrected_pixel_size_reaches_the_lens_and_the_check(
    viewer: Viewer, sharp: NDArray[np.uint8]
) -> None:
    add_image(viewer, sharp[0].astype(np.float32), "cells")
    dock = open_dock(viewer)
    dock.go(DEBLUR)
    seen: list[None] = []
    dock.deblur.checked.connect(lambda: seen.append(None))
    dock.image.pixel_size.set_value(0.25)
    assert viewer.layers["cells"].scale[-1] == 0.25
    assert isinstance(dock.lens.lens, Lens) and dock.lens.lens.pixel_size_um == 0.25
    assert seen


def test_a_rectangle_of_a_channel_has_its_name_alone() -> None:
    image = Image(np.zeros((2, 64, 64)), "CYX", channel_names=("DAPI", "GFP"))
    layer = ImageLayer(image.data)
    part = Part(layer, (1,), Window(8, 16, 32, 40)).image(image)
    assert part.data.shape == (1, 32, 40)
    assert part.channel_names == ("GFP",)


def test_a_widget_that_was_closed_shows_what_it_showed(viewer: Viewer) -> None:
    own, deblur = viewer.window.add_plugin_dock_widget(PLUGIN, "Deblur")
    deblur.axes.setText("TYX")
    own.destroyOnClose()
    _, again = viewer.window.add_plugin_dock_widget(PLUGIN, "Deblur")
    assert again is deblur
    assert again.axes.text() == "TYX"
    own, lens = viewer.window.add_plugin_dock_widget(PLUGIN, "Lens PSF")
    lens.forms["pupil"].editors["na"].set_value(0.6)
    lens.name.setText("my 20x")
    own.destroyOnClose()
    _, again = viewer.window.add_plugin_dock_widget(PLUGIN, "Lens PSF")
    assert (again.lens.na, again.name.text(), again.preset.currentText()) == (0.6, "my 20x", "")

    dock = open_dock(viewer)
    dock.go(DEBLUR)
    click(dock.deblur_page.bring)
    assert isinstance(dock.deblur, DeblurWidget) and dock.deblur is deblur
    QApplication.processEvents()
    assert deblur.isVisible() and not dock.deblur_page.bring.isVisible()


def test_what_is_wrong_with_an_image_is_said_at_the_first_step(
    qtbot: QtBot, viewer: Viewer, sharp: NDArray[np.uint8]
) -> None:
    bad = sharp[0].astype(np.float32)
    bad[3, 4:7] = np.nan
    viewer.add_image(bad, name="<b>unknown</b>", contrast_limits=(0, 255))
    dock = open_dock(viewer)
    assert dock.tabs.tabText(0) == "Image !"  # its pixel size is not known
    qtbot.waitUntil(lambda: "3 pixels are no numbers" in dock.image.noise.text(), timeout=WAIT_MS)
    dock.image.pixel_size.set_value(0.5)
    assert dock.tabs.tabText(0) == "Image !"
    add_image(viewer, sharp[0].astype(np.float32), "good")
    assert dock.tabs.tabText(0) == "Image ✓"
    color = np.stack([sharp[0]] * 3, axis=-1)
    viewer.add_image(color, name="color")
    assert "Split RGB" in dock.image.facts.text()
    dock.go(LENS)
    assert "Split RGB" in dock.lens.image_note.text()
    dock.image.links.linkActivated.emit("1")
    assert dock.image.layer is not None and dock.image.layer.name == "color [1]"
    assert not viewer.layers["color"].visible
    assert dock.image.layer is not None
    red, blue = dock.image.layer, viewer.layers["color [3]"]
    dock.image.pixel_size.set_value(0.4)
    assert red.scale[-1] == blue.scale[-1] == 0.4  # they are of one image
    assert viewer.layers["good"].scale[-1] == 0.5


def test_an_image_that_is_loaded_from_a_file_is_looked_at(
    qtbot: QtBot, viewer: Viewer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).poisson(90, (3, 64, 64)).astype(np.uint16)
    write_image(tmp_path / "cells.tif", Image(pixels, "ZYX", (0.5, 0.5)))
    monkeypatch.setattr(
        QFileDialog, "getOpenFileName", lambda *_: (str(tmp_path / "cells.tif"), "")
    )
    dock = open_dock(viewer)
    click(dock.image.image.button)
    qtbot.waitUntil(lambda: "noise" in dock.image.noise.text().lower(), timeout=WAIT_MS)
    assert "64 x 64 pixels, 3 planes, 0.5 µm" in dock.image.facts.text()
    qtbot.waitUntil(lambda: "Measuring" not in dock.image.noise.text(), timeout=WAIT_MS)


def test_another_pixel_size_than_that_of_the_lens_is_no_tick(
    qtbot: QtBot, viewer: Viewer, psf_field: PSFField, sharp: NDArray[np.uint8]
) -> None:
    dock = open_dock(viewer)
    dock.session.psf_fields["mine"] = psf_field
    pixels = sharp[0].astype(np.float32)
    viewer.add_image(pixels, name="cells", scale=(0.4, 0.4), units=("um", "um"))
    dock.go(DEBLUR)
    qtbot.waitUntil(lambda: dock.deblur.fit.verdict is not None, timeout=WAIT_MS)
    assert dock.deblur.fit.verdict is not None and dock.deblur.fit.verdict.color == "red"
    assert "pixel size of 0.4" in dock.deblur.fit.label.text()
    assert dock.tabs.tabText(LENS) == "Lens !"


def test_typed_wavelengths_are_those_that_a_lens_can_have(
    viewer: Viewer, sharp: NDArray[np.uint8]
) -> None:
    add_image(viewer, sharp[0].astype(np.float32), "cells")
    dock = open_dock(viewer)
    dock.go(LENS)
    dock.image.wavelength.set_value(610)
    assert isinstance(dock.lens.lens, Lens) and dock.lens.lens.wavelength_nm == 610
    dock.image.wavelength.set_value(20)
    assert dock.image.wavelength.value() is None
    assert dock.lens.lens is not None
