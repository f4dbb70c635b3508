"""The flat field in Lens PSF, clicked as a person would."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_coordgate.config import Lens, LensCalibration
from napari_coordgate.errors import SettingsError
from napari_coordgate.io import kept_flat_field
from napari_coordgate.optics import PSFField
from napari_coordgate.widgets.choices import image_layers
from napari_coordgate.widgets.flat_field import ESTIMATE, NO_ESTIMATE, NO_IMAGES, FlatFieldSection
from napari_coordgate.widgets.lens_psf import LensPSFWidget
from tests.widgets.acting import choose, click, unfold, wait_for_end
from tests.widgets.conftest import LENS

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from pytestqt.qtbot import QtBot

SHAPE = (96, 96)
GAIN = 1.2 - 0.4 * np.linspace(-1, 1, 96) ** 2 * np.ones((96, 1))
GAIN = GAIN / GAIN.mean()
OFFSET = 100.0


def scenes(number: int) -> NDArray[np.floating[Any]]:
    """Bright squares at random places on a background, in counts, through the gain."""
    rng = np.random.default_rng(0)
    light = np.full((number, *SHAPE), 60.0)
    for scene in light:
        for y, x, side in zip(*rng.integers(0, 96, (2, 60)), rng.integers(3, 10, 60), strict=True):
            scene[y : y + side, x : x + side] += rng.uniform(50, 200)
    return OFFSET + rng.poisson(light * GAIN)


@pytest.fixture
def widget(qtbot: QtBot, viewer: Viewer) -> LensPSFWidget:
    """The widget in a dock, with its section unfolded and an image of the frame."""
    viewer.add_image(np.arange(96.0 * 96).reshape(SHAPE), name="image")
    widget = LensPSFWidget(viewer)
    widget.set_lens(LENS)  # of a field that is computed at once
    widget.show_psfs.setChecked(False)
    widget.show_blurred.setChecked(False)
    viewer.window.add_dock_widget(widget, name="Lens PSF")
    unfold(qtbot, widget.flat_field)
    return widget


@pytest.fixture
def section(widget: LensPSFWidget) -> FlatFieldSection:
    return widget.flat_field


def computed(qtbot: QtBot, widget: LensPSFWidget) -> PSFField:
    """PSF field that a click computes."""
    click(widget.bar.run)
    end = wait_for_end(qtbot, widget.bar)
    assert end.reason == "completed", end.message
    assert isinstance(end.result, PSFField)
    return end.result


def assert_is_the_gain(psf_field: PSFField, tolerance: float) -> None:
    assert psf_field.gain is not None
    np.testing.assert_allclose(psf_field.gain, GAIN, rtol=tolerance)


def test_a_layer_of_gains_becomes_a_part_of_the_psf_field_and_its_file(
    qtbot: QtBot,
    viewer: Viewer,
    widget: LensPSFWidget,
    section: FlatFieldSection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not section.offset.isVisible() and not section.bar.isVisible()
    assert computed(qtbot, widget).gain is None
    viewer.add_image(GAIN.astype(np.float32), name="gain")
    choose(section.choice.box, "gain")
    assert f"Gain from {GAIN.min():.2f} to {GAIN.max():.2f}" in section.note.text()
    assert not section.offset.isVisible() and not section.images.isVisible()
    assert_is_the_gain(computed(qtbot, widget), 0.01)
    monkeypatch.setattr(
        "napari_coordgate.widgets.choices.QFileDialog.getSaveFileName",
        lambda *_: (str(tmp_path / "lens.psf.tif"), ""),
    )
    click(widget.save)
    wait_for_end(qtbot, widget.bar)
    assert_is_the_gain(PSFField.load(tmp_path / "lens.psf.tif"), 0.01)
    viewer.layers.remove("gain")
    assert section.choice.name == "none"
    assert computed(qtbot, widget).gain is None


def test_an_image_of_a_uniform_sample_needs_the_offset_of_the_camera(
    qtbot: QtBot, viewer: Viewer, widget: LensPSFWidget, section: FlatFieldSection
) -> None:
    slide = OFFSET + np.random.default_rng(0).poisson(500 * GAIN)
    viewer.add_image(slide.astype(np.uint16), name="slide")
    choose(section.choice.box, "slide")
    assert section.offset.isVisible()
    assert not widget.bar.run.isEnabled() and not widget.save.isEnabled()
    assert "frame without light" in widget.bar.message.text()
    section.offset.boxes[0].setValue(OFFSET)
    assert_is_the_gain(computed(qtbot, widget), 0.03)
    section.offset.boxes[0].setValue(0)  # a camera without offset, not an unknown one
    assert widget.bar.run.isEnabled()


def test_a_flat_field_is_estimated_from_ticked_layers(
    qtbot: QtBot, viewer: Viewer, widget: LensPSFWidget, section: FlatFieldSection
) -> None:
    layer = viewer.add_image(scenes(24), name="scenes", axis_labels=("plane", "y", "x"))
    choose(section.choice.box, ESTIMATE)
    assert section.bar.message.text() == NO_IMAGES
    assert widget.bar.message.text() == NO_ESTIMATE
    section.images.tick(layer)
    assert not section.bar.run.isEnabled()
    section.offset.boxes[0].setValue(OFFSET)
    click(section.bar.run)
    assert wait_for_end(qtbot, section.bar).reason == "completed"
    assert section.choice.name == "flat field"
    assert not section.images.isVisible() and not section.bar.isVisible()
    np.testing.assert_allclose(viewer.layers["flat field"].data, GAIN, rtol=0.1)
    assert "flat field" not in dict(image_layers(viewer))
    assert_is_the_gain(computed(qtbot, widget), 0.1)


def test_too_few_scenes_fail_with_the_reason(
    qtbot: QtBot, viewer: Viewer, section: FlatFieldSection
) -> None:
    layer = viewer.add_image(scenes(9), name="planes through one sample", axis_labels=tuple("zyx"))
    choose(section.choice.box, ESTIMATE)
    section.images.tick(layer)
    section.offset.boxes[0].setValue(OFFSET)
    click(section.bar.run)
    assert wait_for_end(qtbot, section.bar).reason == "failed"
    assert "at least 8" in section.bar.message.text()


def test_a_flat_field_of_another_frame_is_refused_before_the_start(
    viewer: Viewer, widget: LensPSFWidget, section: FlatFieldSection
) -> None:
    viewer.add_image(np.ones((48, 96), np.float32) * 0.9, name="half")
    choose(section.choice.box, "half")
    assert not widget.bar.run.isEnabled()
    assert "48 x 96 pixels, but the frame 96 x 96" in widget.bar.message.text()
    with pytest.raises(SettingsError, match="half"):
        widget.request()


def test_a_flat_field_is_kept_with_its_lens(
    qtbot: QtBot, viewer: Viewer, widget: LensPSFWidget, section: FlatFieldSection
) -> None:
    lens = Lens(
        na=0.5, wavelength_nm=520, pixel_size_um=0.5, calibration=LensCalibration(method="beads")
    )
    viewer.add_image(GAIN.astype(np.float32), name="gain")
    choose(section.choice.box, "gain")
    widget.set_lens(lens)
    widget.name.setText("mine")
    click(widget.keep)
    assert kept_flat_field("mine") is not None
    choose(section.choice.box, "none")
    viewer.layers.remove("gain")
    choose(widget.preset, "20x 0.5 air")
    assert section.choice.value is None
    choose(widget.preset, "mine (no date)")
    assert section.choice.name == "mine.flat.tif"
    np.testing.assert_allclose(section.value(SHAPE).gain(), GAIN, rtol=1e-5)  # type: ignore[union-attr]
