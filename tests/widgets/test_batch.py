"""The Batch deblur widget, operated by mouse and keyboard."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from filelock import FileLock
from numpy.typing import NDArray
from qtpy.QtCore import QModelIndex, Qt
from qtpy.QtWidgets import QApplication, QLineEdit

from napari_coordgate.batch import BatchSummary
from napari_coordgate.config import DeblurSettings, RichardsonLucyConfig
from napari_coordgate.deconvolution import richardson_lucy
from napari_coordgate.events import Event, FileChanged, Stopwatch
from napari_coordgate.inference import deblur
from napari_coordgate.io import Image, read_image, write_image
from napari_coordgate.io.locks import LOCK_NAME
from napari_coordgate.model import Model
from napari_coordgate.optics import PSFField
from napari_coordgate.widgets.batch import BatchWidget
from napari_coordgate.widgets.batch.table import FILE, MESSAGE, STATUS, TIME
from napari_coordgate.widgets.choices import path_of
from napari_coordgate.widgets.jobs import JobEnd
from napari_coordgate.widgets.layers import provenance
from napari_coordgate.widgets.session import session_of
from tests.widgets.acting import WAIT_MS, choose, click, wait_for_end

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from pytestqt.qtbot import QtBot

GOOD = ("a.tif", "b.tif", "plate 1/a.tif")
BROKEN, NO_IMAGE = "broken.tif", "notes.txt"
EVENTS = "napari_coordgate.batch.deblur_folder_events"


@pytest.fixture
def blurred(sharp: NDArray[np.uint8], psf_field: PSFField) -> NDArray[np.float32]:
    return psf_field.blur(sharp.astype(np.float32))


@pytest.fixture
def folder(tmp_path: Path, blurred: NDArray[np.float32]) -> Path:
    """Three good images, one of them in a subfolder, a broken one and a text file."""
    folder = tmp_path / "night"
    (folder / "plate 1").mkdir(parents=True)
    for name, pixels in zip(GOOD, blurred, strict=False):
        write_image(folder / name, Image(pixels, "YX", (0.5, 0.5)))
    (folder / BROKEN).write_bytes((folder / "a.tif").read_bytes()[:300])
    (folder / NO_IMAGE).write_text("seeded on Monday")
    return folder


@pytest.fixture
def widget(qtbot: QtBot, viewer: Viewer, model_file: Path) -> BatchWidget:
    """The widget in a dock, with a model to choose."""
    widget = opened(viewer)
    widget.session.load_model(model_file)
    qtbot.waitUntil(lambda: widget.method.value is not None, timeout=WAIT_MS)
    return widget


def opened(viewer: Viewer) -> BatchWidget:
    widget = BatchWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Batch deblur")
    return widget


def rows(widget: BatchWidget) -> dict[str, str]:
    """Status of each visible file by its name, from top to bottom."""
    shown = widget.table.rows
    texts = [
        [shown.index(row, column).data() for column in (FILE, STATUS)]
        for row in range(shown.rowCount())
    ]
    return {name: state.partition(" ")[2] for name, state in texts}


def cell(widget: BatchWidget, name: str, column: int) -> QModelIndex:
    row = list(rows(widget)).index(name)
    return widget.table.rows.index(row, column)


def click_row(qtbot: QtBot, widget: BatchWidget, name: str, *, double: bool = False) -> None:
    """Click a file in the table, once or twice."""
    QApplication.processEvents()
    view = widget.table.view
    place = view.visualRect(cell(widget, name, FILE)).center()
    qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=place)
    if double:
        qtbot.mouseDClick(view.viewport(), Qt.MouseButton.LeftButton, pos=place)


def run_to_end(qtbot: QtBot, widget: BatchWidget, folder: Path) -> JobEnd:
    widget.folder.value = folder
    click(widget.bar.run)
    return wait_for_end(qtbot, widget.bar)


def test_good_files_are_deblurred_and_bad_files_have_a_message(
    qtbot: QtBot, widget: BatchWidget, folder: Path, model: Model
) -> None:
    assert run_to_end(qtbot, widget, folder).reason == "completed"
    expected = dict.fromkeys(GOOD, "done") | {BROKEN: "failed", NO_IMAGE: "skipped"}
    assert rows(widget) == expected
    output = folder.with_name("night deblurred")
    for name in GOOD:
        result = read_image((output / name).with_suffix(".ome.tif"))
        np.testing.assert_array_equal(result.data, deblur(read_image(folder / name).pixels, model))
    why = cell(widget, BROKEN, MESSAGE)
    assert why.data().startswith("cannot be read")
    tooltip = why.data(Qt.ItemDataRole.ToolTipRole)
    assert str(folder / BROKEN) in tooltip.splitlines()[0]
    assert why.data().split() == tooltip.split()[-len(why.data().split()) :]
    assert cell(widget, "a.tif", TIME).data().endswith(" s")
    assert widget.table.counts.text() == "1 failed, 3 done, 1 skipped"
    message = widget.bar.message.text()
    assert "1 failed" in message
    assert str(output / "deblur-report.jsonl") in message
    assert widget.table.thumbnails.isVisible()
    assert Path(GOOD[-1]).name in widget.table.thumbnails.name.text()


def test_failed_files_are_retried_and_finished_files_are_kept(
    qtbot: QtBot, widget: BatchWidget, folder: Path
) -> None:
    run_to_end(qtbot, widget, folder)
    (folder / BROKEN).write_bytes((folder / "b.tif").read_bytes())
    click(widget.table.retry)
    assert wait_for_end(qtbot, widget.bar).reason == "completed"
    assert rows(widget)[BROKEN] == "done"
    assert {rows(widget)[name] for name in GOOD} == {"up to date"}
    assert not widget.table.retry.isEnabled()
    result = folder.with_name("night deblurred") / "a.ome.tif"
    before = result.read_bytes()
    widget.form.editors["keep_dtype"].set_value(True)
    click(widget.bar.run)
    assert wait_for_end(qtbot, widget.bar).reason == "completed"
    assert rows(widget)["a.tif"] == "failed"
    assert "other settings" in cell(widget, "a.tif", MESSAGE).data()
    assert result.read_bytes() == before


def test_a_file_and_its_result_open_as_layers_with_provenance(
    qtbot: QtBot, viewer: Viewer, widget: BatchWidget, folder: Path, model_file: Path
) -> None:
    run_to_end(qtbot, widget, folder)
    assert not widget.table.open.isEnabled()
    click_row(qtbot, widget, "a.tif")
    click(widget.table.open)
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=WAIT_MS)
    blurred, deblurred = viewer.layers
    assert (blurred.name, deblurred.name) == ("a.tif", "a.tif deblurred")
    for layer in (blurred, deblurred):
        np.testing.assert_allclose(layer.scale, (0.5, 0.5))
        assert [str(unit) for unit in layer.units] == ["micrometer"] * 2
        assert layer.axis_labels == ("y", "x")
    assert deblurred.contrast_limits == blurred.contrast_limits
    how = provenance(deblurred.metadata)
    assert (how["kind"], how["method"]) == ("deblurred", str(model_file))
    assert how["image"] == str(folder / "a.tif")
    click_row(qtbot, widget, "plate 1/a.tif", double=True)
    qtbot.waitUntil(lambda: len(viewer.layers) == 4, timeout=WAIT_MS)


def test_a_file_without_a_result_opens_alone_and_a_text_file_does_not(
    qtbot: QtBot, viewer: Viewer, widget: BatchWidget, folder: Path
) -> None:
    run_to_end(qtbot, widget, folder)
    (folder / BROKEN).write_bytes((folder / "b.tif").read_bytes())
    click_row(qtbot, widget, BROKEN, double=True)
    qtbot.waitUntil(lambda: len(viewer.layers) == 1, timeout=WAIT_MS)
    assert viewer.layers[0].name == BROKEN
    click_row(qtbot, widget, NO_IMAGE, double=True)
    qtbot.waitUntil(lambda: not list(widget.session.running(f"Open {NO_IMAGE}")), timeout=WAIT_MS)
    assert len(viewer.layers) == 1


def test_a_canceled_batch_resumes_where_it_stopped(
    qtbot: QtBot, widget: BatchWidget, folder: Path, blurred: NDArray[np.float32]
) -> None:
    for number in range(60):
        write_image(folder / f"more {number}.tif", Image(blurred[0], "YX"))
    widget.folder.value = folder
    click(widget.bar.run)
    qtbot.waitUntil(lambda: "done" in rows(widget).values(), timeout=WAIT_MS)
    click(widget.bar.cancel)
    assert wait_for_end(qtbot, widget.bar).reason == "canceled"
    assert "waiting" in rows(widget).values()
    assert "running" not in rows(widget).values()
    click(widget.bar.run)
    assert wait_for_end(qtbot, widget.bar).reason == "completed"
    assert {"done", "up to date"} <= set(rows(widget).values())
    assert "waiting" not in rows(widget).values()


class HeldBatch:
    """A batch of many files that finishes one for each release of its gate."""

    def __init__(self, files: int) -> None:
        self.files = files
        self.gate = threading.Semaphore(0)

    def __call__(
        self, folder: Path, *_: object, **__: object
    ) -> Generator[Event, None, BatchSummary]:
        stopwatch = Stopwatch("deblurring", 10**10 * self.files)
        paths = [folder.resolve() / f"{number:05}.tif" for number in range(self.files)]
        yield from (FileChanged(path, "waiting") for path in paths)
        for number, path in enumerate(paths[:3]):
            yield stopwatch.progress(10**10 * number, files=number, of=self.files)
            while not self.gate.acquire(timeout=0.1):
                yield stopwatch.progress(10**10 * number, files=number, of=self.files)
            pair = (np.zeros((8, 8), np.float32), np.full((8, 8), number, np.float32))
            yield FileChanged(path, "done" if number else "failed", path, 3.0 - number, "", pair)
        return BatchSummary((), folder / "report.jsonl", 0.0)


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], HeldBatch]:
    """Replace the batch by one whose pace the test controls."""

    def replace_by(files: int) -> HeldBatch:
        batch = HeldBatch(files)
        monkeypatch.setattr(EVENTS, batch)
        return batch

    return replace_by


def test_ten_thousand_files_are_inserted_in_few_batches(
    qtbot: QtBot, widget: BatchWidget, folder: Path, hold: Callable[[int], HeldBatch]
) -> None:
    batch, insertions = hold(10_000), list[int]()
    widget.table.files.rowsInserted.connect(lambda _, first, last: insertions.append(last - first))
    widget.folder.value = folder
    click(widget.bar.run)
    qtbot.waitUntil(lambda: widget.table.rows.rowCount() == 10_000, timeout=WAIT_MS)
    assert len(insertions) < 50
    assert widget.bar.bar.text().startswith("0/10000 files")
    choose(widget.method.box, "Richardson-Lucy")
    batch.gate.release(3)
    wait_for_end(qtbot, widget.bar)
    assert "100.0 TB" in widget.bar.bar.text()
    assert widget.bar.message.text().startswith("Before your last change: ")


def test_files_can_be_sorted_and_filtered(
    qtbot: QtBot, widget: BatchWidget, folder: Path, hold: Callable[[int], HeldBatch]
) -> None:
    hold(4).gate.release(3)
    run_to_end(qtbot, widget, folder)
    table = widget.table
    assert list(rows(widget).values()) == ["failed", "done", "done", "waiting"]
    table.view.sortByColumn(TIME, Qt.SortOrder.AscendingOrder)
    times = [cell(widget, name, TIME).data() for name in rows(widget)]
    assert times == ["", "1.0 s", "2.0 s", "3.0 s"]
    table.view.sortByColumn(STATUS, Qt.SortOrder.AscendingOrder)
    assert list(rows(widget).values()) == ["failed", "waiting", "done", "done"]
    click(table.only_failed)
    assert list(rows(widget).values()) == ["failed"]
    click(table.only_failed)
    table.view.sortByColumn(FILE, Qt.SortOrder.DescendingOrder)
    assert list(rows(widget)) == ["00003.tif", "00002.tif", "00001.tif", "00000.tif"]


def test_a_reopened_widget_shows_its_batch(
    qtbot: QtBot,
    viewer: Viewer,
    widget: BatchWidget,
    folder: Path,
    hold: Callable[[int], HeldBatch],
) -> None:
    batch = hold(4)
    widget.folder.value = folder
    click(widget.bar.run)
    batch.gate.release()
    qtbot.waitUntil(lambda: "failed" in rows(widget).values(), timeout=WAIT_MS)
    viewer.window.remove_dock_widget(widget)
    again = opened(viewer)
    assert list(rows(again).values()) == ["failed", "waiting", "waiting", "waiting"]
    assert again.method.value is session_of(viewer).models["tiny"]
    batch.gate.release(2)
    assert wait_for_end(qtbot, again.bar).reason == "completed"
    assert list(rows(again).values()) == ["failed", "done", "done", "waiting"]
    viewer.window.remove_dock_widget(again)
    late = opened(viewer)
    assert list(rows(late).values()) == ["failed", "done", "done", "waiting"]
    assert "report.jsonl" in late.bar.message.text()
    assert late.table.retry.isEnabled()
    assert late.table.thumbnails.name.text().startswith("00002.tif")


def test_only_the_latest_thumbnails_are_kept(
    qtbot: QtBot, widget: BatchWidget, folder: Path, hold: Callable[[int], HeldBatch]
) -> None:
    hold(4).gate.release(3)
    run_to_end(qtbot, widget, folder)
    batch = widget.status
    assert batch is not None and batch.latest is not None
    assert batch.latest.source.name == "00002.tif"
    assert all(file.thumbnails is None for file in batch.files.values())


def test_the_bar_shows_why_a_batch_cannot_start(
    qtbot: QtBot, viewer: Viewer, widget: BatchWidget, folder: Path, tmp_path: Path
) -> None:
    def problem() -> str:
        return str(widget.bar.run.toolTip())

    assert "folder of the images" in problem()
    widget.folder.value = folder
    assert widget.bar.run.isEnabled()
    widget.output.value = folder
    assert "choose another" in problem()
    widget.output.value = folder / "a.tif"
    assert "is not a folder" in problem()
    widget.output.value = tmp_path / "results"
    assert not problem()
    widget.folder.value = tmp_path / "nowhere"
    assert "nowhere is not a folder" in problem()
    widget.folder.line_edit.value = "~nobody-of-this-name"
    assert "is not a folder" in problem()
    widget.folder.value = folder
    pattern = widget.names.editors["pattern"].findChild(QLineEdit)
    assert pattern is not None
    pattern.clear()
    assert "Pattern: " in problem()
    session_of(viewer).models.clear()
    assert "Choose a lens" in problem()  # for the universal network
    widget.method.box.setCurrentText("Model")
    assert "Choose a model" in problem()


def test_the_suggested_output_follows_the_folder_until_it_is_edited(
    qtbot: QtBot, widget: BatchWidget, folder: Path, tmp_path: Path
) -> None:
    qtbot.keyClicks(widget.folder.line_edit.native, str(folder))
    assert path_of(widget.output) == tmp_path / "night deblurred"
    widget.folder.value = folder / "plate 1"
    assert path_of(widget.output) == folder / "plate 1 deblurred"
    widget.output.value = tmp_path / "mine"
    widget.folder.value = folder
    assert path_of(widget.output) == tmp_path / "mine"


def test_a_model_without_a_file_is_saved_before_the_batch(
    qtbot: QtBot,
    viewer: Viewer,
    folder: Path,
    model: Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    widget = opened(viewer)
    widget.session.models["fresh"] = model
    widget.folder.value = folder
    assert "save it first" in widget.bar.message.text()
    chosen = (str(tmp_path / "fresh"), "")
    monkeypatch.setattr(
        "napari_coordgate.widgets.choices.QFileDialog.getSaveFileName", lambda *_: chosen
    )
    click(widget.save_method)
    assert Model.load(tmp_path / "fresh.safetensors").step == model.step
    assert widget.bar.run.isEnabled()
    assert not widget.save_method.isVisible()


def test_the_settings_of_a_result_are_those_of_a_batch_and_its_lens_is_saved_with_the_results(
    viewer: Viewer, folder: Path, psf_field: PSFField
) -> None:
    widget = opened(viewer)
    widget.session.psf_fields["my lens"] = psf_field
    settings = DeblurSettings(keep_dtype=True, deconvolution=RichardsonLucyConfig(num_iter=7))
    widget.take(settings, psf_field)
    widget.folder.value = folder
    assert not widget.bar.run.isEnabled()
    widget.bar.next.linkActivated.emit("0")
    assert (tmp := folder.parent / "night deblurred" / "my-lens.psf.tif").is_file()
    request = widget.request()
    assert (request.method, request.settings.keep_dtype) == (tmp, True)
    assert request.settings.deconvolution == settings.deconvolution


@pytest.mark.parametrize(
    ("pattern", "words"), [("*.czi", "contains no file that matches"), ("*", "Another batch")]
)
def test_errors_at_the_start_of_a_batch_are_shown(
    qtbot: QtBot, widget: BatchWidget, folder: Path, pattern: str, words: str
) -> None:
    output = folder.with_name("night deblurred")
    output.mkdir()
    widget.names.editors["pattern"].set_value(pattern)
    with FileLock(output / LOCK_NAME):
        assert run_to_end(qtbot, widget, folder).reason == "failed"
    assert words in widget.bar.message.text()
    assert rows(widget) == {}
    assert widget.bar.run.isEnabled()


def test_selection_format_and_overwrite_come_from_the_form(
    qtbot: QtBot,
    viewer: Viewer,
    widget: BatchWidget,
    folder: Path,
    blurred: NDArray[np.float32],
) -> None:
    write_image(folder / "stack.tif", Image(blurred, "ZYX"))
    widget.names.editors["pattern"].set_value("stack.tif")
    widget.names.editors["format"].set_value("ome-zarr")
    widget.selection.editors["planes"].set_value("1:3")
    run_to_end(qtbot, widget, folder)
    assert rows(widget) == {"stack.tif": "done"}
    result = folder.with_name("night deblurred") / "stack.ome.zarr"
    assert read_image(result).data.shape == (2, 48, 48)
    click_row(qtbot, widget, "stack.tif", double=True)
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=WAIT_MS)
    np.testing.assert_array_equal(viewer.layers["stack.tif"].data[:], blurred[1:3])
    assert viewer.layers["stack.tif deblurred"].data.shape == (2, 48, 48)
    widget.overwrite.setChecked(True)
    click(widget.bar.run)
    wait_for_end(qtbot, widget.bar)
    assert rows(widget) == {"stack.tif": "done"}


def test_a_folder_is_deconvolved_with_a_psf_field_that_is_saved_first(
    qtbot: QtBot,
    viewer: Viewer,
    folder: Path,
    psf_field: PSFField,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    widget = opened(viewer)
    widget.folder.value = folder
    widget.method.box.setCurrentText("Richardson-Lucy")
    assert "Choose a lens" in widget.bar.message.text()
    widget.session.psf_fields["my lens"] = psf_field
    assert "save it first" in widget.bar.message.text()
    monkeypatch.setattr(
        "napari_coordgate.widgets.choices.QFileDialog.getSaveFileName",
        lambda *_: (str(tmp_path / "my lens"), ""),
    )
    click(widget.save_method)
    assert (tmp_path / "my lens.psf.tif").is_file()
    widget.method.forms["Richardson-Lucy"].editors["num_iter"].set_value(4)
    click(widget.bar.run)
    end = wait_for_end(qtbot, widget.bar)
    assert end.reason == "completed"
    summary = end.result
    assert isinstance(summary, BatchSummary)
    assert sorted(file.source.name for file in summary.done) == ["a.tif", "a.tif", "b.tif"]
    saved = PSFField.load(tmp_path / "my lens.psf.tif")
    for file in summary.done:
        assert file.output is not None
        expected = richardson_lucy(read_image(file.source), saved, 4)
        np.testing.assert_array_equal(read_image(file.output).pixels, expected)
    viewer.window.remove_dock_widget(widget)
    again = opened(viewer)
    assert (again.method.box.currentText(), again.method.name) == ("Richardson-Lucy", "my lens")
    assert again.method.settings()["deconvolution"].num_iter == 4
