"""The Batch deblur widget."""

from functools import partial
from pathlib import Path
from typing import Any

from magicgui.types import FileDialogMode
from napari.viewer import Viewer
from qtpy.QtWidgets import QCheckBox, QPushButton, QVBoxLayout, QWidget

from napari_coordgate.config import BatchSettings
from napari_coordgate.errors import CoordGateError, SettingsError
from napari_coordgate.events import FileChanged
from napari_coordgate.widgets.batch.opening import OpenRequest
from napari_coordgate.widgets.batch.request import BatchRequest, results_folder
from napari_coordgate.widgets.batch.shown import ShownBatch
from napari_coordgate.widgets.batch.table import FileTable
from napari_coordgate.widgets.choices import (
    MODEL_FILES,
    ask_where_to_save,
    file_edit,
    model_choice,
    path_of,
)
from napari_coordgate.widgets.forms import RoiOrigin, SettingsForm, collapsible, form_rows
from napari_coordgate.widgets.jobs import Job, JobEnd, weak_connect
from napari_coordgate.widgets.panel import COLORS, JobBar, Panel
from napari_coordgate.widgets.preferences import load_preferences

__all__ = ["BatchWidget"]

BATCH = "Batch deblurring"
WIDTH = 480
"""Least width, pixels: names and reasons are read without scrolling sideways."""
ABOVE, ELSEWHERE = {"pattern", "format"}, {"axes", "origin", "selection"}
"""Settings at the top, and those in the section of the images' axes and parts."""


class BatchWidget(Panel):
    """Deblur a folder of images, and watch what becomes of each file.

    Parameters
    ----------
    viewer : Viewer
        The viewer.
    """

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer)
        self.setMinimumWidth(WIDTH)
        self.folder = file_edit(FileDialogMode.EXISTING_DIRECTORY)
        self.output = file_edit(FileDialogMode.EXISTING_DIRECTORY)
        self.network = model_choice(self.session)
        self.save_network = QPushButton("Save the network…")
        self.overwrite = QCheckBox("Overwrite what is there")
        self.add_row("Images", self.folder.native, "Folder, with all folders in it.")
        self.add_row("Results", self.output.native, "Folder; in it, folders of the same names.")
        self.add_row("", self.overwrite, "Do all anew, and replace whatever has a result's name.")
        self.add_choice("Network", self.network, "A checkpoint, trained for this frame.")
        self.add_row("", self.save_network, "A batch reads its network from a file.")
        self._add_settings()
        self.table, self.bar = FileTable(), JobBar("Deblur the folder")
        self.foot.addWidget(self.table)
        self.foot.addWidget(self.bar)
        self._offered = Path()
        self._connect()
        self._check()
        if BATCH in self.session.last_jobs:
            self._show_request(self.session.last_jobs[BATCH].context.request)
            self._follow(self.session.last_jobs[BATCH])

    def _add_settings(self) -> None:
        preferences = load_preferences()
        config = BatchSettings(device=preferences.device, memory_gb=preferences.memory_gb)
        self.names = SettingsForm(config, ABOVE)
        self.axes, self.part = SettingsForm(config, {"axes"}), SettingsForm(config.selection)
        rest = BatchSettings.model_fields.keys() - ABOVE - ELSEWHERE
        self.form, section, rows = SettingsForm(config, rest), QWidget(), form_rows()
        layout = QVBoxLayout(section)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.axes)
        layout.addWidget(self.part)
        layout.addLayout(rows)
        self.origin = RoiOrigin(rows)
        self.body.addWidget(self.names)
        self.body.addWidget(collapsible("Axes and parts", section))
        self.body.addWidget(collapsible("Settings", self.form))
        self.body.addStretch(1)

    def _connect(self) -> None:
        self.folder.changed.connect(self._offer_output)
        self.output.changed.connect(self._check)
        self.overwrite.toggled.connect(self._check)
        for part in (self.network, self.names, self.axes, self.part, self.origin, self.form):
            part.changed.connect(self._check)
        self.save_network.clicked.connect(self._ask_where_to_save)
        self.bar.run_clicked.connect(self.deblur)
        self.table.retry.clicked.connect(self._retry)
        self.table.open_wanted.connect(self._open)

    def _offer_output(self) -> None:
        """Offer a folder for results beside the images, until their user chooses another."""
        folder, output = path_of(self.folder), path_of(self.output)
        if folder is not None and output in (None, self._offered):
            self._offered = results_folder(folder)
            self.output.value = self._offered
        self._check()

    def _check(self, *_: object) -> None:
        """Allow the start if nothing is missing."""
        file = self._network_file()
        is_lost = self.network.value is not None and (file is None or not file.is_file())
        self.rows.setRowVisible(self.save_network, is_lost)
        try:
            self._request()
        except CoordGateError as error:
            self.bar.set_problem(str(error))
        else:
            self.bar.set_problem("")

    def _network_file(self) -> Path | None:
        """File in which the chosen network stands."""
        checkpoint = self.network.value
        return None if checkpoint is None else self.session.model_files.get(checkpoint)

    def _request(self) -> BatchRequest:
        """What stands in the form.

        Raises
        ------
        SettingsError
            If something is missing or wrong.
        """
        folder, output, network = path_of(self.folder), path_of(self.output), self._network_file()
        if folder is None:
            raise SettingsError("Choose the folder of the images.")
        if output is None:
            raise SettingsError("Choose a folder for the results.")
        if self.network.value is None:
            raise SettingsError("Choose a network: load a checkpoint, or train one.")
        if network is None:
            raise SettingsError(f"The network {self.network.name} is in no file; save it first.")
        config, overwrite = self._config(), self.overwrite.isChecked()
        request = BatchRequest(folder, output, network, config, overwrite)
        request.check()
        return request

    def _config(self) -> BatchSettings:
        """Settings of all forms together.

        Raises
        ------
        SettingsError
            If one of them is wrong.
        """
        forms = (self.names, self.axes, self.part, self.form)
        if problems := [text for form in forms for text in form.problems.values()]:
            raise SettingsError("; ".join(problems))
        values = self.form.values()
        for form, names in ((self.names, ABOVE), (self.axes, {"axes"})):
            values |= {name: form.editors[name].value() for name in names}
        values |= {"selection": self.part.settings, "origin": self.origin.value}
        return BatchSettings.model_validate(values)

    def _show_request(self, request: BatchRequest) -> None:
        """Fill the form with what a batch was asked for."""
        self.folder.value, self.output.value = request.folder, request.output
        for form in (self.names, self.axes, self.form):
            form.set_settings(request.config)
        self.part.set_settings(request.config.selection)
        self.origin.set_value(request.config.origin)
        for checkpoint, path in self.session.model_files.items():
            if path == request.checkpoint:
                self.network.set_value(checkpoint)

    def _ask_where_to_save(self) -> None:
        name = str(load_preferences().model_folder / f"{self.network.name}.safetensors")
        endings = (".safetensors",)
        chosen = ask_where_to_save(self, "Save the network", name, MODEL_FILES, endings)
        if chosen is not None:
            self._save_network(*chosen)

    def _save_network(self, path: Path, overwrite: bool) -> None:
        try:
            self.network.value.save(path, overwrite=overwrite)
        except CoordGateError as error:
            self.bar.show_error(str(error))
            return
        self.session.model_files[self.network.value] = path
        self._check()

    def deblur(self) -> None:
        """Deblur the folder in the background."""
        try:
            request = self._request()
        except CoordGateError as error:
            self.bar.show_error(str(error))
        else:
            self._start(request)

    def _retry(self) -> None:
        """Start the batch that is shown again, for what is not done."""
        if self.table.batch is not None:
            self._start(self.table.batch.request.again())

    def _start(self, request: BatchRequest) -> None:
        shown = ShownBatch(request)
        job = Job(BATCH, request.events, shown, done_message=str)
        job.batched.connect(shown.take)
        job.finished.connect(shown.end)
        self.session.last_jobs[BATCH] = job
        self._follow(job)
        self.session.start(job)

    def _follow(self, job: Job) -> None:
        """Show a batch from now on, this widget's own or one that was started before."""
        self.table.show_batch(job.context)
        weak_connect(job.context.changed, self.table.take)
        self.bar.follow(job)
        weak_connect(job.finished, self._end)
        self._end(job.end)

    def _end(self, end: JobEnd | None) -> None:
        """Say how a batch ended; while it goes on there is nothing to retry."""
        failed = self.table.batch.failed if self.table.batch is not None else 0
        self.table.retry.setEnabled(end is not None and failed > 0)
        if end is not None and end.reason == "completed" and failed:
            self.bar.show_message(end.message, COLORS["canceled"])

    def _open(self, file: FileChanged) -> None:
        """Open a file of the batch that is shown; its headers are read in the background."""
        assert self.table.batch is not None
        request = OpenRequest(file, self.table.batch.request)
        job = Job.from_function(f"Open {file.source.name}", request.read, request)
        job.finished.connect(partial(_add_layers, self.viewer))
        self.session.start(job)


def _add_layers(viewer: Viewer, end: JobEnd) -> None:
    """Add what was opened to the viewer."""
    layers: list[Any] = end.result or []
    for pixels, options, _ in layers:
        viewer.add_image(pixels, **options)
