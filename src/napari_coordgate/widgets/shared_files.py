"""Bring what lies in a file into the session: checkpoints and PSF fields."""

from collections.abc import Callable, Iterable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

from napari.layers import Layer
from napari.utils.notifications import show_info
from napari.viewer import Viewer

from napari_coordgate.events import Event, Finished
from napari_coordgate.widgets.choices import Choice, Option
from napari_coordgate.widgets.jobs import Job
from napari_coordgate.widgets.layers.provenance import checkpoint_path_of, field_of
from napari_coordgate.widgets.session import Session, shelve, shelve_checkpoint

__all__ = [
    "CHECKPOINT_FILES",
    "adopt_layers",
    "checkpoint_choice",
    "field_choice",
    "load_checkpoint_file",
    "load_field_file",
]

CHECKPOINT_FILES = "Checkpoints (*.safetensors)"
NO_FIELD = ("no PSF field yet", None)
FIELD_FILES = "PSF fields (*.tif *.tiff)"


def load_checkpoint_file(session: Session, path: Path) -> Job:
    """Load a checkpoint in the background; every choice offers it once it is there."""
    session.opened.add(path)

    def read() -> object:
        from napari_coordgate.model import Model  # brings in torch

        return Model.load(path)

    job = _reading(path, read)
    shelve_checkpoint(job, session, _free_name(path, session.checkpoints), path)
    session.start(job)
    return job


def load_field_file(session: Session, path: Path) -> Job:
    """Load a PSF field in the background; every choice offers it once it is there."""

    def read() -> object:
        from napari_coordgate.optics import PSFField  # brings in torch

        return PSFField.load(path)

    job = _reading(path, read)
    shelve(job, session.psf_fields, _free_name(path, session.psf_fields))
    session.start(job)
    return job


def adopt_layers(viewer: Viewer, session: Session) -> None:
    """Offer PSF fields and checkpoints that lie behind layers, now and as they come.

    Parameters
    ----------
    viewer : Viewer
        A reader of ours may have opened such files in it.
    session : Session
        Its session; asked once more, nothing is done.
    """
    if session.adopts_layers:
        return
    session.adopts_layers = True

    def adopt(event: Any) -> None:
        _adopt(event.value, session)

    viewer.layers.events.inserted.connect(adopt)
    for layer in viewer.layers:
        _adopt(layer, session)


def _adopt(layer: Layer, session: Session) -> None:
    field, path = field_of(layer.metadata), checkpoint_path_of(layer.metadata)
    if field is not None and all(field is not known for known in session.psf_fields.values()):
        session.psf_fields[layer.name.removesuffix(" psf field")] = field
    if path is not None and path not in session.opened:
        load_checkpoint_file(session, path)


def checkpoint_choice(session: Session, *first: Option) -> Choice:
    """Choice among ``first`` and the session's checkpoints, and a button to load one."""
    return Choice(
        lambda: _offered(session.checkpoints, first),
        lambda path: load_checkpoint_file(session, path),
        CHECKPOINT_FILES,
        takes_newest=not first,
    )


def field_choice(session: Session, *last: Option) -> Choice:
    """Choice among PSF fields, the session's and its checkpoints', and ``last``; loads one too."""

    def options() -> list[Option]:
        learned = [(name, checkpoint.psf_field) for name, checkpoint in session.checkpoints.items()]
        fields = [(f"{name}'s lens", field) for name, field in learned if field is not None]
        return [*(_offered(session.psf_fields, last=fields) or [NO_FIELD]), *last]

    return Choice(
        options,
        lambda path: load_field_file(session, path),
        FIELD_FILES,
        takes_newest=True,
    )


def _reading(path: Path, read: Callable[[], object]) -> Job:
    """Job that reads a file, and says so."""

    def work(_: Job) -> Iterator[Event]:
        yield Finished("completed", f"Loaded {path.name}.", result=read())

    job = Job(f"Load {path.name}", work)
    job.finished.connect(lambda end: end.error or show_info(end.message))
    return job


def _free_name(path: Path, shelf: MutableMapping[str, Any]) -> str:
    """Name of a file on a shelf; with its folder where another file has that name."""
    name = path.stem.removesuffix(".psf")
    return f"{name} ({path.parent.name})" if name in shelf else name


def _offered(
    shelf: MutableMapping[str, Any], first: Iterable[Option] = (), last: Iterable[Option] = ()
) -> list[Option]:
    """Contents of a shelf, the latest first, and what stands before and after them."""
    return [*first, *reversed(list(shelf.items())), *last]
