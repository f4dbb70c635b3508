"""The Lens PSF widget: what a lens does is seen while it is described."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_coordgate.config import GaussianLens, Lens, load_lens
from napari_coordgate.optics import PSFField, PSFGrid
from napari_coordgate.widgets.layers import psf_field_of
from napari_coordgate.widgets.lens_psf import FIRST_PRESET, LensPSFWidget
from napari_coordgate.widgets.remembering import Memory
from tests.widgets.acting import WAIT_MS, click, wait_for_end

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from pytestqt.qtbot import QtBot

LENS = GaussianLens(sigma_center_px=0.6, sigma_edge_px=2.0)


@pytest.fixture
def widget(qtbot: QtBot, viewer: Viewer) -> LensPSFWidget:
    """The widget with a small frame and a quick lens."""
    widget = LensPSFWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Lens PSF")
    qtbot.waitUntil(widget.isVisible, timeout=WAIT_MS)
    for box in widget.frame.boxes:
        box.setValue(48)
    widget.set_lens(LENS)
    widget.show_blurred.setChecked(True)
    rest(qtbot, widget)
    return widget


def rest(qtbot: QtBot, widget: LensPSFWidget) -> None:
    """Wait until all that was asked for is shown."""
    qtbot.waitUntil(lambda: not widget.preview.is_busy, timeout=WAIT_MS)


def test_psfs_are_shown_over_the_frame_and_their_width_is_plotted_by_field_radius(
    viewer: Viewer, widget: LensPSFWidget
) -> None:
    grid = PSFGrid.from_lens(LENS, (48, 48))
    np.testing.assert_array_equal(viewer.layers["lens PSFs"].data, grid.montage())
    (curve,) = widget.plot.axes.listDataItems()
    np.testing.assert_allclose(curve.getData(), (grid.field_radius, grid.fwhm_px))
    assert f"{grid.fwhm_px.max():.1f} px" in widget.note.text()


def test_the_preview_shows_the_last_of_several_quick_changes(
    qtbot: QtBot, viewer: Viewer, widget: LensPSFWidget
) -> None:
    box = widget.forms["gaussian"].editors["sigma_edge_px"]
    for sigma in (2.2, 2.4, 2.6, 2.8, 3.0):
        box.set_value(sigma)
    rest(qtbot, widget)
    lens = LENS.model_copy(update={"sigma_edge_px": 3.0})
    expected = PSFGrid.from_lens(lens, (48, 48)).montage()
    np.testing.assert_array_equal(viewer.layers["lens PSFs"].data, expected)
    assert [layer.name for layer in viewer.layers] == ["lens PSFs"]


def test_an_image_sets_frame_and_pixel_size_and_is_shown_blurred(
    qtbot: QtBot, viewer: Viewer, widget: LensPSFWidget, sharp: NDArray[np.uint8]
) -> None:
    layer = viewer.add_image(
        sharp[:, :40], name="cells", scale=(1, 0.2, 0.2), units=("pixel", "um", "um")
    )
    assert widget.frame_shape == (40, 48)
    rest(qtbot, widget)
    assert widget.lens is not None and widget.lens.pixel_size_um == pytest.approx(0.2)
    plane = round(viewer.dims.point[0])
    blurred = viewer.layers["cells blurred"]
    psf_field = PSFField.from_lens(widget.lens, (40, 48))
    exact = psf_field.blur(sharp[plane, :40].astype(np.float32))
    error = np.linalg.norm(blurred.data - exact) / np.linalg.norm(exact)
    assert error < 0.03
    assert viewer.layers[-1].name == "lens PSFs"  # on top, where it is seen
    np.testing.assert_allclose(blurred.extent.world, layer.extent.world[:, 1:])
    viewer.dims.set_current_step(0, 5)
    rest(qtbot, widget)
    exact = psf_field.blur(sharp[5, :40].astype(np.float32))
    assert np.linalg.norm(blurred.data - exact) / np.linalg.norm(exact) < 0.03


def test_an_impossible_lens_is_reported_and_cannot_be_used(
    qtbot: QtBot, widget: LensPSFWidget
) -> None:
    widget.set_lens(Lens(na=0.5, wavelength_nm=520, pixel_size_um=0.325, field_curvature_um=1))
    widget.forms["pupil"].editors["na"].set_value(1.3)
    assert not widget.bar.run.isEnabled()
    assert "immersion medium" in widget.bar.message.text()
    widget.forms["pupil"].editors["na"].set_value(0.5)
    widget.forms["pupil"].editors["field_curvature_um"].set_value(500)
    rest(qtbot, widget)
    assert "more than the frame" in widget.note.text()


def test_a_psf_field_for_training_is_offered_at_once(
    qtbot: QtBot, viewer: Viewer, widget: LensPSFWidget
) -> None:
    widget.name.setText("my lens")
    click(widget.bar.run)
    assert wait_for_end(qtbot, widget.bar).reason == "completed"
    psf_field = widget.session.psf_fields["my lens"]
    expected = PSFField.from_lens(LENS, (48, 48))
    np.testing.assert_array_equal(psf_field.kernels, expected.kernels)
    assert psf_field_of(viewer.layers["lens PSFs"].metadata) is psf_field


def test_a_psf_field_is_saved_and_loaded_again(
    qtbot: QtBot, widget: LensPSFWidget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.psf.tif"
    dialog = "napari_coordgate.widgets.lens_psf.QFileDialog"
    monkeypatch.setattr(f"{dialog}.getSaveFileName", lambda *_: (str(path), ""))
    click(widget.save)
    assert wait_for_end(qtbot, widget.bar).reason == "completed"
    saved = PSFField.load(path)
    widget.session.psf_fields.clear()
    monkeypatch.setattr(f"{dialog}.getOpenFileName", lambda *_: (str(path), ""))
    click(widget.load)
    qtbot.waitUntil(lambda: bool(widget.session.psf_fields), timeout=WAIT_MS)
    (loaded,) = widget.session.psf_fields.values()
    np.testing.assert_array_equal(loaded.kernels, saved.kernels)
    assert "camera images of 48 x 48 pixels" in widget.bar.message.text()
    path = tmp_path / "mine.yaml"
    click(widget.save)
    assert load_lens(path) == widget.lens


def test_a_file_that_the_dialog_did_not_ask_about_is_not_overwritten(
    qtbot: QtBot, widget: LensPSFWidget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    precious = tmp_path / "precious.psf.tif"
    precious.write_bytes(b"precious")
    dialog = "napari_coordgate.widgets.lens_psf.QFileDialog"
    monkeypatch.setattr(f"{dialog}.getSaveFileName", lambda *_: (str(tmp_path / "precious"), ""))
    click(widget.save)
    end = wait_for_end(qtbot, widget.bar)
    assert (end.reason, "already exists" in end.message) == ("failed", True)
    assert precious.read_bytes() == b"precious"


def test_an_image_smaller_than_the_frame_is_reported_and_not_blurred(
    qtbot: QtBot, viewer: Viewer, widget: LensPSFWidget, sharp: NDArray[np.uint8]
) -> None:
    viewer.add_image(sharp[0], name="cells")
    rest(qtbot, widget)
    assert "cells blurred" in viewer.layers
    widget.frame.boxes[0].setValue(64)
    rest(qtbot, widget)
    assert "cells blurred" not in viewer.layers
    assert "48 x 48" in widget.note.text()
    assert viewer.layers["lens PSFs"].data.shape == (64, 48)


def test_psfs_and_blurred_image_are_centered_in_a_larger_image(
    qtbot: QtBot, viewer: Viewer, widget: LensPSFWidget
) -> None:
    image = np.random.default_rng(0).random((64, 80))
    viewer.add_image(image, name="large", scale=(0.5, 0.5), units=("um", "um"))
    widget.frame.boxes[0].setValue(48)
    widget.frame.boxes[1].setValue(48)
    rest(qtbot, widget)
    for name in ("lens PSFs", "large blurred"):
        np.testing.assert_allclose(viewer.layers[name].translate, (4, 8))
        assert viewer.layers[name].units == viewer.layers["large"].units


def test_a_layer_carries_only_the_psf_field_of_the_lens_that_it_shows(
    qtbot: QtBot, viewer: Viewer, widget: LensPSFWidget
) -> None:
    click(widget.bar.run)
    widget.forms["gaussian"].editors["sigma_edge_px"].set_value(1.2)
    assert wait_for_end(qtbot, widget.bar).reason == "completed"
    rest(qtbot, widget)
    assert psf_field_of(viewer.layers["lens PSFs"].metadata) is None


def test_a_lens_file_fills_in_the_form(widget: LensPSFWidget, tmp_path: Path) -> None:
    lens = Lens(na=0.4, wavelength_nm=600, pixel_size_um=0.65, coma_waves=0.3)
    (tmp_path / "lens.yaml").write_text(lens.to_yaml())
    widget.load_file(tmp_path / "lens.yaml")
    assert widget.lens == lens
    assert widget.pages.currentWidget() is widget.forms["pupil"]


def test_a_broken_lens_file_is_reported_and_changes_nothing(
    widget: LensPSFWidget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("napari_coordgate.widgets.lens_psf.show_error", told.append)
    (tmp_path / "lens.yaml").write_text("na: [")
    widget.load_file(tmp_path / "lens.yaml")
    assert widget.lens == LENS
    assert "lens.yaml" in told[0]


def test_a_preset_fills_in_the_form_except_for_the_pixel_size_of_the_image(
    viewer: Viewer, widget: LensPSFWidget, sharp: NDArray[np.uint8]
) -> None:
    viewer.add_image(sharp[0], scale=(0.3, 0.3), units=("um", "um"))
    widget.preset.setCurrentText("40x 0.95 air")
    assert isinstance(widget.lens, Lens)
    assert widget.lens.na == 0.95
    assert widget.lens.pixel_size_um == pytest.approx(0.3)
    Memory(widget).restore_defaults()
    assert widget.preset.currentText() == FIRST_PRESET
    assert widget.lens.na == 0.5
    assert widget.lens.pixel_size_um == pytest.approx(0.3)


def test_a_layer_that_the_user_removed_returns_only_on_request(
    qtbot: QtBot, viewer: Viewer, widget: LensPSFWidget
) -> None:
    viewer.layers.remove("lens PSFs")
    widget.set_lens(LENS.model_copy(update={"sigma_edge_px": 2.5}))
    rest(qtbot, widget)
    assert len(viewer.layers) == 0
    widget.show_psfs.setChecked(False)
    widget.show_psfs.setChecked(True)
    rest(qtbot, widget)
    assert [layer.name for layer in viewer.layers] == ["lens PSFs"]


def test_psfs_follow_the_image_and_come_back_with_another_one(
    qtbot: QtBot, viewer: Viewer, widget: LensPSFWidget
) -> None:
    pixels = np.random.default_rng(0).random((48, 48))
    viewer.add_image(pixels, name="plain")
    rest(qtbot, widget)
    turned = viewer.add_image(pixels, name="turned", rotate=30, scale=(0.5, 0.5))
    widget.image.set_value(turned)
    rest(qtbot, widget)
    for name in ("lens PSFs", "turned blurred"):
        for pixel in ((0, 0), (47, 11)):
            world = viewer.layers[name].data_to_world(pixel)
            np.testing.assert_allclose(world, turned.data_to_world(pixel))
    # Previews are not offered as images.
    assert [widget.image.box.itemText(n) for n in range(3)] == ["turned", "plain", "no image"]
    small = viewer.add_image(pixels[:9, :9], name="small")
    widget.image.set_value(small)
    for box in widget.frame.boxes:
        box.setValue(48)
    rest(qtbot, widget)
    assert "small" in widget.note.text()
    viewer.layers.select_all()
    viewer.layers.remove_selected()
    rest(qtbot, widget)
    assert "small" not in widget.note.text()
    viewer.add_image(pixels, name="another")
    rest(qtbot, widget)
    assert {"lens PSFs", "another blurred"} <= {layer.name for layer in viewer.layers}


def test_what_is_doubtful_about_pixels_and_values_is_said(
    qtbot: QtBot, viewer: Viewer, widget: LensPSFWidget
) -> None:
    widget.preset.setCurrentText("60x 1.4 oil")
    assert widget.lens is not None and widget.lens.pixel_size_um == pytest.approx(0.1083)
    um = {"units": ("um", "um")}
    viewer.add_image(np.ones((48, 48)), name="coarse", scale=(0.325, 0.325), **um)
    assert "too large for an NA of 1.4" in widget.image_note.text()
    widget.image.set_value(
        viewer.add_image(np.ones((48, 48)), name="flat", scale=(0.1, 0.07), **um)
    )
    assert "not square (0.1 x 0.07" in widget.image_note.text()
    widget.image.set_value(viewer.add_image(np.ones((48, 48)), name="unknown"))
    assert widget.lens.pixel_size_um == pytest.approx(0.1083)  # not that of the image before
    assert "does not state its pixel size; 0.1083" in widget.image_note.text()
    rest(qtbot, widget)
    assert widget.note.text()
    widget.forms["pupil"].editors["na"].boxes[0].setValue(1.6)  # type: ignore[attr-defined]
    assert widget.preset.currentText() == ""  # no longer that objective
    assert not widget.note.text() and not widget.plot.axes.listDataItems()
    assert "NA" in widget.bar.message.text()


def test_another_lens_under_the_name_of_one_replaces_nothing(
    qtbot: QtBot, widget: LensPSFWidget
) -> None:
    for sigma in (2.0, 2.0, 3.0):
        widget.set_lens(LENS.model_copy(update={"sigma_edge_px": sigma}))
        click(widget.bar.run)
        assert wait_for_end(qtbot, widget.bar).reason == "completed"
    assert list(widget.session.psf_fields) == ["lens", "lens-2"]
    assert widget.bar.message.text().startswith("Completed: lens-2 can be chosen")
    widget.forms["gaussian"].editors["sigma_edge_px"].boxes[0].setValue(4.0)  # type: ignore[attr-defined]
    assert widget.bar.message.text().startswith("Before your last change")
