"""The Deblur widget, clicked as a person would."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array
import numpy as np
import pytest
from numpy.typing import NDArray

from napari_coordgate.config import (
    CGUNetConfig,
    RichardsonLucyConfig,
    TrainingConfig,
    WienerConfig,
)
from napari_coordgate.deconvolution import DeconvolutionConfig, deconvolve
from napari_coordgate.errors import DeviceMemoryError, OutputError
from napari_coordgate.events import Event, PlaneDone
from napari_coordgate.inference import deblur
from napari_coordgate.metrics import psnr
from napari_coordgate.model import Model
from napari_coordgate.networks import build_network
from napari_coordgate.optics import PSFField
from napari_coordgate.widgets.deblur import DeblurWidget, result_array
from napari_coordgate.widgets.layers import provenance
from napari_coordgate.widgets.panel import COLORS
from napari_coordgate.widgets.session import session_of
from tests.calibration.scenes import LENS, photographed, texture
from tests.widgets.acting import WAIT_MS, click, wait_for_end

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from pytestqt.qtbot import QtBot

PLACE = {
    "scale": (1, 0.5, 0.5),
    "translate": (0, 7, 9),
    "units": ("pixel", "um", "um"),
    "axis_labels": ("t", "y", "x"),
}


@pytest.fixture
def widget(viewer: Viewer, model: Model) -> DeblurWidget:
    """The widget in a dock, with a network to choose."""
    widget = DeblurWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Deblur")
    session_of(viewer).models["tiny"] = model
    return widget


@pytest.fixture
def blurred(sharp: NDArray[np.uint8], psf_field: PSFField) -> NDArray[np.float32]:
    return psf_field.blur(sharp.astype(np.float32))


def test_a_stack_is_deblurred_into_a_sharper_layer_with_the_same_transform(
    qtbot: QtBot,
    viewer: Viewer,
    widget: DeblurWidget,
    blurred: NDArray[np.float32],
    sharp: NDArray[np.uint8],
    model: Model,
) -> None:
    source = viewer.add_image(blurred, name="cells", contrast_limits=(5, 200), **PLACE)
    assert widget.axes.text() == "TYX"
    click(widget.bar.run)
    assert wait_for_end(qtbot, widget.bar).reason == "completed"
    result = viewer.layers["cells deblurred"]
    np.testing.assert_allclose(result.data, deblur(blurred, model), rtol=1e-5)
    truth = sharp.astype(np.float32)
    assert psnr(truth, result.data, 255) > psnr(truth, blurred, 255) + 1
    np.testing.assert_allclose(result.extent.world, source.extent.world)
    assert (result.units, result.axis_labels) == (source.units, source.axis_labels)
    assert result.contrast_limits == source.contrast_limits
    how = provenance(result.metadata)
    assert (how["kind"], how["model"], how["axes"]) == ("deblurred", "tiny", "TYX")
    assert "trust" in widget.bar.message.text()


def test_the_visible_plane_is_deblurred_first(
    qtbot: QtBot, viewer: Viewer, widget: DeblurWidget, blurred: NDArray[np.float32]
) -> None:
    viewer.add_image(blurred, name="cells", **PLACE)
    viewer.dims.set_current_step(0, 4)
    click(widget.bar.run)
    job, done = widget.bar.job, list[tuple[int, ...]]()
    assert job is not None

    def note(event: object) -> None:
        if isinstance(event, PlaneDone):
            done.append(event.index)

    job.happened.connect(note)
    wait_for_end(qtbot, widget.bar)
    assert done[0] == (4,)
    assert sorted(done) == [(n,) for n in range(6)]
    assert np.all(viewer.layers["cells deblurred"].data.std(axis=(1, 2)) > 0)


def test_an_image_of_another_frame_shape_is_refused_before_the_start(
    viewer: Viewer, widget: DeblurWidget, blurred: NDArray[np.float32]
) -> None:
    viewer.add_image(blurred[0, :30, :40], name="part")
    assert not widget.bar.run.isEnabled()
    assert "30 x 40" in widget.bar.message.text()
    assert "48 x 48" in widget.bar.run.toolTip()
    widget.origin.is_part.setChecked(True)
    widget.origin.corner.boxes[0].setValue(18)
    assert widget.bar.run.isEnabled()
    widget.origin.corner.boxes[0].setValue(19)
    assert not widget.bar.run.isEnabled()
    assert "exceeds the model's frame" in widget.bar.message.text()


def test_a_part_of_the_frame_is_deblurred_at_its_origin(
    qtbot: QtBot,
    viewer: Viewer,
    widget: DeblurWidget,
    blurred: NDArray[np.float32],
    model: Model,
) -> None:
    part = blurred[0, 16:, 8:]
    viewer.add_image(part, name="part")
    widget.origin.is_part.setChecked(True)
    widget.origin.corner.boxes[0].setValue(16)
    widget.origin.corner.boxes[1].setValue(8)
    click(widget.bar.run)
    wait_for_end(qtbot, widget.bar)
    expected = deblur(part, model, origin=(16, 8))
    np.testing.assert_allclose(viewer.layers["part deblurred"].data, expected, rtol=1e-5)


def test_the_frame_at_another_size_is_deblurred_with_a_note(
    qtbot: QtBot, viewer: Viewer, widget: DeblurWidget, blurred: NDArray[np.float32]
) -> None:
    viewer.add_image(blurred[0, ::2, ::2], name="binned")
    assert not widget.bar.run.isEnabled()  # it could as well be a part of the frame
    widget.form.editors["whole_frame"].set_value(True)
    assert "resampled" in widget.note.text()
    click(widget.bar.run)
    assert wait_for_end(qtbot, widget.bar).reason == "completed"
    assert viewer.layers["binned deblurred"].data.shape == (24, 24)


def test_wrong_axes_are_reported_and_prevent_the_start(
    viewer: Viewer, widget: DeblurWidget, blurred: NDArray[np.float32]
) -> None:
    viewer.add_image(blurred, name="cells")
    widget.axes.setText("YX")
    assert not widget.bar.run.isEnabled()
    assert "cells" in widget.bar.message.text()
    widget.axes.setText("cyx")
    assert widget.bar.run.isEnabled()


def test_labels_are_not_offered_and_no_job_starts_without_an_image(
    viewer: Viewer, widget: DeblurWidget
) -> None:
    viewer.add_labels(np.ones((48, 48), int))
    assert widget.image.value is None
    assert not widget.bar.run.isEnabled()
    assert "open one first" in widget.bar.message.text()


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (np.full((48, 48), 7.0), "constant"),
        (np.full((48, 48), np.nan), "NaN"),
    ],
)
def test_a_constant_or_nan_plane_fails_and_leaves_no_layer(
    qtbot: QtBot, viewer: Viewer, widget: DeblurWidget, pixels: NDArray[Any], words: str
) -> None:
    viewer.add_image(pixels, name="nothing", contrast_limits=(0, 1))
    click(widget.bar.run)
    assert wait_for_end(qtbot, widget.bar).reason == "failed"
    assert words in widget.bar.message.text()
    assert [layer.name for layer in viewer.layers] == ["nothing"]


def test_an_out_of_memory_error_names_a_size_that_fits(
    qtbot: QtBot,
    viewer: Viewer,
    widget: DeblurWidget,
    blurred: NDArray[np.float32],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def events(*_: object, **__: object) -> Iterator[Event]:
        raise DeviceMemoryError("The cuda ran out of memory at a tile of 512x512; choose 256.")
        yield

    monkeypatch.setattr("napari_coordgate.inference.assess_events", events)
    viewer.add_image(blurred, name="cells")
    click(widget.bar.run)
    assert wait_for_end(qtbot, widget.bar).reason == "failed"
    assert "choose 256" in widget.bar.message.text()
    assert widget.bar.run.isEnabled()


class SlowStack:
    """A lazy stack whose planes come one at a time, when they are let through."""

    def __init__(self, planes: NDArray[np.float32]) -> None:
        self.planes = planes
        self.gate = threading.Semaphore(0)
        self.is_gated = False
        self.read: list[int] = []
        self.shape, self.dtype, self.ndim = planes.shape, planes.dtype, planes.ndim

    def __getitem__(self, index: Any) -> NDArray[np.float32]:
        if self.is_gated:
            self.gate.acquire(timeout=10)
        first = index[0] if isinstance(index, tuple) else index
        self.read.append(first)
        plane: NDArray[np.float32] = self.planes[index]
        return plane


def test_lazy_pixels_are_read_plane_by_plane_and_a_canceled_job_keeps_finished_planes(
    qtbot: QtBot, viewer: Viewer, widget: DeblurWidget, blurred: NDArray[np.float32]
) -> None:
    stack = SlowStack(np.concatenate([blurred] * 5))
    viewer.add_image(stack, name="lazy", contrast_limits=(0, 255))
    stack.is_gated = True
    stack.read.clear()
    click(widget.bar.run)
    stack.gate.release(3)
    qtbot.waitUntil(lambda: "lazy deblurred" in viewer.layers, timeout=WAIT_MS)
    click(widget.bar.cancel)
    stack.gate.release(2)
    assert wait_for_end(qtbot, widget.bar).reason == "canceled"
    assert "Stopped" in widget.bar.message.text()
    done = viewer.layers["lazy deblurred (unfinished)"].data.std(axis=(1, 2)) > 0
    assert 0 < done.sum() < len(done)
    assert all(isinstance(index, int) for index in stack.read)


def test_dask_layers_stay_lazy(
    qtbot: QtBot,
    viewer: Viewer,
    widget: DeblurWidget,
    blurred: NDArray[np.float32],
    model: Model,
) -> None:
    lazy = dask.array.from_array(blurred, chunks=(1, 48, 48))
    viewer.add_image(lazy, name="lazy", contrast_limits=(0, 255))
    click(widget.bar.run)
    assert wait_for_end(qtbot, widget.bar).reason == "completed"
    result = viewer.layers["lazy deblurred"].data
    np.testing.assert_allclose(result, deblur(blurred, model), rtol=1e-5)
    assert isinstance(viewer.layers["lazy"].data, dask.array.Array)


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # napari's own
def test_an_empty_layer_is_refused(viewer: Viewer, widget: DeblurWidget) -> None:
    viewer.add_image(np.zeros((0, 48, 48)), name="empty", contrast_limits=(0, 1))
    assert not widget.bar.run.isEnabled()
    assert "empty has no pixels" in widget.bar.message.text()


def test_a_color_image_is_deblurred_sample_by_sample(
    qtbot: QtBot,
    viewer: Viewer,
    widget: DeblurWidget,
    blurred: NDArray[np.float32],
    model: Model,
) -> None:
    color = np.moveaxis(blurred[:3] / 255, 0, -1)
    viewer.add_image(color, name="color", rgb=True)
    assert widget.axes.text() == "YXS"
    click(widget.bar.run)
    assert wait_for_end(qtbot, widget.bar).reason == "completed"
    result = viewer.layers["color deblurred"]
    assert result.rgb
    np.testing.assert_allclose(result.data, deblur(color, model, axes="YXS"), atol=1e-6)


def test_a_widget_opened_later_follows_the_running_job(
    qtbot: QtBot, viewer: Viewer, widget: DeblurWidget, blurred: NDArray[np.float32]
) -> None:
    viewer.add_image(np.concatenate([blurred] * 20), name="cells")
    click(widget.bar.run)
    again = DeblurWidget(viewer)
    viewer.window.add_dock_widget(again, name="Deblur again")
    assert again.bar.job is widget.bar.job
    assert wait_for_end(qtbot, again.bar).reason == "completed"
    assert "trust" in again.bar.message.text()


def test_a_large_result_is_kept_in_a_temporary_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_coordgate.widgets.deblur.MAX_BYTES_IN_MEMORY", 100)
    large = result_array((4, 48, 48), np.float32)
    assert isinstance(large, np.memmap)
    large[2] = 7
    assert (large[1].max(), large[2].min()) == (0, 7)
    assert not isinstance(result_array((5, 5), np.float32), np.memmap)


def test_a_result_larger_than_the_disk_is_refused() -> None:
    with pytest.raises(OutputError, match="more than is free"):
        result_array((10**6, 10**5, 10**5), np.float32)


def test_a_job_outlives_its_layer_and_its_widget(
    qtbot: QtBot, viewer: Viewer, widget: DeblurWidget, blurred: NDArray[np.float32]
) -> None:
    viewer.add_image(np.concatenate([blurred] * 20), name="cells")
    click(widget.bar.run)
    job = widget.bar.job
    assert job is not None
    viewer.layers.remove("cells")
    viewer.window.remove_dock_widget(widget)
    qtbot.waitUntil(lambda: not job.is_running, timeout=WAIT_MS)
    assert job.end is not None and job.end.reason == "completed"
    assert "cells deblurred" in viewer.layers


def test_a_model_is_loaded_from_its_file(
    qtbot: QtBot, viewer: Viewer, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    widget = DeblurWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Deblur")
    qtbot.waitUntil(widget.isVisible, timeout=WAIT_MS)
    widget.method.box.setCurrentText("Model")
    assert widget.method.model.value is None
    chosen = (str(model_file), "")
    monkeypatch.setattr(
        "napari_coordgate.widgets.choices.QFileDialog.getOpenFileName", lambda *_: chosen
    )
    click(widget.method.model.button)
    qtbot.waitUntil(lambda: widget.method.model.value is not None, timeout=WAIT_MS)
    assert widget.method.model.name == "tiny"


@pytest.mark.parametrize(
    ("method", "config"),
    [
        ("Richardson-Lucy", RichardsonLucyConfig(num_iter=15)),
        ("Wiener", WienerConfig(num_iter=15, regularization=0.002)),
    ],
)
def test_an_image_is_deconvolved_with_a_psf_field_of_the_session(
    qtbot: QtBot,
    viewer: Viewer,
    widget: DeblurWidget,
    blurred: NDArray[np.float32],
    sharp: NDArray[np.uint8],
    psf_field: PSFField,
    method: str,
    config: DeconvolutionConfig,
) -> None:
    viewer.add_image(blurred, name="cells", **PLACE)
    viewer.dims.set_current_step(0, 4)
    widget.session.models.clear()  # the PSF field of a model can be chosen as well
    widget.method.box.setCurrentText(method)
    assert not widget.bar.run.isEnabled()
    assert "Choose a lens" in widget.bar.message.text()
    widget.session.psf_fields["my lens"] = psf_field
    form = widget.method.forms[method]
    assert form.isVisible() and not widget.method.model.isVisible()
    form.set_settings(config)
    click(widget.bar.run)
    job, done = widget.bar.job, list[tuple[int, ...]]()
    assert job is not None
    job.happened.connect(lambda e: done.append(e.index) if isinstance(e, PlaneDone) else None)
    assert wait_for_end(qtbot, widget.bar).reason == "completed"
    assert done[0] == (4,)
    result = viewer.layers["cells deblurred"]
    expected = deconvolve(blurred, psf_field, config)
    np.testing.assert_allclose(result.data, expected, rtol=1e-4, atol=1e-3)
    truth = sharp.astype(np.float32)
    assert psnr(truth, result.data, 255) > psnr(truth, blurred, 255) + 2
    how = provenance(result.metadata)
    assert how["psf_field"] == "my lens" and "model" not in how
    assert how["settings"]["deconvolution"]["num_iter"] == 15
    assert how["settings"]["deconvolution"]["method"] == method.lower()


def test_a_canceled_deconvolution_keeps_finished_planes(
    qtbot: QtBot,
    viewer: Viewer,
    widget: DeblurWidget,
    blurred: NDArray[np.float32],
    psf_field: PSFField,
) -> None:
    viewer.add_image(np.concatenate([blurred] * 50), name="cells")
    widget.session.psf_fields["my lens"] = psf_field
    widget.method.box.setCurrentText("Richardson-Lucy")
    widget.method.forms["Richardson-Lucy"].set_settings(RichardsonLucyConfig(num_iter=100))
    click(widget.bar.run)
    qtbot.waitUntil(lambda: "cells deblurred" in viewer.layers, timeout=WAIT_MS)
    click(widget.bar.cancel)
    assert wait_for_end(qtbot, widget.bar).reason == "canceled"
    done = viewer.layers["cells deblurred (unfinished)"].data.std(axis=(1, 2)) > 0
    assert 0 < done.sum() < len(done)


def test_richardson_lucy_that_stops_by_the_noise_asks_for_the_camera(
    viewer: Viewer, widget: DeblurWidget, blurred: NDArray[np.float32], psf_field: PSFField
) -> None:
    viewer.add_image(blurred, name="cells")
    widget.session.psf_fields["my lens"] = psf_field
    widget.method.box.setCurrentText("Richardson-Lucy")
    assert widget.bar.run.isEnabled()
    widget.method.forms["Richardson-Lucy"].editors["discrepancy"].set_value(True)
    assert not widget.bar.run.isEnabled()
    assert "camera" in widget.bar.message.text()
    widget.method.camera.editors["photons"].set_value(1000)
    assert widget.bar.run.isEnabled()


def test_an_image_of_another_lens_is_deblurred_and_called_wrong(
    qtbot: QtBot, viewer: Viewer
) -> None:
    scene = texture(np.random.default_rng(1), 320)
    (blurred,) = photographed([scene], LENS.replace(field_curvature_um=3.0))
    wrong = PSFField.from_lens(LENS.replace(field_curvature_um=9.0), (256, 256), tolerance=3e-2)
    network = CGUNetConfig(depth=2, base_channels=4)
    weights = build_network(network).state_dict()
    model = Model(TrainingConfig(network=network), weights, (256, 256), psf_field=wrong)
    widget = DeblurWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Deblur")
    session_of(viewer).models["wrong"] = model
    viewer.add_image(blurred, name="cells")
    click(widget.bar.run)
    assert wait_for_end(qtbot, widget.bar).reason == "completed"
    assert "cells deblurred" in viewer.layers
    assert "Do not trust it" in widget.bar.message.text()
    assert "Estimate it from this image" in widget.bar.next.text()
    qtbot.waitUntil(lambda: widget.fit.verdict is not None, timeout=WAIT_MS)
    assert widget.fit.verdict is not None and widget.fit.verdict.color == "red"
    assert "Estimate it from this image" in widget.fit.links.text()


def test_a_change_after_the_end_makes_the_message_stale(
    qtbot: QtBot, viewer: Viewer, widget: DeblurWidget, blurred: NDArray[np.float32]
) -> None:
    viewer.add_image(blurred[0], name="cells")
    click(widget.bar.run)
    wait_for_end(qtbot, widget.bar)
    assert not widget.is_stale and "Before" not in widget.bar.message.text()
    widget.form.editors["keep_dtype"].set_value(True)
    assert widget.bar.message.text().startswith("Before your last change")
    assert COLORS["completed"] not in widget.bar.message.styleSheet()


def test_the_same_again_replaces_a_result_that_was_not_renamed(
    qtbot: QtBot, viewer: Viewer, widget: DeblurWidget, blurred: NDArray[np.float32]
) -> None:
    viewer.add_image(blurred[0], name="cells")
    for _ in range(2):
        click(widget.bar.run)
        wait_for_end(qtbot, widget.bar)
    assert [layer.name for layer in viewer.layers] == ["cells", "cells deblurred"]
    viewer.layers["cells deblurred"].name = "mine"
    click(widget.bar.run)
    wait_for_end(qtbot, widget.bar)
    assert [layer.name for layer in viewer.layers] == ["cells", "mine", "cells deblurred"]


def test_blending_and_opacity_stay_those_of_the_image(
    qtbot: QtBot, viewer: Viewer, widget: DeblurWidget, blurred: NDArray[np.float32]
) -> None:
    viewer.add_image(blurred[0], name="GFP", blending="additive", opacity=0.7, colormap="green")
    click(widget.bar.run)
    wait_for_end(qtbot, widget.bar)
    result = viewer.layers["GFP deblurred"]
    assert (result.blending, result.opacity, result.colormap.name) == ("additive", 0.7, "green")


def test_the_universal_network_asks_only_for_a_lens(
    qtbot: QtBot,
    viewer: Viewer,
    blurred: NDArray[np.float32],
    sharp: NDArray[np.uint8],
    psf_field: PSFField,
) -> None:
    """It is chosen where there is no model, needs no noise, and a click deblurs."""
    widget = DeblurWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Deblur")
    viewer.add_image(blurred[0], name="cells")
    assert widget.method.box.currentText() == "Universal network"
    assert not widget.bar.run.isEnabled()
    assert "PSF field" in widget.bar.message.text()
    session_of(viewer).psf_fields["lens"] = psf_field
    assert widget.bar.run.isEnabled()
    assert widget.method.psf_field.isVisibleTo(widget)
    assert not widget.method.model.isVisibleTo(widget)
    assert not widget.method.camera.isVisibleTo(widget)
    assert set(widget.method.forms["Universal network"].editors) == {"lens_uncertainty"}
    click(widget.bar.run)
    assert wait_for_end(qtbot, widget.bar).reason == "completed"
    result = viewer.layers["cells deblurred"]
    expected = deblur(blurred[0], "universal", psf_field=psf_field)
    np.testing.assert_allclose(result.data, expected, rtol=1e-5)
    truth = sharp[0].astype(np.float32)
    assert psnr(truth, result.data, 255) > psnr(truth, blurred[0], 255) + 1
    how = provenance(result.metadata)
    assert (how["psf_field"], how["settings"]["deconvolution"]["method"]) == ("lens", "universal")


def test_the_method_follows_what_there_is_until_one_is_chosen(
    viewer: Viewer, model: Model, psf_field: PSFField
) -> None:
    widget, session = DeblurWidget(viewer), session_of(viewer)
    session.models["tiny"] = model
    assert widget.method.box.currentText() == "Model"
    session.psf_fields["lens"] = psf_field
    assert widget.method.box.currentText() == "Universal network"
    widget.method.choose("Model", model)
    session.psf_fields["another lens"] = psf_field
    assert widget.method.box.currentText() == "Model"
