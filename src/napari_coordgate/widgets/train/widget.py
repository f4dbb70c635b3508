"""The Train widget."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from magicgui.types import FileDialogMode
from napari.viewer import Viewer
from qtpy.QtWidgets import QCheckBox, QComboBox, QLabel, QPushButton

from napari_coordgate.config import (
    PRESET_DESCRIPTIONS,
    PRESETS,
    Camera,
    RuntimeConfig,
    TrainingSettings,
)
from napari_coordgate.errors import CoordGateError, SettingsError
from napari_coordgate.events import Event, Finished, Preview, Progress
from napari_coordgate.io.files import last_checkpoint_path
from napari_coordgate.widgets.choices import file_edit, path_of
from napari_coordgate.widgets.forms import SettingsForm, collapsible
from napari_coordgate.widgets.jobs import Job
from napari_coordgate.widgets.listening import listen
from napari_coordgate.widgets.panel import JobBar, Panel
from napari_coordgate.widgets.preferences import load_preferences
from napari_coordgate.widgets.session import shelve_checkpoint
from napari_coordgate.widgets.shared_files import checkpoint_choice
from napari_coordgate.widgets.train.inputs import TrainingInputs
from napari_coordgate.widgets.train.request import TrainingRequest, free_name
from napari_coordgate.widgets.train.view import TrainingCurves, TrainingPreview

if TYPE_CHECKING:
    from napari_coordgate.model import Model

__all__ = ["TrainWidget"]

ESTIMATE, TRAINING = "Estimate", "Training"
NEW = ("a new network", None)
INTERRUPTED_LENS = "lens of the interrupted run"
NO_NOISE = "Without your camera's noise (photons in a bright pixel), the network makes noise grow."


class TrainWidget(Panel):
    """Train a network on sharp images, and watch how it learns.

    Parameters
    ----------
    viewer : Viewer
        The viewer.
    """

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer)
        self.inputs = TrainingInputs(viewer, self.session)
        self.body.insertWidget(0, self.inputs)
        self.start_from = checkpoint_choice(self.session, NEW)
        self.preset = QComboBox()
        self.preset.addItems(list(PRESETS))
        self.preset.setCurrentText("balanced")
        self.output = file_edit(FileDialogMode.OPTIONAL_FILE, "Checkpoints (*.safetensors)")
        self.resume = QCheckBox("Resume this run")
        self.add_choice("Start from", self.start_from, "A new network, or one to fine-tune.")
        self.add_row("Preset", self.preset, "How long to train; the settings below follow it.")
        self.preset_note = QLabel(PRESET_DESCRIPTIONS["balanced"])
        self.preset_note.setWordWrap(True)
        self.add_row("", self.preset_note)
        self.add_row("Save as", self.output.native, "The checkpoint; nothing is overwritten.")
        self.add_row("", self.resume, "A run that was to write this checkpoint was interrupted.")
        self.camera = SettingsForm(Camera())
        self.device = SettingsForm(self._preset_config(), {"device"})
        apart = {"camera", "device", "devices", "nodes"}  # napari is one process on one computer
        expert = TrainingSettings.model_fields.keys() - apart
        self.form = SettingsForm(self._preset_config(), expert)
        self.noise_note = QLabel(NO_NOISE)
        self.noise_note.setWordWrap(True)
        for part in (self.device, self.camera, self.noise_note):
            self.body.addWidget(part)
        self.body.addWidget(collapsible("All settings", self.form))
        self.curves = TrainingCurves(viewer)
        self.curves.setVisible(False)
        self.body.addWidget(self.curves)
        self.body.addStretch(1)
        self.bar = JobBar("Train", can_pause=True, can_stop=True)
        self.anyway = QPushButton("Train all the same")
        self.anyway.setVisible(False)
        self.estimate = QLabel()
        self.estimate.setWordWrap(True)
        self.foot.addWidget(self.bar)
        self.foot.addWidget(self.estimate)
        self.foot.addWidget(self.anyway)
        self._is_reading = False
        self._pending: TrainingRequest | None = None
        self._preview: TrainingPreview | None = None
        self.output.value = free_name(load_preferences().model_folder)
        self._connect()
        self._check()
        for job in self.session.running(TRAINING):
            self._follow(job)

    def _connect(self) -> None:
        self.bar.run_clicked.connect(self._begin)
        self.anyway.clicked.connect(self._train)
        self.preset.currentTextChanged.connect(self._show_preset)
        self.start_from.changed.connect(self._show_origin)
        self.output.changed.connect(self._check)
        self.resume.toggled.connect(self._toggle_resume)
        for part in (self.inputs, self.camera, self.device, self.form):
            part.changed.connect(self._check)

    def reset_choices(self, *_: object) -> None:
        """Offer what exists by now."""
        super().reset_choices()
        self.inputs.renew()

    def request(self) -> TrainingRequest:
        """Snapshot of what is asked for.

        Raises
        ------
        CoordGateError
            If something is missing or wrong.
        """
        if self._is_reading:
            raise SettingsError("The interrupted run is being read.")
        config, camera = self.form.settings, self.camera.settings
        if config is None or camera is None:
            problems = {**self.camera.problems, **self.form.problems}
            raise SettingsError("; ".join(dict.fromkeys(problems.values())))
        changes = {"camera": camera, "device": self.device.editors["device"].value()}
        request = TrainingRequest(
            config=cast(TrainingSettings, config).model_copy(update=changes),
            sharp=self.inputs.sharp,
            field=self.inputs.psf_field,
            blurred=self.inputs.measured,
            validation=self.inputs.held_out,
            init=None if self._resumes else self.start_from.value,
            output=self._output() or Path(),
            resume=self._resumes,
        )
        request.check()
        return request

    def _output(self) -> Path | None:
        """Checkpoint to write; what is left of an interrupted run stands for it."""
        path = path_of(self.output)
        return path and path.with_name(path.name.replace(".last.safetensors", ".safetensors"))

    @property
    def _resumes(self) -> bool:
        return self.resume.isVisibleTo(self) and self.resume.isChecked()

    def _toggle_resume(self, wanted: bool) -> None:
        """Read the settings of the interrupted run; it goes on with no others."""
        output = self._output()
        self._is_reading = wanted and output is not None
        self._check()
        if not wanted or output is None:
            return
        job = Job("Read the interrupted run", partial(_read, last_checkpoint_path(output)))
        listen(job.finished, self._take_interrupted)
        self.session.start(job)

    def _take_interrupted(self, end: Finished) -> None:
        self._is_reading = False
        if end.reason == "completed":
            checkpoint: Model = end.result
            runtime = self._shown_config().select(RuntimeConfig)
            self.form.set_settings(TrainingSettings.combine(checkpoint.config, runtime))
            self.camera.set_settings(checkpoint.config.camera)
            if checkpoint.psf_field is not None:
                self.session.psf_fields[INTERRUPTED_LENS] = checkpoint.psf_field
        self._check()

    def _check(self, *_: object) -> None:
        """Allow the start if nothing is missing."""
        self.anyway.setVisible(False)  # it would train what was asked for before
        output = self._output()
        interrupted = output is not None and last_checkpoint_path(output).exists()
        self.rows.setRowVisible(self.resume, interrupted)
        self.bar.run.setText("Resume" if self._resumes else "Train")
        camera = cast(Camera | None, self.camera.settings)
        self.noise_note.setVisible(camera is not None and camera.photons is None)
        try:
            self.request()
        except CoordGateError as error:
            self.bar.set_problem(str(error))
        else:
            self.bar.set_problem("")

    def _preset_config(self) -> TrainingSettings:
        runtime = RuntimeConfig(device=load_preferences().device)
        return TrainingSettings.combine(PRESETS[self.preset.currentText()], runtime)

    def _show_preset(self, name: str) -> None:
        self.preset_note.setText(PRESET_DESCRIPTIONS[name])
        self.form.set_settings(self._with_origin(self._preset_config()))
        self._check()

    def _show_origin(self) -> None:
        self.form.set_settings(self._with_origin(self._shown_config()))
        self._check()

    def _shown_config(self) -> TrainingSettings:
        """Settings as they stand in the form, or the preset's where they are bad."""
        return cast(TrainingSettings | None, self.form.settings) or self._preset_config()

    def _with_origin(self, config: TrainingSettings) -> TrainingSettings:
        """Settings with the network and scaling of the checkpoint to fine-tune."""
        origin = self.start_from.value
        if origin is None:
            return config
        kept = {"network": origin.config.network, "scaling": origin.config.scaling}
        return config.model_copy(update=kept)

    def _begin(self) -> None:
        """Try a few steps, and train if they fit; a run that goes on has shown that it does."""
        self._pending = self.request()
        self.estimate.setText("")
        if self._pending.resume:
            self._train()
        else:
            self._rehearse(self._pending)

    def _rehearse(self, request: TrainingRequest) -> None:
        job = Job(ESTIMATE, request.estimate_resources, request)
        self.bar.follow(job)
        listen(job.finished, self._weigh)
        self.session.start(job)

    def _weigh(self, end: Finished) -> None:
        job = self.bar.job
        if end.reason != "completed" or job is None or job.stop_requested.is_set():
            return
        self.estimate.setText(end.message)
        if end.result.fits:
            self._train()
        else:
            self.anyway.setVisible(True)

    def _train(self) -> None:
        self.anyway.setVisible(False)
        request = self._pending
        assert request is not None
        job = Job(TRAINING, request.train, request)
        shelve_checkpoint(job, self.session, request.output.stem, request.output)
        self._follow(job)
        self.session.start(job)

    def _follow(self, job: Job) -> None:
        """Show a training, this widget's own or one that runs already."""
        request = cast(TrainingRequest, job.subject)
        if not request.resume:
            self.curves.clear()
        self.curves.setVisible(True)
        name = f"{request.output.stem} preview"
        if self._preview is None or self._preview.options["name"] != name:
            pixel_size_um = request.field.pixel_size_um if request.field is not None else None
            like = next(iter(self.inputs.layers.layers), None)
            self._preview = TrainingPreview(self.viewer, name, pixel_size_um, like)
        listen(job.happened, self._show)
        listen(job.finished, self._end)
        self.bar.follow(job)  # last: what it says of the end stays

    def _show(self, event: Event) -> None:
        if isinstance(event, Progress) and event.stage == "training":
            if event.done <= 1:
                self.area.ensureWidgetVisible(self.curves)
            self.curves.add(event)
        elif isinstance(event, Preview) and self._preview is not None:
            self._preview.show(event)

    def _end(self, end: Finished) -> None:
        output = self._output()
        if end.reason == "completed" and output is not None:
            self.resume.setChecked(False)
            self.output.value = free_name(output.parent, output.stem)  # for the next run
        self._check()


def _read(path: Path, _: Job) -> Iterator[Event]:
    """Checkpoint of an interrupted run; for the background thread."""
    from napari_coordgate.model import Model  # brings in torch

    yield Finished("completed", "", result=Model.load(path))
