"""The Train widget: train a model on sharp images, and watch how it learns."""

import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from magicgui.types import FileDialogMode
from napari.viewer import Viewer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QHBoxLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_coordgate.config import (
    PRESET_DESCRIPTIONS,
    PRESETS,
    BlurConfig,
    Camera,
    RuntimeConfig,
    TrainingConfig,
    load_settings,
)
from napari_coordgate.errors import CoordGateError, SettingsError
from napari_coordgate.events import Event, Preview, Progress, pluralize
from napari_coordgate.geometry import format_shape
from napari_coordgate.io import Image
from napari_coordgate.io.files import atomic_write, last_checkpoint_path
from napari_coordgate.widgets.choices import (
    MODEL_FILES,
    Checklist,
    Option,
    ask_where_to_save,
    file_edit,
    free_name,
    image_choice,
    image_layers,
    model_choice,
    path_of,
    psf_field_choice,
    recorded_layers,
    sharp_layers,
)
from napari_coordgate.widgets.forms import (
    ComboBox,
    SettingsForm,
    add_row,
    collapsible,
    form_rows,
    problems_of,
)
from napari_coordgate.widgets.hosting import deblur_with
from napari_coordgate.widgets.jobs import Job, JobEnd, weak_connect
from napari_coordgate.widgets.kept import keep_folder, kept_folder, last_folder
from napari_coordgate.widgets.layers import image_of
from napari_coordgate.widgets.methods import MODEL
from napari_coordgate.widgets.opening import IMAGE_FILES, load_images
from napari_coordgate.widgets.panel import (
    CHOICE_WIDTH,
    COLORS,
    JobWidget,
    word_wrapped_label,
)
from napari_coordgate.widgets.plots import Pictures, Plot
from napari_coordgate.widgets.preferences import load_preferences
from napari_coordgate.widgets.session import Session, store_file
from napari_coordgate.widgets.training_preview import PreviewLayer

if TYPE_CHECKING:
    from napari_coordgate.model import Model
    from napari_coordgate.optics import PSFField
    from napari_coordgate.training import ResourceEstimate

ESTIMATE, TRAINING = "Estimate", "Training"
NEW_MODEL = ("a new model", None)
SHARP, BLURRED_ONLY = "Sharp images", "Blurred images only"
MEASURED = "measured blurred images"
HELD_BACK = "a part of the sharp images"
INTERRUPTED_LENS = "lens of the interrupted run"
PICTURES = ("Blurred", "Deblurred so far", "Sharp")
KEPT = ("network", "scaling")
"""Settings that a model to fine-tune has already."""
YAML_FILES, YAML_ENDINGS = "Settings (*.yaml *.yml)", (".yaml", ".yml")
FEW_FRAMES = 4
"""Sharp images, in camera frames, of which a model learns little but these."""
NO_NOISE = (
    "Without the noise of your camera (photons in a bright pixel), the model amplifies the noise "
    "of your images."
)
PREVIEW_SECONDS = 3.0
"""Approximate time between previews."""
MAX_POINTS = 2000


@dataclass(frozen=True, eq=False)
class TrainingRequest:
    """Everything that one training needs; measured ``blurred`` images replace the PSF field.

    The ``images`` are sharp, unless the training is on blurred images only.
    """

    config: TrainingConfig
    runtime: RuntimeConfig
    images: Path | list[Image]
    blurred_only: bool
    psf_field: "PSFField | None"
    blurred: list[Image] | None
    validation: list[Image] | None
    init: "Model | None"
    output: Path
    resume: bool = False

    def estimate_resources(self, job: Job) -> Generator[Event, None, "ResourceEstimate"]:
        """Events of the estimate, for the background thread."""
        from napari_coordgate.training import estimate_resources_events  # imports torch

        return estimate_resources_events(
            **self._data(), init=self.init, cancel=job.cancel_requested
        )

    def train(self, job: Job) -> Generator[Event, None, "Model"]:
        """Events of the training, for the background thread."""
        from napari_coordgate.training import train_events  # imports torch

        return train_events(
            **self._data(),
            init=self.init,
            output=self.output,
            resume=self.resume,
            cancel=job.cancel_requested,
            stop=job.stop_requested,
            preview_seconds=PREVIEW_SECONDS,
        )

    def _data(self) -> dict[str, Any]:
        return {
            "config": self.config,
            "runtime": self.runtime,
            "blurred_only" if self.blurred_only else "sharp": self.images,
            "psf_field": self.psf_field,
            "blurred": self.blurred,
            "validation": self.validation,
        }

    def check(self) -> None:
        """Raise a SettingsError if images, their blur or the output are missing or wrong."""
        kind = "blurred" if self.blurred_only else "sharp"
        if not self.images:
            raise SettingsError(f"Choose {kind} images: tick layers, or choose a folder.")
        if isinstance(self.images, Path) and not self.images.is_dir():
            raise SettingsError(f"{self.images} is not a folder; choose one with {kind} images.")
        if self.psf_field is None and not self.blurred:
            raise SettingsError("Choose the lens that blurs the images; describe one in Lens PSF.")
        sharp = [] if isinstance(self.images, Path) else [image.data for image in self.images]
        if any(image.data is array for image in self.blurred or [] for array in sharp):
            raise SettingsError("A layer is ticked as sharp and as blurred; untick one of them.")
        if self.output.suffix != ".safetensors":
            raise SettingsError(
                "Choose a file for the new model; its name must end in .safetensors."
            )
        if not self.resume:
            self._check_output()

    def _check_output(self) -> None:
        """Raise a SettingsError if the model's file, or one of an interrupted run, exists."""
        name, interrupted = self.output.name, last_checkpoint_path(self.output).exists()
        if not (self.output.exists() or interrupted):
            return
        what = f"{name} already exists" if self.output.exists() else f"{name} was interrupted"
        advice = "resume its run, or choose another name" if interrupted else "choose another name"
        raise SettingsError(f"{what}; {advice}.")


class TrainWidget(JobWidget):
    """Train a model on sharp images."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer, "Train", can_pause=True, can_stop=True)
        self.inputs = TrainingInputs(viewer, self.session)
        self.body.insertWidget(0, self.inputs)
        self.start_from = model_choice(self.session, NEW_MODEL)
        self.preset = ComboBox()
        self.preset.addItems(list(PRESETS))
        self.preset.setCurrentText("balanced")
        self.output = file_edit(FileDialogMode.OPTIONAL_FILE, MODEL_FILES)
        self.resume = QCheckBox("Resume this run")
        self.preset_note = word_wrapped_label(PRESET_DESCRIPTIONS["balanced"])
        self.add_choice(
            "Start from",
            self.start_from,
            "A new model, or one to train further: its network, lens and camera noise are taken.",
        )
        self.add_row("Preset", self.preset, "How long to train; fills in the settings below.")
        self.add_row("", self.preset_note)
        self.add_row(
            "Save as",
            self.output.native,
            "File for the new model; existing files are never overwritten.",
        )
        self.output.native.setMinimumWidth(CHOICE_WIDTH)
        self.add_row("", self.resume, "Continue the interrupted run that writes this file.")
        self._add_settings()
        self.curves, self.pictures = TrainingCurves(viewer), Pictures(*PICTURES)
        self.preview = PreviewLayer(viewer)
        for part in (self.curves, self.pictures):
            part.setVisible(False)
            self.body.addWidget(part)
        self.body.addStretch(1)
        self._add_foot()
        self._is_reading = False
        self._pending: TrainingRequest | None = None
        self.output.value = free_name(load_preferences().model_folder)
        self._connect()
        self.check()
        for job in self.session.running(TRAINING):
            self.follow(job)

    def _add_settings(self) -> None:
        self.camera = SettingsForm(Camera())
        runtime = RuntimeConfig(device=load_preferences().device)
        self.device = SettingsForm(runtime, {"device"})
        # napari trains in one process on one computer.
        self.runtime = SettingsForm(runtime, hidden={"device", "devices", "nodes"})
        simulation = BlurConfig.model_fields
        self.form = SettingsForm(self._preset_config, hidden={"camera"}, last=simulation)
        self.noise_note = word_wrapped_label(NO_NOISE)
        self.noise_note.setStyleSheet(f"color: {COLORS['canceled']};")
        for part in (self.device, self.camera, self.noise_note):
            self.body.addWidget(part)
        files = QHBoxLayout()
        self.load_config, self.save_config = QPushButton("Load…"), QPushButton("Save…")
        self.load_config.setToolTip("Read all settings from a YAML file.")
        self.save_config.setToolTip("Save all settings as YAML, also for the command line.")
        for button in (self.load_config, self.save_config):
            files.addWidget(button)
        buttons = QWidget()
        buttons.setLayout(files)
        self.body.addWidget(collapsible("All settings", self.form, self.runtime, buttons))

    def _add_foot(self) -> None:
        self.anyway, self.estimate = QPushButton("Train anyway"), word_wrapped_label()
        self.anyway.setVisible(False)
        self.data_note = word_wrapped_label()
        self.data_note.setStyleSheet(f"color: {COLORS['canceled']};")
        for part in (self.data_note, self.bar, self.estimate, self.anyway):
            self.foot.addWidget(part)

    def _connect(self) -> None:
        self.anyway.clicked.connect(self._train)
        self.preset.currentTextChanged.connect(self._show_preset)
        self.start_from.changed.connect(self._show_initial_model)
        self.output.changed.connect(self.check)
        self.inputs.folder.changed.connect(self.note_kept)
        self.resume.toggled.connect(self._toggle_resume)
        self.load_config.clicked.connect(self._ask_what_to_load)
        self.save_config.clicked.connect(self._ask_where_to_save)
        for part in (self.inputs, self.camera, self.device, self.form, self.runtime):
            part.changed.connect(self.check)

    def reset_choices(self, *_: object) -> None:
        """Offer what exists now."""
        super().reset_choices()
        self.inputs.refresh()

    def others_to_keep(self) -> dict[str, Any]:
        """Folder of images."""
        return {"folder": str(path_of(self.inputs.folder) or "")}

    def recall(self, kept: Mapping[str, Any]) -> None:
        """Show the folder of images that was chosen last."""
        if folder := kept_folder(kept.get("folder")):
            self.inputs.folder.value = folder
        super().recall(kept)

    def request(self) -> TrainingRequest:
        """Snapshot of the form."""
        if self._is_reading:
            raise SettingsError("The interrupted run is still being read; wait a moment.")
        if problems := problems_of(self.camera, self.form, self.runtime):
            raise SettingsError(problems)
        config: TrainingConfig = self.form.settings
        device = self.device.editors["device"].value()
        request = TrainingRequest(
            config=config.model_copy(update={"camera": self.camera.settings}),
            runtime=self.runtime.settings.model_copy(update={"device": device}),
            images=self.inputs.images,
            blurred_only=self.inputs.is_blurred_only,
            psf_field=self.inputs.chosen_psf_field,
            blurred=self.inputs.measured,
            validation=self.inputs.held_out,
            init=None if self._resumes else self.start_from.value,
            output=self._output() or Path(),
            resume=self._resumes,
        )
        request.check()
        return request

    def chosen(self) -> tuple[object, ...]:
        """Images, lens, model to start from and settings."""
        start = self.start_from.value
        return *self.inputs.chosen(), start, self.camera.settings, self.form.settings

    def _output(self) -> Path | None:
        """File of the model, also if the checkpoint of its interrupted run was chosen."""
        path = path_of(self.output)
        if path is None or not path.name:  # such as / at the start of typing a path
            return None
        return path.with_name(path.name.replace(".last.safetensors", ".safetensors"))

    @property
    def _resumes(self) -> bool:
        return self.resume.isVisibleTo(self) and self.resume.isChecked()

    def _toggle_resume(self, wanted: bool) -> None:
        """Read the settings of the interrupted run, which it needs to continue."""
        output = self._output()
        self._is_reading = wanted and output is not None
        self.check()
        if not wanted or output is None:
            return
        path = last_checkpoint_path(output)

        def load(_: object) -> "Model":
            from napari_coordgate.model import Model  # imports torch

            return Model.load(path)

        job = Job.from_function("Read the interrupted run", load)
        weak_connect(job.finished, self._take_interrupted)
        self.session.start(job)

    def _take_interrupted(self, end: JobEnd["Model"]) -> None:
        self._is_reading = False
        if end.result is not None:
            config, psf_field = end.result.config, end.result.psf_field
            self.form.set_settings(config)
            self.camera.set_settings(config.camera)
            if psf_field is not None:
                self.session.psf_fields[INTERRUPTED_LENS] = psf_field
        self.check()

    def check(self, *_: object) -> None:
        """Allow the start, or show what is missing or wrong."""
        self.anyway.setVisible(False)  # it would train what was requested before
        output = self._output()
        interrupted = output is not None and last_checkpoint_path(output).exists()
        self.rows.setRowVisible(self.resume, interrupted)
        self.bar.run.setText("Resume" if self._resumes else "Train")
        camera: Camera | None = self.camera.settings
        is_unknown = camera is not None and not camera.has_noise
        uses_noise = self.inputs.measured is None  # measured images have their own
        self.camera.setVisible(uses_noise)
        self.noise_note.setVisible(is_unknown and uses_noise and not self.inputs.is_blurred_only)
        self._show_length()
        super().check()
        self._show_data_note()

    def _show_length(self) -> None:
        """Say how long the preset takes, or that its length was changed."""
        config, preset = self.form.settings, self._preset_config
        text = PRESET_DESCRIPTIONS[self.preset.currentText()]
        if config is not None and (config.steps, config.epochs) != (preset.steps, preset.epochs):
            text = f"Changed to {_length(config)}; Train estimates the time first."
        self.preset_note.setText(text)

    def _show_data_note(self) -> None:
        """Say before the start what a model cannot learn much from."""
        config: TrainingConfig | None = self.form.settings
        try:
            notes = data_notes(self.inputs, config) if config is not None else []
        except CoordGateError:  # which the check reports
            notes = []
        self.data_note.setText(" ".join(notes))
        self.data_note.setVisible(bool(notes))

    @property
    def _preset_config(self) -> TrainingConfig:
        return PRESETS[self.preset.currentText()]

    def _show_preset(self, _: str) -> None:
        self._show_config(self._preset_config)

    def _show_initial_model(self) -> None:
        """Take the lens and camera of a model to fine-tune; its network cannot be changed."""
        start: Model | None = self.start_from.value
        for name in KEPT:
            self.form.folds[name].setVisible(start is None)
        if start is not None:
            self.camera.set_settings(start.camera)
            if start.psf_field is not None:
                self.inputs.psf_field.set_value(start.psf_field)
        self._show_config(self.form.settings or self._preset_config)

    def _show_config(self, config: TrainingConfig) -> None:
        """Show settings, with the network and scaling of the model to fine-tune."""
        if self.start_from.value is not None:
            trained: TrainingConfig = self.start_from.value.config
            config = config.model_copy(update={name: getattr(trained, name) for name in KEPT})
        self.form.set_settings(config)
        self.check()

    def _ask_what_to_load(self) -> None:
        name, _ = QFileDialog.getOpenFileName(
            self, "Load settings", last_folder(YAML_FILES), YAML_FILES
        )
        if not name:
            return
        keep_folder(YAML_FILES, name)
        try:
            config = load_settings(TrainingConfig, name)
        except CoordGateError as error:
            self.bar.show_error(str(error))
            return
        self.camera.set_settings(config.camera)
        self._show_config(config)

    def _ask_where_to_save(self) -> None:
        chosen = ask_where_to_save(self, "Save settings", "train.yaml", YAML_FILES, YAML_ENDINGS)
        if chosen is None:
            return
        path, overwrite = chosen
        try:
            if problems := problems_of(self.camera, self.form):
                raise SettingsError(problems)
            config = self.form.settings.model_copy(update={"camera": self.camera.settings})
            with atomic_write(path, overwrite) as temporary:
                temporary.write_text(config.to_yaml(), encoding="utf-8")
        except CoordGateError as error:
            self.bar.show_error(str(error))
        else:
            self.bar.show_message(f"Saved {path.name}.")

    def start(self, request: TrainingRequest) -> None:
        """Estimate time and memory, then train if it fits; a resumed run has shown that it does."""
        self._pending, self.started = request, self.chosen()
        self.estimate.setText("")
        if request.resume:
            self._train()
            return
        job = Job(ESTIMATE, request.estimate_resources, request, done_message=str)
        self.bar.follow(job)
        weak_connect(job.finished, self._end_estimate)  # after the bar, which follows the training
        self.session.start(job)

    def _end_estimate(self, end: JobEnd["ResourceEstimate"]) -> None:
        job = self.bar.job
        if end.result is None or job is None or job.stop_requested.is_set():
            return
        if end.result.fits:
            self.estimate.setText(end.message)
            self._train()
        else:
            self.bar.show_message(end.message, COLORS["canceled"])
            self.anyway.setVisible(True)

    def _train(self) -> None:
        self.anyway.setVisible(False)
        request = self._pending
        assert request is not None
        job = Job(TRAINING, request.train, request)
        job.done_message = lambda model: _done_message(model, job.stop_requested.is_set())
        store_file(job, self.session, self.session.models, request.output.stem, request.output)
        self.start_job(job)

    def follow(self, job: Job) -> None:
        """Show a training: this widget's own, or one that is running already."""
        request: TrainingRequest = job.context
        if not request.resume:
            self.curves.clear()
        self.curves.setVisible(True)
        super().follow(job)

    def on_event(self, event: Event) -> None:
        """Draw curves and preview."""
        if isinstance(event, Progress) and event.stage == "training":
            if event.done <= 1:
                self.area.ensureWidgetVisible(self.curves)
            self.curves.add(event)
        elif isinstance(event, Preview):
            self.pictures.setVisible(True)
            for number, image in enumerate((event.blurred, event.deblurred, event.sharp)):
                self.pictures.show_image(number, image, (0.0, 1.0), "CET-L1")
            self.preview.show(event)

    def on_end(self, end: JobEnd["Model"]) -> None:
        """Offer a free name for the next run."""
        output = self._output()
        self.estimate.setText("")
        self.preview.remove()
        if end.reason == "completed" and output is not None:
            self.resume.setChecked(False)
            self.output.value = free_name(output.parent, output.stem)
        self.check()

    def show_end(self, end: JobEnd["Model"]) -> None:
        """Color the end of a training that led to nothing."""
        if end.result is not None and not end.result.is_better:
            self.bar.show_message(self.bar.message.text(), COLORS["canceled"])

    def next_steps(self, end: JobEnd["Model"]) -> Mapping[str, Callable[[], object]]:
        """Deblur with a model that makes images better."""
        model = end.result
        if model is None or not model.is_better:
            return {}
        return {"Deblur with it": lambda: deblur_with(self.viewer, MODEL, model)}


def _done_message(model: "Model", stopped: bool) -> str:
    config = model.config
    start = "Stopped early" if stopped else f"Trained {_length(config)}"
    return f"{start}; best at step {model.step}: {model.describe_validation()}."


def _length(config: TrainingConfig) -> str:
    return f"{config.steps} steps" if config.epochs is None else f"{config.epochs} epochs"


def data_notes(inputs: "TrainingInputs", config: TrainingConfig) -> list[str]:
    """What a model cannot learn much from: hardly any images, or one that also validates."""
    images, psf_field = inputs.images, inputs.chosen_psf_field
    if isinstance(images, Path) or not images:
        return []
    planes = [math.prod(image.data.shape) // math.prod(image.frame_shape) for image in images]
    pixels = sum(math.prod(image.data.shape) for image in images)
    frame = images[0].frame_shape if psf_field is None else psf_field.frame_shape
    notes = []
    if pixels < FEW_FRAMES * math.prod(frame):
        notes.append(
            f"{pluralize(sum(planes), 'image')} of {format_shape(images[0].frame_shape)} pixels "
            f"for a camera image of {format_shape(frame)} is hardly any data: the model will "
            "do well on such images alone. Ten images of different parts of the specimen are a "
            "good start."
        )
    if sum(planes) == 1 and inputs.held_out is None:
        notes.append("The only image also measures the quality, which will look too good.")
    if config.window_size > min(frame):
        notes.append(
            f"The window of {config.window_size} pixels is larger than the camera image; all of "
            "that is used instead."
        )
    return notes


class TrainingInputs(QWidget):
    """Part of the form for the images: sharp ones, what blurs them, and what to validate on."""

    changed = Signal()

    def __init__(self, viewer: Viewer, session: Session) -> None:
        super().__init__()
        self.viewer, self._session = viewer, session
        self.kind, self.source = ComboBox(), ComboBox()
        self.kind.addItems([SHARP, BLURRED_ONLY])
        self.source.addItems(["Layers", "Folder"])
        self.layers = Checklist(self._trained_on)
        self.blurred = Checklist(lambda: image_layers(viewer))
        self.folder = file_edit(FileDialogMode.EXISTING_DIRECTORY)
        self.folder.line_edit.value = ""
        self.psf_field = psf_field_choice(session, (MEASURED, MEASURED))
        self.validation = image_choice(viewer, lambda: [(HELD_BACK, None), *sharp_layers(viewer)])
        self._rows = form_rows()
        self.setLayout(self._rows)
        source, self.load = QWidget(), QPushButton("Load…")
        self.load.clicked.connect(self._ask_what_to_load)
        line = QHBoxLayout(source)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.source, 1)
        line.addWidget(self.load)
        for label, widget, tooltip in (
            (
                "Train on",
                self.kind,
                "Sharp images; or blurred images of the lens, if there are no sharp ones: their "
                "sharpest parts take the place of sharp images.",
            ),
            ("Images", source, "Use image layers, or a folder of image files."),
            ("", self.layers, "Images, stacks or time series; all planes are used."),
            ("", self.folder.native, "Folder of images; all are used."),
            ("Blurred by", self.psf_field, "PSF field of the lens: how it blurs each pixel."),
            (
                "",
                self.blurred,
                "Blurred images of the same scenes; layers of like names, or in the same order.",
            ),
            (
                "Validate on",
                self.validation,
                "Images on which the quality of the model is measured.",
            ),
        ):
            add_row(self._rows, label, widget, tooltip)
        for choice in (self.psf_field, self.validation):
            choice.setMinimumWidth(CHOICE_WIDTH)  # names are read: a narrow dock has them in a line
        self.kind.currentTextChanged.connect(self.layers.refresh)
        self.kind.currentTextChanged.connect(self._update)
        self.source.currentTextChanged.connect(self._update)
        self.folder.changed.connect(self._update)
        self._lists = (self.layers, self.blurred, self.psf_field, self.validation)
        for part in self._lists:
            part.changed.connect(self._update)
        self._update()

    def _ask_what_to_load(self) -> None:
        """Open images of a file, which can then be ticked."""
        name, _ = QFileDialog.getOpenFileName(self, "Load", last_folder(IMAGE_FILES), IMAGE_FILES)
        if name:
            keep_folder(IMAGE_FILES, name)
            load_images(self.viewer, self._session)(Path(name))

    def _trained_on(self) -> list[Option]:
        """Images that may be sharp, or that a camera may have recorded where none need be."""
        return (recorded_layers if self.is_blurred_only else sharp_layers)(self.viewer)

    @property
    def is_blurred_only(self) -> bool:
        """Whether there are no sharp images."""
        return self.kind.currentText() == BLURRED_ONLY

    @property
    def images(self) -> Path | list[Image]:
        """Folder of sharp images (or of blurred ones only), or those of the layers."""
        if self.source.currentText() == "Folder":
            return path_of(self.folder) or []
        return [image_of(layer) for layer in self.layers.values]

    @property
    def chosen_psf_field(self) -> "PSFField | None":
        """PSF field that blurs the images, if any."""
        value = self.psf_field.value
        chosen: PSFField | None = None if value is MEASURED else value
        return chosen

    @property
    def measured(self) -> list[Image] | None:
        """Measured blurred images, if they replace the PSF field."""
        if not self._uses_measured:
            return None
        return [image_of(layer) for layer in self.blurred.values]

    @property
    def held_out(self) -> list[Image] | None:
        """Images to validate on; None for a part of the others."""
        layer = None if self.is_blurred_only else self.validation.value
        return None if layer is None else [image_of(layer)]

    @property
    def _uses_measured(self) -> bool:
        return self.psf_field.value is MEASURED and not self.is_blurred_only

    def chosen(self) -> tuple[object, ...]:
        """What is chosen, to compare with."""
        is_folder = self.source.currentText() == "Folder"
        return (
            self.is_blurred_only,
            path_of(self.folder) if is_folder else self.layers.values,
            self.psf_field.value,
            self.blurred.values if self._uses_measured else None,
            None if self.is_blurred_only else self.validation.value,
        )

    def refresh(self) -> None:
        """Offer what exists now."""
        for part in self._lists:
            part.refresh()

    def _update(self, *_: object) -> None:
        from_layers = self.source.currentText() == "Layers"
        self.load.setVisible(from_layers)
        self._rows.setRowVisible(self.layers, from_layers)
        self._rows.setRowVisible(self.folder.native, not from_layers)
        self._rows.setRowVisible(self.blurred, self._uses_measured)
        can_validate = not (self._uses_measured or self.is_blurred_only)
        self._rows.setRowVisible(self.validation, can_validate)
        self.changed.emit()


class TrainingCurves(QWidget):
    """Training and validation loss, and validation PSNR, by step."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.loss = Plot(viewer, "step", "error (loss)", log=True)
        self.psnr = Plot(viewer, "step", "quality (PSNR), dB")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.loss)
        layout.addWidget(self.psnr)
        self.clear()

    def clear(self) -> None:
        """Remove the curves of the last training."""
        self._series: dict[str, list[tuple[float, float]]] = {}
        for plot in (self.loss, self.psnr):
            plot.clear_curves()

    def add(self, event: Progress) -> None:
        """Draw the metrics of a step."""
        curves = (
            ("loss", "training", self.loss),
            ("validation_loss", "validation", self.loss),
            ("psnr", "validation", self.psnr),
            ("blurred_psnr", "blurred", self.psnr),
        )
        for metric, name, plot in curves:
            if metric in event.metrics:
                series = self._series.setdefault(metric, [])
                series.append((event.metrics["step"], event.metrics[metric]))
                if len(series) > MAX_POINTS:  # keep the shape of long runs, not each point
                    del series[1:-1:2]
                is_baseline = metric == "blurred_psnr"
                points = metric not in ("loss", "blurred_psnr")
                plot.draw(name, *np.transpose(series), points=points, dashed=is_baseline)
