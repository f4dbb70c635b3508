"""Measuring a lens and a camera in Lens PSF, clicked as a person would."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_coordgate.calibration import ImagesFit, LensFit
from napari_coordgate.config import Camera, GaussianLens, Lens, LensCalibration, load_lens
from napari_coordgate.events import Event, Progress
from napari_coordgate.io.files import sample_data_folder
from napari_coordgate.metrics import psnr
from napari_coordgate.widgets.beads import BY_HAND
from napari_coordgate.widgets.contributions import nuclei_sharp
from napari_coordgate.widgets.deblur import DeblurWidget
from napari_coordgate.widgets.lens_psf import FIRST_PRESET, LensPSFWidget
from napari_coordgate.widgets.measure import NOTHING, MeasureSection
from napari_coordgate.widgets.measure_request import FOCUS, IMAGES
from tests.calibration.scenes import focus_series
from tests.widgets.acting import WAIT_MS, choose, click, unfold, wait_for_end

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from pytestqt.qtbot import QtBot

PLUGIN = "napari-coordgate"
BEADS, NUCLEI = "beads behind the demo lens", "nuclei behind the demo lens"


@pytest.fixture
def widget(qtbot: QtBot, viewer: Viewer) -> LensPSFWidget:
    """The widget in a dock, with its section unfolded."""
    widget = LensPSFWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Lens PSF")
    unfold(qtbot, widget.measure)
    return widget


@pytest.fixture
def measure(widget: LensPSFWidget) -> MeasureSection:
    return widget.measure


def saving(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Answer the next dialogs that ask for a file to save."""
    monkeypatch.setattr(
        "napari_coordgate.widgets.choices.QFileDialog.getSaveFileName", lambda *_: (str(path), "")
    )


def test_the_bead_sample_leads_from_beads_to_a_deblurred_image(
    qtbot: QtBot,
    make_napari_viewer: Callable[..., Viewer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    viewer = make_napari_viewer(show=True)
    for key in ("nuclei_blurred", "beads_blurred"):
        viewer.open_sample(PLUGIN, key)
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "Lens PSF")
    unfold(qtbot, widget.measure)
    measure: MeasureSection = widget.measure
    assert measure.bead_layer.name == BEADS
    click(measure.detect)
    wait_for_end(qtbot, measure.bar)
    assert "49 of 49 beads used" in measure.bar.message.text()
    points = viewer.layers[f"{BEADS} beads"]
    assert len(points.data) == 49
    points.selected_data = {0}
    points.remove_selected()
    points.selected_data = {5}
    click(measure.toggle)
    assert [reason for reason in points.features["reason"] if reason] == [BY_HAND]

    click(measure.bar.run)
    assert wait_for_end(qtbot, measure.bar).reason == "completed"
    lens, fit = widget.lens, measure.fit
    assert isinstance(lens, Lens) and fit is not None
    error = fit.standard_errors["field_curvature_um"]
    assert abs(lens.field_curvature_um - 8) < max(4 * error, 0.1)
    assert lens.calibration is not None and lens.calibration.method == "beads"
    assert widget.frame_shape == (256, 256)
    assert "sign of the defocus" in measure.note.text()
    assert measure.plot.isVisible()
    points = viewer.layers[f"{BEADS} beads"]
    assert len(points.data) == 48  # the one that was ticked off can be taken in again
    used = np.array([not reason for reason in points.features["reason"]])
    np.testing.assert_allclose(
        points.features["width_px"][used], points.features["model_width_px"][used], rtol=0.1
    )

    saving(monkeypatch, tmp_path / "measured")
    click(measure.save)
    wait_for_end(qtbot, measure.bar)
    assert load_lens(tmp_path / "measured.yaml") == fit.lens

    click(measure.deblur)
    wait_for_end(qtbot, widget.bar)
    shown = viewer.window.dock_widgets.values()
    (deblur,) = (widget for widget in shown if isinstance(widget, DeblurWidget))
    assert deblur.image.name == NUCLEI
    assert deblur.method.box.currentText() == "Universal network"
    assert deblur.method.value is deblur.session.psf_fields["lens"]
    click(deblur.bar.run)
    assert wait_for_end(qtbot, deblur.bar).reason == "completed"
    sharp = nuclei_sharp()[0][0]
    deblurred, blurred = (viewer.layers[f"{NUCLEI}{end}"].data for end in (" deblurred", ""))
    assert psnr(sharp, deblurred, 255) > psnr(sharp, blurred, 255) + 3


def test_what_is_missing_is_said_before_the_start(
    viewer: Viewer, widget: LensPSFWidget, measure: MeasureSection
) -> None:
    assert not measure.bar.run.isEnabled() and not measure.detect.isEnabled()
    assert "open one first" in measure.bar.message.text()
    beads = np.random.default_rng(0).poisson(5.0, (3, 64, 64))
    viewer.add_image(beads, name="stack", units=("pixel", "um", "um"), scale=(1, 0.3, 0.3))
    assert measure.z_step.isVisible()
    assert "distance of the planes" in measure.bar.message.text()
    measure.z_step.boxes[0].setValue(2.0)
    assert measure.bar.run.isEnabled()
    assert measure.request().z_um == 2.0
    viewer.add_image(beads, name="known", units=("um",) * 3, scale=(1.5, 0.3, 0.3))
    measure.bead_layer.set_value(viewer.layers["known"])
    assert measure.request().z_um == 1.5
    viewer.add_image(beads[0], name="plane")
    measure.bead_layer.set_value(viewer.layers["plane"])
    assert not measure.z_step.isVisible()
    widget.set_lens(GaussianLens())
    assert "Choose an objective first" in measure.bar.message.text()
    assert not measure.bar.run.isEnabled()


def test_an_image_without_beads_fails_with_the_reason(
    qtbot: QtBot, viewer: Viewer, measure: MeasureSection
) -> None:
    viewer.add_image(np.random.default_rng(0).poisson(50.0, (96, 96)), name="empty")
    click(measure.bar.run)
    assert wait_for_end(qtbot, measure.bar).reason == "failed"
    assert "bead" in measure.bar.message.text()
    assert measure.fit is None and not measure.save.isVisible()


def test_a_fit_can_be_canceled(qtbot: QtBot, viewer: Viewer, measure: MeasureSection) -> None:
    viewer.open_sample(PLUGIN, "beads_blurred")
    click(measure.bar.run)
    qtbot.waitUntil(measure.bar.cancel.isVisible, timeout=WAIT_MS)
    click(measure.bar.cancel)
    assert wait_for_end(qtbot, measure.bar).reason == "canceled"
    assert measure.fit is None
    assert measure.bar.run.isEnabled()


def test_a_lens_is_measured_from_several_ticked_images(
    qtbot: QtBot,
    viewer: Viewer,
    widget: LensPSFWidget,
    measure: MeasureSection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[Any] = []

    def fake(images: Any, lens: Lens, **_: Any) -> Generator[Event, None, LensFit]:
        given.extend(images)
        yield Progress("fitting the lens", 1, 1, 0.1)
        found = lens.replace(field_curvature_um=7.5)
        return LensFit(found, (64, 96), {"field_curvature_um": 0.25}, ("not enough detail",))

    monkeypatch.setattr("napari_coordgate.calibration.calibrate_images_events", fake)
    rng = np.random.default_rng(0)
    viewer.add_image(rng.random((4, 64, 96)), name="plates", axis_labels=("plane", "y", "x"))
    for name in ("one", "two"):
        viewer.add_image(rng.random((64, 96)), name=name)
    choose(measure.source, IMAGES)
    assert not measure.bead_layer.isVisible() and not measure.detect.isVisible()
    assert "Tick the images" in measure.bar.message.text()
    measure.image_layers.tick(viewer.layers["plates"], viewer.layers["two"])
    click(measure.bar.run)
    assert "7.5 ± 0.25" in wait_for_end(qtbot, measure.bar).message
    assert [(image.name, image.axes) for image in given] == [("two", "YX"), ("plates", "TYX")]
    assert widget.lens is not None and widget.lens.field_curvature_um == 7.5  # type: ignore[union-attr]
    assert widget.frame_shape == (64, 96)
    assert "not enough detail" in measure.note.text()
    assert not measure.plot.isVisible()


def test_a_focus_series_measures_curvature_and_tilt_with_their_signs(
    qtbot: QtBot, viewer: Viewer, widget: LensPSFWidget, measure: MeasureSection
) -> None:
    optics = Lens(na=0.3, wavelength_nm=520, pixel_size_um=0.65)
    true = optics.replace(field_curvature_um=-16.0, tilt_um=(3.0, -2.0))
    planes = focus_series(true, np.arange(-18.0, 28.0, 5.0))
    viewer.add_image(planes[4], name="plane")
    widget.set_lens(optics)
    choose(measure.source, FOCUS)
    assert not measure.bead_layer.isVisible() and not measure.detect.isVisible()
    assert measure.bar.message.text() == NOTHING[FOCUS]
    viewer.add_image(planes, name="stack", axis_labels=("z", "y", "x"))
    assert measure.stack_layer.name == "stack"  # the plane has no z
    assert "distance of the planes" in measure.bar.message.text()
    measure.z_step.boxes[0].setValue(5.0)
    click(measure.bar.run)
    end = wait_for_end(qtbot, measure.bar)
    assert end.reason == "completed", end.message
    lens, errors = widget.lens, measure.fit and measure.fit.standard_errors
    assert isinstance(lens, Lens) and lens.calibration is not None and errors
    assert lens.calibration.method == "focus series"
    assert abs(lens.field_curvature_um + 16) < 3 * errors["field_curvature_um"]
    assert abs(lens.tilt_um[0] - 3) < 3 * errors["tilt_um.y"]
    assert "±" in widget.form.editors["field_curvature_um"].boxes[0].text()  # type: ignore[attr-defined]
    assert measure.plot.isVisible()
    assert "middle plane" in measure.note.text()


def test_the_noise_of_the_camera_is_measured_and_used_by_deblur(
    qtbot: QtBot, viewer: Viewer, measure: MeasureSection
) -> None:
    light = np.linspace(20, 4000, 256) * np.ones((256, 1))
    viewer.add_image(np.random.default_rng(0).poisson(light) / 0.5 + 100, name="ramp")
    click(measure.noise)
    assert wait_for_end(qtbot, measure.bar).reason == "completed"
    assert "electrons per count: 0.5" in measure.noise_note.text()
    camera = measure.session.camera
    assert camera is not None and camera.electrons_per_count == pytest.approx(0.5, rel=0.1)
    deblur = DeblurWidget(viewer)
    viewer.window.add_dock_widget(deblur, name="Deblur")
    assert isinstance(deblur.method.camera.settings, Camera)
    assert deblur.method.camera.settings.electrons_per_count == pytest.approx(0.5, rel=0.1)


def test_a_measured_lens_is_shown_again_by_a_widget_that_was_closed(
    qtbot: QtBot, viewer: Viewer, widget: LensPSFWidget, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fake(image: Any, lens: Lens, **_: Any) -> Generator[Event, None, LensFit]:
        yield Progress("fitting the lens", 1, 1, 0.1)
        return LensFit(lens.replace(field_curvature_um=7.5), (64, 64), {}, ("one plane",))

    monkeypatch.setattr("napari_coordgate.calibration.calibrate_beads_events", fake)
    viewer.add_image(np.random.default_rng(0).random((64, 64)), name="beads")
    click(widget.measure.bar.run)
    wait_for_end(qtbot, widget.measure.bar)
    viewer.window.remove_dock_widget(widget)
    again = LensPSFWidget(viewer)
    viewer.window.add_dock_widget(again, name="Lens PSF")
    assert again.measure.fit is not None
    assert "one plane" in again.measure.note.text()


def test_a_report_of_the_measured_lens_is_written(
    qtbot: QtBot,
    viewer: Viewer,
    measure: MeasureSection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lens = load_lens(sample_data_folder() / "lens.yaml")
    assert isinstance(lens, Lens)

    def fake(*_: Any, **__: Any) -> Generator[Event, None, LensFit]:
        yield Progress("fitting the lens", 1, 1, 0.1)
        return LensFit(lens, (64, 64), {"field_curvature_um": 0.1}, ())

    monkeypatch.setattr("napari_coordgate.calibration.calibrate_beads_events", fake)
    viewer.add_image(np.random.default_rng(0).random((64, 64)), name="beads")
    click(measure.bar.run)
    wait_for_end(qtbot, measure.bar)
    saving(monkeypatch, tmp_path / "lens.html")
    click(measure.report)
    assert wait_for_end(qtbot, measure.bar).reason == "completed"
    assert "field" in (tmp_path / "lens.html").read_text()


def test_an_estimate_that_is_not_conclusive_keeps_the_lens(
    qtbot: QtBot, viewer: Viewer, widget: LensPSFWidget, monkeypatch: pytest.MonkeyPatch
) -> None:
    def events(images: object, lens: Lens, **_: object) -> Generator[Event, None, ImagesFit]:
        yield Progress("fitting the lens", 1, 2, 1.0)
        measured = lens.replace(field_curvature_um=99, calibration=LensCalibration(method="images"))
        return ImagesFit(measured, (128, 128), {}, (), is_conclusive=False)

    monkeypatch.setattr("napari_coordgate.calibration.calibrate_images_events", events)
    viewer.add_image(np.random.default_rng(0).poisson(50.0, (128, 128)), name="dull")
    before = widget.lens
    click(widget.estimate)
    assert not widget.estimate.isEnabled()
    wait_for_end(qtbot, widget.bar)
    assert widget.lens == before
    assert not widget.keep.isVisible() and not widget.measure.save.isVisible()
    assert "stays as it was" in widget.bar.message.text()
    assert widget.measure.bar.message.text().startswith("Not conclusive")
    widget.bar.next.linkActivated.emit("0")
    assert widget.measure.source.currentText() == "Beads"


def test_a_measured_lens_keeps_the_place_of_its_aberrations_in_the_sample(
    viewer: Viewer, widget: LensPSFWidget
) -> None:
    calibration = LensCalibration(method="beads", frame_shape=(96, 128))
    lens = Lens(na=0.5, wavelength_nm=520, pixel_size_um=0.3, calibration=calibration)
    um = {"units": ("um", "um")}
    viewer.add_image(np.ones((48, 64)), name="binned", scale=(0.6, 0.6), **um)
    widget.set_lens(lens)
    widget.image.changed.emit()
    assert widget.request().frame_shape == (48, 64)  # the same part of the sample
    assert isinstance(widget.lens, Lens) and widget.lens.calibration is not None
    viewer.add_image(np.ones((40, 40)), name="part", scale=(0.3, 0.3), **um)
    widget.image.set_value(viewer.layers["part"])
    assert widget.request().frame_shape == (96, 128)
    assert "Part of the frame" in widget.image_note.text()
    widget.frame.boxes[0].setValue(40)
    assert not widget.bar.run.isEnabled()
    assert "measured on a frame of 96 x 128" in widget.bar.message.text()
    # A lens that was measured here is not that of images of other frames.
    widget.measure.measured.emit(ImagesFit(lens, (96, 128), {}, (), is_conclusive=True))
    widget.image.set_value(viewer.layers["binned"])
    assert widget.lens.calibration is not None
    widget.image.set_value(viewer.layers["part"])
    assert widget.request().frame_shape == (40, 40)
    assert widget.lens.calibration is None and widget.preset.currentText() == FIRST_PRESET
