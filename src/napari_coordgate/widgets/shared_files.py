"""Bring what lies in a file into the session: checkpoints and PSF fields."""

from collections.abc import Callable, Iterable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

from napari_coordgate.progress import Event, Finished
from napari_coordgate.widgets.choices import Choice, Option
from napari_coordgate.widgets.jobs import Job
from napari_coordgate.widgets.session import Session

__all__ = ["checkpoint_choice", "field_choice", "load_checkpoint_file", "load_field_file"]

CHECKPOINT_FILES = "Checkpoints (*.safetensors)"
NO_FIELD = ("no PSF field yet", None)
FIELD_FILES = "PSF fields (*.tif *.tiff)"


def load_checkpoint_file(session: Session, path: Path) -> Job:
    """Load a checkpoint in the background; every choice offers it once it is there."""

    def read() -> object:
        from napari_coordgate.checkpoint import load_checkpoint  # brings in torch

        return load_checkpoint(path)

    return _load(session, path, read, session.checkpoints)


def load_field_file(session: Session, path: Path) -> Job:
    """Load a PSF field in the background; every choice offers it once it is there."""

    def read() -> object:
        from napari_coordgate.optics import PSFField  # brings in torch

        return PSFField.load(path)

    return _load(session, path, read, session.psf_fields)


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


def _load(
    session: Session, path: Path, read: Callable[[], object], shelf: MutableMapping[str, Any]
) -> Job:
    def work(_: Job) -> Iterator[Event]:
        yield Finished("completed", f"Loaded {path.name}.", result=read())

    def keep(end: Finished) -> None:
        if end.reason == "completed":
            shelf[path.stem] = end.result

    job = Job(f"Load {path.name}", work)
    job.finished.connect(keep)
    session.start(job)
    return job


def _offered(
    shelf: MutableMapping[str, Any], first: Iterable[Option] = (), last: Iterable[Option] = ()
) -> list[Option]:
    """Contents of a shelf, the latest first, and what stands before and after them."""
    return [*first, *reversed(list(shelf.items())), *last]
