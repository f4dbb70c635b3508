"""The Train widget, clicked as a person would, with a network that trains in seconds."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from napari.layers import Image as ImageLayer
from napari.utils.notifications import notification_manager
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from napari_coordgate.config import PRESETS, Camera, RuntimeConfig
from napari_coordgate.errors import DeviceMemoryError, TrainingError
from napari_coordgate.events import Event, Progress
from napari_coordgate.io import Image, write_image
from napari_coordgate.io.files import last_checkpoint_path
from napari_coordgate.model import Model, is_checkpoint
from napari_coordgate.optics import PSFField
from napari_coordgate.training import ResourceEstimate
from napari_coordgate.widgets.choices import free_name, path_of
from napari_coordgate.widgets.layers import DEBLURRED, SAMPLE, metadata
from napari_coordgate.widgets.session import session_of
from napari_coordgate.widgets.train import BLURRED_ONLY, MEASURED, TRAINING, TrainWidget
from tests.timing import BUSY
from tests.widgets.acting import WAIT_MS, choose, click, unfold, wait_for_end
from tests.widgets.conftest import TINY

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from pytestqt.qtbot import QtBot

ENDLESS = TINY.model_copy(update={"steps": 100_000, "validate_every": 40})


@pytest.fixture
def cells(viewer: Viewer, sharp: NDArray[np.uint8]) -> ImageLayer:
    return viewer.add_image(sharp, name="cells", scale=(1, 0.5, 0.5), units=("pixel", "um", "um"))


@pytest.fixture
def widget(viewer: Viewer, cells: ImageLayer, psf_field: PSFField, tmp_path: Path) -> TrainWidget:
    """The widget, ready for a short training."""
    widget = TrainWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Train")
    session_of(viewer).psf_fields["lens"] = psf_field
    widget.inputs.layers.tick(cells)
    widget.form.set_settings(TINY)
    widget.device.set_settings(RuntimeConfig(device="cpu"))
    widget.output.value = tmp_path / "model.safetensors"
    return widget


def output_of(widget: TrainWidget) -> Path:
    path = path_of(widget.output)
    assert path is not None
    return path


def start(qtbot: QtBot, widget: TrainWidget) -> None:
    """Click Train, and wait until the training itself is under way."""
    click(widget.bar.run)
    qtbot.waitUntil(lambda: any(widget.session.running(TRAINING)), timeout=WAIT_MS)


def steps_begin(qtbot: QtBot, widget: TrainWidget) -> None:
    """Wait until a first validation has been drawn."""
    qtbot.waitUntil(lambda: len(widget.curves.psnr.axes.listDataItems()) > 0, timeout=WAIT_MS)


def test_a_training_draws_curves_and_previews_and_offers_the_model(
    qtbot: QtBot, viewer: Viewer, widget: TrainWidget, sharp: NDArray[np.uint8], psf_field: PSFField
) -> None:
    output = output_of(widget)
    start(qtbot, widget)
    end = wait_for_end(qtbot, widget.bar)
    assert end.reason == "completed"
    saved = Model.load(output)
    assert saved.config.network == TINY.network
    assert session_of(viewer).models["model"] is end.result
    curves = {item.name(): item.getData() for item in widget.curves.loss.axes.listDataItems()}
    assert set(curves) == {"training", "validation"}
    assert curves["validation"][0].tolist() == [50, 100, 150]
    assert [layer.name for layer in viewer.layers] == ["cells"]  # no preview is left
    shown = [picture.image for picture in widget.pictures.pictures]
    assert [image.shape for image in shown] == [(48, 48)] * 3
    assert widget.pictures.isVisible()
    assert "Completed" in widget.bar.message.text()
    assert widget.estimate.text() == ""  # it was of the run that has ended
    # That name is taken now, and the next run gets another.
    assert output_of(widget).name == "model-2.safetensors"
    assert widget.bar.run.isEnabled()
    assert not widget.is_stale
    choose(widget.preset, "quick")
    assert widget.bar.message.text().startswith("Before your last change: Completed")
    widget.output.value = output
    assert not widget.bar.run.isEnabled()
    assert "already exists" in widget.bar.run.toolTip()


def test_the_run_uses_the_settings_of_the_form(qtbot: QtBot, widget: TrainWidget) -> None:
    widget.camera.set_settings(Camera(photons=4000, read_noise=2))
    request = widget.request()
    assert request.config == TINY.model_copy(update={"camera": Camera(photons=4000, read_noise=2)})


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_preset_fills_in_the_form(widget: TrainWidget, name: str) -> None:
    widget.preset.setCurrentText("quick" if name == "balanced" else "balanced")
    widget.preset.setCurrentText(name)
    assert widget.form.settings == PRESETS[name]


def test_a_stopped_training_keeps_its_model(
    qtbot: QtBot, widget: TrainWidget, tmp_path: Path
) -> None:
    widget.form.set_settings(ENDLESS)
    start(qtbot, widget)
    steps_begin(qtbot, widget)
    click(widget.bar.stop)
    end = wait_for_end(qtbot, widget.bar)
    assert (end.reason, end.message.startswith("Stopped")) == ("completed", True)
    assert Model.load(tmp_path / "model.safetensors").step > 0
    assert "model" in widget.session.models


def test_a_paused_training_waits_until_it_is_resumed(qtbot: QtBot, widget: TrainWidget) -> None:
    widget.form.set_settings(ENDLESS)
    start(qtbot, widget)
    steps_begin(qtbot, widget)
    click(widget.bar.pause)
    assert widget.bar.pause.text() == "Resume"
    qtbot.wait(500)  # the step at hand is done first
    assert widget.bar.bar.text() == "paused"  # also after the event of that step
    done = widget.bar.bar.value()
    qtbot.wait(500)
    assert widget.bar.bar.value() == done
    click(widget.bar.pause)
    qtbot.waitUntil(lambda: widget.bar.bar.value() > done, timeout=WAIT_MS)
    click(widget.bar.cancel)
    assert wait_for_end(qtbot, widget.bar).reason == "canceled"


def test_a_canceled_training_can_be_resumed(qtbot: QtBot, widget: TrainWidget) -> None:
    widget.form.set_settings(ENDLESS)
    start(qtbot, widget)
    steps_begin(qtbot, widget)
    click(widget.bar.cancel)
    assert wait_for_end(qtbot, widget.bar).reason == "canceled"
    last = last_checkpoint_path(output_of(widget))
    stopped_at = Model.load(last).step
    widget.output.value = last  # what a person finds in the folder
    assert "resume its run" in widget.bar.run.toolTip()
    assert widget.resume.isVisible()
    # The form shows other settings by now, and the lens is gone: both come from the run.
    widget.form.set_settings(PRESETS["thorough"])
    widget.session.psf_fields.clear()
    widget.resume.setChecked(True)
    assert not widget.bar.run.isEnabled()
    qtbot.waitUntil(widget.bar.run.isEnabled, timeout=WAIT_MS)
    assert widget.bar.run.text() == "Resume"
    assert widget.form.settings == ENDLESS
    widget.form.editors["steps"].set_value(stopped_at + 20)
    start(qtbot, widget)
    end = wait_for_end(qtbot, widget.bar)
    assert end.reason == "completed"
    assert f"Trained {stopped_at + 20} steps" in end.message
    (training, _) = widget.curves.loss.axes.listDataItems()
    assert training.getData()[0][-1] == stopped_at + 20


def test_a_model_is_fine_tuned_with_the_settings_of_its_network(
    qtbot: QtBot, widget: TrainWidget, model: Model
) -> None:
    widget.form.set_settings(PRESETS["balanced"])
    widget.session.models["tiny"] = model
    widget.start_from.set_value(model)
    request = widget.request()
    assert request.config.network == model.config.network
    assert request.init is model
    widget.form.set_settings(TINY.model_copy(update={"steps": 2, "warmup_steps": 0}))
    start(qtbot, widget)
    assert wait_for_end(qtbot, widget.bar).reason == "completed"


def test_measured_pairs_of_layers_can_be_used_for_training(
    qtbot: QtBot, viewer: Viewer, widget: TrainWidget, sharp: NDArray[np.uint8], psf_field: PSFField
) -> None:
    measured = viewer.add_image(psf_field.blur(sharp.astype(np.float32)), name="measured")
    widget.inputs.psf_field.set_value(MEASURED)
    assert widget.inputs.blurred.isVisible()
    assert not widget.bar.run.isEnabled()
    widget.inputs.blurred.tick(measured)
    widget.form.set_settings(TINY.model_copy(update={"steps": 20}))
    start(qtbot, widget)
    assert wait_for_end(qtbot, widget.bar).reason == "completed"


def test_blurred_images_alone_can_be_used_for_training(
    qtbot: QtBot, viewer: Viewer, widget: TrainWidget, sharp: NDArray[np.uint8], psf_field: PSFField
) -> None:
    stack = np.concatenate([sharp, sharp[:, ::-1], sharp[:, :, ::-1]]).astype(np.float32)
    own = viewer.add_image(psf_field.blur(stack), name="own")
    inputs = widget.inputs
    choose(inputs.kind, BLURRED_ONLY)
    assert not inputs.validation.isVisible()
    inputs.layers.tick()
    assert not widget.bar.run.isEnabled()
    assert "blurred images" in widget.bar.message.text()
    inputs.layers.tick(own)
    widget.form.set_settings(TINY.model_copy(update={"steps": 4}))
    widget.camera.set_settings(Camera(photons=5000))
    start(qtbot, widget)
    end = wait_for_end(qtbot, widget.bar)
    assert end.reason == "completed", end.message
    assert session_of(viewer).models["model"] is end.result


def test_one_layer_cannot_be_both_sharp_and_blurred(widget: TrainWidget, cells: ImageLayer) -> None:
    widget.inputs.psf_field.set_value(MEASURED)
    widget.inputs.blurred.tick(cells)
    assert not widget.bar.run.isEnabled()
    assert "as sharp and as blurred" in widget.bar.message.text()


def test_a_layer_can_be_used_for_validation(
    qtbot: QtBot, viewer: Viewer, widget: TrainWidget, sharp: NDArray[np.uint8]
) -> None:
    held_out = viewer.add_image(sharp[:1, ::-1], name="held out")
    widget.inputs.validation.set_value(held_out)
    widget.form.set_settings(TINY.model_copy(update={"steps": 10}))
    added = list[str]()
    viewer.layers.events.inserted.connect(lambda event: added.append(event.value.name))
    start(qtbot, widget)
    assert wait_for_end(qtbot, widget.bar).reason == "completed"
    assert added == ["held out, training preview"]
    shown = widget.pictures.pictures[-1].image
    assert np.corrcoef(shown.ravel(), sharp[0, ::-1].ravel())[0, 1] > 0.999


def test_a_folder_of_images_can_be_used_for_training(widget: TrainWidget, tmp_path: Path) -> None:
    widget.inputs.source.setCurrentText("Folder")
    assert not widget.bar.run.isEnabled()
    assert not widget.inputs.layers.isVisible()
    widget.inputs.folder.value = tmp_path
    assert widget.bar.run.isEnabled()
    assert widget.request().images == tmp_path
    widget.inputs.folder.value = tmp_path / "nowhere"
    assert "is not a folder" in widget.bar.message.text()


def test_a_broken_image_in_a_folder_is_named_and_the_others_are_trained_on(
    qtbot: QtBot, widget: TrainWidget, sharp: NDArray[np.uint8], tmp_path: Path
) -> None:
    folder = tmp_path / "sharp"
    for number, pixels in enumerate(sharp):
        write_image(folder / f"{number}.tif", Image(pixels, "YX"))
    (folder / "broken.tif").write_bytes((folder / "0.tif").read_bytes()[:300])
    widget.inputs.source.setCurrentText("Folder")
    widget.inputs.folder.value = folder
    widget.form.set_settings(TINY.model_copy(update={"steps": 10}))
    start(qtbot, widget)
    assert wait_for_end(qtbot, widget.bar).reason == "completed"
    told = [str(note.message) for note in notification_manager.records]
    assert any("Not trained on" in text and "broken.tif" in text for text in told)


def test_missing_inputs_are_reported_and_prevent_the_start(
    viewer: Viewer, cells: ImageLayer, tmp_path: Path
) -> None:
    widget = TrainWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Train")
    viewer.add_labels(np.ones((48, 48), int))
    viewer.add_image(np.zeros((8, 8, 3)), rgb=True)
    assert widget.inputs.layers.count() == 2
    colors = widget.inputs.layers.item(1)
    assert colors is not None and not colors.flags() & Qt.ItemFlag.ItemIsEnabled
    assert "tick layers" in widget.bar.message.text()
    widget.inputs.layers.tick(cells)
    assert "Lens PSF" in widget.bar.message.text()
    assert not widget.bar.run.isEnabled()


def test_an_invalid_setting_is_reported_and_prevents_the_start(widget: TrainWidget) -> None:
    assert widget.bar.run.isEnabled()
    widget.form.sections["network"].editors["kernel_size"].set_value(4)
    assert not widget.bar.run.isEnabled()
    assert "odd" in widget.bar.run.toolTip()


def test_an_error_about_an_image_names_it(
    qtbot: QtBot, viewer: Viewer, widget: TrainWidget
) -> None:
    flat = viewer.add_image(np.full((48, 48), 3.0), name="flat", contrast_limits=(0, 1))
    widget.inputs.layers.tick(flat)
    click(widget.bar.run)
    end = wait_for_end(qtbot, widget.bar)
    assert end.reason == "failed"
    assert "flat is constant" in end.message
    assert widget.bar.run.isEnabled()
    assert not output_of(widget).exists()


def test_an_out_of_memory_error_names_a_batch_size_that_fits(
    qtbot: QtBot, widget: TrainWidget, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(*_: object, **__: object) -> Iterator[Event]:
        raise DeviceMemoryError("The cuda ran out of memory; batch_size 2 fits.")
        yield

    monkeypatch.setattr(
        "napari_coordgate.training.estimate_resources_events",
        out_of_memory,
    )
    click(widget.bar.run)
    assert wait_for_end(qtbot, widget.bar).reason == "failed"
    assert "batch size 2 fits" in widget.bar.message.text()


def test_a_training_that_does_not_fit_starts_only_after_confirmation(
    qtbot: QtBot, widget: TrainWidget, monkeypatch: pytest.MonkeyPatch
) -> None:
    too_large = ResourceEstimate(
        seconds_per_step=0.1, seconds=10, memory_bytes=2**40, free_bytes=2**30, device="cpu"
    )

    def returning(*_: object, **__: object) -> Generator[Event, None, ResourceEstimate]:
        yield Progress("estimating", 1, 1, 0.1)
        return too_large

    monkeypatch.setattr(
        "napari_coordgate.training.estimate_resources_events",
        returning,
    )
    click(widget.bar.run)
    assert wait_for_end(qtbot, widget.bar).reason == "completed"
    assert widget.anyway.isVisible()
    assert widget.bar.message.text() == str(too_large)
    assert not any(widget.session.running(TRAINING))
    widget.form.editors["steps"].set_value(3)  # what would be trained has changed
    assert not widget.anyway.isVisible()
    assert widget.bar.message.text().startswith("Before your last change")
    click(widget.bar.run)
    qtbot.waitUntil(widget.anyway.isVisible, timeout=WAIT_MS)
    click(widget.anyway)
    qtbot.waitUntil(lambda: any(widget.session.running(TRAINING)), timeout=WAIT_MS)
    wait_for_end(qtbot, widget.bar)


def test_a_training_continues_without_its_layer_preview_and_widget(
    qtbot: QtBot, viewer: Viewer, widget: TrainWidget
) -> None:
    widget.form.set_settings(ENDLESS)
    start(qtbot, widget)
    qtbot.waitUntil(widget.pictures.isVisible, timeout=WAIT_MS)
    viewer.layers.remove("cells")
    (job,) = session_of(viewer).running(TRAINING)
    viewer.window.remove_dock_widget(widget)
    widget.deleteLater()
    del widget
    # Opened again, the widget shows the run that goes on, and can stop it.
    again = TrainWidget(viewer)
    viewer.window.add_dock_widget(again, name="Train again")
    assert again.bar.job is job
    qtbot.waitUntil(lambda: again.bar.bar.value() > 0, timeout=WAIT_MS)
    click(again.bar.stop)
    assert wait_for_end(qtbot, again.bar).reason == "completed"
    assert "model" in session_of(viewer).models


def test_closing_the_window_ends_a_training_within_two_seconds_and_saves_it(
    qtbot: QtBot, viewer: Viewer, widget: TrainWidget
) -> None:
    widget.form.set_settings(ENDLESS)
    start(qtbot, widget)
    steps_begin(qtbot, widget)
    output = output_of(widget)
    (job,) = widget.session.running(TRAINING)
    before = time.perf_counter()
    viewer.close()
    assert time.perf_counter() - before < 2 * BUSY
    qtbot.waitUntil(lambda: job.end is not None, timeout=2000 * BUSY)
    assert job.end is not None and job.end.reason == "canceled"
    last = Model.load(last_checkpoint_path(output))
    assert is_checkpoint(last_checkpoint_path(output))
    assert last.step >= 40


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # napari's own
def test_an_empty_layer_is_refused(viewer: Viewer, widget: TrainWidget) -> None:
    empty = viewer.add_image(np.zeros((0, 48, 48)), name="empty", contrast_limits=(0, 1))
    widget.inputs.layers.tick(empty)
    assert not widget.bar.run.isEnabled()
    assert "empty has no pixels" in widget.bar.message.text()


def test_a_training_stopped_during_its_estimate_does_not_start(
    qtbot: QtBot, widget: TrainWidget, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = ResourceEstimate(0.1, 10, 2**20, 2**30, "cpu")

    def estimate_resources(*_: object, **__: object) -> Generator[Event, None, ResourceEstimate]:
        for done in range(1, 100):
            time.sleep(0.02)
            yield Progress("rehearsing", done, 100, 0.02 * done)
        return fits

    monkeypatch.setattr("napari_coordgate.training.estimate_resources_events", estimate_resources)
    click(widget.bar.run)
    qtbot.waitUntil(lambda: widget.bar.bar.value() > 0, timeout=WAIT_MS)
    click(widget.bar.stop)
    wait_for_end(qtbot, widget.bar)
    assert not any(widget.session.running(TRAINING))


def test_the_error_of_a_failed_training_is_shown_until_its_cause_is_gone(
    qtbot: QtBot, widget: TrainWidget, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*_: object, **__: object) -> Iterator[Event]:
        raise TrainingError("The training diverged at step 7; choose a lower learning rate.")
        yield

    monkeypatch.setattr("napari_coordgate.training.train_events", diverge)
    click(widget.bar.run)
    message = widget.bar.message
    qtbot.waitUntil(lambda: "lower learning rate" in message.text(), timeout=WAIT_MS)
    widget.form.editors["learning_rate"].boxes[0].setValue(1e-4)  # type: ignore[attr-defined]
    assert message.text() == ""


def test_a_name_for_a_new_model_is_free(tmp_path: Path) -> None:
    assert free_name(tmp_path).name == "model.safetensors"
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "model-2.last.safetensors").touch()
    assert free_name(tmp_path).name == "model-3.safetensors"
    assert free_name(tmp_path, "model-2").name == "model-3.safetensors"
    (tmp_path / "lens-20.safetensors").touch()
    assert free_name(tmp_path, "lens-20").name == "lens-20-2.safetensors"


def test_what_is_doubtful_or_needless_is_said_or_hidden(
    qtbot: QtBot,
    viewer: Viewer,
    widget: TrainWidget,
    sharp: NDArray[np.uint8],
    model: Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not widget.data_note.isVisible()
    result = metadata(DEBLURRED)
    viewer.add_image(sharp, name="cells deblurred", metadata=result)
    offered = widget.inputs.layers
    viewer.add_image(sharp, name="dim", metadata=metadata(SAMPLE, source="blurred/nuclei.tif"))
    names, refused = ["cells", "dim", "cells deblurred"], ["is blurred", "recorded sharp"]
    items = [offered.item(row) for row in range(3)]
    assert [item.text() for item in items if item is not None] == names
    for item, words in zip(items[1:], refused, strict=True):
        assert item is not None and words in item.toolTip()
    offered.tick(*viewer.layers)
    assert [name for name, _ in offered.ticked] == ["cells"]
    small = viewer.add_image(sharp[0, :32, :32], name="small")
    offered.tick(small)
    assert "hardly any data" in widget.data_note.text()
    assert "also measures" in widget.data_note.text()
    widget.form.set_settings(TINY.model_copy(update={"window_size": 4096}))
    widget.check()
    assert "larger than the camera image" in widget.data_note.text()
    assert "Changed to 150 steps" in widget.preset_note.text()

    # The settings are written and read.
    path = str(tmp_path / "train.yaml")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (path, ""))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (path, ""))
    unfold(qtbot, widget.save_config)
    click(widget.save_config)
    widget.form.set_settings(PRESETS["quick"])
    click(widget.load_config)
    assert widget.form.settings.window_size == 4096

    # Measured images have their own noise.
    assert widget.camera.isVisible()
    widget.inputs.psf_field.set_value(MEASURED)
    assert not widget.camera.isVisible() and not widget.noise_note.isVisible()

    # A model to train further brings its lens and network.
    widget.session.models["tiny"] = model
    widget.start_from.set_value(model)
    assert widget.inputs.chosen_psf_field is model.psf_field
    assert widget.form.folds["network"].isHidden()
    widget.start_from.set_value(None)
    assert not widget.form.folds["network"].isHidden()


@pytest.mark.parametrize("typed", ["/", ".", "", "~nobody/"])
def test_a_half_typed_path_is_no_error(widget: TrainWidget, typed: str) -> None:
    widget.output.line_edit.value = typed
    assert not widget.bar.run.isEnabled()
    assert "must end in .safetensors" in widget.bar.message.text()


def test_the_settings_begin_with_the_length_and_end_with_the_simulation(
    widget: TrainWidget,
) -> None:
    names = list(widget.form.editors)
    assert names[:2] == ["steps", "epochs"]
    assert names[-2:] == ["border", "seed"]
