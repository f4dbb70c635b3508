"""PSF fields, models and running jobs of one viewer, shared by all its widgets."""

import itertools
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakValueDictionary

from napari.layers import Layer
from napari.utils.notifications import show_info
from napari.viewer import Viewer
from psygnal import Signal
from psygnal.containers import EventedDict
from qtpy.QtWidgets import QWidget

from napari_coordgate.config import Camera, GaussianLens, Lens
from napari_coordgate.widgets.activity import show_activity
from napari_coordgate.widgets.jobs import Job, JobEnd
from napari_coordgate.widgets.layers import dropped_lens_of, model_path_of, psf_field_of

if TYPE_CHECKING:
    from napari_coordgate.model import Model
    from napari_coordgate.optics import PSFField
    from napari_coordgate.universal_model import UniversalModel

    AnyModel = Model | UniversalModel


WRITER = "napari-coordgate.write_image"


class Session:
    """PSF fields and models by the names that users see, and the jobs of one viewer."""

    changed = Signal()
    """A PSF field or model was added, replaced or removed."""
    job_ended = Signal(Job)
    """A job that a person waits for has ended."""

    def __init__(self) -> None:
        self.psf_fields: EventedDict[str, PSFField] = EventedDict()
        self.models: EventedDict[str, Model] = EventedDict()
        self.universal_models: EventedDict[str, UniversalModel] = EventedDict()
        self.files: WeakKeyDictionary[AnyModel | PSFField, Path] = WeakKeyDictionary()
        self.camera: Camera | None = None  # as it was measured
        self.image_camera: Camera | None = None  # noise of the image to deblur
        self.last_jobs: dict[str, Job] = {}  # by title, those shown also after their end
        self.widgets: WeakValueDictionary[type[QWidget], QWidget] = WeakValueDictionary()
        self._opened: set[Path] = set()
        self._adopts_layers = False
        self._jobs: list[Job] = []
        for shared in (self.psf_fields, self.models, self.universal_models):
            for signal in (shared.events.added, shared.events.removed, shared.events.changed):
                signal.connect(self._emit_changed)

    def _emit_changed(self) -> None:
        self.changed.emit()

    def start(self, job: Job) -> None:
        """Start a job and keep it until it ends."""
        self._jobs.append(job)
        job.siblings = self._jobs
        job.finished.connect(self._forget_ended)
        if not job.is_quiet:
            show_activity(job)
        job.start()

    def running(self, title: str) -> Iterator[Job]:
        """Running jobs of this title, the latest last."""
        return (job for job in self._jobs if job.title == title and job.is_running)

    def _forget_ended(self) -> None:
        ended = [job for job in self._jobs if not job.is_running and not job.is_quiet]
        self._jobs[:] = [job for job in self._jobs if job.is_running]
        for job in ended:
            self.job_ended.emit(job)

    def load_model(self, path: Path, *, is_told: bool = False) -> "Job[AnyModel]":
        """Load a model in the background; every widget offers it once it is loaded.

        ``is_told`` says that the user has read what became of the file.
        """
        self._opened.add(path)

        def load(_: object) -> "AnyModel":
            from napari_coordgate.model import Model, is_universal  # imports torch
            from napari_coordgate.universal_model import UniversalModel

            return UniversalModel.load(path) if is_universal(path) else Model.load(path)

        job = _reading_job(path, load, is_told=is_told)

        def add(end: "JobEnd[AnyModel]") -> None:
            if end.result is not None:
                self.add(end.result, path)

        job.finished.connect(add)
        self.start(job)
        return job

    def add(self, model: "AnyModel", path: Path) -> None:
        """Offer a model, or a universal one, that is in a file."""
        from napari_coordgate.model import Model  # the model has imported torch

        self.files[model] = path  # first: users of the model may need its file
        if isinstance(model, Model):
            self.models[_free_name(path, self.models)] = model
        else:
            self.universal_models[_free_name(path, self.universal_models)] = model

    def load_psf_field(self, path: Path) -> "Job[PSFField]":
        """Load a PSF field in the background; every widget offers it once it is loaded."""

        def load(_: object) -> "PSFField":
            from napari_coordgate.optics import PSFField  # imports torch

            return PSFField.load(path)

        job = _reading_job(path, load)
        store_file(job, self, self.psf_fields, _free_name(path, self.psf_fields), path)
        self.start(job)
        return job

    def adopt_layers(self, viewer: Viewer) -> None:
        """Offer the PSF fields and models of layers that our readers opened, now and later."""
        if self._adopts_layers:
            return
        self._adopts_layers = True
        viewer.layers.events.inserted.connect(lambda event: self._adopt(event.value))
        for layer in viewer.layers:
            self._adopt(layer)

    def _adopt(self, layer: Layer) -> None:
        psf_field, path = psf_field_of(layer.metadata), model_path_of(layer.metadata)
        if psf_field is not None and all(
            psf_field is not known for known in self.psf_fields.values()
        ):
            self.psf_fields[layer.name.removesuffix(" psf field")] = psf_field
        if path is not None and path not in self._opened:
            self.load_model(path, is_told=True)
        lens, frame_shape = dropped_lens_of(layer.metadata)
        if lens is not None:
            self._compute(lens, frame_shape, layer.name.removesuffix(" PSFs"))

    def _compute(self, lens: Lens | GaussianLens, frame_shape: tuple[int, int], name: str) -> None:
        """Offer the PSF field of a lens once it is computed in the background."""

        def compute(job: Job) -> "PSFField":
            from napari_coordgate.optics import PSFField  # imports torch

            return PSFField.from_lens(lens, frame_shape, cancel=job.cancel_requested)

        job = Job.from_function(f"Compute the blur of {name}", compute)
        store_result(job, self.psf_fields, _unused(name, self.psf_fields))
        self.start(job)


def store_result(job: Job, collection: MutableMapping[str, Any], name: str) -> None:
    """Store the result of a job that has not started in a session, even if its widget is closed."""

    def store(end: JobEnd) -> None:
        if end.reason == "completed":
            collection[name] = end.result

    job.finished.connect(store)


def store_file(
    job: Job, session: Session, collection: MutableMapping[str, Any], name: str, path: Path
) -> None:
    """Store the model or PSF field that a job reads or writes, together with its file."""

    def store_path(end: JobEnd) -> None:
        if end.result is not None:
            session.files[end.result] = path

    job.finished.connect(store_path)  # first: users of the result may need its file
    store_result(job, collection, name)


def _reading_job(path: Path, load: Callable[[object], Any], *, is_told: bool = False) -> Job:
    job = Job.from_function(
        f"Load {path.name}", load, done_message=lambda _: f"Loaded {path.name}."
    )
    if not is_told:
        job.finished.connect(lambda end: end.error or show_info(end.message))
    return job


def _free_name(path: Path, collection: MutableMapping[str, Any]) -> str:
    """Name of a file in a collection; with its folder where another file has that name."""
    name = path.stem.removesuffix(".psf")
    return f"{name} ({path.parent.name})" if name in collection else name


def _unused(name: str, collection: MutableMapping[str, Any]) -> str:
    """Name, with a number where it is in use."""
    numbered = (f"{name} [{n}]" if n else name for n in itertools.count())
    return next(each for each in numbered if each not in collection)


def _prefer_our_writer() -> None:
    """Let napari ask our writer of images first; of equal ones it asks the first that it found."""
    from npe2 import PluginManager

    writers = PluginManager.instance()._contrib._writers  # noqa: SLF001 - there is no setting
    writers.sort(key=lambda item: item[-1].command != WRITER)


_sessions: WeakKeyDictionary[Viewer, Session] = WeakKeyDictionary()


def session_of(viewer: Viewer) -> Session:
    """Session of a viewer, created on first use."""
    # Each widget that napari's menu opens gets a wrapper of its own around the viewer.
    viewer = getattr(viewer, "__wrapped__", viewer)
    if viewer not in _sessions:
        _sessions[viewer] = Session()
        _prefer_our_writer()
    return _sessions[viewer]
