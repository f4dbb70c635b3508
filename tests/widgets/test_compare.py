"""The Compare widget, used with clicks."""

from __future__ import annotations

import csv
import threading
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_coordgate.config import (
    Camera,
    DeblurConfig,
    GaussianLens,
    RichardsonLucyConfig,
    WienerConfig,
)
from napari_coordgate.errors import CanceledError
from napari_coordgate.events import Event, Progress
from napari_coordgate.inference import DeblurResult, assess_events, deblur
from napari_coordgate.model import Model
from napari_coordgate.optics import PSFField
from napari_coordgate.simulation import simulate
from napari_coordgate.trust import TrustVerdict
from napari_coordgate.widgets.compare import CompareWidget
from napari_coordgate.widgets.compare.table import COLUMNS, NO_TRUTH
from napari_coordgate.widgets.compare.widget import SHARP
from napari_coordgate.widgets.layers import provenance
from napari_coordgate.widgets.session import session_of
from tests.widgets.acting import WAIT_MS, click, wait_for_end

if TYPE_CHECKING:
    from napari.viewer import Viewer

CAMERA = Camera(photons=2000)
OF_LENS = [
    "Universal network",
    "Wiener, full field",
    "Wiener, mean PSF",
    "RL, full field",
    "RL, mean PSF",
]
PSNR, TIME, TRUST = 1, 6, 8
"""Columns of the table."""


@pytest.fixture
def widget(viewer: Viewer, model: Model, psf_field: PSFField) -> CompareWidget:
    """The widget in a dock, with a network and a PSF field to choose."""
    widget = CompareWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Compare")
    session_of(viewer).models["tiny"] = model
    session_of(viewer).psf_fields["lens"] = psf_field
    widget.camera.set_settings(CAMERA)
    return widget


@pytest.fixture
def blurred(sharp: NDArray[np.uint8], psf_field: PSFField) -> NDArray[np.float32]:
    return simulate(sharp[0], psf_field, CAMERA, 0)


def column(widget: CompareWidget, number: int) -> list[str]:
    """Texts of a column, from top to bottom."""
    table = widget.results.table
    items = [table.item(line, number) for line in range(table.rowCount())]
    return [item.text() for item in items if item is not None]


def bold(widget: CompareWidget, number: int) -> list[bool]:
    table = widget.results.table
    items = [table.item(line, number) for line in range(table.rowCount())]
    return [item.font().bold() for item in items if item is not None]


def click_cell(widget: CompareWidget, line: int, number: int = 0) -> None:
    """Click a cell of the table."""
    QApplication.processEvents()
    table = widget.results.table
    item, viewport = table.item(line, number), table.viewport()
    assert item is not None and viewport is not None
    middle = table.visualItemRect(item).center()
    QtBot.mouseClick(viewport, Qt.MouseButton.LeftButton, pos=middle)


def click_heading(widget: CompareWidget, number: int) -> None:
    """Click the heading of a column, which sorts by it."""
    header = widget.results.table.horizontalHeader()
    assert header is not None
    viewport = header.viewport()
    assert viewport is not None
    place = viewport.rect().center()
    place.setX(header.sectionViewportPosition(number) + header.sectionSize(number) // 2)
    QtBot.mouseClick(viewport, Qt.MouseButton.LeftButton, pos=place)


def layer_names(viewer: Viewer) -> list[str]:
    return [layer.name for layer in viewer.layers]


def test_a_sharp_image_is_blurred_and_every_method_is_measured(
    qtbot: QtBot,
    viewer: Viewer,
    widget: CompareWidget,
    sharp: NDArray[np.uint8],
    model: Model,
    blurred: NDArray[np.float32],
) -> None:
    source = viewer.add_image(sharp[0], name="cells", scale=(0.5, 0.5), translate=(3, 4))
    widget.state.setCurrentText(SHARP)
    click(widget.bar.run)
    assert wait_for_end(qtbot, widget.bar).reason == "completed"
    methods = ["blurred", "tiny", *OF_LENS]
    assert column(widget, 0) == methods
    assert layer_names(viewer) == ["cells", *(f"cells: {name}" for name in methods)]
    assert viewer.canvas.grid.enabled and widget.side_by_side.isChecked()
    np.testing.assert_array_equal(viewer.layers["cells: blurred"].data, blurred)
    result = viewer.layers["cells: tiny"]
    np.testing.assert_array_equal(result.data, deblur(blurred, model))
    np.testing.assert_allclose(result.extent.world, source.extent.world)
    assert result.contrast_limits == source.contrast_limits
    values = [float(text) for text in column(widget, PSNR)]
    assert max(values[1:]) > values[0] + 1
    assert bold(widget, PSNR) == [value == max(values) for value in values]
    assert "\N{EN DASH}" not in column(widget, TIME)[1:]
    how = provenance(viewer.layers["cells: RL, mean PSF"].metadata)
    assert (how["method"], how["settings"]["psf"]) == ("RL, mean PSF", "mean")
    assert (how["psf_field"], how["simulated"]) == ("lens", True)


def test_without_a_sharp_image_only_times_are_shown(
    qtbot: QtBot, viewer: Viewer, widget: CompareWidget, blurred: NDArray[np.float32]
) -> None:
    viewer.add_image(blurred, name="cells")
    widget.methods.tick("tiny", "Wiener, full field")
    click(widget.bar.run)
    assert wait_for_end(qtbot, widget.bar).reason == "completed"
    assert layer_names(viewer) == ["cells", "cells: tiny", "cells: Wiener, full field"]
    assert column(widget, PSNR) == ["\N{EN DASH}"] * 2
    assert all(text.endswith(" s") for text in column(widget, TIME))
    assert NO_TRUTH in widget.results.note.text()
    table = widget.results.table
    assert set(column(widget, TRUST)) <= {"green", "amber", "red"}
    assert table.isColumnHidden(PSNR) and not table.isColumnHidden(TRUST)


def test_a_layer_can_be_the_sharp_image_of_a_plane_of_a_stack(
    qtbot: QtBot,
    viewer: Viewer,
    widget: CompareWidget,
    sharp: NDArray[np.uint8],
    psf_field: PSFField,
    model: Model,
) -> None:
    stack = psf_field.blur(sharp.astype(np.float32))
    truth = viewer.add_image(sharp, name="sharp")
    widget.image.set_value(viewer.add_image(stack, name="cells"))
    widget.truth.set_value(truth)
    viewer.dims.set_current_step(0, 3)
    widget.methods.tick("tiny")
    click(widget.bar.run)
    assert wait_for_end(qtbot, widget.bar).reason == "completed"
    blurred_row, _ = widget.results.rows
    assert blurred_row.quality["psnr"] > 10
    np.testing.assert_array_equal(viewer.layers["cells: tiny"].data, deblur(stack[3], model))
    assert not widget.is_stale
    viewer.dims.set_current_step(0, 2)
    assert widget.bar.message.text().startswith("Before your last change: Completed")


def test_a_failed_method_shows_its_reason_and_does_not_stop_the_others(
    qtbot: QtBot,
    viewer: Viewer,
    widget: CompareWidget,
    sharp: NDArray[np.uint8],
) -> None:
    larger = PSFField.from_lens(GaussianLens(sigma_center_px=1, sigma_edge_px=1), (60, 64))
    session_of(viewer).psf_fields["larger"] = larger
    assert widget.psf_field.value is larger
    viewer.add_image(np.pad(sharp[0], 10, mode="reflect"), name="cells")
    widget.state.setCurrentText(SHARP)
    widget.methods.tick("tiny", "Wiener, mean PSF")
    click(widget.bar.run)
    assert wait_for_end(qtbot, widget.bar).reason == "completed"
    assert column(widget, 0)[1:] == ["⚠ tiny", "Wiener, mean PSF"]
    assert "tiny: " in widget.results.note.text()
    assert "48 x 48" in widget.results.note.text()
    assert "1 failed" in widget.bar.message.text()
    assert viewer.layers["cells: blurred"].extent.world[0].tolist() == [4, 2]


class Waiting:
    """A classical method that waits until it is canceled or let go."""

    def __init__(self) -> None:
        self.may_end = threading.Event()

    def __call__(self, *_: Any, cancel: threading.Event, **__: Any) -> Generator[Event, None, Any]:
        for step in range(1000):
            if cancel.wait(0.01):
                raise CanceledError("Canceled.")
            if self.may_end.is_set():
                return np.ones((48, 48), np.float32)
            yield Progress("waiting", step, 1000, 0.01 * step)


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> Waiting:
    method = Waiting()

    def assess_or_wait(
        image: Any, reference: Any, *, config: DeblurConfig, cancel: threading.Event, **more: Any
    ) -> Generator[Event, None, DeblurResult]:
        is_classical = isinstance(config.deconvolution, WienerConfig | RichardsonLucyConfig)
        if not is_classical:
            more |= {"config": config, "cancel": cancel}
            return (yield from assess_events(image, reference, **more))
        pixels = yield from method(cancel=cancel)
        return DeblurResult(pixels, None, None, None, TrustVerdict(()))

    monkeypatch.setattr("napari_coordgate.comparison.methods.assess_events", assess_or_wait)
    return method


def test_a_cancel_keeps_finished_results(
    qtbot: QtBot,
    viewer: Viewer,
    widget: CompareWidget,
    blurred: NDArray[np.float32],
    waiting: Waiting,
) -> None:
    viewer.add_image(blurred, name="cells")
    click(widget.bar.run)
    qtbot.waitUntil(lambda: "Wiener, full field" in widget.bar.bar.text(), timeout=WAIT_MS)
    click(widget.bar.cancel)
    assert wait_for_end(qtbot, widget.bar).reason == "canceled"
    assert "2 methods" in widget.bar.message.text()
    finished = ["tiny", "Universal network"]
    assert layer_names(viewer) == ["cells", *(f"cells: {name}" for name in finished)]
    assert sorted(column(widget, 0)) == sorted(finished)
    assert widget.bar.run.isEnabled()


def test_a_widget_opened_during_a_job_shows_all_its_results(
    qtbot: QtBot,
    viewer: Viewer,
    widget: CompareWidget,
    blurred: NDArray[np.float32],
    waiting: Waiting,
) -> None:
    viewer.add_image(blurred, name="cells")
    widget.methods.tick("tiny", "Wiener, mean PSF")
    click(widget.bar.run)
    qtbot.waitUntil(lambda: column(widget, 0) == ["tiny"], timeout=WAIT_MS)
    viewer.window.remove_dock_widget(widget)
    again = CompareWidget(viewer)
    viewer.window.add_dock_widget(again, name="Compare again")
    assert column(again, 0) == ["tiny"]
    waiting.may_end.set()
    assert wait_for_end(qtbot, again.bar).reason == "completed"
    assert column(again, 0) == ["tiny", "Wiener, mean PSF"]
    assert "cells: Wiener, mean PSF" in viewer.layers


def test_the_table_is_sorted_by_a_click_and_its_rows_show_their_layers(
    qtbot: QtBot, viewer: Viewer, widget: CompareWidget, sharp: NDArray[np.uint8]
) -> None:
    viewer.add_image(sharp[0], name="cells")
    widget.state.setCurrentText(SHARP)
    widget.methods.tick("tiny", "Wiener, mean PSF")
    click(widget.bar.run)
    wait_for_end(qtbot, widget.bar)
    table = widget.results.table
    for order in Qt.SortOrder:
        click_heading(widget, PSNR)
        values = [float(text) for text in column(widget, PSNR)]
        assert values in (sorted(values), sorted(values, reverse=True))
        table.sortByColumn(TIME, order)
        assert column(widget, TIME)[-1] == "\N{EN DASH}"  # unknown is last in either order
    # A narrow table has the columns that matter most, a wide one all.
    assert [table.isColumnHidden(number) for number in (PSNR, PSNR + 1)] == [False, True]
    table.resize(900, table.height())
    assert not any(table.isColumnHidden(number) for number in range(PSNR, TRUST))
    line = column(widget, 0).index("Wiener, mean PSF")
    names = [layer.name_overlay for layer in viewer.layers if layer.name != "cells"]
    assert all(name.visible for name in names)
    click(widget.side_by_side)
    assert not viewer.canvas.grid.enabled
    assert not any(name.visible for name in names)
    assert sum(layer.visible for layer in viewer.layers if layer.name != "cells") == 1
    click_cell(widget, line)
    chosen = viewer.layers["cells: Wiener, mean PSF"]
    assert viewer.layers.selection.active is chosen
    assert chosen.visible and not viewer.layers["cells: tiny"].visible
    click(widget.side_by_side)
    assert viewer.canvas.grid.enabled and viewer.layers["cells: tiny"].visible


def test_a_second_run_hides_the_layers_of_the_first(
    qtbot: QtBot, viewer: Viewer, widget: CompareWidget, blurred: NDArray[np.float32]
) -> None:
    viewer.add_image(blurred, name="cells")
    widget.methods.tick("tiny")
    for _ in range(2):
        click(widget.bar.run)
        wait_for_end(qtbot, widget.bar)
    shown = {layer.name: layer.visible for layer in viewer.layers}
    assert shown == {"cells": True, "cells: tiny": False, "cells: tiny [1]": True}


def test_the_table_is_saved_without_overwriting_files(
    qtbot: QtBot,
    viewer: Viewer,
    widget: CompareWidget,
    sharp: NDArray[np.uint8],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    viewer.add_image(sharp[0], name="cells")
    widget.state.setCurrentText(SHARP)
    widget.methods.tick("tiny")
    click(widget.bar.run)
    wait_for_end(qtbot, widget.bar)
    monkeypatch.setattr(
        "napari_coordgate.widgets.choices.QFileDialog.getSaveFileName",
        lambda *_: (str(tmp_path / "table"), ""),
    )
    click(widget.results.save)
    path = tmp_path / "table.csv"
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["method"] for line in lines] == ["blurred", "tiny"]
    assert float(lines[1]["psnr"]) == widget.results.rows[1].quality["psnr"]
    before = path.read_bytes()
    click(widget.results.save)  # the dialog has not asked about the completed name
    assert path.read_bytes() == before
    assert "already exists" in widget.results.note.text()
    click(widget.results.copy)
    clipboard = QApplication.clipboard()
    assert clipboard is not None and clipboard.text().startswith("method\tpsnr\t")


def test_unchecked_methods_stay_unchecked_when_models_are_added_or_removed(
    viewer: Viewer, widget: CompareWidget, model: Model
) -> None:
    assert widget.methods.values == ["tiny", *OF_LENS]
    widget.methods.tick("tiny", "RL, mean PSF")
    session_of(viewer).models["newer"] = model
    assert widget.methods.values == ["newer", "tiny", "RL, mean PSF"]
    del session_of(viewer).models["newer"]
    assert widget.methods.values == ["tiny", "RL, mean PSF"]


def test_missing_input_is_reported_before_the_start(
    viewer: Viewer, widget: CompareWidget, blurred: NDArray[np.float32]
) -> None:
    def problem() -> str:
        QApplication.processEvents()
        assert not widget.bar.run.isEnabled()
        return widget.bar.message.text()

    assert "open one first" in problem()
    viewer.add_image(blurred[:30], name="part")
    assert widget.bar.run.isEnabled()
    widget.state.setCurrentText(SHARP)
    assert "30 x 48" in problem() and "48 x 48" in problem()
    widget.state.setCurrentIndex(0)
    truth = viewer.add_image(blurred, name="whole")
    widget.image.set_value(viewer.layers["part"])
    widget.truth.set_value(truth)
    assert "48 x 48" in problem()
    widget.truth.set_value(None)
    widget.methods.tick()
    assert "Select" in problem()
    widget.methods.tick("RL, full field")
    assert widget.bar.run.isEnabled()
    widget.camera.editors["read_noise"].set_value(3)
    widget.camera.editors["photons"].set_value(None)
    assert "set photons" in problem()


def test_deconvolution_needs_a_psf_field_and_models_do_not(
    qtbot: QtBot, viewer: Viewer, model: Model, blurred: NDArray[np.float32]
) -> None:
    widget = CompareWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Compare")
    viewer.add_image(blurred, name="cells")
    assert widget.psf_field.value is None
    assert "Choose a lens" in widget.bar.message.text()
    measured = Model(model.config, model.weights, model.frame_shape)
    session_of(viewer).models["measured"] = measured
    widget.methods.tick("measured")
    click(widget.bar.run)
    assert wait_for_end(qtbot, widget.bar).reason == "completed"


def test_the_default_camera_is_that_of_the_newest_model(viewer: Viewer, model: Model) -> None:
    known = model.config.model_copy(update={"camera": CAMERA})
    session_of(viewer).models["known"] = Model(known, model.weights, model.frame_shape)
    widget = CompareWidget(viewer)
    assert widget.camera.settings == CAMERA
    widget.camera.editors["photons"].set_value(77)
    session_of(viewer).models["other"] = model
    assert widget.camera.settings == Camera(photons=77)


def test_every_column_has_a_heading_and_a_tooltip() -> None:
    assert all(column.heading and column.tooltip.endswith(".") for column in COLUMNS)


def test_new_results_do_not_move_a_view_that_the_user_has_changed(
    qtbot: QtBot, viewer: Viewer, widget: CompareWidget, blurred: NDArray[np.float32]
) -> None:
    viewer.add_image(blurred, name="cells")
    widget.methods.tick("tiny")
    camera = viewer.scene.camera
    whole = camera.zoom
    click(widget.bar.run)
    wait_for_end(qtbot, widget.bar)
    assert camera.zoom < whole  # two images share the canvas
    camera.zoom = 9
    click(widget.bar.run)
    wait_for_end(qtbot, widget.bar)
    assert camera.zoom == 9
