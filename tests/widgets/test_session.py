"""What widgets of one viewer share, as napari's menu opens them."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from napari.utils import progress

from napari_coordgate.config import GaussianLens
from napari_coordgate.events import Event, Progress
from napari_coordgate.io import save_lens
from napari_coordgate.model import Model
from napari_coordgate.optics import PSFField
from napari_coordgate.widgets.choices import Choice, psf_field_choice
from napari_coordgate.widgets.deblur import DeblurWidget
from napari_coordgate.widgets.jobs import Job
from napari_coordgate.widgets.session import session_of
from napari_coordgate.widgets.train import TrainWidget
from tests.widgets.acting import WAIT_MS

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from pytestqt.qtbot import QtBot

PLUGIN = "napari-coordgate"


def test_the_session_outlives_the_widgets_that_the_menu_opened(
    viewer: Viewer, psf_field: PSFField
) -> None:
    dock, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "Train")
    assert isinstance(widget, TrainWidget)
    session = widget.session
    session.psf_fields["lens"] = psf_field
    viewer.window.remove_dock_widget(dock)
    del dock, widget
    gc.collect()
    _, again = viewer.window.add_plugin_dock_widget(PLUGIN, "Deblur")
    assert isinstance(again, DeblurWidget)
    assert again.session is session is session_of(viewer)


def test_files_opened_by_readers_are_offered_in_the_widgets(
    qtbot: QtBot, viewer: Viewer, psf_field: PSFField, model_file: Path, tmp_path: Path
) -> None:
    psf_field.save(tmp_path / "mine.psf.tif")
    viewer.open(tmp_path / "mine.psf.tif", plugin=PLUGIN)
    widget = TrainWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Train")
    assert widget.inputs.psf_field.name == "mine"
    viewer.open(model_file, plugin=PLUGIN)
    models = session_of(viewer).models
    qtbot.waitUntil(lambda: "tiny" in models, timeout=WAIT_MS)
    assert len(models) == 1
    assert widget.inputs.layers.count() == 0  # pictures of lens and network are no images
    viewer.add_image(np.ones((40, 48)))  # a lens without a frame is for that on view
    save_lens(GaussianLens(), tmp_path / "described.yaml")
    viewer.open(tmp_path / "described.yaml", plugin=PLUGIN)
    qtbot.waitUntil(lambda: widget.inputs.psf_field.name == "described", timeout=WAIT_MS)
    assert widget.inputs.psf_field.value.frame_shape == (40, 48)


def test_what_is_made_anew_under_its_name_stays_chosen(
    viewer: Viewer, qtbot: QtBot, psf_field: PSFField, model: Model
) -> None:
    session = session_of(viewer)
    choice = psf_field_choice(session)
    qtbot.addWidget(choice)
    session.models["net"] = model
    session.psf_fields["lens"] = psf_field
    choice.refresh()
    assert choice.name == "lens"
    remade = PSFField(psf_field.kernels, psf_field.coefficients, psf_field.frame_shape)
    session.psf_fields["lens"] = remade
    choice.refresh()
    assert (choice.name, choice.value) == ("lens", remade)


def test_new_options_replace_a_choice_of_nothing_unless_the_user_made_it(
    qtbot: QtBot,
) -> None:
    options: list[tuple[str, Any]] = [("nothing", None)]
    choice = Choice(lambda: options)
    qtbot.addWidget(choice)
    options.insert(0, ("first", 1))
    choice.refresh()
    assert choice.value == 1
    choice.box.setCurrentIndex(1)
    choice.box.activated.emit(1)
    options.insert(0, ("second", 2))
    choice.refresh()
    assert choice.value is None


def test_ended_jobs_and_their_results_are_released(qtbot: QtBot, viewer: Viewer) -> None:
    class Large:
        pass

    session = session_of(viewer)
    results: list[weakref.ref[Large]] = []

    def make() -> None:
        job = Job.from_function("Make something large", lambda _: Large())
        job.finished.connect(lambda end: results.append(weakref.ref(end.result)))
        session.start(job)

    make()
    qtbot.waitUntil(lambda: bool(results), timeout=WAIT_MS)
    (result,) = results
    gc.collect()
    assert result() is None
    assert list(session.running("Make something large")) == []


def test_a_model_is_built_without_drawing_random_numbers(model: Model) -> None:
    """A training that begins in another thread draws its weights from the same generator."""
    rebuilt = Model(model.config, model.weights, model.frame_shape)
    before = torch.random.get_rng_state()
    assert rebuilt.network.state_dict().keys() == model.weights.keys()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_job_is_shown_in_the_activity_dock_until_it_ends(qtbot: QtBot, viewer: Viewer) -> None:
    going_on = threading.Event()

    def work(_: Job) -> Generator[Event, None, None]:
        yield Progress("counting", 1, 3, 0.1)
        going_on.wait(WAIT_MS / 1000)
        yield Progress("counting", 2, 3, 0.2)

    job = Job("Slow", work)
    session_of(viewer).start(job)
    bars = progress._all_instances  # noqa: SLF001 - napari's activity dock shows these
    qtbot.waitUntil(lambda: [bar.n for bar in bars] == [1], timeout=WAIT_MS)
    (bar,) = bars
    assert "Slow: counting" in bar.desc
    job.pause()
    assert "paused" in bar.desc
    going_on.set()
    job.resume()
    qtbot.waitUntil(lambda: not bars, timeout=WAIT_MS)
