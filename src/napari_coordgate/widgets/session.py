"""What exists in one viewer, shared by all widgets in it."""

from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from napari.viewer import Viewer
from psygnal import Signal
from psygnal.containers import EventedDict

from napari_coordgate.events import Finished
from napari_coordgate.widgets.jobs import Job

if TYPE_CHECKING:
    from napari_coordgate.model import Model
    from napari_coordgate.optics import PSFField

__all__ = ["Session", "session_of", "shelve", "shelve_checkpoint"]


class Session:
    """PSF fields, checkpoints and running jobs of one viewer.

    What a widget adds is offered in all others at once.

    Attributes
    ----------
    psf_fields : evented dict of str to PSFField
        By the names that users see.
    checkpoints : evented dict of str to Checkpoint
        Likewise.
    opened : set of Path
        Files of checkpoints that have been loaded.
    files : weak mapping of Checkpoint to Path
        The file of each checkpoint that has one.
    kept : dict of str to Job
        By their titles, the last of those jobs that are looked at also when they have ended.
    adopts_layers : bool
        Whether layers of the viewer bring in what lies behind them.
    """

    changed = Signal()
    """A PSF field or checkpoint has come or gone."""

    def __init__(self) -> None:
        self.psf_fields: EventedDict[str, PSFField] = EventedDict()
        self.checkpoints: EventedDict[str, Model] = EventedDict()
        self.opened: set[Path] = set()
        self.files: WeakKeyDictionary[Model, Path] = WeakKeyDictionary()
        self.kept: dict[str, Job] = {}
        self.adopts_layers = False
        self._jobs: list[Job] = []
        for shared in (self.psf_fields, self.checkpoints):
            for signal in (shared.events.added, shared.events.removed, shared.events.changed):
                signal.connect(self._tell)

    def _tell(self) -> None:
        self.changed.emit()

    def start(self, job: Job) -> None:
        """Start a job, and know of it until it ends."""
        self._jobs.append(job)
        job.companions = self._jobs
        job.finished.connect(self._forget_ended)
        job.start()

    def running(self, title: str) -> Iterator[Job]:
        """Jobs of this title that are running, the latest last."""
        return (job for job in self._jobs if job.title == title and job.is_running)

    def _forget_ended(self) -> None:
        self._jobs[:] = [job for job in self._jobs if job.is_running]


def shelve(job: Job, shelf: MutableMapping[str, Any], name: str) -> None:
    """Put the result of a job on a shelf of a session, whatever becomes of who started it.

    Parameters
    ----------
    job : Job
        A job that has not begun.
    shelf : mutable mapping
        PSF fields or checkpoints of a session.
    name : str
        The name that users see.
    """

    def keep(end: Finished) -> None:
        if end.reason == "completed":
            shelf[name] = end.result

    job.finished.connect(keep)


def shelve_checkpoint(job: Job, session: Session, name: str, path: Path) -> None:
    """Put the checkpoint that a job brings into a session, with the file in which it stands.

    Parameters
    ----------
    job : Job
        A job that has not begun.
    session : Session
        The session.
    name : str
        The name that users see.
    path : Path
        The file that the job reads or writes.
    """

    def note_file(end: Finished) -> None:
        if end.reason == "completed":
            session.files[end.result] = path

    job.finished.connect(note_file)  # before those who are told of the checkpoint ask for it
    shelve(job, session.checkpoints, name)


_sessions: WeakKeyDictionary[Viewer, Session] = WeakKeyDictionary()


def session_of(viewer: Viewer) -> Session:
    """Session of a viewer; made when it is first asked for."""
    # Each widget that napari's menu opens gets a stand-in of its own for the viewer.
    viewer = getattr(viewer, "__wrapped__", viewer)
    if viewer not in _sessions:
        _sessions[viewer] = Session()
    return _sessions[viewer]
