"""The Batch deblur widget."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from magicgui.types import FileDialogMode
from napari.viewer import Viewer
from qtpy.QtWidgets import QCheckBox, QPushButton, QVBoxLayout, QWidget

from napari_coordgate.config import BatchSettings, DeblurSettings
from napari_coordgate.errors import CoordGateError, SettingsError
from napari_coordgate.events import FileChanged
from napari_coordgate.widgets.batch.job import BatchRequest, BatchStatus, default_output
from napari_coordgate.widgets.batch.table import FileTable
from napari_coordgate.widgets.choices import (
    MODEL_FILES,
    PSF_FIELD_FILES,
    ask_where_to_save,
    file_edit,
    file_word,
    path_of,
)
from napari_coordgate.widgets.forms import (
    RoiOrigin,
    SettingsForm,
    collapsible,
    form_rows,
    problems_of,
)
from napari_coordgate.widgets.jobs import Job, JobEnd, weak_connect
from napari_coordgate.widgets.kept import kept_folder
from napari_coordgate.widgets.methods import METHOD_SETTINGS, MethodChoice
from napari_coordgate.widgets.panel import CHOICE_WIDTH, COLORS, JobWidget
from napari_coordgate.widgets.preferences import load_preferences

BATCH = "Batch deblurring"
FILE_SETTINGS, IMAGE_SETTINGS = {"pattern", "format"}, {"axes", "origin", "selection"}
"""Settings at the top, and those in the section about axes and selection."""
OVERWRITE_TOOLTIP = (
    "Process all files again, and overwrite files that have the names of their results. If it is "
    "not checked, only results of this batch are replaced whose image has changed; after a change "
    "of model or settings, earlier results are kept."
)


class BatchWidget(JobWidget):
    """Deblur a folder of images and watch the status of each file."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer, "Deblur folder")
        self.status: BatchStatus | None = None
        self.folder = file_edit(FileDialogMode.EXISTING_DIRECTORY)
        self.output = file_edit(FileDialogMode.EXISTING_DIRECTORY)
        self.save_method = QPushButton()
        self.overwrite = QCheckBox("Overwrite results")
        self.add_row("Images", self.folder.native, "Folder of images, with its subfolders.")
        self.add_row("Results", self.output.native, "Folder for results, in the same subfolders.")
        for edit in (self.folder, self.output):
            edit.native.setMinimumWidth(CHOICE_WIDTH)  # as for the names of choices
        self.add_row("", self.overwrite, OVERWRITE_TOOLTIP)
        preferences = load_preferences()
        settings = BatchSettings(device=preferences.device, memory_gb=preferences.memory_gb)
        self.method = MethodChoice(self, settings)
        self.add_row("", self.save_method, "A batch reads its model or lens from a file.")
        self._add_settings(settings)
        self.table = FileTable()
        self.foot.addWidget(self.table)
        self.foot.addWidget(self.bar)
        self._suggested_output = Path()
        self._connect()
        self.check()
        if BATCH in self.session.last_jobs:
            job = self.session.last_jobs[BATCH]
            self._show_request(job.context.request)
            self.follow(job)

    def _add_settings(self, settings: BatchSettings) -> None:
        rest = BatchSettings.model_fields.keys() - FILE_SETTINGS - IMAGE_SETTINGS - METHOD_SETTINGS
        self.names = SettingsForm(settings, FILE_SETTINGS)
        self.axes = SettingsForm(settings, {"axes"})
        self.selection = SettingsForm(settings.selection)
        self.form, section, rows = SettingsForm(settings, rest), QWidget(), form_rows()
        layout = QVBoxLayout(section)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.axes)
        layout.addWidget(self.selection)
        layout.addLayout(rows)
        self.origin = RoiOrigin(rows)
        self.body.addWidget(self.method.section)
        self.body.addWidget(self.names)
        self.body.addWidget(collapsible("Axes and selection", section))
        self.body.addWidget(collapsible("Settings", self.form, self.method.network))
        self.body.addStretch(1)

    def _connect(self) -> None:
        self.folder.changed.connect(self._suggest_output)
        self.output.changed.connect(self.check)
        for edit in (self.folder, self.output):
            edit.changed.connect(self.note_kept)
        self.overwrite.toggled.connect(self.check)
        for part in (self.method, self.names, self.axes, self.selection, self.origin, self.form):
            part.changed.connect(self.check)
        self.save_method.clicked.connect(self._save_method)
        self.table.retry.clicked.connect(self._retry)
        self.table.open_requested.connect(self._open)

    def _suggest_output(self) -> None:
        """Suggest a folder for results beside the images, until the user chooses another."""
        folder, output = path_of(self.folder), path_of(self.output)
        if folder is not None and output in (None, self._suggested_output):
            self._suggested_output = default_output(folder)
            self.output.value = self._suggested_output
        self.check()

    def check(self, *_: object) -> None:
        """Allow the start if nothing is missing, and offer to save what has no file."""
        file = self._method_file()
        has_no_file = self.method.value is not None and (file is None or not file.is_file())
        self.save_method.setText(f"Save the {self._kind}…")
        self.rows.setRowVisible(self.save_method, has_no_file)
        super().check()
        if has_no_file and path_of(self.output) is not None:
            self.bar.next.offer({"Save it with the results": self._save_with_results})

    @property
    def _kind(self) -> str:
        return "model" if self.method.is_model else "lens"

    def _method_file(self) -> Path | None:
        """File of the chosen model or PSF field."""
        method = self.method.value
        return None if method is None else self.session.files.get(method)

    def others_to_keep(self) -> dict[str, Any]:
        """Folders of images and results."""
        folders = {"folder": self.folder, "output": self.output}
        return {name: str(path_of(edit) or "") for name, edit in folders.items()}

    def recall(self, kept: Mapping[str, Any]) -> None:
        """Show the folders that were chosen last."""
        if folder := kept_folder(kept.get("folder")):
            self.folder.value = folder
            self.output.value = Path(str(kept.get("output") or default_output(folder)))
        super().recall(kept)

    def request(self) -> BatchRequest:
        """Snapshot of the form."""
        folder, output = path_of(self.folder), path_of(self.output)
        if folder is None:
            raise SettingsError("Choose the folder of the images.")
        if output is None:
            raise SettingsError("Choose a folder for the results.")
        self.method.require()
        file = self._method_file()
        if file is None:
            raise SettingsError(f"The {self._kind} {self.method.name} has no file; save it first.")
        if problems := problems_of(self.names, self.axes, self.selection, self.form):
            raise SettingsError(problems)
        values = self.form.values() | self.method.settings()
        for form, names in ((self.names, FILE_SETTINGS), (self.axes, {"axes"})):
            values |= {name: form.editors[name].value() for name in names}
        values |= {"selection": self.selection.settings, "origin": self.origin.value}
        settings = BatchSettings.model_validate(values)
        request = BatchRequest(folder, output, file, settings, self.overwrite.isChecked())
        request.check()
        return request

    def take(self, settings: DeblurSettings, method: Any) -> None:
        """Show the settings of a deblurring, and its model or PSF field."""
        names = settings.model_fields_set & BatchSettings.model_fields.keys()
        taken = BatchSettings(**{name: getattr(settings, name) for name in names})
        self.form.set_settings(taken)
        self.method.set_settings(taken)
        self.method.choose(self.method.box.currentText(), method)
        self.check()

    def _show_request(self, request: BatchRequest) -> None:
        """Fill the form with a request."""
        self.folder.value, self.output.value = request.folder, request.output
        for form in (self.names, self.axes, self.form):
            form.set_settings(request.settings)
        self.selection.set_settings(request.settings.selection)
        self.origin.set_value(request.settings.origin)
        self.method.set_settings(request.settings)
        for method, path in self.session.files.items():
            if path == request.method:
                self.method.choose(self.method.box.currentText(), method)

    def _save_method(self) -> None:
        """Ask where to save the chosen model or PSF field, and save it."""
        is_model = self.method.is_model
        ending, files = (".safetensors", MODEL_FILES) if is_model else (".psf.tif", PSF_FIELD_FILES)
        name = str(load_preferences().model_folder / f"{self.method.name}{ending}")
        chosen = ask_where_to_save(self, f"Save the {self._kind}", name, files, (ending,))
        if chosen is None:
            return
        self._save_as(*chosen)

    def _save_with_results(self) -> None:
        """Save the chosen model or PSF field in the folder of the results."""
        output = path_of(self.output)
        ending = ".safetensors" if self.method.is_model else ".psf.tif"
        if output is not None:
            self._save_as(output / f"{file_word(self.method.name)}{ending}", False)

    def _save_as(self, path: Path, overwrite: bool) -> None:
        method = self.method.require()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            method.save(path, overwrite=overwrite)
        except (CoordGateError, OSError) as error:
            self.bar.show_error(str(error))
        else:
            self.session.files[method] = path
            self.check()

    def chosen(self) -> BatchRequest | None:
        """The request, apart from whether results are replaced; None where something is missing."""
        try:
            return replace(self.request(), overwrite=False)
        except CoordGateError:
            return None

    def _retry(self) -> None:
        """Start the shown batch again, for files that are not done."""
        if self.status is not None:
            self.start(replace(self.status.request, overwrite=False))

    def start(self, request: BatchRequest) -> None:
        """Deblur a folder in the background."""
        status = BatchStatus(request)
        job = Job(BATCH, request.events, status, done_message=str)
        job.batched.connect(status.update)
        job.finished.connect(status.end, max_args=0)
        self.session.last_jobs[BATCH] = job
        self.started = replace(request, overwrite=False)
        self.start_job(job)

    def follow(self, job: Job) -> None:
        """Show a batch from now on: this widget's own, or one that was started before."""
        self.status = status = job.context
        request = status.request
        self.table.reset(
            request.folder.resolve(), status.files.values(), has_trust=request.settings.trust
        )
        self.table.retry.setEnabled(False)
        self._show_counts()
        weak_connect(status.changed, self._update_table)
        super().follow(job)

    def _update_table(self, changed: list[FileChanged]) -> None:
        self.table.update_files(changed)
        self._show_counts()

    def _show_counts(self) -> None:
        assert self.status is not None
        self.table.counts.setText(str(self.status))
        self.table.thumbnails.show_file(self.status.latest)

    def show_end(self, end: JobEnd) -> None:
        """Allow to retry failed files, and mark a completed batch that has some."""
        has_failures = self.status is not None and self.status.failed > 0
        self.table.retry.setEnabled(has_failures)
        if end.reason == "completed" and has_failures:
            self.bar.show_message(end.message, COLORS["canceled"])

    def _open(self, file: FileChanged) -> None:
        """Open a file of the shown batch; its headers are read in the background."""
        assert self.status is not None
        request = self.status.request
        job = Job.from_function(f"Open {file.source.name}", lambda _: request.layers(file))
        job.finished.connect(partial(_add_layers, self.viewer))
        self.session.start(job)


def _add_layers(viewer: Viewer, end: JobEnd) -> None:
    """Add the opened layers to the viewer."""
    for pixels, options, _ in end.result or []:
        viewer.add_image(pixels, **options)
